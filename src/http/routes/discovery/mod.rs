//! Free documents by which agents find and understand the service. They are
//! made once, from the configuration and the types of the routes.

mod openapi;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::app::App;
use crate::config::Config;
use crate::payments::{Intent, Method};

/// Header that lets caches keep a document (draft-payment-discovery-00, "Caching").
const CACHE_POLICY: (HeaderName, &str) = (CACHE_CONTROL, "max-age=300");

const FAVICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" \
height=\"32\" rx=\"7\" fill=\"#15323a\"/><path d=\"M9 8h14v4H13v4h8v4h-8v5H9z\" fill=\"#f4d35e\"/></svg>";

/// Operations on offer, and the terms of payment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    name: String,
    /// Payable and free operations.
    operations: Vec<Operation>,
    payment: PaymentTerms,
    /// Links to further documents.
    docs: Vec<String>,
}

/// One operation of `/mpp`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    #[schema(example = "POST")]
    method: String,
    #[schema(example = "/mpp/pii/preview")]
    path: String,
    summary: String,
    /// Dollars for one request, or for one chunk of a metered answer; `null` when it is free.
    #[schema(example = "0.05")]
    price: Option<String>,
}

/// Terms of charges (draft-tempo-charge-00).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentTerms {
    scheme: &'static str,
    method: &'static str,
    intents: Vec<&'static str>,
    chain_id: u64,
    /// TIP-20 token address.
    currency: String,
    currency_name: String,
    recipient: String,
    modes: Vec<&'static str>,
    /// True if `?feePayer=true` lets the server pay the network fee.
    sponsored: bool,
}

/// Documents, ready to send.
pub struct Documents {
    index: Bytes,
    openapi: Bytes,
    openapi_full: Bytes,
    llms: Bytes,
    llms_full: Bytes,
    catalog: Bytes,
}

impl Documents {
    /// Makes the documents of a server.
    #[must_use]
    pub fn new(app: &App) -> Self {
        let config = &app.config;
        let document = openapi::document(config, &app.offers, app.sessions.as_deref());
        let llms = llms_text(config, &document);
        let llms_full = format!("{llms}\n{}", reference(&document));
        let index = serde_json::to_vec(&Index::new(app, &document)).expect("plain data is valid JSON");
        Self {
            index: Bytes::from(index),
            openapi: Bytes::from(openapi::for_agents(&document, config).to_string()),
            openapi_full: Bytes::from(document.to_string()),
            llms: Bytes::from(llms),
            llms_full: Bytes::from(llms_full),
            catalog: Bytes::from(catalog_document(config).to_string()),
        }
    }
}

impl Index {
    fn new(app: &App, document: &Value) -> Self {
        let operations = operations(document)
            .into_iter()
            .filter(|(_, path, _)| path.starts_with("/mpp/"))
            .map(|(method, path, operation)| Operation {
                method,
                path: path.to_owned(),
                summary: operation["summary"].as_str().unwrap_or_default().to_owned(),
                price: price(operation).map(str::to_owned),
            })
            .collect();
        let config = &app.config;
        let url = &config.server.public_url;
        Self {
            name: config.product.name.clone(),
            operations,
            payment: PaymentTerms {
                scheme: "Payment",
                method: Method::Tempo.as_str(),
                intents: if app.sessions.is_some() {
                    vec![Intent::Charge.as_str(), Intent::Session.as_str()]
                } else {
                    vec![Intent::Charge.as_str()]
                },
                chain_id: config.chain.chain_id,
                currency: format!("{:#x}", config.chain.currency),
                currency_name: config.chain.currency_name.clone(),
                recipient: format!("{:#x}", config.payments.recipient),
                modes: config.payments.modes.iter().map(|mode| mode.as_str()).collect(),
                sponsored: app.offers.preview_sponsored.is_some(),
            },
            docs: ["/openapi.json", "/openapi-full.json", "/llms.txt", "/llms-full.txt"]
                .map(|path| format!("{url}{path}"))
                .into(),
        }
    }
}

/// Returns dollars for one call of a documented operation, or for its smallest part
/// where it is metered; `None` when it is free.
fn price(operation: &Value) -> Option<&str> {
    let price = &operation["x-payment-info"]["price"];
    price["amount"].as_str().or_else(|| price["min"].as_str())
}

/// Documents of the server, as handlers get them.
pub type Shared = Extension<Arc<Documents>>;

/// List what can be bought and how to pay.
#[utoipa::path(get, path = "/mpp", operation_id = "mpp_index", tag = "discovery",
    responses((status = 200, description = "Operations, prices and payment terms", body = Index)))]
pub async fn index(Extension(documents): Shared) -> Response {
    ([(CONTENT_TYPE, "application/json"), CACHE_POLICY], documents.index.clone()).into_response()
}

