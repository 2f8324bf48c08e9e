//! Clients that run in a browser, at another origin.

use farebox_test_support::agent::Agent;
use farebox_test_support::dev::{chromium, installed, succeeds};
use farebox_test_support::harness::{Server, reply, run};
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use crate::fixture::Client;

const ORIGIN: &str = "https://inspector.example";

/// CORS hid the challenge, or blocked the token endpoint.
#[test]
fn attack_65_a_client_in_a_browser_can_register_get_tokens_and_read_the_challenge() {
    run(async {
        let server = Server::start().await;
        for (method, path, headers) in [
            ("POST", "/oauth/token", "content-type,mcp-protocol-version"),
            ("POST", "/oauth/register", "content-type"),
            ("POST", "/oauth/revoke", "content-type"),
            ("GET", "/.well-known/oauth-authorization-server", "mcp-protocol-version"),
            ("GET", "/.well-known/oauth-protected-resource/mcp", "mcp-protocol-version"),
            (
                "POST",
                "/mcp",
                "authorization,content-type,mcp-protocol-version,mcp-session-id,mcp-method,mcp-name",
            ),
            ("DELETE", "/mcp", "authorization,mcp-session-id"),
        ] {
            let preflight = server.request(Method::OPTIONS, path).header("origin", ORIGIN);
            let preflight = preflight.header("access-control-request-method", method);
            let answer = reply(preflight.header("access-control-request-headers", headers)).await;
            assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            let allowed = answer.header("access-control-allow-headers").unwrap_or_default();
            for name in headers.split(',') {
                assert!(
                    allowed.split(',').any(|header| header.trim() == name),
                    "{path}: {name} in {allowed}"
                );
            }
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{path}: {methods}");
        }
        let refused = reply(server.request(Method::POST, "/mcp").header("origin", ORIGIN)).await;
        assert!([401, 403].contains(&refused.status));
        let exposed = refused.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.contains("www-authenticate"), "{exposed}");
        let client = Client::registered(&server).await;
        client.log_in(&server, &Agent::random(), &json!({})).await;
    });
}

/// Some clients look at the resource with other methods first, and take anything but 401 for "no login is needed".
#[test]
fn attack_65_every_method_of_the_resource_asks_for_a_token_first() {
    run(async {
        let server = Server::start().await;
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT, Method::HEAD] {
            let request = server.request(method.clone(), "/mcp").header("mcp-protocol-version", "1999-01-01");
            let response = request.send().await.expect("it answers");
            assert_eq!(response.status().as_u16(), 401, "{method}");
            let challenge = response.headers()["www-authenticate"].to_str().expect("text");
            assert!(challenge.contains("resource_metadata=\""), "{challenge}");
        }
    });
}

/// The page in a real browser: with a wallet that announces itself, with a signature from elsewhere, refused, framed.
#[test]
fn attack_66_a_person_allows_a_program_in_a_browser_and_not_in_a_frame() {
    run(async {
        let Some(browser) = chromium() else { return };
        let server = Server::start().await;
        installed("tests/clients/node_modules/playwright-core");
        let script = installed("tests/clients/browser_consent.mjs");
        let mut node = Command::new("node");
        let verdict = succeeds(node.arg(&script).arg(&server.url).env("CHROMIUM", browser)).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}
