//! Access to the API: valid keys, the models they may use, and the form of errors.

use farebox::id::Timestamp;
use farebox::keys::{self, KeyLimits, KeysError};
use farebox_test_support::harness::{reply, run};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{CHAT, Fixture, MODEL, body, on_every_engine, refused};

#[test]
fn a_request_without_a_usable_key_gets_401_and_says_which_way() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let chat = body(&json!({"chunks": 1}), &json!({}));
        for (header, code) in [
            (None, "missing_api_key"),
            (Some("Basic abc".to_owned()), "missing_api_key"),
            (Some("Bearer ".to_owned()), "missing_api_key"),
            (Some("Bearer pryv_x".to_owned()), "invalid_api_key"),
            (Some(format!("Bearer {}", customer.key.to_uppercase())), "invalid_api_key"),
        ] {
            for (method, path) in [(Method::GET, "/v1/models"), (Method::POST, CHAT)] {
                let mut request = fixture.server.request(method, path).body(chat.clone());
                request = request.header("content-type", "application/json");
                if let Some(value) = &header {
                    request = request.header("authorization", value);
                }
                let answer = reply(request).await;
                refused(&answer, 401, code);
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        // Names of other providers, where there is no Authorization.
        for name in ["x-api-key", "api-key"] {
            let request = || fixture.server.get("/v1/models").header(name, &customer.key);
            assert_eq!(reply(request()).await.status, 200, "{name}");
            let both = reply(request().header("authorization", "Bearer pryv_x")).await;
            refused(&both, 401, "invalid_api_key");
            let twice = reply(request().header(name, &customer.key)).await;
            refused(&twice, 401, "invalid_api_key");
        }
        assert_eq!(fixture.upstream.observed().requests, 0);
        fixture.revoke(&customer).await;
        refused(&reply(fixture.get(&customer, "/v1/models")).await, 401, "inactive_api_key");
    }));
}

#[test]
fn models_are_listed_as_clients_of_openai_read_them() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(0).await;
        let list = reply(fixture.get(&customer, "/v1/models")).await;
        assert_eq!(list.status, 200, "{}", list.text);
        assert_eq!(list.json()["object"], "list");
        let ids: Vec<_> = list.json()["data"].as_array().expect("a list").clone();
        assert_eq!(ids.len(), 2);
        assert_eq!((&ids[0]["id"], &ids[0]["object"]), (&json!(MODEL), &json!("model")));
        assert_eq!(ids[0]["pricePerMillionOutputTokens"], "100.00");
        let one = reply(fixture.get(&customer, "/v1/models/other")).await;
        assert_eq!(one.json()["id"], "other");
        assert_eq!(one.header("cache-control"), Some("private, max-age=3600"));
        for path in ["/v1/models/vendor/none", "/v1/models/vendor%2Fnone"] {
            refused(&reply(fixture.get(&customer, path)).await, 400, "model_not_found");
        }
        let error = refused(&reply(fixture.get(&customer, "/v1/models/none")).await, 400, "model_not_found");
        assert_eq!((&error["param"], &error["type"]), (&json!("model"), &json!("invalid_request_error")));
    }));
}

