//! Tools of an account: what they return, and what they cost.

use farebox::id::Timestamp;
use farebox::money::Money;
use farebox_test_support::harness::{eventually, reply, run};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, MODEL, PRICE, on_every_engine, question, refusal, structured};
use crate::wire::{ERAS, Era};

#[test]
fn a_question_costs_what_v1_takes_for_it() {
    run(on_every_engine(async |fixture| {
        for era in ERAS {
            let connected = fixture.connect(1_000_000, &json!({})).await;
            let client = fixture.client(&connected, era);
            let answer = client.call("chat", &question(&json!({"chunks": 7})), &json!({})).await;
            let answer = structured(&answer);
            assert!(answer["text"].as_str().is_some_and(|text| text.contains("word0")), "{answer}");
            assert_eq!((&answer["model"], &answer["finishReason"]), (&json!(MODEL), &json!("stop")));
            assert_eq!((&answer["completionTokens"], &answer["costUsd"]), (&json!(7), &json!("0.0007")));
            assert_eq!(answer["balanceUsd"], "0.9993");
            assert_eq!(fixture.available(&connected).await, 1_000_000 - 7 * PRICE);
            let entry = fixture.entries(&connected).await.remove(0);
            assert_eq!(entry.amount, Money::from_micros(7 * PRICE));
            let keys = client.call("list_keys", &json!({}), &json!({})).await;
            let key = &structured(&keys)["keys"][0];
            assert_eq!(entry.meta["key"], key["id"], "charged with the connection's key");
            assert_eq!((&key["name"], &key["status"]), (&json!("Test client"), &json!("active")));
        }
    }));
}

#[test]
fn a_preview_and_the_balance_are_told() {
    run(on_every_engine(async |fixture| {
        let terms = json!({"limits": {"dailyUsd": "1.00", "totalUsd": "2.50"}});
        let connected = fixture.connect(1_000_000, &terms).await;
        let client = fixture.client(&connected, Era::Stateless);
        let call = async |tool: &str, arguments: Value| {
            structured(&client.call(tool, &arguments, &json!({})).await).clone()
        };
        let preview = call("pii_preview", json!({"text": "Mail jane@example.com", "model": "rules"})).await;
        assert_eq!(preview["redactedText"], "Mail <EMAIL_ADDRESS>");
        assert_eq!(preview["entities"][0]["type"], "EMAIL_ADDRESS");
        assert_eq!((&preview["costUsd"], &preview["balanceUsd"]), (&json!("0.05"), &json!("0.95")));
        let balance = call("get_balance", json!({})).await;
        for (name, value) in [
            ("availableUsd", json!("0.95")),
            ("heldUsd", json!("0.00")),
            ("spentTodayUsd", json!("0.05")),
            ("dailyLimitUsd", json!("1.00")),
            ("dailyLeftUsd", json!("0.95")),
            ("totalLeftUsd", json!("2.45")),
            ("scopes", json!(["chat", "pii", "account:read"])),
        ] {
            assert_eq!(balance[name], value, "{name} of {balance}");
        }
        assert!(balance["expiresAt"].is_string(), "{balance}");
        let usage = call("list_usage", json!({})).await;
        let today: String = Timestamp::now().to_rfc3339().chars().take(10).collect();
        assert_eq!(usage, json!({"days": [{"date": today, "spentUsd": "0.05"}], "totalUsd": "0.05"}));
        let models = call("list_models", json!({})).await;
        assert_eq!(models["models"][0]["id"], MODEL);
    }));
}

/// Sent again under the same key, a call is charged once.
#[test]
fn a_call_that_is_sent_again_is_charged_once() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(1_000_000, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        let meta = json!({"farebox/idempotency-key": "one"});
        let arguments = json!({"text": "Mail jane@example.com"});
        let first = client.call("pii_preview", &arguments, &meta).await;
        let again = client.call("pii_preview", &arguments, &meta).await;
        assert_eq!(structured(&first)["redactedText"], structured(&again)["redactedText"]);
        let chat = client.call("chat", &question(&json!({"chunks": 3})), &meta).await;
        assert_eq!(structured(&chat)["completionTokens"], 3);
        let repeated = client.call("chat", &question(&json!({"chunks": 3})), &meta).await;
        assert!(refusal(&repeated).contains("idempotency_key_reused"), "{repeated}");
        assert_eq!(fixture.available(&connected).await, 950_000 - 3 * PRICE);
        let wrong = client.call("pii_preview", &arguments, &json!({"farebox/idempotency-key": ""})).await;
        assert!(refusal(&wrong).contains("1 to 255"), "{wrong}");
    }));
}

#[test]
fn tools_are_those_of_the_scopes_and_others_ask_for_more() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(1_000_000, &json!({"scopes": ["pii"]})).await;
        for era in ERAS {
            let client = fixture.client(&connected, era);
            let list = client.result("tools/list", &json!({})).await;
            let names: Vec<&str> = list["tools"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|tool| tool["name"].as_str())
                .collect();
            assert_eq!(names, ["list_models", "pii_preview", "create_upload", "redact_file"]);
            let refused = client.send("tools/call", &json!({"name": "chat", "arguments": {}})).await;
            assert_eq!(refused.status, 403, "{}", refused.text);
            let challenge = refused.header("www-authenticate").expect("a challenge");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
            assert!(challenge.contains("scope=\"chat pii\""), "all that is needed: {challenge}");
        }
    }));
}

