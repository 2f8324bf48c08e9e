//! A wallet's API keys.

use farebox::id::Timestamp;
use farebox::keys::KeyRejection;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{self, Server, run};
use serde_json::{Value, json};

use crate::management::{KEYS, delete, done, get, on_every_engine, patch, post, proof, refused, with};

async fn create(server: &Server, agent: &Agent, more: &Value) -> Value {
    let answer = post(server, KEYS, &with(proof(agent, "create", ""), more)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    done(&answer)
}

async fn list(server: &Server, agent: &Agent) -> Vec<Value> {
    let listed = done(&post(server, KEYS, &proof(agent, "list", "")).await);
    listed["keys"].as_array().expect("keys").clone()
}

async fn opens(server: &Server, key: &Value, after: i64) -> Result<String, KeyRejection> {
    let now = Timestamp::now().checked_add_millis(after).expect("near");
    let found = server.app.keys.authenticate(key["key"].as_str().expect("a key"), now).await?;
    Ok(found.id.to_string())
}

#[test]
fn a_key_is_made_shown_once_listed_and_revoked() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (agent, other) = (Agent::random(), Agent::random());
            let made = create(server, &agent, &json!({ "name": "laptop" })).await;
            let (text, id) = (made["key"].as_str().expect("a key"), made["id"].as_str().expect("an id"));
            assert!(
                text.starts_with(&format!("pryv_{id}"))
                    && made["status"] == "active"
                    && made["name"] == "laptop"
            );
            assert_eq!(opens(server, &made, 0).await.expect("it opens"), id);
            for listed in [
                list(server, &agent).await,
                done(&get(server, KEYS, &proof(&agent, "list", "")).await)["keys"]
                    .as_array()
                    .unwrap()
                    .clone(),
            ] {
                assert_eq!(listed.len(), 1);
                assert_eq!(listed[0]["id"], id);
                assert!(!listed[0].to_string().contains(&text[21..]), "the secret is shown once");
            }
            assert!(list(server, &other).await.is_empty());
            // Not somebody else's to revoke, or to rotate.
            let path = format!("{KEYS}/{id}");
            refused(&delete(server, &path, &proof(&other, "revoke", id)).await, 404, "not_found");
            let rotate = format!("{path}/rotate");
            refused(&post(server, &rotate, &proof(&other, "rotate", id)).await, 404, "not_found");
            assert!(opens(server, &made, 0).await.is_ok());
            let revoked = done(&delete(server, &path, &proof(&agent, "revoke", id)).await);
            assert_eq!(revoked["status"], "revoked");
            assert!(matches!(opens(server, &made, 0).await, Err(KeyRejection::Inactive)));
            // Again is no error; the time stays.
            let again = done(&post(server, &path, &proof(&agent, "revoke", id)).await);
            assert_eq!(again["revokedAt"], revoked["revokedAt"]);
            refused(&post(server, &rotate, &proof(&agent, "rotate", id)).await, 404, "not_found");
            // As query parameters.
            let next = create(server, &agent, &json!({})).await;
            let id = next["id"].as_str().expect("an id");
            let query: Vec<_> = proof(&agent, "revoke", id)
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            let url = reqwest::Url::parse_with_params(&format!("{}{KEYS}/{id}", server.url), &query).unwrap();
            let answer = harness::reply(harness::client().delete(url)).await;
            assert_eq!(done(&answer)["status"], "revoked");
            for wrong in ["x", "ABCDEFGHIJ123456", "abcdefghij123456"] {
                let path = format!("{KEYS}/{wrong}");
                refused(&delete(server, &path, &proof(&agent, "revoke", wrong)).await, 404, "not_found");
            }
        },
    ));
}

#[test]
fn a_rotated_key_keeps_its_id_and_its_old_secret_for_a_while() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let made = create(server, &agent, &json!({ "limits": { "totalUsd": "5.00" } })).await;
            let id = made["id"].as_str().expect("an id");
            let path = format!("{KEYS}/{id}/rotate");
            let body = with(proof(&agent, "rotate", id), &json!({ "graceSeconds": 60 }));
            let rotated = done(&post(server, &path, &body).await);
            assert_eq!((&rotated["id"], &rotated["limits"]["totalUsd"]), (&made["id"], &json!("5.00")));
            assert_ne!(rotated["key"], made["key"]);
            assert_eq!(opens(server, &made, 50_000).await.expect("grace"), id);
            assert!(matches!(opens(server, &made, 61_000).await, Err(KeyRejection::Invalid)));
            assert_eq!(opens(server, &rotated, 61_000).await.expect("the new one"), id);
            let body = with(proof(&agent, "rotate", id), &json!({ "graceSeconds": "0" }));
            let last = done(&post(server, &path, &body).await);
            assert!(opens(server, &rotated, 0).await.is_err() && opens(server, &last, 0).await.is_ok());
            for wrong in [json!(-1), json!(1.5), json!("x"), json!(2_592_001)] {
                let body = with(proof(&agent, "rotate", id), &json!({ "graceSeconds": wrong }));
                refused(&post(server, &path, &body).await, 400, "invalid_params");
            }
            assert!(opens(server, &last, 0).await.is_ok(), "a refused rotation changes nothing");
        },
    ));
}

