//! Class 61: redirect URIs that lead a code elsewhere.

use farebox::config::PinnedClient;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, run};
use reqwest::Url;
use serde_json::json;

use crate::attack_60_clients::leads_nowhere;
use crate::fixture::{Client, consent, parameter, redirect_of, register, sealed};

const WEB: &str = "https://client.example/cb";

async fn client_with(server: &Server, redirects: &[&str]) -> Client {
    let registered = register(server, &json!({ "redirect_uris": redirects })).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    Client::new(registered.json()["client_id"].as_str().expect("an id"), redirects[0])
}

#[test]
fn attack_61_no_code_goes_to_a_uri_that_only_looks_registered() {
    run(async {
        let server = Server::start().await;
        let client = client_with(&server, &[WEB, "http://127.0.0.1/callback"]).await;
        for wrong in [
            "https://client.example/cb/",
            "https://client.example/cb/../evil",
            "https://client.example/cb%2f",
            "https://client.example/cb?x=1",
            "https://client.example/cb#x",
            "https://client.example.evil.example/cb",
            "https://evilclient.example/cb",
            "https://client.example@evil.example/cb",
            "https://evil.example/https://client.example/cb",
            "https://client.example\\@evil.example/cb",
            "https://client.example:444/cb",
            "http://client.example/cb",
            "HTTPS://client.example/cb",
            "//client.example/cb",
            "http://localhost/callback",
            "http://localhost.evil.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://127.0.0.1:1@evil.example/callback",
            "http://127.0.0.1/callback/x",
            "javascript:alert(1)//https://client.example/cb",
            "data:text/html,x",
            "evil://client.example/cb",
        ] {
            leads_nowhere(&client.open(&server, &[("redirect_uri", wrong)]).await);
        }
        // Two are registered: none can be meant.
        leads_nowhere(&client.open(&server, &[("redirect_uri", "")]).await);
        let mut twice = client.parameters();
        twice.push(("redirect_uri".into(), "https://evil.example/".into()));
        leads_nowhere(&crate::fixture::open_with(&server, &twice).await);
    });
}

/// Programs take any free port, and another at the next start; documents name none.
#[test]
fn attack_61_a_loopback_redirect_may_have_any_port() {
    run(async {
        let server = Server::start().await;
        let registered =
            ["http://127.0.0.1/callback", "http://localhost:5000/callback", "http://[::1]/callback?x=1"];
        let client = client_with(&server, &registered).await;
        for used in [
            "http://127.0.0.1:3118/callback",
            "http://127.0.0.1:49999/callback",
            "http://localhost:3118/callback",
            "http://localhost/callback",
            "http://[::1]:3118/callback?x=1",
        ] {
            let client = Client::new(&client.id, used);
            let request = client.begin(&server, &[]).await;
            let redirect = redirect_of(&consent(&server, &Agent::random(), &request, &json!({})).await);
            assert!(redirect.as_str().starts_with(used), "{redirect}");
            let code = parameter(&redirect, "code").expect("a code");
            assert_eq!(client.exchange(&server, &code, &[]).await.status, 200);
        }
    });
}

/// Anybody can register any site, so a refused request must not send people there by itself.
#[test]
fn attack_61_a_refused_request_is_no_open_redirect() {
    run(async {
        let server = Server::start().await;
        let refused = [("code_challenge_method", "plain"), ("resource", "https://other.example/mcp")];
        let client = client_with(&server, &[WEB]).await;
        for change in refused {
            let page = client.open(&server, &[change]).await;
            assert_eq!((page.status, page.header("location")), (400, None));
            assert!(page.text.contains("client.example"), "{}", page.text);
        }
        // Its only URI can be left out.
        sealed(&client.open(&server, &[("redirect_uri", "")]).await);
        let client = client_with(&server, &["http://127.0.0.1:7/cb"]).await;
        for ((name, value), error) in refused.iter().zip(["invalid_request", "invalid_target"]) {
            let page = client.open(&server, &[(name, value)]).await;
            assert_eq!(page.status, 302, "{}", page.text);
            let location = Url::parse(page.header("location").expect("a location")).expect("a URL");
            assert_eq!(location.origin().ascii_serialization(), "http://127.0.0.1:7");
            assert_eq!(parameter(&location, "error").as_deref(), Some(error));
            assert_eq!(parameter(&location, "state").as_ref(), Some(&client.state));
            assert_eq!(parameter(&location, "iss").as_ref(), Some(&server.url));
        }
    });
}

/// Anybody can publish a document, too: only who is in the configuration is sent on.
#[test]
fn attack_61_a_document_makes_no_open_redirect() {
    const DOCUMENT: &str = "https://client.example/oauth.json";
    run(async {
        let server = Server::with_config(|config| {
            config.mcp.fetch_clients = false;
            let pinned = PinnedClient { name: "Pinned".into(), redirect_uris: vec![WEB.into()] };
            config.mcp.clients.insert(DOCUMENT.into(), pinned);
        })
        .await;
        let client = Client::new(DOCUMENT, WEB);
        client.log_in(&server, &Agent::random(), &json!({})).await;
        let plain = [("code_challenge_method", "plain")];
        let sent = client.open(&server, &plain).await;
        assert_eq!(sent.status, 302, "{}", sent.text);
        assert!(sent.header("location").is_some_and(|location| location.starts_with(WEB)));
        // Not in the configuration any more, it is known by what it published.
        let mut server = server.restart(|config| config.mcp.clients.clear()).await;
        sealed(&client.open(&server, &[]).await);
        let page = client.open(&server, &plain).await;
        assert_eq!((page.status, page.header("location")), (400, None));
        assert!(page.text.contains("Go back to client.example"), "{}", page.text);
        server.stop().await;
    });
}

#[test]
fn attack_61_only_listed_schemes_of_applications_are_redirected_to() {
    run(async {
        let server = Server::start().await;
        let cursor = "cursor://anysphere.cursor-mcp/oauth/callback";
        let client = client_with(&server, &[cursor]).await;
        let request = client.begin(&server, &[]).await;
        let redirect = redirect_of(&consent(&server, &Agent::random(), &request, &json!({})).await);
        assert!(redirect.as_str().starts_with(cursor));
        for wrong in ["myapp://cb", "intent://cb", "file:///cb", "cursor:cb", "CURSOR://cb"] {
            assert_eq!(register(&server, &json!({ "redirect_uris": [wrong] })).await.status, 400, "{wrong}");
        }
    });
}