#[test]
fn a_key_uses_the_models_it_is_allowed() {
    run(on_every_engine(async |fixture| {
        let limits = KeyLimits { models: Some(vec!["other".into()]), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(1_000_000, limits).await;
        let list = reply(fixture.get(&customer, "/v1/models")).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
        refused(&reply(fixture.get(&customer, "/v1/models/scripted")).await, 400, "model_not_found");
        let script = json!({"chunks": 2});
        refused(&fixture.complete(&customer, &script, &json!({})).await, 400, "model_not_found");
        assert_eq!(fixture.complete(&customer, &script, &json!({"model": "other"})).await.status, 200);
        let typing_error = fixture.complete(&customer, &script, &json!({"model": "othr"})).await;
        let error = refused(&typing_error, 400, "model_not_found");
        assert_eq!(error["param"], "model");
    }));
}

#[test]
fn a_rotated_secret_works_until_its_grace_ends_and_the_key_stays_the_same() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let minted = fixture.server.app.keys.mint_secret(&customer.id);
        let rotate = async |grace_ms: i64| {
            let (owner, id, hash) = (customer.owner.as_str(), &customer.id, &minted.hash);
            let now = Timestamp::now();
            let until = now.checked_add_millis(grace_ms).expect("soon");
            let rotated = fixture.server.app.db.transaction(|mut tx| async move {
                let done = keys::rotate(&mut tx, owner, id, hash, until, now).await?;
                Ok::<_, KeysError>((tx, done))
            });
            rotated.await.expect("the database answers")
        };
        assert!(rotate(1_500).await);
        let new = crate::fixture::Customer { key: minted.text.expose().to_owned(), ..customer.clone() };
        for both in [&customer, &new] {
            assert_eq!(reply(fixture.get(both, "/v1/models")).await.status, 200);
        }
        tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
        refused(&reply(fixture.get(&customer, "/v1/models")).await, 401, "invalid_api_key");
        assert_eq!(reply(fixture.get(&new, "/v1/models")).await.status, 200);
        let found = fixture.server.app.keys.find(&customer.owner, &customer.id).await.expect("the database");
        let found = found.expect("the same id");
        assert!(found.last_used_at.is_some(), "known before it is written down");
        fixture.server.app.keys.flush().await.expect("written");
        let list =
            fixture.server.app.keys.list(&customer.owner.to_uppercase().replace("0X", "0x"), None, 10).await;
        assert_eq!(list.expect("the database")[0].last_used_at, found.last_used_at);
        fixture.revoke(&customer).await;
        assert!(!rotate(0).await, "a revoked key does not come back");
        refused(&reply(fixture.get(&new, "/v1/models")).await, 401, "inactive_api_key");
    }));
}

#[test]
fn an_expired_key_is_inactive() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000).await;
        // A moment ago: what ended long ago is forgotten.
        let past = Timestamp::now().millis() - 1_000;
        fixture.server.db.execute(&format!("UPDATE api_keys SET expires_at = {past}")).await;
        refused(&reply(fixture.get(&customer, "/v1/models")).await, 401, "inactive_api_key");
        fixture.finish().await;
    });
}

/// Every error below `/v1` is one that clients of OpenAI can read.
#[test]
fn errors_have_the_shape_of_their_path() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.server.body_limit_bytes = 300_000;
            config.server.file_body_limit_bytes = 300_000;
        })
        .await;
        let customer = fixture.customer(1_000).await;
        refused(&reply(fixture.server.get("/v1/nothing")).await, 404, "not_found");
        refused(&reply(fixture.server.get("/v1")).await, 404, "not_found");
        refused(&reply(fixture.get(&customer, CHAT)).await, 405, "method_not_allowed");
        let large = "x".repeat(400_000);
        refused(&reply(fixture.post(&customer, CHAT, &large)).await, 413, "payload_too_large");
        let wrong = fixture.post(&customer, CHAT, "x").header("content-type", "text/plain");
        assert!([400, 415].contains(&reply(wrong).await.status));
        let error = fixture.complete(&customer, &json!({}), &json!({"max_tokens": 0})).await;
        assert_eq!(refused(&error, 400, "invalid_params")["param"], "max_tokens");
        let other = fixture.complete(&customer, &json!({}), &json!({"pdfs": "x"})).await;
        assert_eq!(refused(&other, 400, "invalid_params")["param"], "pdfs");
        for path in ["/api/v1/nothing", "/api/v1/billing/x"] {
            let answer = reply(fixture.server.get(path).header("x-request-id", "r-7")).await;
            let error = answer.json()["error"].take();
            assert_eq!(error["code"], "not_found", "{}", answer.text);
            assert_eq!(error["request_id"], "r-7");
            assert!(error["message"].is_string());
        }
        reply(fixture.server.get("/v1x")).await.assert(404, "not_found");
        fixture.finish().await;
    });
}
