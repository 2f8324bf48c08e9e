//! `Idempotency-Key`, and replies that got lost.

use farebox::devnet::{Fault, Rule};
use farebox::payments::PaymentState;
use farebox_test_support::agent::authorization;
use farebox_test_support::db;
use farebox_test_support::harness::{
    BODY, PREVIEW, Reply, SPONSORED, Server, eventually, funded, own_chain, reply, run, shared_chain,
};
use farebox_test_support::raw_http;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

async fn keyed(server: &Server, path: &str, body: &str, credential: &Value, key: &str) -> Reply {
    let request = server.post(path, body).header("authorization", authorization(credential));
    reply(request.header("idempotency-key", key)).await
}

#[test]
fn the_same_key_gets_the_same_answer_and_receipt_without_paying_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = server.challenge().await;
            let credential = agent.pull(&challenge);
            let first = keyed(&server, PREVIEW, BODY, &credential, "order-1").await;
            first.assert_paid();
            server.delivered(&challenge.id).await;
            for _ in 0..3 {
                let again = keyed(&server, PREVIEW, BODY, &credential, "order-1").await;
                assert_eq!((&again.text, again.receipt()), (&first.text, first.receipt()));
            }
            // A new credential under the used key: the earlier answer, and no second debit.
            let another = agent.pull(&server.challenge().await);
            let earlier = keyed(&server, PREVIEW, BODY, &another, "order-1").await;
            assert_eq!((&earlier.text, earlier.receipt()), (&first.text, first.receipt()));
            server.assert_ledger(chain, 1).await;
            // Not after a restart either.
            let server = server.restart(|_| {}).await;
            let again = keyed(&server, PREVIEW, BODY, &credential, "order-1").await;
            assert_eq!((&again.text, again.receipt()), (&first.text, first.receipt()));
            server.assert_ledger(chain, 1).await;
        }
    });
}

#[test]
fn a_used_key_with_another_body_or_route_is_409() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        keyed(&server, PREVIEW, BODY, &agent.pull(&server.challenge().await), "order-1").await.assert_paid();
        let other = r#"{"text":"another text"}"#;
        let credential = agent.pull(&reply(server.post(PREVIEW, other)).await.challenge());
        keyed(&server, PREVIEW, other, &credential, "order-1").await.assert(409, "idempotency_key_reused");
        let sponsored = agent.pull(&server.sponsored_challenge().await);
        keyed(&server, SPONSORED, BODY, &sponsored, "order-1").await.assert(409, "idempotency_key_reused");
        server.assert_ledger(chain, 1).await;
        // Both credentials are good under a key of their own.
        keyed(&server, PREVIEW, other, &credential, "order-2").await.assert_paid();
        keyed(&server, SPONSORED, BODY, &sponsored, "order-3").await.assert_paid();
        server.assert_ledger(chain, 3).await;
    });
}

#[test]
fn keys_belong_to_their_payer() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let (one, two) = (funded(chain).await, funded(chain).await);
        let challenge = server.challenge().await;
        keyed(&server, PREVIEW, BODY, &one.pull(&challenge), "order-1").await.assert_paid();
        keyed(&server, PREVIEW, BODY, &two.pull(&server.challenge().await), "order-1").await.assert_paid();
        server.assert_ledger(chain, 2).await;
        // Knowing a key and a challenge is not enough to fetch its answer.
        let stolen = keyed(&server, PREVIEW, BODY, &two.pull(&challenge), "order-1").await;
        assert_eq!(stolen.status, 402, "{}", stolen.text);
        server.assert_ledger(chain, 2).await;
    });
}

#[test]
fn two_payments_under_one_key_at_once_are_one_debit() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let credentials = join_all((0..6).map(|_| async { agent.pull(&server.challenge().await) })).await;
            let at_once = credentials.iter().map(|credential| keyed(&server, PREVIEW, BODY, credential, "k"));
            let replies = join_all(at_once).await;
            assert!(replies.iter().all(|reply| [200, 409, 503].contains(&reply.status)), "{replies:?}");
            // Everyone who asks again gets the one answer.
            for credential in &credentials {
                eventually("the answer", async || {
                    (keyed(&server, PREVIEW, BODY, credential, "k").await.status == 200).then_some(())
                })
                .await;
            }
            server.assert_ledger(chain, 1).await;
        }
    });
}

#[test]
fn keys_are_checked() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let credential = agent.pull(&server.challenge().await);
        for key in ["", "a b", "ключ", &"k".repeat(256)] {
            let request = server.paying(&credential).header("idempotency-key", key.as_bytes());
            reply(request).await.assert(400, "invalid_params");
        }
        keyed(&server, PREVIEW, BODY, &credential, &"k".repeat(255)).await.assert_paid();
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn an_answer_is_kept_only_for_whoever_can_ask_for_it_again() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let (plain, keyed_one) = (server.challenge().await, server.challenge().await);
        server.pay(&agent.pull(&plain)).await.assert_paid();
        keyed(&server, PREVIEW, BODY, &agent.pull(&keyed_one), "k").await.assert_paid();
        for (challenge, kept) in [(plain, false), (keyed_one, true)] {
            server.delivered(&challenge.id).await;
            let payment = server.payment(&challenge.id).await.expect("kept for the books");
            let PaymentState::Delivered(delivered) = payment.state else { panic!("{payment:?}") };
            assert_eq!(delivered.answer.is_some(), kept);
            let instructions = "SELECT count(*) FROM payments WHERE instruction IS NOT NULL";
            assert_eq!(server.count(instructions).await, 0, "the signed transaction is not kept");
        }
    });
}

#[test]
fn a_client_that_goes_away_is_charged_once_and_can_fetch_its_answer() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        let mut stream = raw_http::connect(&server).await;
        let request = format!(
            "POST {PREVIEW} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{BODY}",
            authorization(&credential),
            BODY.len()
        );
        chain.faults().set(Rule::new(Fault::Delay { ms: 500 }).on("eth_sendRawTransactionSync"));
        stream.write_all(request.as_bytes()).await.unwrap();
        eventually("the broadcast", async || {
            server.payment(&challenge.id).await.filter(|payment| payment.state.as_str() == "broadcast")
        })
        .await;
        drop(stream);
        // Going away does not stop what was begun.
        eventually("settled", async || {
            server.payment(&challenge.id).await.filter(|payment| payment.state.as_str() == "settled")
        })
        .await;
        server.assert_ledger(&chain, 1).await;
        // Free as soon as the lease of the request that nobody waits for is over.
        eventually("the answer", async || {
            let again = server.pay(&credential).await;
            assert!([200, 409].contains(&again.status), "{}", again.text);
            (again.status == 200).then_some(())
        })
        .await;
        server.delivered(&challenge.id).await;
        server.pay(&credential).await.assert(403, "credential_spent");
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn a_client_that_goes_away_before_the_broadcast_can_come_back() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let credential = agent.pull(&server.challenge().await);
        chain.faults().set(Rule::new(Fault::Delay { ms: 300 }).on("eth_call"));
        let with_short_timeouts =
            server.paying(&credential).timeout(std::time::Duration::from_millis(100)).send().await;
        assert!(with_short_timeouts.is_err(), "the client gave up");
        eventually("the answer", async || {
            let again = server.pay(&credential).await;
            assert!([200, 409].contains(&again.status), "{}", again.text);
            (again.status == 200).then_some(())
        })
        .await;
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}
