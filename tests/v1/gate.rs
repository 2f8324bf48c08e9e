//! Who gets in, what a key may use, and what errors look like.

use farebox::id::Timestamp;
use farebox::keys::{self, KeyLimits, KeysError};
use reqwest::Method;
use serde_json::json;

use crate::harness::{reply, run};
use crate::shop::{CHAT, MODEL, Shop, body, on_every_engine, refused};

#[test]
fn a_request_without_a_usable_key_gets_401_and_says_which_way() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(1_000_000).await;
        let chat = body(&json!({"chunks": 1}), &json!({}));
        for (header, code) in [
            (None, "missing_api_key"),
            (Some("Basic abc".to_owned()), "missing_api_key"),
            (Some("Bearer ".to_owned()), "missing_api_key"),
            (Some("Bearer pryv_x".to_owned()), "invalid_api_key"),
            (Some(format!("Bearer {}", customer.key.to_uppercase())), "invalid_api_key"),
        ] {
            for (method, path) in [(Method::GET, "/v1/models"), (Method::POST, CHAT)] {
                let mut request = shop.server.request(method, path).body(chat.clone());
                request = request.header("content-type", "application/json");
                if let Some(value) = &header {
                    request = request.header("authorization", value);
                }
                let answer = reply(request).await;
                refused(&answer, 401, code);
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
        let other_name = shop.server.get("/v1/models").header("x-api-key", &customer.key);
        refused(&reply(other_name).await, 401, "missing_api_key");
        assert_eq!(shop.upstream.observed().requests, 0);
        shop.revoke(&customer).await;
        refused(&reply(shop.get(&customer, "/v1/models")).await, 401, "inactive_api_key");
    }));
}

#[test]
fn models_are_listed_as_clients_of_openai_read_them() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(0).await;
        let list = reply(shop.get(&customer, "/v1/models")).await;
        assert_eq!(list.status, 200, "{}", list.text);
        assert_eq!(list.json()["object"], "list");
        let ids: Vec<_> = list.json()["data"].as_array().expect("a list").clone();
        assert_eq!(ids.len(), 2);
        assert_eq!((&ids[0]["id"], &ids[0]["object"]), (&json!(MODEL), &json!("model")));
        assert_eq!(ids[0]["pricePerMillionOutputTokens"], "100.00");
        let one = reply(shop.get(&customer, "/v1/models/other")).await;
        assert_eq!(one.json()["id"], "other");
        let error = refused(&reply(shop.get(&customer, "/v1/models/none")).await, 400, "model_not_found");
        assert_eq!((&error["param"], &error["type"]), (&json!("model"), &json!("invalid_request_error")));
    }));
}

#[test]
fn a_key_uses_the_models_it_is_allowed() {
    run(on_every_engine(async |shop| {
        let limits = KeyLimits { models: Some(vec!["other".into()]), ..KeyLimits::default() };
        let customer = shop.limited(1_000_000, limits).await;
        let list = reply(shop.get(&customer, "/v1/models")).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
        refused(&reply(shop.get(&customer, "/v1/models/scripted")).await, 400, "model_not_found");
        let script = json!({"chunks": 2});
        refused(&shop.ask(&customer, &script, &json!({})).await, 400, "model_not_found");
        assert_eq!(shop.ask(&customer, &script, &json!({"model": "other"})).await.status, 200);
        let typing_error = shop.ask(&customer, &script, &json!({"model": "othr"})).await;
        let error = refused(&typing_error, 400, "model_not_found");
        assert_eq!(error["param"], "model");
    }));
}

#[test]
fn a_rotated_secret_works_until_its_grace_ends_and_the_key_stays_the_same() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(1_000_000).await;
        let minted = shop.server.app.keys.mint_secret(&customer.id);
        let rotate = async |grace_ms: i64| {
            let (owner, id, hash) = (customer.owner.as_str(), &customer.id, &minted.hash);
            let now = Timestamp::now();
            let until = now.checked_add_millis(grace_ms).expect("soon");
            let rotated = shop.server.app.db.transaction(|mut tx| async move {
                let done = keys::rotate(&mut tx, owner, id, hash, until, now).await?;
                Ok::<_, KeysError>((tx, done))
            });
            rotated.await.expect("the database answers")
        };
        assert!(rotate(1_500).await);
        let new = crate::shop::Customer { key: minted.text.expose().to_owned(), ..customer.clone() };
        for both in [&customer, &new] {
            assert_eq!(reply(shop.get(both, "/v1/models")).await.status, 200);
        }
        tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
        refused(&reply(shop.get(&customer, "/v1/models")).await, 401, "invalid_api_key");
        assert_eq!(reply(shop.get(&new, "/v1/models")).await.status, 200);
        let found = shop.server.app.keys.find(&customer.owner, &customer.id).await.expect("the database");
        let found = found.expect("the same id");
        assert!(found.last_used_at.is_some(), "known before it is written down");
        shop.server.app.keys.flush().await.expect("written");
        let list = shop.server.app.keys.list(&customer.owner.to_uppercase().replace("0X", "0x")).await;
        assert_eq!(list.expect("the database")[0].last_used_at, found.last_used_at);
        shop.revoke(&customer).await;
        assert!(!rotate(0).await, "a revoked key does not come back");
        refused(&reply(shop.get(&new, "/v1/models")).await, 401, "inactive_api_key");
    }));
}

#[test]
fn an_expired_key_is_inactive() {
    run(async {
        let shop = Shop::tuned(|_| {}).await;
        let customer = shop.customer(1_000).await;
        shop.server.db.execute("UPDATE api_keys SET expires_at = 1").await;
        refused(&reply(shop.get(&customer, "/v1/models")).await, 401, "inactive_api_key");
        shop.finish().await;
    });
}

/// Whatever fails below `/v1`, clients of OpenAI can read it.
#[test]
fn errors_have_the_shape_of_their_path() {
    run(async {
        let shop = Shop::tuned(|config| {
            config.server.body_limit_bytes = 300_000;
            config.server.file_body_limit_bytes = 300_000;
        })
        .await;
        let customer = shop.customer(1_000).await;
        refused(&reply(shop.server.get("/v1/nothing")).await, 404, "not_found");
        refused(&reply(shop.server.get("/v1")).await, 404, "not_found");
        refused(&reply(shop.get(&customer, CHAT)).await, 405, "method_not_allowed");
        let large = "x".repeat(400_000);
        refused(&reply(shop.post(&customer, CHAT, &large)).await, 413, "payload_too_large");
        let wrong = shop.post(&customer, CHAT, "x").header("content-type", "text/plain");
        assert!([400, 415].contains(&reply(wrong).await.status));
        let error = shop.ask(&customer, &json!({}), &json!({"max_tokens": 0})).await;
        assert_eq!(refused(&error, 400, "invalid_params")["param"], "max_tokens");
        let other = shop.ask(&customer, &json!({}), &json!({"pdfs": "x"})).await;
        assert_eq!(refused(&other, 400, "invalid_params")["param"], "pdfs");
        for path in ["/api/v1/nothing", "/api/v1/billing/x"] {
            let answer = reply(shop.server.get(path).header("x-request-id", "r-7")).await;
            let error = answer.json()["error"].take();
            assert_eq!(error["code"], "not_found", "{}", answer.text);
            assert_eq!(error["request_id"], "r-7");
            assert!(error["message"].is_string());
        }
        reply(shop.server.get("/v1x")).await.assert(404, "not_found");
        shop.finish().await;
    });
}
