//! Server cards (SEP-2127): what a program can know of an MCP server before it connects. They say how to reach it, and
//! nothing of its tools.

use axum::extract::State as AppState;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use rmcp::model::ProtocolVersion;
use serde_json::json;
use url::Url;

use super::catalog::McpEndpoint;
use crate::config::Config;
use crate::http::State;

const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json";

/// Serves the card of `/mcp`.
pub async fn account(AppState(app): AppState<State>) -> Response {
    respond(&app.config, McpEndpoint::Account)
}

/// Serves the card of `/mpp/mcp`.
pub async fn pay_per_call(AppState(app): AppState<State>) -> Response {
    respond(&app.config, McpEndpoint::PayPerCall)
}

fn respond(config: &Config, endpoint: McpEndpoint) -> Response {
    let (path, name, description) = match endpoint {
        McpEndpoint::Account => {
            ("/mcp", "mcp", "Ask AI models and redact personal data, from prepaid credits, with OAuth")
        }
        McpEndpoint::PayPerCall => (
            "/mpp/mcp",
            "mpp-mcp",
            "Ask AI models and redact personal data, paid by the call over MPP, without an account",
        ),
    };
    let url = config.mcp_url();
    let card = json!({
        "$schema": SCHEMA,
        "name": format!("{}/{name}", reversed_host(url)),
        "title": config.product.name,
        "description": description,
        "version": env!("CARGO_PKG_VERSION"),
        "websiteUrl": config.server.public_url,
        "remotes": [{
            "type": "streamable-http",
            "url": format!("{url}{path}"),
            "supportedProtocolVersions": ProtocolVersion::KNOWN_VERSIONS,
        }],
    });
    let headers =
        [(CONTENT_TYPE, "application/mcp-server-card+json"), (CACHE_CONTROL, "public, max-age=3600")];
    (headers, card.to_string()).into_response()
}

/// Returns the host of a URL with its labels in reverse: `com.example.mcp`.
fn reversed_host(url: &str) -> String {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host;
    }
    host.rsplit('.').collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_reversed_hosts() {
        for (url, name) in [
            ("https://mcp.example.com", "com.example.mcp"),
            ("http://localhost:8402", "localhost"),
            ("http://127.0.0.1:8402", "127.0.0.1"),
        ] {
            assert_eq!(reversed_host(url), name);
        }
    }
}
