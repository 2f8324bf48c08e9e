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

use std::borrow::Cow;
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
use serde_json::Value;

use super::State;
use super::error::HttpError;
use super::gates::{self, AccessToken};
use super::json_size;
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
        let (parts, received, tool) = read(request, &app).await?;
        if let Some(scope) = tool.and_then(ToolName::scope) {
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
        Ok((parts, received, _)) => serve(&app, &services.pay_per_call, None, parts, received).await,
        Err(error) => error.into_response(),
    }
}

/// Reads a request's body and checks the message, as far as this costs less than the protocol does: its size, its time,
/// its number of values, its method.
async fn read(request: Request, app: &State) -> Result<(Parts, Received, Option<ToolName>), HttpError> {
    let (parts, body) = request.into_parts();
    let received = Received::from_request(Request::from_parts(parts.clone(), body), app).await?;
    if parts.method != Method::POST {
        return Ok((parts, received, None));
    }
    let text = received.json_text()?;
    let head = received.read_through(|| {
        json_size::check_within(text, MAX_VALUES).ok()?;
        serde_json::from_str::<MessageHead<'_>>(text).ok()
    });
    let head = head.ok_or_else(|| {
        let detail =
            format!("send one JSON-RPC message with a method, of {MAX_VALUES} JSON values at the most");
        HttpError::invalid(detail)
    })?;
    let is_long = head.id.as_ref().is_some_and(|id| id.to_string().len() > MAX_ID);
    if is_long || head.method.len() > MAX_METHOD {
        return Err(HttpError::invalid(format!("the message's id or method is longer than {MAX_ID} bytes")));
    }
    let tool = head.tool();
    Ok((parts, received, tool))
}

/// Most JSON values of a message: a long conversation has some thousands.
const MAX_VALUES: usize = 20_000;
/// Longest JSON-RPC id, in bytes.
const MAX_ID: usize = 256;
/// Longest method, in bytes.
const MAX_METHOD: usize = 256;

/// Message, as far as its method and the tool that it calls.
#[derive(Deserialize)]
struct MessageHead<'a> {
    id: Option<Value>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<NamedParams<'a>>,
}

#[derive(Deserialize)]
struct NamedParams<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl MessageHead<'_> {
    /// Returns the tool that it calls. Scopes are a matter of HTTP: 403 asks for more of them.
    fn tool(&self) -> Option<ToolName> {
        let name = self.params.as_ref()?.name.as_deref()?;
        (self.method == "tools/call").then(|| ToolName::parse(name))?
    }
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
