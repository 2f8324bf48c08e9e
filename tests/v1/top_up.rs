//! A 402 that can be paid at once: the account is topped up and the same request goes on.

use farebox::config::PATH_USD;
use farebox::id::AccountId;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::agent::authorization;
use crate::debtor::{self, indebt};
use crate::harness::{BODY, Reply, Server, eventually, funded, reply, run, shared_chain};
use crate::shop::{CHAT, Customer, PREVIEW, PRICE, Shop, body, money, on_every_engine, refused};

fn with(request: RequestBuilder, credential: &Value) -> RequestBuilder {
    request.header("payment-authorization", authorization(credential))
}

async fn delivered(shop: &Shop, credential: &Value) {
    shop.server.delivered(credential["challenge"]["id"].as_str().expect("an id")).await;
}

async fn settled_payments(server: &Server) {
    let found = farebox::funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(found, [], "payments and ledger");
}

#[test]
fn an_agent_pays_the_challenge_and_the_same_request_goes_through() {
    run(on_every_engine(async |shop| {
        let chain = shared_chain().await;
        for (path, text) in [(PREVIEW, BODY.to_owned()), (CHAT, body(&json!({"chunks": 5}), &json!({})))] {
            let (customer, agent) = (shop.customer(0).await, funded(chain).await);
            let asked = reply(shop.post(&customer, path, &text)).await;
            let error = refused(&asked, 402, "insufficient_credits");
            assert!(error["message"].as_str().expect("text").contains("$5.00"), "{error}");
            let challenge = asked.challenges()[0];
            assert!(challenge.ends_with("header=\"Payment-Authorization\""), "{challenge}");
            let asked = asked.asked();
            assert_eq!(asked.amount(), 5_000_000);
            let credential = agent.pull(&asked);
            let paid = reply(with(shop.post(&customer, path, &text), &credential)).await;
            paid.assert_paid();
            assert_eq!(paid.header("x-ratelimit-limit-rpm"), Some("600"));
            delivered(shop, &credential).await;
            let again = reply(with(shop.post(&customer, path, &text), &credential)).await;
            refused(&again, 403, "credential_spent");
            settled_payments(&shop.server).await;
        }
    }));
}

#[test]
fn a_stream_is_paid_for_in_the_same_way() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(PRICE).await;
        let agent = funded(shared_chain().await).await;
        let text = body(&json!({"chunks": 6}), &json!({"stream": true}));
        let asked = reply(shop.post(&customer, CHAT, &text)).await;
        refused(&asked, 402, "insufficient_credits");
        let credential = agent.pull(&asked.asked());
        let paid = reply(with(shop.post(&customer, CHAT, &text), &credential)).await;
        paid.assert_paid();
        assert!(paid.text.contains("[DONE]") && !paid.text.contains("\"error\""), "{}", paid.text);
        assert_eq!(shop.left(&customer).await, 5_000_000 + PRICE - 6 * PRICE);
    }));
}

/// What an account owes is taken from what it is paid, so the challenge asks for that as well: who
/// pays it gets the answer.
#[test]
fn a_challenge_asks_for_what_the_account_owes_too() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(0).await;
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        chain.fund(agent.address(), PATH_USD, 50_000_000).await.expect("the faucet gives");
        let account = AccountId::wallet(&customer.owner).expect("an address");
        indebt(&shop.server.app, &account, money(7_000_000)).await;
        let asked = reply(shop.post(&customer, PREVIEW, BODY)).await;
        let error = refused(&asked, 402, "insufficient_credits");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("($10.00, of which $7.00 is owed)"), "{message}");
        let asked = asked.asked();
        assert_eq!(asked.amount(), 10_000_000);
        let credential = agent.pull(&asked);
        reply(with(shop.post(&customer, PREVIEW, BODY), &credential)).await.assert_paid();
        assert_eq!(debtor::standing(&shop.server.app, &account).await, (2_950_000, 0));
        settled_payments(&shop.server).await;
    }));
}

/// "A paid request whose upstream failed is retried without paying again."
#[test]
fn a_paid_request_that_failed_is_sent_again_for_free() {
    run(async {
        let shop = Shop::tuned(|_| {}).await;
        let chain = shared_chain().await;
        let customer = shop.customer(0).await;
        let agent = funded(chain).await;
        let text = body(&json!({"status": 503}), &json!({}));
        let credential = agent.pull(&reply(shop.post(&customer, CHAT, &text)).await.asked());
        for _ in 0..2 {
            let failed = reply(with(shop.post(&customer, CHAT, &text), &credential)).await;
            refused(&failed, 502, "upstream_failed");
            assert_eq!(shop.left(&customer).await, 5_000_000);
        }
        let earned = chain.balance(PATH_USD, shop.server.recipient()).await.expect("the chain answers");
        assert_eq!(earned.to::<u64>(), 5_000_000, "paid once");
        settled_payments(&shop.server).await;
        shop.finish().await;
    });
}

/// A challenge is for one request, one body and one account.
#[test]
fn attack_01_a_top_up_credential_is_for_its_own_request_and_account() {
    run(async {
        let shop = Shop::tuned(|_| {}).await;
        let (customer, other) = (shop.customer(0).await, shop.customer(0).await);
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&reply(shop.post(&customer, PREVIEW, BODY)).await.asked());
        let try_as = async |who: &Customer, path: &str, text: &str| -> Reply {
            reply(with(shop.post(who, path, text), &credential)).await
        };
        refused(&try_as(&other, PREVIEW, BODY).await, 402, "invalid_challenge");
        refused(&try_as(&customer, PREVIEW, r#"{"text":"another"}"#).await, 402, "invalid_challenge");
        refused(&try_as(&customer, CHAT, BODY).await, 402, "invalid_challenge");
        let elsewhere = shop.server.post(crate::harness::PREVIEW, BODY);
        reply(elsewhere.header("authorization", authorization(&credential)))
            .await
            .assert(402, "invalid_challenge");
        let mut cheap = credential.clone();
        cheap["challenge"]["request"] = json!("e30");
        let forged = reply(with(shop.post(&customer, PREVIEW, BODY), &cheap)).await;
        assert_eq!(forged.status, 402, "{}", forged.text);
        assert_eq!(shop.left(&other).await + shop.left(&customer).await, 0);
        try_as(&customer, PREVIEW, BODY).await.assert_paid();
        assert_eq!(shop.left(&customer).await, 4_950_000);
        assert_eq!(shop.left(&other).await, 0);
        eventually("settled", async || {
            (shop.server.count("SELECT count(*) FROM payments WHERE state = 'delivered'").await == 1)
                .then_some(())
        })
        .await;
        shop.finish().await;
    });
}
