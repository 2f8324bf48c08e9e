//! Sessions: how they begin, what they may do, how they end.

use farebox::config::Config;
use farebox::wallet_auth::signature::hash;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::run;
use farebox_test_support::passkey::Passkey;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{AUTH, Browser, LOGOUT, SESSION, SESSIONS, challenge, proof};
use crate::management::{
    BALANCE, CHECKOUT, KEYS, LEDGER, dollars, give, on_every_engine, post as signed_post, proof as signature,
    with,
};

fn cards(config: &mut Config) {
    config.billing.test_checkout = true;
}

#[test]
fn a_session_sees_pays_by_card_lowers_and_revokes() {
    run(on_every_engine(cards, async |server| {
        let agent = Agent::random();
        give(server, &agent, dollars(5)).await;
        let nobody = Browser::default();
        assert_eq!(nobody.get(server, SESSION).await.json()["session"], Value::Null);
        let browser = Browser::signed_in(server, &agent).await;
        let session = browser.get(server, SESSION).await.json()["session"].clone();
        assert_eq!(session["wallet"], format!("{:#x}", agent.address()));
        assert_eq!((&session["current"], &session["isAdmin"]), (&json!(true), &json!(false)));

        assert_eq!(browser.get(server, BALANCE).await.json()["available"], "5.00");
        assert_eq!(browser.get(server, LEDGER).await.json()["entries"][0]["kind"], "credit");
        let page = browser.post(server, CHECKOUT, &json!({ "usdAmount": "10" })).await;
        assert_eq!(page.status, 200, "{}", page.text);

        let body = with(
            signature(&agent, "create", ""),
            &json!({ "name": "a", "limits": { "dailyUsd": "2", "rpm": 20 } }),
        );
        let made = signed_post(server, KEYS, &body).await.json();
        let id = made["id"].as_str().expect("an id").to_owned();
        let listed = browser.get(server, KEYS).await.json();
        assert_eq!(listed["keys"][0]["id"], id.as_str());
        let path = format!("{KEYS}/{id}");
        let lowered = json!({ "name": "b", "limits": { "dailyUsd": "1", "rpm": 20, "totalUsd": "9", "models": ["m"] } });
        let answer = browser.patch(server, &path, &lowered).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["limits"]["dailyUsd"], "1.00");
        let revoked = browser.delete(server, &path).await;
        assert_eq!(revoked.json()["status"], "revoked", "{}", revoked.text);
    }));
}

#[test]
fn attack_76_a_session_gives_no_authority() {
    run(on_every_engine(cards, async |server| {
        let agent = Agent::random();
        let browser = Browser::signed_in(server, &agent).await;
        let limits = json!({ "dailyUsd": "1", "totalUsd": "5", "rpm": 20, "tpm": 2_000, "models": ["m"] });
        let more = json!({ "limits": limits, "expiresAt": "2027-01-31T12:00:00Z" });
        let made = signed_post(server, KEYS, &with(signature(&agent, "create", ""), &more)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let path = format!("{KEYS}/{}", made.json()["id"].as_str().expect("an id"));

        let refused = browser.post(server, KEYS, &json!({ "name": "mine" })).await;
        refused.assert(401, "missing_wallet_auth");
        let refused = browser.post(server, &format!("{path}/rotate"), &json!({})).await;
        refused.assert(401, "missing_wallet_auth");
        let limit = |name: &str, value: Value| {
            let mut limits = limits.clone();
            limits[name] = value;
            json!({ "limits": limits })
        };
        for raised in [
            limit("dailyUsd", json!("1.000001")),
            limit("totalUsd", Value::Null),
            limit("rpm", json!(21)),
            limit("tpm", Value::Null),
            limit("models", Value::Null),
            limit("models", json!(["m", "n"])),
            json!({ "limits": {} }),
            json!({ "expiresAt": "2027-01-31T12:00:01Z" }),
            json!({ "expiresAt": null }),
        ] {
            let refused = browser.patch(server, &path, &raised).await;
            refused.assert(401, "missing_wallet_auth");
        }
        let listed = browser.get(server, KEYS).await.json();
        assert_eq!(listed["keys"].as_array().map(Vec::len), Some(1));
        assert_eq!(listed["keys"][0]["limits"]["dailyUsd"], "1.00");
        // Another wallet's session has no such key.
        let other = Browser::signed_in(server, &Agent::random()).await;
        other.patch(server, &path, &json!({ "name": "x" })).await.assert(404, "not_found");
        other.delete(server, &path).await.assert(404, "not_found");
    }));
}

#[test]
fn sessions_are_listed_and_ended_in_any_browser() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let (first, second) =
                (Browser::signed_in(server, &agent).await, Browser::signed_in(server, &agent).await);
            let foreign = Browser::signed_in(server, &Agent::random()).await;
            let listed = second.get(server, SESSIONS).await.json();
            let sessions = listed["sessions"].as_array().expect("a list");
            assert_eq!(sessions.len(), 2, "{listed}");
            let other =
                sessions.iter().find(|session| session["current"] == false).expect("the first browser's");
            let path = format!("{SESSIONS}/{}", other["id"].as_str().expect("an id"));
            foreign.delete(server, &path).await.assert(404, "not_found");
            assert_eq!(second.delete(server, &path).await.status, 204);
            first.get(server, KEYS).await.assert(401, "missing_wallet_auth");
            assert_eq!(second.get(server, KEYS).await.status, 200);

            let out = second.post(server, LOGOUT, &json!({})).await;
            assert_eq!(out.status, 204);
            assert!(out.header("set-cookie").is_some_and(|set| set.contains("Max-Age=0")));
            second.get(server, KEYS).await.assert(401, "missing_wallet_auth");
        },
    ));
}