pub async fn openapi(Extension(documents): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), CACHE_POLICY], documents.openapi.clone())
}

pub async fn openapi_full(Extension(documents): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), CACHE_POLICY], documents.openapi_full.clone())
}

pub async fn llms(Extension(documents): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), CACHE_POLICY], documents.llms.clone())
}

pub async fn llms_full(Extension(documents): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), CACHE_POLICY], documents.llms_full.clone())
}

pub async fn catalog(Extension(documents): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/linkset+json"), CACHE_POLICY], documents.catalog.clone())
}

pub async fn favicon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), CACHE_POLICY], FAVICON)
}

/// Makes the API catalog (RFC 9727), with links to the API's description.
fn catalog_document(config: &Config) -> Value {
    let (url, mcp) = (&config.server.public_url, config.mcp_url());
    let card = |path: &str| {
        let href = format!("{mcp}{path}/server-card");
        let card = json!({ "href": href, "type": "application/mcp-server-card+json" });
        json!({ "anchor": format!("{mcp}{path}"), "service-desc": [card] })
    };
    let api = json!({
        "anchor": url,
        "service-desc": [
            { "href": format!("{url}/openapi.json"), "type": "application/json", "title": "What agents pay for" },
            { "href": format!("{url}/openapi-full.json"), "type": "application/json", "title": "The complete API" },
        ],
        "service-doc": [{ "href": format!("{url}/llms.txt"), "type": "text/plain" }],
        "status": [{ "href": format!("{url}/healthz"), "type": "application/json" }],
    });
    json!({ "linkset": [api, card("/mcp"), card("/mpp/mcp")] })
}

/// Returns every documented operation as (METHOD, path, its description).
fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
        })
        .collect()
}

fn llms_text(config: &Config, document: &Value) -> String {
    let url = &config.server.public_url;
    let mut text = format!(
        "# {}\n\n> {}\n\n{}\n\n## Operations\n\n",
        config.product.name,
        config.product.description,
        document["info"]["x-guidance"].as_str().unwrap_or_default()
    );
    for (method, path, operation) in operations(document) {
        let price = price(operation).map_or_else(
            || if path.starts_with("/v1/") { "prepaid, with an API key" } else { "free" }.to_owned(),
            |dollars| {
                let payment = &operation["x-payment-info"];
                match (
                    payment["offers"][0]["intent"] == Intent::Session.as_str(),
                    payment["price"]["mode"] == "dynamic",
                ) {
                    (true, _) => format!("${dollars} per chunk"),
                    (false, true) => format!("from ${dollars}"),
                    (false, false) => format!("${dollars} per request"),
                }
            },
        );
        let summary = operation["summary"].as_str().unwrap_or_default();
        let _ = writeln!(text, "- {method} {url}{path} ({price}): {summary}");
    }
    let (chain, mcp) = (&config.chain, config.mcp_url());
    let _ = write!(
        text,
        "\n## Payment\n\n- scheme: Payment (HTTP 402), method tempo, intent charge\n- token: {} {:#x} on chain {}\n- \
         recipient: {:#x}\n\n## MCP\n\n- {mcp}/mcp: chat, redaction of text and files, credits and keys as tools, with OAuth \
         (an API key is only for {url}/v1)\n- {mcp}/mpp/mcp: tools that are paid by the call, without an account\n\n## \
         Documents\n\n- [OpenAPI]({url}/openapi.json), [complete]({url}/openapi-full.json)\n- [All of this, with \
         parameters]({url}/llms-full.txt)\n",
        chain.currency_name, chain.currency, chain.chain_id, config.payments.recipient
    );
    text
}

/// Writes descriptions, parameters, example and answers of each operation.
fn reference(document: &Value) -> String {
    let mut text = String::from("## Reference\n");
    for (method, path, operation) in operations(document) {
        let _ = write!(text, "\n### {method} {path}\n\n");
        for part in ["summary", "description"] {
            if let Some(part) = operation[part].as_str() {
                let _ = writeln!(text, "{part}\n");
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let of = |name: &str| parameter[name].as_str().unwrap_or_default();
            let _ = writeln!(text, "- {} `{}`: {}", of("in"), of("name"), of("description"));
        }
        let body = &operation["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            let _ = writeln!(text, "- body schema: {}", resolved(document, &body["schema"]));
            let _ = writeln!(text, "- example: {}", body["example"]);
        }
        for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
            let answer = resolved(document, answer);
            let _ = writeln!(text, "- {status}: {}", answer["description"].as_str().unwrap_or_default());
        }
    }
    text
}

/// Returns a schema or a response with its first reference followed: enough to read.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|reference| document.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}
