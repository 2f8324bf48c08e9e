//! The documents by which agents find and understand the service.

use std::collections::BTreeSet;

use farebox::config::{Config, ModelConfig, Secret, UpstreamConfig};
use farebox::money::Money;
use farebox_test_support::agent;
use farebox_test_support::harness::{PREVIEW, SPONSORED, Server, reply, run, sponsor_key};
use reqwest::Method;
use serde_json::Value;

/// Served beside the documented API.
const DOCUMENTS: [&str; 6] = [
    "/openapi.json",
    "/openapi-full.json",
    "/llms.txt",
    "/llms-full.txt",
    "/.well-known/api-catalog",
    "/favicon.svg",
];

async fn openapi(server: &Server) -> Value {
    reply(server.get("/openapi-full.json")).await.json()
}

/// (METHOD, path, operation) of a document.
fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| {
            (method.to_uppercase().parse().expect("a method"), path.clone(), operation)
        })
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_openapi_document_is_small_json_that_may_be_cached() {
    run(async {
        let server = Server::start().await;
        let document = reply(server.get("/openapi.json")).await;
        assert_eq!(document.status, 200);
        assert_eq!(document.header("content-type"), Some("application/json"));
        assert_eq!(document.header("cache-control"), Some("max-age=300"));
        assert!(document.text.len() < 64 * 1024, "{} bytes", document.text.len());
        let json = document.json();
        assert!(json["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
        assert_eq!(json["servers"][0]["url"], server.url);
        for name in ["title", "version", "description", "x-guidance"] {
            assert!(json["info"][name].as_str().is_some_and(|text| !text.is_empty()), "info.{name}");
        }
        assert!(json["x-service-info"]["categories"].is_array());
        let paths = json["paths"].as_object().expect("paths");
        assert!(paths.contains_key("/mpp/pii/preview") && !paths.keys().any(|path| path.contains("/v1/")));
        assert_eq!(json["externalDocs"]["url"], format!("{}/openapi-full.json", server.url));
    });
}

#[test]
fn every_documented_route_exists_and_every_route_is_documented() {
    run(async {
        routes_are_documented(&Server::start().await).await;
        let with_chat = Server::with_config(sell_a_model).await;
        assert!(openapi(&with_chat).await["paths"]["/mpp/chat/completions"].is_object());
        routes_are_documented(&with_chat).await;
    });
}

/// A model at an upstream that nobody will ask.
fn sell_a_model(config: &mut Config) {
    config.sessions.operator_key = Some(Secret::from(hex::encode(sponsor_key())));
    let (name, base_url) = ("none".to_owned(), "http://127.0.0.1:9/v1".to_owned());
    config.models = vec![ModelConfig {
        id: "dev".into(),
        upstreams: vec![name.as_str().into()],
        price_per_chunk: Money::from_micros(100),
        price_per_million_input: Money::from_micros(1_000_000),
        price_per_million_output: Money::from_micros(1_000_000),
        context_length: 32_768,
        max_output_tokens: 4_096,
        ..ModelConfig::default()
    }];
    config.upstreams = vec![UpstreamConfig { name, base_url, ..UpstreamConfig::default() }];
}

async fn routes_are_documented(server: &Server) {
    let document = openapi(server).await;
    let documented = operations(&document);
    assert!(documented.len() >= 5);
    for (method, path, _) in &documented {
        let answer = reply(server.request(method.clone(), path)).await;
        // What the fallback says. Handlers have a 404 of their own: for an unknown key, and for card
        // payments that are not configured.
        let is_served = answer.status != 405 && !answer.text.contains("there is nothing here");
        assert!(is_served, "{method} {path}: {}", answer.text);
        // And with no other method than is written there.
        for other in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if documented.iter().any(|(method, same, _)| same == path && *method == other) {
                continue;
            }
            let answer = reply(server.request(other.clone(), path)).await;
            assert_eq!(answer.status, 405, "{other} {path} is served and not documented");
        }
    }
    // What the index and the text list is documented.
    let index = reply(server.get("/mpp")).await.json();
    for operation in index["operations"].as_array().expect("operations") {
        let (method, path) = (operation["method"].as_str().unwrap(), operation["path"].as_str().unwrap());
        assert!(documented.iter().any(|(m, p, _)| m.as_str() == method && p == path), "{method} {path}");
    }
    for path in DOCUMENTS {
        assert_eq!(reply(server.get(path)).await.status, 200, "{path}");
    }
}

#[test]
fn every_answer_of_a_route_is_documented() {
    run(async {
        let server = Server::start().await;
        let document = openapi(&server).await;
        let preview = &document["paths"][PREVIEW]["post"];
        for status in ["200", "400", "402", "403", "409", "413", "415", "503"] {
            assert!(preview["responses"][status].is_object(), "{status}");
        }
        for (method, path, operation) in operations(&document) {
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            assert!(operation["security"].is_array(), "{method} {path}");
            if operation.get("x-payment-info").is_some() {
                assert!(operation["responses"]["402"].is_object(), "{method} {path}");
            }
        }
    });
}

#[test]
fn documented_prices_are_what_challenges_ask_for() {
    run(async {
        let server = Server::with_config(|config| {
            config.pii.preview_price = Money::parse_dollars("0.123456").unwrap();
        })
        .await;
        let document = openapi(&server).await;
        let preview = &document["paths"][PREVIEW]["post"];
        let example = preview["requestBody"]["content"]["application/json"]["example"].to_string();
        let mut challenged = BTreeSet::new();
        for path in [PREVIEW, SPONSORED] {
            let unpaid = reply(server.post(path, &example)).await;
            assert_eq!(unpaid.status, 402, "the example is a good request: {}", unpaid.text);
            challenged.extend(unpaid.challenges().into_iter().map(|challenge| {
                let challenge = agent::Challenge::parse(challenge);
                let of = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
                (
                    of(&challenge.request["amount"]),
                    of(&challenge.request["currency"]),
                    of(&challenge.echo["method"]),
                )
            }));
        }
        let info = &preview["x-payment-info"];
        let offers = info["offers"].as_array().expect("offers").iter().map(|offer| {
            let of = |name: &str| offer[name].as_str().unwrap_or_default().to_lowercase();
            (of("amount"), of("currency"), of("method"))
        });
        assert_eq!(offers.collect::<BTreeSet<_>>(), challenged);
        assert_eq!(info["price"]["amount"], "0.123456");
        assert!(challenged.iter().all(|(amount, ..)| amount == "123456"), "{challenged:?}");
        let index = reply(server.get("/mpp")).await.text;
        let text = reply(server.get("/llms.txt")).await.text;
        assert!(index.contains("0.123456") && text.contains("0.123456"), "{text}");
    });
}

#[test]
fn the_texts_for_agents_are_text_and_complete() {
    run(async {
        let server = Server::start().await;
        let document = openapi(&server).await;
        for path in ["/llms.txt", "/llms-full.txt"] {
            let text = reply(server.get(path)).await;
            assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
            assert!(text.text.starts_with("# "), "{path}");
            for (method, path, _) in operations(&document) {
                let line = format!("{method} {}{path}", server.url);
                assert!(text.text.contains(&line), "{line}");
            }
            assert!(text.text.contains(&format!("{:#x}", server.recipient())));
        }
    });
}

#[test]
fn the_api_catalog_points_to_documents_that_are_there() {
    run(async {
        let server = Server::start().await;
        let catalog = reply(server.get("/.well-known/api-catalog")).await;
        assert_eq!(catalog.header("content-type"), Some("application/linkset+json"));
        let catalog = catalog.json();
        let sets = catalog["linkset"].as_array().expect("sets of links");
        let links = sets.iter().filter_map(Value::as_object).flat_map(|set| set.values());
        let mut seen = 0;
        for target in links.filter_map(Value::as_array).flatten() {
            let path = target["href"].as_str().and_then(|url| url.strip_prefix(&server.url)).expect("ours");
            let there = reply(server.get(path)).await;
            assert_eq!(there.status, 200, "{path}");
            let kind = there.header("content-type").unwrap_or_default().to_owned();
            assert!(kind.starts_with(target["type"].as_str().unwrap()), "{path} is {kind}");
            seen += 1;
        }
        assert!(seen >= 6, "the API and the MCP endpoints");
    });
}
