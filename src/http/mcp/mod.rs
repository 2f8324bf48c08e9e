//! MCP server: `/mcp` with an access token, `/mpp/mcp` without an account (Streamable HTTP, 2024-11-05 to 2026-07-28).
//!
//! ```text
//! access token -> body -> scope -> rmcp: protocol -> server: tools -> the same code as /v1 and /mpp
//! ```

mod call;
pub mod card;
mod catalog;
mod delivery;
pub mod files;
mod origins;
mod refusal;
mod result;
mod server;
mod tools;

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State as AppState};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use http_body_util::Full;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;

use super::State;
use super::error::HttpError;
use super::gates::{self, AccessToken};
use super::request::Received;
use call::{DeliveredPayments, McpRequest};
use catalog::{McpEndpoint, ToolCatalog, ToolName};
use delivery::SentBody;
use server::McpServer;

type McpService = StreamableHttpService<McpServer, NeverSessionManager>;

/// MCP services of both endpoints, made once.
pub struct McpServices {
    account: McpService,
    pay_per_call: McpService,
}

impl McpServices {
    /// Makes the services of a program.
    #[must_use]
    pub fn new(app: &State) -> Self {
        let catalog = ToolCatalog::new(&app.config);
        let urls = [app.config.mcp_url(), app.config.server.public_url.as_str()];
        let service = |endpoint| {
            let server = McpServer { app: Arc::clone(app), endpoint, catalog: catalog.clone() };
            let config = StreamableHttpServerConfig::default()
                .with_legacy_session_mode(false)
                .with_json_response(true)
                .with_max_request_body_bytes(app.config.server.body_limit_bytes)
                .with_allowed_hosts(origins::allowed_hosts(&urls))
                .with_allowed_origins(origins::allowed_origins(&urls, &app.config.mcp.allowed_origins))
                .enforce_origin_validation();
            StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config)
        };
        Self { account: service(McpEndpoint::Account), pay_per_call: service(McpEndpoint::PayPerCall) }
    }
}

/// Serves `/mcp`. Who has no access token is told so before anything else is looked at.
pub async fn account(
    AppState(app): AppState<State>,
    Extension(services): Extension<Arc<McpServices>>,
    access: AccessToken,
    request: Request,
) -> Response {
    let answer = async {
        let access = Arc::new(access);
        let (parts, received) = read(request, &app).await?;
        if let Some(scope) = called_tool(&received).and_then(ToolName::scope) {
            access.require(&app, &[scope].into_iter().collect())?;
        }
        Ok::<_, HttpError>(serve(&app, &services.account, Some(access), parts, received).await)
    };
    answer.await.unwrap_or_else(HttpError::into_response)
}

/// Serves `/mpp/mcp`.
pub async fn pay_per_call(
    AppState(app): AppState<State>,
    Extension(services): Extension<Arc<McpServices>>,
    request: Request,
) -> Response {
    match read(request, &app).await {
        Ok((parts, received)) => serve(&app, &services.pay_per_call, None, parts, received).await,
        Err(error) => error.into_response(),
    }
}

/// Reads a request's body, within the limits of every body: its size, its time, its number of values.
async fn read(request: Request, app: &State) -> Result<(Parts, Received), HttpError> {
    let (parts, body) = request.into_parts();
    let received = Received::from_request(Request::from_parts(parts.clone(), body), app).await?;
    if parts.method == Method::POST && !received.body.is_empty() {
        received.json_text()?;
    }
    Ok((parts, received))
}

/// Call of a tool, as far as its name.
#[derive(Deserialize)]
struct NamedCall<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    params: Option<NamedParams<'a>>,
}

#[derive(Deserialize)]
struct NamedParams<'a> {
    #[serde(borrow)]
    name: Option<std::borrow::Cow<'a, str>>,
}

/// Returns the tool that a message calls. Scopes are a matter of HTTP: 403 asks for more of them.
fn called_tool(received: &Received) -> Option<ToolName> {
    let call: NamedCall<'_> = serde_json::from_slice(&received.body).ok()?;
    (call.method == "tools/call").then_some(call.params?.name)?.and_then(|name| ToolName::parse(&name))
}

async fn serve(
    app: &State,
    service: &McpService,
    access: Option<Arc<AccessToken>>,
    mut parts: Parts,
    received: Received,
) -> Response {
    let delivered = DeliveredPayments::default();
    parts.extensions.insert(McpRequest {
        access,
        id: received.id.clone(),
        client: received.client,
        at: received.at,
        nonce: received.nonce,
        delivered: delivered.clone(),
    });
    let body: Full<Bytes> = received.body.clone().into();
    let response = service.handle(Request::from_parts(parts, body)).await;
    if let Some(error) = refusal::of(&response) {
        return error.into_response();
    }
    let app = Arc::clone(app);
    let note = move || {
        for payment in delivered.take() {
            gates::delivery::delivered(&app, payment);
        }
    };
    response.map(|body| Body::new(SentBody::new(body, note)))
}