#[test]
fn names_limits_and_expiries_are_checked() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let limits =
            json!({ "rpm": 10, "tpm": 1000, "dailyUsd": "1.50", "totalUsd": 20, "models": ["small"] });
        let expires = Timestamp::now().checked_add_millis(3_600_000).expect("near").to_rfc3339();
        let made = create(&server, &agent, &json!({ "limits": limits, "expiresAt": expires })).await;
        assert_eq!(made["limits"]["dailyUsd"], "1.50");
        assert_eq!(
            (&made["limits"]["totalUsd"], &made["limits"]["models"]),
            (&json!("20.00"), &json!(["small"]))
        );
        assert_eq!(made["expiresAt"], expires);
        assert!(matches!(opens(&server, &made, 3_700_000).await, Err(KeyRejection::Inactive)));
        for wrong in [
            json!({ "name": "" }),
            json!({ "name": "a\nb" }),
            json!({ "name": "x".repeat(101) }),
            json!({ "name": 5 }),
            json!({ "nmae": "x" }),
            json!({ "expiresAt": "2020-01-01T00:00:00Z" }),
            json!({ "limits": { "rpm": 0 } }),
            json!({ "limits": { "rpm": -1 } }),
            json!({ "limits": { "dailyUsd": "-1" } }),
            json!({ "limits": { "budget": "1" } }),
            json!({ "limits": { "models": ["x".repeat(201)] } }),
        ] {
            let body = with(proof(&agent, "create", ""), &wrong);
            refused(&post(&server, KEYS, &body).await, 400, "invalid_params");
        }
        assert_eq!(list(&server, &agent).await.len(), 1);
    });
}

/// Name, limits and expiry change; the secret and what was spent do not.
#[test]
fn a_key_can_be_changed_by_its_owner() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (agent, other) = (Agent::random(), Agent::random());
            let made =
                create(server, &agent, &json!({ "name": "a", "limits": { "totalUsd": "1", "rpm": 5 } }))
                    .await;
            let id = made["id"].as_str().expect("an id");
            let path = format!("{KEYS}/{id}");
            let change = async |agent: &Agent, more: Value| {
                patch(server, &path, &with(proof(agent, "update", id), &more)).await
            };
            refused(&change(&other, json!({ "name": "mine" })).await, 404, "not_found");
            let changed = done(&change(&agent, json!({ "name": "b" })).await);
            assert_eq!((&changed["name"], &changed["limits"]["totalUsd"]), (&json!("b"), &json!("1.00")));
            // Limits are given as a whole.
            let changed = done(&change(&agent, json!({ "limits": { "totalUsd": "25" } })).await);
            assert_eq!(
                (&changed["limits"]["totalUsd"], &changed["limits"]["rpm"]),
                (&json!("25.00"), &Value::Null)
            );
            let changed = done(&change(&agent, json!({ "limits": {} })).await);
            assert_eq!(changed["limits"]["totalUsd"], Value::Null);
            let ends = "2099-01-01T00:00:00Z";
            assert_eq!(done(&change(&agent, json!({ "expiresAt": ends })).await)["expiresAt"], ends);
            assert_eq!(done(&change(&agent, json!({ "name": "c" })).await)["expiresAt"], ends);
            let changed = done(&change(&agent, json!({ "expiresAt": null })).await);
            assert_eq!((&changed["expiresAt"], &changed["name"]), (&Value::Null, &json!("c")));
            assert!(opens(server, &made, 0).await.is_ok(), "the same secret");
            for (wrong, named) in [
                (json!({ "name": "" }), "name"),
                (json!({ "limits": { "rpm": 0 } }), "limits.rpm"),
                (json!({ "limits": { "totalUsd": "-1" } }), "limits.totalUsd"),
                (json!({ "expiresAt": "2001-01-01T00:00:00Z" }), "expiresAt"),
                (json!({ "secret": "x" }), "secret"),
            ] {
                let answer = change(&agent, wrong).await;
                refused(&answer, 400, "invalid_params");
                assert!(answer.text.contains(named), "{}", answer.text);
            }
            done(&delete(server, &path, &proof(&agent, "revoke", id)).await);
            refused(&change(&agent, json!({ "name": "d" })).await, 404, "not_found");
        },
    ));
}

#[test]
fn attack_39_lists_of_keys_have_pages_and_revoked_keys_are_forgotten() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let mut made = Vec::new();
            for _ in 0..5 {
                made.push(create(server, &agent, &json!({})).await["id"].clone());
            }
            let page = async |more: &Value| {
                let answer = post(server, KEYS, &with(proof(&agent, "list", ""), more)).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                done(&answer)
            };
            let mut listed = Vec::new();
            let mut query = json!({ "limit": 2 });
            loop {
                let page = page(&query).await;
                let keys = page["keys"].as_array().expect("keys");
                assert!(keys.len() <= 2, "{page}");
                listed.extend(keys.iter().map(|key| key["id"].clone()));
                let Some(next) = page["next"].as_str() else { break };
                query = json!({ "limit": 2, "cursor": next });
            }
            listed.sort_by_key(ToString::to_string);
            made.sort_by_key(ToString::to_string);
            assert_eq!(listed, made);
            for more in [json!({"limit": 0}), json!({"limit": 1001}), json!({"cursor": "?"})] {
                refused(
                    &post(server, KEYS, &with(proof(&agent, "list", ""), &more)).await,
                    400,
                    "invalid_params",
                );
            }
            for id in made.iter().take(3).map(|id| id.as_str().expect("an id")) {
                done(&delete(server, &format!("{KEYS}/{id}"), &proof(&agent, "revoke", id)).await);
            }
            let after = |days: i64| Timestamp::now().checked_add_millis(days * 86_400_000).expect("near");
            assert_eq!(server.app.keys.forget_ended(after(29)).await.expect("it works"), 0);
            assert_eq!(server.app.keys.forget_ended(after(31)).await.expect("it works"), 3);
            assert_eq!(list(server, &agent).await.len(), 2);
        },
    ));
}