#[test]
fn a_key_is_revoked_with_the_scope_for_it() {
    run(on_every_engine(async |fixture| {
        let scopes = json!({"scopes": ["account:read"]});
        let reader = fixture.connect(0, &scopes).await;
        let client = fixture.client(&reader, Era::Stateless);
        let keys = structured(&client.call("list_keys", &json!({}), &json!({})).await).clone();
        let id = keys["keys"][0]["id"].clone();
        let refused =
            client.send("tools/call", &json!({"name": "revoke_key", "arguments": {"keyId": id}})).await;
        assert_eq!(refused.status, 403, "{}", refused.text);

        let wallet = &reader.wallet;
        let login = crate::login::Client::registered(&fixture.server).await;
        let request = login.begin(&fixture.server, &[("scope", "account:read keys:write")]).await;
        let consent = crate::login::consent(&fixture.server, wallet, &request, &json!({})).await;
        let code = crate::login::code_of(&consent);
        let tokens = crate::login::Tokens::of(&login.exchange(&fixture.server, &code, &[]).await);
        let writer = crate::fixture::Connected { wallet: wallet.clone(), tokens };
        let client = fixture.client(&writer, Era::Stateless);
        let revoked = client.call("revoke_key", &json!({"keyId": id}), &json!({})).await;
        assert_eq!(structured(&revoked), &json!({"keyId": id, "status": "revoked"}));
        let unknown = client.call("revoke_key", &json!({"keyId": "a".repeat(16)}), &json!({})).await;
        assert!(refusal(&unknown).contains("no key with that keyId"), "{unknown}");
        let gone = fixture.client(&reader, Era::Stateless).send("tools/list", &json!({})).await;
        assert_eq!(gone.status, 401, "its grant ended with its key: {}", gone.text);
    }));
}

/// Who has no token is told so before anything else is looked at: the probes of clients are answered with 401 whatever
/// they send.
#[test]
fn a_missing_token_is_told_before_everything_else() {
    run(async {
        let fixture = crate::fixture::Fixture::with_config(|_| {}).await;
        let server = &fixture.server;
        for request in [
            server.get(ACCOUNT).header("mcp-protocol-version", "2024-01-01"),
            server.request(Method::DELETE, ACCOUNT),
            server.post(ACCOUNT, "{"),
            server.post(ACCOUNT, "{}").header("authorization", "Bearer pryv_abc"),
            server.post(ACCOUNT, "{}").header("x-api-key", "pryv_abc"),
        ] {
            let answer = reply(request).await;
            assert_eq!(answer.status, 401, "{}", answer.text);
            let challenge = answer.header("www-authenticate").expect("a challenge");
            assert!(challenge.contains("resource_metadata="), "{challenge}");
        }
        let connected = fixture.connect(0, &json!({})).await;
        let bearer = format!("Bearer {}", connected.tokens.access);
        let listen = server.get(ACCOUNT).header("authorization", &bearer);
        assert_eq!(reply(listen).await.status, 405);
        let elsewhere = server.get("/v1/models").header("authorization", &bearer);
        assert_eq!(reply(elsewhere).await.status, 401, "a token opens nothing at /v1");
    });
}

/// A call with a token of progress is a stream that tells that work goes on.
#[test]
fn long_work_tells_of_its_progress() {
    run(async {
        let fixture = crate::fixture::Fixture::with_config(|_| {}).await;
        let connected = fixture.connect(1_000_000, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        let arguments = question(&json!({"chunks": 2, "firstMs": 5_500}));
        let params = json!({"name": "chat", "arguments": arguments, "_meta": {"progressToken": "p"}});
        let answer = client.send("tools/call", &params).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{}", answer.text);
        let messages: Vec<Value> = answer
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect();
        assert_eq!(messages[0]["method"], "notifications/progress", "{}", answer.text);
        assert_eq!(messages[0]["params"]["progressToken"], "p");
        assert_eq!(structured(messages.last().expect("a result"))["completionTokens"], 2);
    });
}

/// A client that goes away ends the work, and pays for the prompt at the most.
#[test]
fn a_client_that_goes_away_ends_the_work() {
    run(on_every_engine(async |fixture| {
        let connected = fixture.connect(1_000_000, &json!({})).await;
        let client = fixture.client(&connected, Era::Stateless);
        let params =
            json!({"name": "chat", "arguments": question(&json!({"chunks": 5, "firstMs": 600_000}))});
        let waiting = client.request("tools/call", &params).send();
        let begun = async {
            eventually("the call holds money", async || {
                (fixture.balance(&connected).await.held() > Money::ZERO).then_some(())
            })
            .await;
        };
        tokio::select! {
            answer = waiting => panic!("{answer:?}"),
            () = begun => {}
        }
        assert_eq!(fixture.available(&connected).await, 1_000_000);
    }));
}
