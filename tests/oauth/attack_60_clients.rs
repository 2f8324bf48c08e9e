//! Class 60: clients that nobody knows, that register without end, or that this server forgets.

use farebox::config::Secret;
use farebox::id::Timestamp;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, Server, reply, run};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{CALLBACK, Client, Tokens, on_every_engine, opens, refused, register};

/// A page that tells how to recover, and no redirect.
#[track_caller]
pub fn leads_nowhere(page: &Reply) {
    assert_eq!(page.status, 400, "{}", page.text);
    assert_eq!(page.header("location"), None);
    assert!(page.text.contains("connect again") && page.text.contains("registers anew"), "{}", page.text);
    assert!(!page.text.contains("href=\"http"), "{}", page.text);
}

#[test]
fn attack_60_an_unknown_client_gets_a_page_that_helps_and_no_redirect() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let client = Client::registered(server).await;
            let (json, seal) = client.id.trim_start_matches("reg_").split_once('.').expect("a sealed value");
            let other = Client::registered(server).await;
            let (_, other_seal) = other.id.split_once('.').expect("a sealed value");
            let long = format!("reg_{}", "x".repeat(9_000));
            for unknown in [
                "nobody",
                "reg_",
                &format!("{json}.{seal}"),
                &format!("reg_{json}.{other_seal}"),
                &format!("reg_{json}x.{seal}"),
                &client.id[..client.id.len() - 1],
                &long,
                "'; DROP TABLE oauth_clients; --",
            ] {
                leads_nowhere(&client.open(server, &[("client_id", unknown)]).await);
            }
            leads_nowhere(&client.open(server, &[("client_id", "")]).await);
            let mut twice = client.parameters();
            twice.push(("client_id".into(), "nobody".into()));
            leads_nowhere(&crate::fixture::open_with(server, &twice).await);
            assert_eq!(client.open(server, &[]).await.status, 200);
        },
    ));
}

#[test]
fn attack_60_registrations_are_limited_by_address_and_write_nothing() {
    run(on_every_engine(
        |config| config.mcp.registration_rpm = 3,
        async |server| {
            let from = async |address: &str| {
                let body = json!({ "redirect_uris": [CALLBACK] }).to_string();
                reply(server.post("/oauth/register", &body).header("x-forwarded-for", address)).await
            };
            for _ in 0..3 {
                assert_eq!(from("9.9.9.9").await.status, 201);
            }
            let limited = from("9.9.9.9").await;
            refused(&limited, 429, "rate_limit_exceeded");
            assert!(limited.header("retry-after").is_some());
            assert_eq!(from("8.8.8.8").await.status, 201, "others are not limited with it");
            assert_eq!(server.count("SELECT count(*) FROM oauth_clients").await, 0);
        },
    ));
}

#[test]
fn attack_60_metadata_that_cannot_be_used_are_refused() {
    run(async {
        let server = Server::with_config(|config| config.mcp.registration_rpm = 60_000).await;
        for (wrong, error) in [
            (json!({}), "invalid_redirect_uri"),
            (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": ["javascript:alert(1)"] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": ["http://evil.example/cb"] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": vec![CALLBACK; 11] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": [CALLBACK], "grant_types": ["implicit"] }), "invalid_client_metadata"),
            (json!({ "redirect_uris": CALLBACK }), "invalid_client_metadata"),
            (json!([]), "invalid_client_metadata"),
        ] {
            refused(&register(&server, &wrong).await, 400, error);
        }
        // A client that asks for a secret is told that it has none; older SDKs go by the answer.
        let asked =
            json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post" });
        let registered = register(&server, &asked).await.json();
        assert_eq!(registered["token_endpoint_auth_method"], "none");
        assert_eq!(registered.get("client_secret"), None);
    });
}

