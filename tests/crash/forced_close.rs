//! A payer closes its channel on the chain during a stream, and the server is gone for most of the
//! grace period.
//!
//! After the grace period the payer could take back what it has been charged. A server that is
//! killed while it delivers, and comes back in time, must still get all of it.

use farebox::devnet::{Fault, Rule};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempo_primitives::transaction::Call;

use crate::count;
use crate::db::TestDb;
use crate::process::until;
use crate::shop::agent::now_seconds;
use crate::shop::payer::Payer;
use crate::shop::sse::Stream;
use crate::shop::{FUNDS, IN_FLIGHT, PRICE, Shop, channel_record};

/// How long the server is away, in seconds, of the 900 that the payer must wait.
const AWAY: u64 = 840;
const ALLOWED: u64 = 5_000 * PRICE;

#[tokio::test(flavor = "multi_thread")]
async fn attack_17_a_forced_close_during_a_stream_while_the_server_is_down() {
    for db in crate::db::engines().await {
        forced_close(&db).await;
    }
}

async fn forced_close(db: &TestDb) {
    let shop = Shop::new(db).await;
    let server = shop.setup.serve().await;
    let payer = shop.customer(2 * ALLOWED, ALLOWED).await;
    let script = json!({ "endless": true, "intervalMs": 2 });
    let answer = shop.stream(&payer, ALLOWED, &script, "the-stream").await.expect("the server is up");
    let mut stream = Stream::new(answer);
    for _ in 0..20 {
        stream.text().await.expect("it runs");
    }

    // Nothing can be settled while the server lives, whenever its worker looks.
    shop.devnet.faults().set(Rule::new(Fault::Drop).on("eth_gasPrice"));
    // The chain's clock goes back before the payer asks rather than forward afterwards: the server
    // signs by its own clock, which must agree with the chain's when it is back.
    let asked_at = now_seconds() - AWAY;
    shop.anvil("evm_setTime", json!([asked_at])).await;
    let receipt = send(&shop, &payer, payer.request_close_call(), asked_at).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    for _ in 0..20 {
        stream.text().await.expect("it runs while nobody has noticed");
    }
    server.kill().await;
    let mut delivered = 40;
    while stream.text().await.is_some() {
        delivered += 1;
    }
    let before = channel_record(db, payer.id).await;
    assert_eq!((before.state.as_str(), before.settled), ("open", 0), "{before:?}");

    // Time passes; the payer tries whether the deposit is its own again.
    shop.anvil("evm_increaseTime", json!([AWAY - 1])).await;
    shop.anvil("evm_mine", json!([])).await;
    let withdrawn = send(&shop, &payer, payer.withdraw_call(), now_seconds()).await;
    assert_eq!(withdrawn["status"], "0x0", "too early to withdraw: {withdrawn}");
    shop.devnet.faults().clear();
    let server = shop.setup.serve().await;
    until("the server settles", async || channel_record(db, payer.id).await.state == "closed").await;

    let captured = shop.closed(db, &payer).await;
    assert_eq!(captured, before.spent, "all that was charged, and nothing else");
    let charged = captured / PRICE;
    assert!(
        (delivered..=delivered + IN_FLIGHT).contains(&charged),
        "{delivered} received, {charged} charged"
    );
    assert_eq!(shop.balance(shop.setup.recipient).await, captured, "what the payee has got");
    assert_eq!(shop.balance(payer.agent.address()).await, FUNDS - captured, "what the payer has left");
    let open = "SELECT count(*) AS n FROM holds WHERE state = $1";
    assert_eq!(count(db, open, "open").await, 0, "open holds");
    let answer = shop.manage(&payer, payer.voucher(ALLOWED + PRICE)).await.expect("the server is up");
    assert_eq!(answer.status(), StatusCode::GONE);
    println!("{:?}: {delivered} chunks received, {charged} charged and captured", db.db.engine);
    shop.setup.audit().await;
    server.kill().await;
    shop.end().await;
}

/// Sends a transaction of the payer's to the chain, on which it is `now`; returns its receipt.
async fn send(shop: &Shop, payer: &Payer, call: Call, now: u64) -> Value {
    let mut answer = shop.anvil("eth_sendRawTransactionSync", json!([payer.own_at(call, now)])).await;
    assert_eq!(answer.get("error"), None, "the chain takes the transaction");
    answer["result"].take()
}
