//! A 402 that can be paid at once: the account is topped up and the same request goes on.

use farebox::config::PATH_USD;
use farebox::id::AccountId;
use farebox_test_support::agent::authorization;
use farebox_test_support::debt::{self, add_debt};
use farebox_test_support::harness::{
    self, BODY, Reply, Server, eventually, funded, reply, run, shared_chain,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::fixture::{CHAT, Customer, Fixture, PREVIEW, PRICE, body, money, on_every_engine, refused};

fn with(request: RequestBuilder, credential: &Value) -> RequestBuilder {
    request.header("payment-authorization", authorization(credential))
}

async fn delivered(fixture: &Fixture, credential: &Value) {
    fixture.server.delivered(credential["challenge"]["id"].as_str().expect("an id")).await;
}

async fn settled_payments(server: &Server) {
    let found = farebox::funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(found, [], "payments and ledger");
}

#[test]
fn an_agent_pays_the_challenge_and_the_same_request_goes_through() {
    run(on_every_engine(async |fixture| {
        let chain = shared_chain().await;
        for (path, text) in [(PREVIEW, BODY.to_owned()), (CHAT, body(&json!({"chunks": 5}), &json!({})))] {
            let (customer, agent) = (fixture.customer(0).await, funded(chain).await);
            let unpaid = reply(fixture.post(&customer, path, &text)).await;
            let error = refused(&unpaid, 402, "insufficient_credits");
            assert!(error["message"].as_str().expect("text").contains("$5.00"), "{error}");
            let challenge = unpaid.challenges()[0];
            assert!(challenge.ends_with("header=\"Payment-Authorization\""), "{challenge}");
            let challenge = unpaid.challenge();
            assert_eq!(challenge.amount(), 5_000_000);
            let credential = agent.pull(&challenge);
            let paid = reply(with(fixture.post(&customer, path, &text), &credential)).await;
            paid.assert_paid();
            assert_eq!(paid.header("x-ratelimit-limit-rpm"), Some("600"));
            delivered(fixture, &credential).await;
            let again = reply(with(fixture.post(&customer, path, &text), &credential)).await;
            refused(&again, 403, "credential_spent");
            settled_payments(&fixture.server).await;
        }
    }));
}

#[test]
fn a_stream_is_paid_for_in_the_same_way() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(PRICE).await;
        let agent = funded(shared_chain().await).await;
        let text = body(&json!({"chunks": 6}), &json!({"stream": true}));
        let unpaid = reply(fixture.post(&customer, CHAT, &text)).await;
        refused(&unpaid, 402, "insufficient_credits");
        let credential = agent.pull(&unpaid.challenge());
        let paid = reply(with(fixture.post(&customer, CHAT, &text), &credential)).await;
        paid.assert_paid();
        assert!(paid.text.contains("[DONE]") && !paid.text.contains("\"error\""), "{}", paid.text);
        assert_eq!(fixture.available(&customer).await, 5_000_000 + PRICE - 6 * PRICE);
    }));
}

/// A debt is taken from the next payment, so the challenge asks for it as well: who
/// pays it gets the answer.
#[test]
fn a_challenge_asks_for_what_the_account_owes_too() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(0).await;
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        chain.fund(agent.address(), PATH_USD, 50_000_000).await.expect("the faucet gives");
        let account = AccountId::wallet(&customer.owner).expect("an address");
        add_debt(&fixture.server.app, &account, money(7_000_000)).await;
        let unpaid = reply(fixture.post(&customer, PREVIEW, BODY)).await;
        let error = refused(&unpaid, 402, "insufficient_credits");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("($10.00, of which $7.00 is owed)"), "{message}");
        let challenge = unpaid.challenge();
        assert_eq!(challenge.amount(), 10_000_000);
        let credential = agent.pull(&challenge);
        reply(with(fixture.post(&customer, PREVIEW, BODY), &credential)).await.assert_paid();
        assert_eq!(debt::balance_and_debt(&fixture.server.app, &account).await, (2_950_000, 0));
        settled_payments(&fixture.server).await;
    }));
}

/// "A paid request whose upstream failed is retried without paying again."
#[test]
fn a_paid_request_that_failed_is_sent_again_for_free() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let chain = shared_chain().await;
        let customer = fixture.customer(0).await;
        let agent = funded(chain).await;
        let text = body(&json!({"status": 503}), &json!({}));
        let credential = agent.pull(&reply(fixture.post(&customer, CHAT, &text)).await.challenge());
        for _ in 0..2 {
            let failed = reply(with(fixture.post(&customer, CHAT, &text), &credential)).await;
            refused(&failed, 503, "upstream_unavailable");
            assert_eq!(fixture.available(&customer).await, 5_000_000);
        }
        let earned = chain.balance(PATH_USD, fixture.server.recipient()).await.expect("the chain answers");
        assert_eq!(earned.to::<u64>(), 5_000_000, "paid once");
        settled_payments(&fixture.server).await;
        fixture.finish().await;
    });
}

/// A challenge is for one request, one body and one account.
#[test]
fn attack_01_a_top_up_credential_is_for_its_own_request_and_account() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let (customer, other) = (fixture.customer(0).await, fixture.customer(0).await);
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&reply(fixture.post(&customer, PREVIEW, BODY)).await.challenge());
        let try_as = async |who: &Customer, path: &str, text: &str| -> Reply {
            reply(with(fixture.post(who, path, text), &credential)).await
        };
        refused(&try_as(&other, PREVIEW, BODY).await, 402, "invalid_challenge");
        refused(&try_as(&customer, PREVIEW, r#"{"text":"another"}"#).await, 402, "invalid_challenge");
        refused(&try_as(&customer, CHAT, BODY).await, 402, "invalid_challenge");
        let elsewhere = fixture.server.post(harness::PREVIEW, BODY);
        reply(elsewhere.header("authorization", authorization(&credential)))
            .await
            .assert(402, "invalid_challenge");
        let mut cheap = credential.clone();
        cheap["challenge"]["request"] = json!("e30");
        let forged = reply(with(fixture.post(&customer, PREVIEW, BODY), &cheap)).await;
        assert_eq!(forged.status, 402, "{}", forged.text);
        assert_eq!(fixture.available(&other).await + fixture.available(&customer).await, 0);
        try_as(&customer, PREVIEW, BODY).await.assert_paid();
        assert_eq!(fixture.available(&customer).await, 4_950_000);
        assert_eq!(fixture.available(&other).await, 0);
        eventually("settled", async || {
            (fixture.server.count("SELECT count(*) FROM payments WHERE state = 'delivered'").await == 1)
                .then_some(())
        })
        .await;
        fixture.finish().await;
    });
}