/// The secret is rotated twice: who was granted access is known by its row, who only registered must register again.
#[test]
fn attack_60_a_granted_client_survives_restarts_and_rotated_secrets() {
    run(async {
        for database in farebox_test_support::db::engines().await {
            let chain = farebox_test_support::harness::shared_chain().await;
            let mut server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let wallet = Agent::random();
            let (granted, idle) = (Client::registered(&server).await, Client::registered(&server).await);
            let mut tokens = granted.log_in(&server, &wallet, &json!({})).await;
            // Its address stays, as behind a proxy.
            let resource = server.url.clone();
            for round in 0..2 {
                server = server
                    .restart(|config| {
                        config.mcp.public_url = Some(resource.clone());
                        config.payments.previous_secret = Some(config.payments.secret.clone());
                        config.payments.secret =
                            Secret::from(format!("another secret of thirty-two bytes, {round}"));
                    })
                    .await;
                assert!(opens(&server, &tokens.access).await, "round {round}");
                tokens = Tokens::of(&granted.refresh(&server, &tokens.refresh, &[]).await);
                assert_eq!(granted.again().open(&server, &[]).await.status, 200, "round {round}");
                let expected = if round == 0 { 200 } else { 400 };
                assert_eq!(idle.open(&server, &[]).await.status, expected, "round {round}");
            }
            // And it can log in anew.
            granted.again().log_in(&server, &wallet, &json!({})).await;
            server.stop().await;
        }
    });
}

#[test]
fn attack_60_a_client_is_never_pruned_while_it_is_granted() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let tokens = client.log_in(server, &wallet, &json!({})).await;
            let days = |days: i64| Timestamp::now().checked_add_millis(days * 86_400_000).expect("near");
            let clients = "SELECT count(*) FROM oauth_clients";
            server.app.oauth.forget_ended(days(400)).await.expect("it works");
            assert_eq!(server.count(clients).await, 1);
            assert_eq!(server.count("SELECT count(*) FROM oauth_access_tokens").await, 0, "expired by then");
            assert_eq!(server.count("SELECT count(*) FROM oauth_codes").await, 0);
            Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            // The key is forgotten a month after its end, and everything that hangs on it.
            server.app.keys.forget_ended(days(61)).await.expect("it works");
            for table in [
                "SELECT count(*) FROM oauth_grants",
                "SELECT count(*) FROM oauth_refresh_tokens",
                "SELECT count(*) FROM oauth_access_tokens",
            ] {
                assert_eq!(server.count(table).await, 0, "{table}");
            }
            server.app.oauth.forget_ended(days(89)).await.expect("it works");
            assert_eq!(server.count(clients).await, 1);
            server.app.oauth.forget_ended(days(91)).await.expect("it works");
            assert_eq!(server.count(clients).await, 0);
            // Its registration is still in its id.
            assert_eq!(client.open(server, &[]).await.status, 200);
        },
    ));
}

#[test]
fn attack_60_forms_are_read_strictly() {
    run(async {
        let server = Server::with_config(|config| config.keys.anonymous_rpm = 60_000).await;
        let form = async |body: &'static str, kind: &'static str| {
            let request = server.request(Method::POST, "/oauth/token").body(body);
            reply(request.header("content-type", kind)).await
        };
        let urlencoded = "application/x-www-form-urlencoded";
        for (body, kind, status, error) in [
            ("", urlencoded, 400, "invalid_request"),
            ("grant_type=authorization_code", urlencoded, 400, "invalid_request"),
            ("grant_type=refresh_token&client_id=x", urlencoded, 400, "invalid_request"),
            ("grant_type=refresh_token&grant_type=refresh_token", urlencoded, 400, "invalid_request"),
            ("grant_type=client_credentials", urlencoded, 400, "unsupported_grant_type"),
            ("grant_type=refresh_token&refresh_token=x&client_id=y", urlencoded, 400, "invalid_grant"),
            (
                "grant_type=authorization_code&code=x&client_id=y&code_verifier=z",
                urlencoded,
                400,
                "invalid_grant",
            ),
            ("{\"grant_type\":\"refresh_token\"}", "application/json", 415, "unsupported_media_type"),
        ] {
            refused(&form(body, kind).await, status, error);
        }
    });
}
