//! Row 15: a node that is behind lowers no deposit and reopens no closing channel.

use farebox::devnet::{Fault, Rule};
use serde_json::{Value, json};

use crate::db;
use crate::harness::{client, own_chain, run, send_raw};
use crate::stage::{DEPOSIT, PRICE, Stage, body};

async fn block(stage: &Stage<'_>) -> u64 {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [] });
    let answer = client().post(stage.chain.anvil_url()).json(&request).send().await.expect("anvil answers");
    let answer: Value = answer.json().await.expect("JSON");
    let number = answer["result"].as_str().expect("a number").trim_start_matches("0x");
    u64::from_str_radix(number, 16).expect("hex")
}

#[test]
fn attack_15_stale_reads_neither_lower_a_deposit_nor_reopen_a_channel() {
    run(async {
        let mut engines = vec![db::sqlite().await];
        engines.extend(db::postgres().await);
        for database in engines {
            let chain = own_chain().await;
            let stage = Stage::on(database, &chain, |_| {}).await;
            let before_all = block(&stage).await;
            let payer = stage.opened(DEPOSIT, PRICE).await;
            let opened = block(&stage).await;
            stage.done(&payer, payer.top_up(500 * PRICE)).await;
            let topped_up = stage.standing(&payer).await;
            assert_eq!(topped_up.0, DEPOSIT + 500 * PRICE);

            // Before the top-up, and before the channel existed.
            for stale in [opened, before_all] {
                chain.faults().set(Rule::new(Fault::Behind { block: stale }));
                stage.pass().await;
                assert_eq!(stage.standing(&payer).await, topped_up, "as of block {stale}");
                chain.faults().clear();
            }
            stage.done(&payer, payer.voucher(DEPOSIT + PRICE)).await;

            // The payer asks to close; the server learns it while it may not act yet.
            let quiet = block(&stage).await;
            send_raw(&chain, &payer.request_close()).await;
            chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransaction"));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_gasPrice"));
            stage.pass().await;
            assert!(stage.channel(&payer).await.close_requested_at > 0);
            chain.faults().set(Rule::new(Fault::Behind { block: quiet }));
            stage.pass().await;
            assert!(stage.channel(&payer).await.close_requested_at > 0, "a stale node reopened it");
            stage.manage(&payer, payer.voucher(DEPOSIT + 2 * PRICE)).await.assert(402, "verification_failed");
            let reply = stage.reply(&payer, payer.voucher(DEPOSIT + PRICE), &body(&json!({}), true)).await;
            reply.assert(402, "verification_failed");
            chain.faults().clear();
            stage.pass().await;
            assert_eq!(stage.closed(&payer).await, 0);
            stage.server.finish(chain).await;
        }
    });
}
