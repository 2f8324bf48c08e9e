//! Class 64: tokens and keys where they are not for, and tokens for other resources.

use axum::http::{HeaderMap, HeaderValue, header};
use farebox::http::access_token;
use farebox::id::Timestamp;
use farebox::oauth::{Scope, Scopes};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, reply, run};
use reqwest::{Method, Url};
use serde_json::json;

use crate::fixture::{
    Client, KEYS, Tokens, ask_resource, consent, manage, on_every_engine, opens, parameter, proof,
    redirect_of, refused,
};

#[test]
fn attack_64_every_spelling_of_the_resource_is_one_and_foreign_ones_are_refused() {
    run(on_every_engine(
        |config| config.mcp.public_url = Some("https://mcp.example.com".into()),
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            for resource in [
                "https://mcp.example.com/mcp",
                "https://mcp.example.com/mcp/",
                "https://mcp.example.com/",
                "https://mcp.example.com",
                "https://MCP.example.com:443/mcp",
                "",
            ] {
                let client = client.again();
                let request = client.begin(server, &[("resource", resource)]).await;
                let redirect = redirect_of(&consent(server, &wallet, &request, &json!({})).await);
                let code = parameter(&redirect, "code").expect("a code");
                let answer = client.exchange(server, &code, &[("resource", resource)]).await;
                let tokens = Tokens::of(&answer);
                assert!(opens(server, &tokens.access).await, "{resource}");
                let foreign = [("resource", "https://evil.example/mcp")];
                refused(&client.refresh(server, &tokens.refresh, &foreign).await, 400, "invalid_target");
                let again =
                    client.refresh(server, &tokens.refresh, &[("resource", "https://mcp.example.com")]);
                Tokens::of(&again.await);
            }
            for resource in [
                "https://evil.example/mcp",
                "https://mcp.example.com.evil.example/mcp",
                "https://mcp.example.com@evil.example/mcp",
                "https://mcp.example.com/v1",
                "http://mcp.example.com/mcp",
                "mcp",
            ] {
                let answer = client.open(server, &[("resource", resource)]).await;
                assert_eq!(answer.status, 302, "{resource}: {}", answer.text);
                let location = Url::parse(answer.header("location").expect("a location")).expect("a URL");
                assert_eq!(parameter(&location, "error").as_deref(), Some("invalid_target"));
            }
            // All of these were one grant.
            assert_eq!(server.count("SELECT count(*) FROM oauth_grants").await, 1);
            let metadata = reply(server.get("/.well-known/oauth-protected-resource/mcp")).await.json();
            assert_eq!(metadata["resource"], "https://mcp.example.com/mcp");
            assert_eq!(metadata["authorization_servers"], json!([server.url]));
        },
    ));
}

#[test]
fn attack_64_keys_open_no_resource_and_tokens_no_other_route() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let tokens = Client::registered(server).await.log_in(server, &wallet, &json!({})).await;
            let made = manage(server, Method::POST, KEYS, &proof(&wallet, "create", "")).await.json();
            let key = made["key"].as_str().expect("a key");
            for (token, is_in) in
                [(tokens.access.as_str(), true), (key, false), (&tokens.refresh, false), ("", false)]
            {
                assert_eq!(opens(server, token).await, is_in);
                let request = server.get("/v1/credits").header("authorization", format!("Bearer {token}"));
                assert_eq!(reply(request).await.status == 200, token == key);
            }
            let refused = ask_resource(server, Some(&format!("Bearer {key}"))).await;
            let challenge = refused.header("www-authenticate").expect("a challenge");
            assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
            assert!(challenge.contains("resource_metadata=\"") && challenge.contains("scope=\"chat pii"));
            assert!(!refused.text.contains(key) && !challenge.contains(key));
            // Neither is read from elsewhere.
            for path in ["/mcp?access_token=", "/mcp?token="] {
                assert_eq!(reply(server.get(&format!("{path}{}", tokens.access))).await.status, 401);
            }
            let request = server.get("/mcp").header("x-api-key", &tokens.access);
            assert_eq!(reply(request).await.status, 401);
            let twice = server.get("/mcp").header("authorization", format!("Bearer {}", tokens.access));
            let twice = twice.header("authorization", format!("Bearer {}", tokens.access));
            assert_eq!(reply(twice).await.status, 401);
        },
    ));
}

/// The resource moved: what was granted for the one before opens nothing.
#[test]
fn attack_64_a_token_is_for_the_resource_that_was_granted() {
    run(async {
        let server = Server::start().await;
        let (wallet, url) = (Agent::random(), server.url.clone());
        let client = Client::registered(&server).await;
        let tokens = client.log_in(&server, &wallet, &json!({})).await;
        let mut server =
            server.restart(|config| config.mcp.public_url = Some("https://elsewhere.example".into())).await;
        assert!(!opens(&server, &tokens.access).await);
        refused(&client.refresh(&server, &tokens.refresh, &[]).await, 400, "invalid_target");
        let mut moved = server.restart(|config| config.mcp.public_url = Some(url)).await;
        assert!(opens(&moved, &tokens.access).await);
        moved.stop().await;
        server = Server::start().await;
        assert!(!opens(&server, &tokens.access).await, "another server");
    });
}

/// The gate as a handler sees it: what a token may do, and what it would need.
#[test]
fn attack_64_a_missing_scope_is_named_with_all_that_are_needed() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (wallet, app) = (Agent::random(), &server.app);
            let client = Client::registered(server).await;
            let tokens = client.log_in(server, &wallet, &json!({ "scopes": ["chat"] })).await;
            assert_eq!(tokens.scope, "chat");
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(&format!("Bearer {}", tokens.access)).expect("ASCII");
            headers.insert(header::AUTHORIZATION, value);
            let token = access_token::authenticate(&headers, app, Timestamp::now()).await.expect("it counts");
            assert_eq!(token.client(), "Test client");
            assert_eq!(token.key().owner, format!("{:#x}", wallet.address()));
            assert_eq!(*token.grant(), token.key().id);
            assert_eq!(*token.scopes(), Scopes::from_iter([Scope::Chat]));
            token.require(app, &Scopes::from_iter([Scope::Chat])).expect("it has it");
            let error = token.require(app, &Scopes::from_iter([Scope::KeysWrite])).expect_err("refused");
            assert_eq!(error.code.status(), 403);
            let challenge = error.bearer.as_deref().expect("a challenge");
            assert!(challenge.starts_with("Bearer error=\"insufficient_scope\""), "{challenge}");
            assert!(challenge.contains("scope=\"chat keys:write\""), "{challenge}");
            // An hour later it opens nothing.
            let later = Timestamp::now().checked_add_millis(3_600_000).expect("near");
            let error = access_token::authenticate(&headers, app, later).await.expect_err("expired");
            assert_eq!(error.code.as_str(), "invalid_token");
        },
    ));
}

/// The rate is the key's, as at `/v1`.
#[test]
fn attack_64_a_grant_keeps_the_rate_of_its_key() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let terms = json!({ "limits": { "rpm": 2, "dailyUsd": "1" } });
            let wallet = Agent::random();
            let tokens = Client::registered(server).await.log_in(server, &wallet, &terms).await;
            let mut statuses = Vec::new();
            for _ in 0..5 {
                let answer = ask_resource(server, Some(&format!("Bearer {}", tokens.access))).await;
                statuses.push(answer.status);
            }
            assert!(statuses.contains(&429) && !statuses.contains(&401), "{statuses:?}");
        },
    ));
}
