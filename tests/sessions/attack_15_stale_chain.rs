//! Row 15: a node that is behind lowers no deposit and reopens no closing channel, and one of another
//! chain ends none.

use farebox::config::Secret;
use farebox::devnet::{Fault, Rule};
use farebox::funding::channel::Phase;
use farebox_test_support::db;
use farebox_test_support::harness::{own_chain, run, send_raw};
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE, body};

#[test]
fn attack_15_stale_reads_neither_lower_a_deposit_nor_reopen_a_channel() {
    run(async {
        let mut engines = vec![db::sqlite().await];
        engines.extend(db::postgres().await);
        for database in engines {
            let chain = own_chain().await;
            let fixture = Fixture::on(database, &chain, |_| {}).await;
            let before_all = fixture.block().await;
            let payer = fixture.opened(DEPOSIT, PRICE).await;
            let opened = fixture.block().await;
            fixture.done(&payer, payer.top_up(500 * PRICE)).await;
            let topped_up = fixture.channel_amounts(&payer).await;
            assert_eq!(topped_up.0, DEPOSIT + 500 * PRICE);

            // Before the top-up, and before the channel existed.
            for stale in [opened, before_all] {
                chain.faults().set(Rule::new(Fault::Behind { block: stale }));
                fixture.run_worker().await;
                assert_eq!(fixture.channel_amounts(&payer).await, topped_up, "as of block {stale}");
                chain.faults().clear();
            }
            fixture.done(&payer, payer.voucher(DEPOSIT + PRICE)).await;

            // The payer asks to close; the server learns it while it may not act yet.
            let quiet = fixture.block().await;
            send_raw(&chain, &payer.request_close()).await;
            chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransaction"));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_gasPrice"));
            fixture.run_worker().await;
            assert!(fixture.channel(&payer).await.close_requested_at > 0);
            chain.faults().set(Rule::new(Fault::Behind { block: quiet }));
            fixture.run_worker().await;
            assert!(fixture.channel(&payer).await.close_requested_at > 0, "a stale node reopened it");
            fixture
                .manage(&payer, payer.voucher(DEPOSIT + 2 * PRICE))
                .await
                .assert(402, "verification_failed");
            let reply = fixture.reply(&payer, payer.voucher(DEPOSIT + PRICE), &body(&json!({}), true)).await;
            reply.assert(402, "verification_failed");
            chain.faults().clear();
            fixture.run_worker().await;
            assert_eq!(fixture.closed(&payer).await, 0);
            fixture.server.finish(chain).await;
        }
    });
}

/// An operator names the wrong node: none of his channels exists there. Taken for their end, that
/// would be the end of all that was earned on them.
#[test]
fn attack_15_a_node_of_another_chain_ends_no_channel() {
    run(async {
        let (chain, other) = (own_chain().await, own_chain().await);
        other.faults().set(Rule::new(Fault::WrongChainId { chain_id: 1 }));
        let fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        let payer = fixture.payer(DEPOSIT).await;
        fixture.run(&payer, payer.open(30 * PRICE), &json!({"chunks": 12})).await;
        fixture.idle().await;
        let (right, wrong) = (chain.rpc_url(), other.rpc_url());
        let fixture = fixture.restart(|config| config.chain.rpc_url = Secret::from(wrong.as_str())).await;
        // It was opened a while ago: a missing channel has not just been opened.
        fixture.server.db.execute("UPDATE channels SET active_at = active_at - 60000").await;
        fixture.run_worker().await;
        assert_eq!(fixture.channel_amounts(&payer).await.4, Phase::Open);
        for payload in [payer.voucher(40 * PRICE), payer.close(30 * PRICE), payer.top_up(500)] {
            let reply = fixture.manage(&payer, payload).await;
            assert!([204, 503].contains(&reply.status), "{}", reply.text);
        }
        assert_eq!(other.broadcasts(), 0);
        let fixture = fixture.restart(|config| config.chain.rpc_url = Secret::from(right.as_str())).await;
        assert_eq!((fixture.close(&payer).await, fixture.earned().await), (12 * PRICE, 12 * PRICE));
        fixture.server.finish(chain).await;
        other.stop().await;
    });
}
