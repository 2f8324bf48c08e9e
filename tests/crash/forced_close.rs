//! A payer closes its channel on the chain during a stream, and the server is gone for most of the
//! grace period.
//!
//! After the grace period the payer could take back what it has been charged. A server that is
//! killed while it delivers, and comes back in time, must still get all of it.

use farebox::devnet::{Fault, Rule};
use farebox_test_support::agent::now_seconds;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::payer::Payer;
use farebox_test_support::process::wait_until;
use farebox_test_support::sse::Stream;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempo_primitives::transaction::Call;

use crate::count;
use crate::fixture::{FUNDS, Fixture, IN_FLIGHT, PRICE, channel_record};

/// Downtime of the server in seconds, of the 900 that the payer must wait.
const DOWNTIME: u64 = 840;
const ALLOWED: u64 = 5_000 * PRICE;

#[tokio::test(flavor = "multi_thread")]
async fn attack_17_a_forced_close_during_a_stream_while_the_server_is_down() {
    for db in db::engines().await {
        forced_close(&db).await;
    }
}

async fn forced_close(db: &TestDb) {
    let fixture = Fixture::new(db).await;
    let server = fixture.setup.serve().await;
    let payer = fixture.payer_with_channel(2 * ALLOWED, ALLOWED).await;
    let script = json!({ "endless": true, "intervalMs": 2 });
    let answer = fixture.stream(&payer, ALLOWED, &script, "the-stream").await.expect("the server is up");
    let mut stream = Stream::new(answer);
    for _ in 0..20 {
        stream.text().await.expect("it runs");
    }

    // Nothing can be settled while the server lives, whenever its worker looks.
    fixture.devnet.faults().set(Rule::new(Fault::Drop).on("eth_gasPrice"));
    // The chain's clock goes back before the payer asks rather than forward afterwards: the server
    // signs by its own clock, which must agree with the chain's when it is back.
    let requested_at = now_seconds() - DOWNTIME;
    fixture.anvil("evm_setTime", json!([requested_at])).await;
    let receipt = send(&fixture, &payer, payer.request_close_call(), requested_at).await;
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
    fixture.anvil("evm_increaseTime", json!([DOWNTIME - 1])).await;
    fixture.anvil("evm_mine", json!([])).await;
    let withdrawn = send(&fixture, &payer, payer.withdraw_call(), now_seconds()).await;
    assert_eq!(withdrawn["status"], "0x0", "too early to withdraw: {withdrawn}");
    fixture.devnet.faults().clear();
    let server = fixture.setup.serve().await;
    wait_until("the server settles", async || channel_record(db, payer.id).await.state == "closed").await;

    let captured = fixture.closed(db, &payer).await;
    assert_eq!(captured, before.spent, "all that was charged, and nothing else");
    let charged = captured / PRICE;
    assert!(
        (delivered..=delivered + IN_FLIGHT).contains(&charged),
        "{delivered} received, {charged} charged"
    );
    assert_eq!(fixture.balance(fixture.setup.recipient).await, captured, "what the payee has got");
    assert_eq!(fixture.balance(payer.agent.address()).await, FUNDS - captured, "what the payer has left");
    let open = "SELECT count(*) AS n FROM holds WHERE state = $1";
    assert_eq!(count(db, open, "open").await, 0, "open holds");
    let answer = fixture.manage(&payer, payer.voucher(ALLOWED + PRICE)).await.expect("the server is up");
    assert_eq!(answer.status(), StatusCode::GONE);
    println!("{:?}: {delivered} chunks received, {charged} charged and captured", db.db.engine);
    fixture.setup.audit().await;
    server.kill().await;
    fixture.stop().await;
}

/// Sends a transaction of the payer's to the chain, on which it is `now`; returns its receipt.
async fn send(fixture: &Fixture, payer: &Payer, call: Call, now: u64) -> Value {
    let mut answer =
        fixture.anvil("eth_sendRawTransactionSync", json!([payer.sign_call_at(call, now)])).await;
    assert_eq!(answer.get("error"), None, "the chain takes the transaction");
    answer["result"].take()
}
