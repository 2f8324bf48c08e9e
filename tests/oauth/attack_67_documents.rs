//! Class 67: documents of clients that are fetched from where they must not be, or are somebody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use farebox::config::{FetchConfig, PinnedClient};
use farebox::fetch::{FetchError, Fetcher};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, reply, run};
use serde_json::json;
use tokio::net::TcpListener;

use crate::attack_60_clients::leads_nowhere;
use crate::fixture::{CALLBACK, Client, on_every_engine, only_grant, opens};

const PINNED: &str = "https://client.example/oauth/metadata.json";

/// A web server that counts what it is asked.
struct Web {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Web {
    async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let counted = Arc::clone(&asked);
        let router = Router::new().fallback(async move |uri: Uri| {
            counted.fetch_add(1, Ordering::SeqCst);
            answer(&uri)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }
}

fn answer(uri: &Uri) -> Response {
    let json = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    match uri.path() {
        "/good" => (json, "{}").into_response(),
        "/redirect" => (StatusCode::FOUND, [(LOCATION, "/good")]).into_response(),
        "/large" => (json, "x".repeat(5121)).into_response(),
        "/largest" => (json, "x".repeat(5120)).into_response(),
        "/html" => ([(CONTENT_TYPE, "text/html")], "{}").into_response(),
        "/created" => (StatusCode::CREATED, json, "{}").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[test]
fn attack_67_a_document_is_json_of_5_kib_without_redirects() {
    run(async {
        let web = Web::start().await;
        let config = FetchConfig {
            ports: Vec::new(),
            allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            ..FetchConfig::default()
        };
        let fetcher = Fetcher::new(&config).expect("a fetcher");
        let fetch = async |path: &str| {
            fetcher.document(&format!("{}{path}", web.url), 5120).await.map(|document| document.0.len())
        };
        assert_eq!(fetch("/good").await, Ok(2));
        assert_eq!(fetch("/largest").await, Ok(5120));
        assert_eq!(fetch("/large").await, Err(FetchError::TooLarge(5120)));
        assert_eq!(fetch("/redirect").await, Err(FetchError::Status(302)));
        assert_eq!(fetch("/html").await, Err(FetchError::Kind));
        assert_eq!(fetch("/created").await, Err(FetchError::Status(201)));
        assert_eq!(fetch("/none").await, Err(FetchError::Status(404)));
        // Without the network: nothing that is not public is asked.
        let before = web.asked.load(Ordering::SeqCst);
        let strict = Fetcher::new(&FetchConfig { ports: Vec::new(), ..FetchConfig::default() });
        let refused = strict.expect("a fetcher").document(&format!("{}/good", web.url), 5120).await;
        assert_eq!(refused, Err(FetchError::NotPublic));
        assert_eq!(web.asked.load(Ordering::SeqCst), before);
    });
}

#[test]
fn attack_67_a_client_id_makes_the_server_ask_nothing_that_is_not_public() {
    run(async {
        let server = Server::with_config(|config| {
            config.keys.anonymous_rpm = 60_000;
            config.fetch.ports = Vec::new();
        })
        .await;
        let web = Web::start().await;
        let port = web.url.rsplit_once(':').expect("a port").1;
        for client_id in [
            format!("http://127.0.0.1:{port}/good"),
            format!("https://127.0.0.1:{port}/good"),
            format!("https://localhost:{port}/good"),
            format!("https://[::1]:{port}/good"),
            format!("https://2130706433:{port}/good"),
            format!("https://127.0.0.1.nip.io@127.0.0.1:{port}/good"),
            "https://169.254.169.254/latest/meta-data/".into(),
            "file:///etc/passwd".into(),
            "https://client.example/x#y".into(),
            "https://client.example".into(),
        ] {
            let client = Client::new(&client_id, CALLBACK);
            let page = client.open(&server, &[]).await;
            leads_nowhere(&page);
        }
        assert_eq!(web.asked.load(Ordering::SeqCst), 0);
    });
}

/// Every look at an unknown document costs a connection: callers have a share of them.
#[test]
fn attack_67_looks_at_documents_are_limited_by_address() {
    run(async {
        let server = Server::with_config(|config| config.keys.anonymous_rpm = 2).await;
        let mut statuses = Vec::new();
        for n in 0..4 {
            let client = Client::new(&format!("https://localhost/{n}"), CALLBACK);
            statuses.push(client.open(&server, &[]).await.status);
        }
        assert!(statuses.contains(&429), "{statuses:?}");
        // Who registered is not limited with them.
        assert_eq!(Client::registered(&server).await.open(&server, &[]).await.status, 200);
    });
}

#[test]
fn attack_67_documents_of_the_configuration_need_no_network() {
    run(on_every_engine(
        |config| {
            config.mcp.fetch_clients = false;
            let redirect_uris = vec!["http://127.0.0.1/callback".to_owned()];
            let client = PinnedClient { name: "Pinned".into(), redirect_uris };
            config.mcp.clients.insert(PINNED.into(), client);
        },
        async |server| {
            let metadata = reply(server.get("/.well-known/oauth-authorization-server")).await.json();
            assert_eq!(metadata["client_id_metadata_document_supported"], true);
            let wallet = Agent::random();
            let client = Client::new(PINNED, CALLBACK);
            let page = client.open(server, &[]).await;
            assert!(page.text.contains("published by <strong>client.example</strong>"), "{}", page.text);
            assert!(!page.text.contains("Nobody vouches"));
            let tokens = client.log_in(server, &wallet, &json!({})).await;
            assert!(opens(server, &tokens.access).await);
            let granted = only_grant(server, &wallet).await;
            assert_eq!(granted["client"], json!({ "id": PINNED, "name": "Pinned" }));
            leads_nowhere(&Client::new("https://other.example/x.json", CALLBACK).open(server, &[]).await);
        },
    ));
}

/// A client that finds it advertised would use it, and fail.
#[test]
fn attack_67_documents_are_advertised_only_where_they_are_read() {
    run(async {
        for (fetches, enabled, expected) in
            [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
        {
            let server = Server::with_config(|config| {
                config.mcp.fetch_clients = fetches;
                config.fetch.enabled = enabled;
            })
            .await;
            let metadata = reply(server.get("/.well-known/oauth-authorization-server")).await.json();
            assert_eq!(metadata["client_id_metadata_document_supported"], expected);
        }
    });
}
