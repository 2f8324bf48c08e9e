//! What users of other servers complained about, one test each. More of them are in the files of attacks: parallel and
//! lost refreshes (68), loopback redirects (61), forgotten clients (60), browsers (65).

use farebox::id::Timestamp;
use farebox::oauth::Refresh;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::run;
use serde_json::json;

use crate::fixture::{Client, Tokens, code_of, consent, on_every_engine, only_grant, opens, refused};

const HOUR: i64 = 3_600_000;

/// "I have to log in every six hours": a login lasts as long as its grant, whatever scope was asked for.
#[test]
fn a_login_lasts_as_long_as_its_grant_without_offline_access() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let request = client.begin(server, &[("scope", "chat")]).await;
            let code = code_of(&consent(server, &wallet, &request, &json!({})).await);
            let mut refresh = Tokens::of(&client.exchange(server, &code, &[]).await).refresh;
            let begun = Timestamp::now();
            let at = |hours: i64| begun.checked_add_millis(hours * HOUR).expect("near");
            for hours in (12..30 * 24).step_by(12) {
                let exchange = Refresh { token: &refresh, client_id: &client.id, scope: None, resource: &[] };
                let tokens = server.app.oauth.refresh(&exchange, at(hours)).await;
                let tokens = tokens.unwrap_or_else(|error| panic!("after {hours} hours: {error}"));
                assert!(server.app.oauth.authenticate(tokens.access.expose(), at(hours)).await.is_ok());
                refresh = tokens.refresh.expose().to_owned();
            }
            let exchange = Refresh { token: &refresh, client_id: &client.id, scope: None, resource: &[] };
            assert!(server.app.oauth.refresh(&exchange, at(31 * 24)).await.is_err(), "the grant has ended");
        },
    ));
}

/// "When both tokens have expired it logs in forever": the refusal is one that clients know, and a new login works.
#[test]
fn after_everything_has_expired_a_new_login_works() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let old = client.log_in(server, &wallet, &json!({})).await;
            server.db.execute("UPDATE api_keys SET expires_at = 1000").await;
            server.db.execute("UPDATE oauth_access_tokens SET expires_at = 1000").await;
            server.app.keys.forget_cached(
                &farebox::keys::KeyId::parse(&key_of(server).await).expect("the key of the grant"),
            );
            assert!(!opens(server, &old.access).await);
            refused(&client.refresh(server, &old.refresh, &[]).await, 400, "invalid_grant");
            let new = client.again().log_in(server, &wallet, &json!({})).await;
            assert!(opens(server, &new.access).await && !opens(server, &old.access).await);
        },
    ));
}

async fn key_of(server: &farebox_test_support::harness::Server) -> String {
    let row = server.db.db.fetch_one("SELECT key FROM oauth_grants", Vec::new()).await;
    row.and_then(|row| row.text("key")).expect("one grant")
}

/// "Stepping up never completes": a client that asks for what the 403 names has all of it, and loses nothing.
#[test]
fn stepping_up_adds_a_scope_and_keeps_the_others() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let before = client.log_in(server, &wallet, &json!({})).await;
            let stepping = client.again();
            let asked = "chat pii account:read keys:write";
            let request = stepping.begin(server, &[("scope", asked)]).await;
            let code = code_of(&consent(server, &wallet, &request, &json!({})).await);
            let after = Tokens::of(&stepping.exchange(server, &code, &[]).await);
            assert_eq!(after.scope, asked);
            assert_eq!(only_grant(server, &wallet).await["scopes"].as_array().map(Vec::len), Some(4));
            // A client that holds on to its refresh token, and cannot log in while it does, has it too.
            let refreshed = Tokens::of(&client.refresh(server, &before.refresh, &[]).await);
            assert_eq!(refreshed.scope, asked);
        },
    ));
}
