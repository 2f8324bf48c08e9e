//! Row 17: the payer closes on the chain, past the server.

use farebox::devnet::{Fault, Rule};
use farebox::funding::channel::Phase;
use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{self, advance, eventually, own_chain, run, send_raw};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::Stream;
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE, amount, body, on_every_engine};

/// A stream that runs on, and its payer, who asks the chain for a close.
async fn close_requested_while_streaming(fixture: &Fixture<'_>) -> (Payer, Stream) {
    let payer = fixture.payer(DEPOSIT).await;
    let script = json!({"endless": true, "intervalMs": 2});
    let mut stream = fixture.stream(&payer, payer.open(800 * PRICE), &script).await;
    stream.text().await.expect("it runs");
    send_raw(fixture.chain, &payer.request_close()).await;
    (payer, stream)
}

#[test]
fn attack_17_a_requested_close_ends_delivery_and_is_settled_at_once() {
    run(on_every_engine(async |fixture| {
        let (payer, mut stream) = close_requested_while_streaming(fixture).await;
        fixture.run_worker().await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        let captured = fixture.closed(&payer).await;
        assert!(captured >= (1 + transcript.texts.len()) as u64 * PRICE);
        assert_eq!((fixture.earned().await, amount(&transcript.receipt["spent"])), (captured, captured));
        let reply = fixture.reply(&payer, payer.voucher(801 * PRICE), &body(&json!({}), true)).await;
        reply.assert(410, "channel_finalized");
    }));
}

/// Nothing is delivered on a channel whose payer has asked to close: channels that requests run on are looked at first,
/// and often.
#[test]
fn attack_17_a_requested_close_is_noticed_within_seconds_while_a_request_runs() {
    run(on_every_engine(async |fixture| {
        let (payer, mut stream) = close_requested_while_streaming(fixture).await;
        let soon = fixture.channel(&payer).await.checked_at.checked_add_millis(1_500).expect("near");
        fixture.check_due(soon).await;
        assert_ne!(fixture.channel(&payer).await.close_requested_at, 0, "not noticed after 1.5 s");
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        assert_eq!(fixture.closed(&payer).await, fixture.earned().await);
    }));
}

#[test]
fn attack_17_a_server_that_was_down_settles_when_it_is_back() {
    run(async {
        let mut engines = vec![db::sqlite().await];
        engines.extend(db::postgres().await);
        for database in engines {
            let mut fixture = Fixture::on(database, harness::shared_chain().await, |_| {}).await;
            let payer = fixture.payer(DEPOSIT).await;
            fixture.run(&payer, payer.open(40 * PRICE), &json!({"chunks": 33})).await;
            fixture.server.stop().await;
            send_raw(fixture.chain, &payer.request_close()).await;
            let fixture = fixture.restart(|_| {}).await;
            // The server's own worker may be at it already.
            eventually("the channel is closed", async || {
                fixture.run_worker().await;
                (fixture.channel(&payer).await.phase == Phase::Closed).then_some(())
            })
            .await;
            assert_eq!((fixture.closed(&payer).await, fixture.earned().await), (33 * PRICE, 33 * PRICE));
            fixture.finish().await;
        }
    });
}

/// A channel that opened while its node was in trouble: its first voucher was never accepted. Found by the model: nobody
/// closed it, and the payer's deposit waited for the end of the grace period.
async fn opened_without_voucher(fixture: &Fixture<'_>) -> Payer {
    let payer = fixture.payer(DEPOSIT).await;
    fixture.chain.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
    fixture.chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
    fixture.manage(&payer, payer.open(5 * PRICE)).await.assert(503, "settlement_pending");
    fixture.chain.faults().clear();
    fixture.run_worker().await;
    let channel = fixture.channel(&payer).await;
    assert_eq!((channel.phase, channel.voucher.is_none()), (Phase::Open, true));
    payer
}

#[test]
fn attack_17_a_channel_without_a_voucher_is_closed_when_its_payer_asks_or_leaves_it() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let fixture = Fixture::on(database, &chain, |config| config.chain.confirm_timeout_ms = 500).await;
            for asks in [true, false] {
                let payer = opened_without_voucher(&fixture).await;
                if asks {
                    send_raw(&chain, &payer.request_close()).await;
                } else {
                    fixture.server.db.execute("UPDATE channels SET active_at = 0").await;
                }
                fixture.run_worker().await;
                assert_eq!(fixture.closed(&payer).await, 0, "asks {asks}");
            }
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

/// The worker cannot close it at the moment, and the payer asks the server too.
#[test]
fn attack_17_a_payer_that_asked_the_chain_to_close_can_ask_the_server_too() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let fixture = Fixture::on(database, &chain, |config| config.chain.confirm_timeout_ms = 500).await;
            for voucher in [None, Some(5 * PRICE)] {
                let payer = match voucher {
                    Some(first) => fixture.opened(DEPOSIT, first).await,
                    None => opened_without_voucher(&fixture).await,
                };
                send_raw(&chain, &payer.request_close()).await;
                chain.faults().set(Rule::new(Fault::Drop).on("eth_gasPrice"));
                fixture.run_worker().await;
                let channel = fixture.channel(&payer).await;
                assert_eq!((channel.phase, channel.close_requested_at > 0), (Phase::Open, true));
                // Nothing is sold on it any more.
                let voucher = voucher.unwrap_or(0);
                let refused = fixture.manage(&payer, payer.voucher(voucher + PRICE)).await;
                refused.assert(402, "verification_failed");
                chain.faults().clear();
                let receipt = fixture.done(&payer, payer.close(voucher)).await;
                assert!(receipt["txHash"].is_string(), "{receipt}");
                assert_eq!(fixture.closed(&payer).await, 0);
            }
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

/// After the grace period the payer has its deposit back: nothing more may be delivered.
#[test]
fn attack_17_a_withdrawn_channel_delivers_nothing() {
    run(async {
        let chain = own_chain().await;
        let mut fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        let payer = fixture.opened(DEPOSIT, 5 * PRICE).await;
        fixture.server.stop().await;
        send_raw(&chain, &payer.request_close()).await;
        advance(&chain, 901).await;
        // Valid by the chain's clock, which is ahead now.
        let withdraw = payer.sign_call_at(payer.withdraw_call(), agent::now_seconds() + 901);
        let receipt = send_raw(&chain, &withdraw).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        let fixture = fixture.restart(|_| {}).await;
        fixture.run_worker().await;
        let reply = fixture.reply(&payer, payer.voucher(5 * PRICE), &body(&json!({"chunks": 3}), true)).await;
        assert_ne!(reply.status, 200, "delivered on a channel without a deposit:\n{}", reply.text);
        assert_eq!(fixture.channel(&payer).await.phase, Phase::Closed);
        // Nothing was captured and nothing given back by this server: a close has no receipt of success.
        let closed = fixture.manage(&payer, payer.close(5 * PRICE)).await;
        closed.assert(410, "channel_finalized");
        assert!(closed.header("payment-receipt").is_none(), "{}", closed.text);
        fixture.server.finish(chain).await;
    });
}
