//! Limits and payments of calls: never above a cap, never for nothing.

use farebox::config::PATH_USD;
use farebox::money::Money;
use farebox_test_support::harness::{eventually, funded, run, shared_chain};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Fixture, PRICE, on_every_engine, question, refusal, structured};
use crate::login;
use crate::wire::{ERAS, Era};

const CREDENTIAL: &str = "org.paymentauth/credential";
const PAYMENT_REQUIRED: &str = "org.paymentauth/payment-required";

/// Fifty calls at once around a cap: it is used up, and never exceeded by a micro.
#[test]
fn attack_72_parallel_calls_never_exceed_a_grants_cap() {
    run(on_every_engine(async |fixture| {
        let cap = 20 * 5 * PRICE;
        let limits = json!({"limits": {"totalUsd": Money::from_micros(cap).to_dollars(), "rpm": 600}});
        let connected = fixture.connect(10_000_000, &limits).await;
        let client = fixture.client(&connected, Era::Stateless);
        let mut arguments = question(&json!({"chunks": 5, "usage": "true"}));
        arguments["maxTokens"] = json!(5);
        let none = json!({});
        let calls = (0..50).map(|_| client.call("chat", &arguments, &none));
        let answers = futures_util::future::join_all(calls).await;
        let paid: i64 = answers
            .iter()
            .filter(|answer| answer["result"]["isError"] == false)
            .map(|answer| structured(answer)["completionTokens"].as_i64().expect("tokens") * PRICE)
            .sum();
        let spent = 10_000_000 - fixture.available(&connected).await;
        assert_eq!(spent, paid, "what was answered is what was charged");
        assert!(spent <= cap && spent > 0, "{spent} of {cap}");
        for refused in answers.iter().filter(|answer| answer["result"]["isError"] == true) {
            assert!(refusal(refused).contains("key_limit_reached"), "{refused}");
        }
        // One after the other, what is left is used to the last micro that buys a token.
        for _ in 0..25 {
            client.call("chat", &arguments, &json!({})).await;
        }
        let spent = 10_000_000 - fixture.available(&connected).await;
        assert!(spent <= cap && spent > cap - 5 * PRICE, "{spent} of {cap}");
    }));
}

/// Too little credit: the refusal says what is missing, a client that pays goes on, and the rest stays on the account.
#[test]
fn a_call_without_credit_is_paid_and_goes_on() {
    run(on_every_engine(async |fixture| {
        for era in ERAS {
            let connected = fixture.connect(0, &json!({})).await;
            let client = fixture.client(&connected, era);
            let arguments = json!({"text": "Mail jane@example.com"});
            let refused = client.call("pii_preview", &arguments, &json!({})).await;
            let words = refusal(&refused);
            assert!(words.contains("at least $0.05") && words.contains("top_up"), "{words}");
            let required = &refused["result"]["_meta"][PAYMENT_REQUIRED];
            let meta = json!({ PAYMENT_REQUIRED: required });
            let challenges = mpp::mcp::extract_result_challenges(&meta).expect("challenges");
            let echo = serde_json::to_value(challenges[0].to_echo()).expect("JSON");
            let challenge = farebox_test_support::agent::Challenge::from_json(echo);
            assert_eq!(challenge.amount(), 5_000_000);
            let payer = funded(shared_chain().await).await;
            let credential = payer.pull(&challenge);
            let paid = client.call("pii_preview", &arguments, &json!({ CREDENTIAL: credential })).await;
            assert_eq!(structured(&paid)["balanceUsd"], "4.95", "{paid}");
            let receipt = &paid["result"]["_meta"]["org.paymentauth/receipt"];
            assert_eq!(receipt["status"], "success", "{paid}");
            fixture.server.delivered(&challenge.id).await;
            let again = client.call("pii_preview", &arguments, &json!({ CREDENTIAL: credential })).await;
            assert!(refusal(&again).contains("credential_spent"), "{again}");
            assert_eq!(fixture.available(&connected).await, 4_950_000);
        }
    }));
}

#[test]
fn top_up_asks_for_an_amount_and_takes_it() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(0, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        for wrong in ["0.00", "-1", "1000000.00", "ten"] {
            let refused = client.call("top_up", &json!({"amountUsd": wrong}), &json!({})).await;
            assert!(refusal(&refused).contains("`amountUsd`"), "{refused}");
        }
        let arguments = json!({"amountUsd": "12.50"});
        let asked = client.call("top_up", &arguments, &json!({})).await;
        let required = client.payment_required(&asked);
        let meta = json!({ PAYMENT_REQUIRED: required });
        let challenges = mpp::mcp::extract_result_challenges(&meta).expect("challenges");
        let echo = serde_json::to_value(challenges[0].to_echo()).expect("JSON");
        let challenge = farebox_test_support::agent::Challenge::from_json(echo);
        assert_eq!(challenge.amount(), 12_500_000);
        let chain = shared_chain().await;
        let payer = funded(chain).await;
        chain.fund(payer.address(), PATH_USD, 12_500_000).await.expect("the faucet gives");
        let credential = payer.pull(&challenge);
        let paid = client.call("top_up", &arguments, &json!({ CREDENTIAL: credential })).await;
        assert_eq!(structured(&paid), &json!({"creditedUsd": "12.50", "balanceUsd": "12.50"}));
        assert_eq!(fixture.available(&connected).await, 12_500_000);
    }));
}

/// A grant that is revoked while its call works: the call ends within a second or two, and the next one is refused.
#[test]
fn attack_72_a_revoked_grant_ends_running_calls() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(1_000_000, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        let arguments = question(&json!({"chunks": 5, "firstMs": 600_000}));
        let none = json!({});
        let call = client.call("chat", &arguments, &none);
        let revoke = async {
            eventually("the call holds money", async || {
                (fixture.balance(&connected).await.held() > Money::ZERO).then_some(())
            })
            .await;
            revoke(fixture, &connected).await;
        };
        let (ended, ()) = tokio::join!(call, revoke);
        assert!(refusal(&ended).contains("revoked"), "{ended}");
        assert_eq!(client.send("tools/list", &json!({})).await.status, 401);
        assert_eq!(fixture.available(&connected).await, 1_000_000);
    }));
}

async fn revoke(fixture: &Fixture, connected: &crate::fixture::Connected) {
    let grant = login::only_grant(&fixture.server, &connected.wallet).await;
    let id = grant["id"].as_str().expect("an id").to_owned();
    let proof = login::proof(&connected.wallet, "revoke", &id);
    let path = format!("{}/{id}", login::GRANTS);
    let revoked = login::manage(&fixture.server, Method::DELETE, &path, &proof).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
}

/// What a prompt makes a model call costs the cap at the most, and shows no secret.
#[test]
fn attack_73_no_result_holds_a_secret() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(1_000_000, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        let mut said = String::new();
        for tool in ["list_models", "get_balance", "list_usage", "list_keys", "create_upload"] {
            said += &client.call(tool, &Value::Object(serde_json::Map::new()), &json!({})).await.to_string();
        }
        for secret in [connected.tokens.access.as_str(), &connected.tokens.refresh, "pryv_"] {
            assert!(!said.contains(secret), "{said}");
        }
    }));
}
