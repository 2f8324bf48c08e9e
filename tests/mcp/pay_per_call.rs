//! Tools that are paid by the call, without an account.

use farebox::ledger::audit::audit;
use farebox_test_support::agent::{Agent, Challenge};
use farebox_test_support::db;
use farebox_test_support::harness::{Server, funded, run, shared_chain};
use serde_json::{Value, json};

use crate::wire::{Client, ERAS, Era, PAY_PER_CALL};

pub const CREDENTIAL: &str = "org.paymentauth/credential";
pub const RECEIPT: &str = "org.paymentauth/receipt";

async fn on_every_engine(test: impl AsyncFn(&Server)) {
    for database in db::engines().await {
        let chain = shared_chain().await;
        let mut server = Server::on(database, &chain.rpc_url(), |_| {}).await;
        test(&server).await;
        assert_clean(&server).await;
        server.stop().await;
    }
}

/// The books of the ledger and of the payments agree.
pub async fn assert_clean(server: &Server) {
    let report = audit(&server.db.db).await.expect("the audit runs");
    assert!(report.is_clean(), "{report}");
    let payments = farebox::funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(payments, []);
}

fn client(server: &Server, era: Era) -> Client<'_> {
    Client { server, path: PAY_PER_CALL, era, token: None }
}

/// The challenge of a call, as the payer's SDK reads it.
pub async fn ask(client: &Client<'_>, tool: &str, arguments: &Value) -> Challenge {
    let message = client.call(tool, arguments, &json!({})).await;
    let required = client.payment_required(&message);
    assert_eq!((&required["httpStatus"], &required["problem"]["status"]), (&json!(402), &json!(402)));
    let meta = json!({ "org.paymentauth/payment-required": required });
    let challenges = mpp::mcp::extract_result_challenges(&meta).expect("challenges that the SDK reads");
    Challenge::from_json(serde_json::to_value(challenges[0].to_echo()).expect("JSON"))
}

pub fn with(credential: &Value) -> Value {
    json!({ CREDENTIAL: credential })
}

#[test]
fn a_preview_is_paid_by_the_call_in_both_generations() {
    run(on_every_engine(async |server| {
        for era in ERAS {
            let (client, agent) = (client(server, era), funded(shared_chain().await).await);
            let arguments = json!({"text": "Mail jane@example.com"});
            let challenge = ask(&client, "pii_preview", &arguments).await;
            assert_eq!(challenge.amount(), 50_000);
            let credential = agent.pull(&challenge);
            let message = client.call("pii_preview", &arguments, &with(&credential)).await;
            let result = &message["result"];
            assert_eq!(result["isError"], false, "{message}");
            assert_eq!(result["structuredContent"]["redactedText"], "Mail <EMAIL_ADDRESS>");
            assert_eq!(result["structuredContent"]["costUsd"], "0.05");
            let text = result["content"][0]["text"].as_str().expect("text");
            let same: Value = serde_json::from_str(text).expect("the same as JSON");
            assert_eq!(same, result["structuredContent"]);
            let receipt = &result["_meta"][RECEIPT];
            assert_eq!(
                (&receipt["status"], &receipt["challengeId"]),
                (&json!("success"), &json!(challenge.id))
            );
            // It has left, so it buys nothing more.
            server.delivered(&challenge.id).await;
            let again = client.call("pii_preview", &arguments, &with(&credential)).await;
            assert!(again.to_string().contains("credential_spent"), "{again}");
        }
    }));
}

#[test]
fn bad_arguments_are_told_by_name_and_cost_nothing() {
    run(async {
        let server = Server::start().await;
        let client = client(&server, Era::Stateless);
        for (tool, arguments, said) in [
            ("pii_preview", json!({}), "missing field `text`"),
            ("pii_preview", json!({"text": 5}), "`text`: must be a string"),
            ("pii_preview", json!({"text": "a", "entitys": []}), "unknown field `entitys`"),
            ("pii_preview", json!({"text": "a", "model": "large"}), "model"),
            ("buy_credits", json!({"packId": "none"}), "no such pack"),
            ("list_models", json!({"a": 1}), "unknown field `a`"),
        ] {
            let message = client.call(tool, &arguments, &json!({})).await;
            let result = &message["result"];
            assert_eq!(result["isError"], true, "{message}");
            let text = result["content"][0]["text"].as_str().expect("text");
            assert!(text.contains(said), "{text}");
            assert!(result.get("structuredContent").is_none() && result.get("_meta").is_none(), "{result}");
        }
    });
}

#[test]
fn credits_are_bought_for_the_wallet_that_pays() {
    run(on_every_engine(async |server| {
        let agent = funded(shared_chain().await).await;
        let client = client(server, Era::Stateless);
        let pack = server.app.config.billing.packs.iter().min_by_key(|pack| pack.price).expect("a pack");
        let arguments = json!({"packId": pack.id});
        let chain = shared_chain().await;
        let more = u64::try_from(pack.price.micros()).expect("positive");
        chain.fund(agent.address(), farebox::config::PATH_USD, more).await.expect("the faucet gives");
        let credential = agent.pull(&ask(&client, "buy_credits", &arguments).await);
        let message = client.call("buy_credits", &arguments, &with(&credential)).await;
        let bought = &message["result"]["structuredContent"];
        assert_eq!(bought["wallet"], format!("{:#x}", agent.address()), "{message}");
        assert_eq!(bought["creditsUsd"], pack.credits.to_dollars());
    }));
}

/// A credential opens the call that it was bought for, with those arguments, at this endpoint, and nothing else.
#[test]
fn attack_71_a_credential_opens_no_other_call() {
    run(async {
        let server = Server::start().await;
        let agent: Agent = funded(shared_chain().await).await;
        let client = client(&server, Era::Stateless);
        let arguments = json!({"text": "Mail jane@example.com"});
        let credential = agent.pull(&ask(&client, "pii_preview", &arguments).await);
        let pack = &server.app.config.billing.packs[0].id;
        for (tool, other) in [
            ("pii_preview", json!({"text": "Mail joe@example.com"})),
            ("buy_credits", json!({"packId": pack})),
        ] {
            let refused = client.call(tool, &other, &with(&credential)).await;
            let required = client.payment_required(&refused);
            assert_eq!(required["problem"]["code"], "invalid_challenge", "{refused}");
        }
        let http = server
            .post("/mpp/pii/preview", &arguments.to_string())
            .header("authorization", farebox_test_support::agent::authorization(&credential));
        let http = farebox_test_support::harness::reply(http).await;
        http.assert(402, "invalid_challenge");
        let early = Client { era: Era::Initialized, ..client };
        let broken = early.call("pii_preview", &arguments, &with(&json!({"challenge": {}}))).await;
        assert_eq!(broken["error"]["code"], -32043, "{broken}");
        // Nothing of it was used up, and the generation of the protocol is not part of it.
        let paid = early.call("pii_preview", &arguments, &with(&credential)).await;
        assert_eq!(paid["result"]["isError"], false, "{paid}");
        server.assert_ledger(shared_chain().await, 1).await;
    });
}