/// A browser that signs in again has another secret, and the one before opens nothing.
#[test]
fn attack_76_a_sign_in_replaces_the_session_before() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let mut browser = Browser::signed_in(server, &agent).await;
            let before = browser.clone();
            assert_eq!(browser.sign_in(server, &agent).await.status, 200);
            assert_ne!(before.cookie, browser.cookie);
            before.get(server, KEYS).await.assert(401, "missing_wallet_auth");
            assert_eq!(
                browser.get(server, SESSIONS).await.json()["sessions"].as_array().map(Vec::len),
                Some(1)
            );
            // A secret that somebody else planted is none.
            let planted = Browser {
                cookie: before.cookie.map(|cookie| {
                    format!("{}={}", cookie.split('=').next().unwrap_or_default(), "A".repeat(43))
                }),
            };
            planted.get(server, KEYS).await.assert(401, "missing_wallet_auth");
            let answer = planted.send(server, Method::POST, AUTH, Some(&proof(server, &agent).await)).await;
            assert!(answer.header("set-cookie").is_some_and(|set| !set.contains(&"A".repeat(43))));
        },
    ));
}

#[test]
fn a_session_that_is_not_used_or_old_ends() {
    run(on_every_engine(
        |config| {
            config.dashboard.idle_minutes = 10;
            config.dashboard.session_hours = 1;
        },
        async |server| {
            let browser = Browser::signed_in(server, &Agent::random()).await;
            for moved in ["seen_at = seen_at - 600000", "expires_at = created_at"] {
                assert_eq!(browser.get(server, KEYS).await.status, 200);
                let kept =
                    server.db.db.fetch_one("SELECT seen_at, expires_at FROM browser_sessions", vec![]).await;
                let kept = kept.expect("the session");
                let text = format!("UPDATE browser_sessions SET {moved}");
                server.db.db.execute(&text, vec![]).await.expect("it is moved");
                browser.get(server, KEYS).await.assert(401, "missing_wallet_auth");
                let text = "UPDATE browser_sessions SET seen_at = $1, expires_at = $2";
                let values =
                    ["seen_at", "expires_at"].map(|column| kept.whole(column).expect("a number").into());
                server.db.db.execute(text, values.into()).await.expect("it is moved back");
            }
        },
    ));
}

#[test]
fn a_passkeys_public_key_is_kept_for_another_device() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let passkey = Passkey::random();
            let id = "dGhpcyBpcyBhIHBhc3NrZXk";
            let path = format!("/api/v1/passkeys/{id}");
            let message = challenge(server, &passkey.address().to_string()).await;
            let signature = alloy::hex::encode_prefixed(passkey.webauthn(hash(&message)));
            let proof = json!({ "address": passkey.address(), "message": message, "signature": signature });
            let mut browser = Browser::default();
            assert_eq!(browser.sign_in_with(server, &proof).await.status, 200);
            let put = |key: String, label: &str| json!({ "publicKey": key, "label": label });
            let other = Browser::signed_in(server, &Agent::random()).await;
            let refused = other.send(server, Method::PUT, &path, Some(&put(passkey.point(), "mine"))).await;
            refused.assert(400, "invalid_params");
            assert_eq!(browser.get(server, &path).await.status, 404);
            let kept = browser.send(server, Method::PUT, &path, Some(&put(passkey.point(), "Laptop"))).await;
            assert_eq!(kept.status, 200, "{}", kept.text);
            let found = Browser::default().get(server, &path).await.json();
            assert_eq!(found["address"], format!("{:#x}", passkey.address()));
            assert_eq!((&found["publicKey"], &found["label"]), (&json!(passkey.point()), &json!("")));
            let listed = browser.get(server, "/api/v1/passkeys").await.json();
            assert_eq!(listed["passkeys"][0]["label"], "Laptop");
            assert_eq!(other.delete(server, &path).await.status, 404);
            assert_eq!(browser.delete(server, &path).await.status, 204);
            assert_eq!(browser.get(server, &path).await.status, 404);
        },
    ));
}
