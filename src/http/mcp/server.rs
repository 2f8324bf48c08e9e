//! The MCP server: what it says of itself, its tools, and their calls.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use futures_util::FutureExt as _;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tracing::Instrument as _;

use super::call::{McpRequest, ToolCall, ToolOutput};
use super::catalog::{McpEndpoint, ToolCatalog, ToolName};
use super::result::{self, ProtocolEra};
use super::tools;
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::payments::json;

/// Time between two notifications of progress: clients give up after a minute of silence.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Time for which a client may keep the list of tools, in milliseconds: it changes with a token's scopes and with prices.
const LIST_TTL_MS: u64 = 300_000;

/// Server behind one endpoint. Every message is served by itself, so any instance can serve any.
#[derive(Clone)]
pub struct McpServer {
    pub app: State,
    pub endpoint: McpEndpoint,
    pub catalog: ToolCatalog,
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let product = &self.app.config.product.name;
        let mut server = Implementation::new("farebox", env!("CARGO_PKG_VERSION"));
        server.title = Some(product.clone());
        server.website_url = Some(self.app.config.server.public_url.clone());
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = server;
        info.with_instructions(self.instructions())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let request = mcp_request(&context)?;
        let is_granted = |tool: ToolName| match (&request.access, tool.scope()) {
            (Some(access), Some(scope)) => access.scopes().contains(scope),
            _ => true,
        };
        let tools = self.catalog.at(self.endpoint).filter(|(name, _)| is_granted(*name));
        let list = ListToolsResult::with_all_items(tools.map(|(_, tool)| tool.clone()).collect());
        Ok(match ProtocolEra::of(context.protocol_version().as_ref()) {
            ProtocolEra::Initialized => list,
            ProtocolEra::Stateless => list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private),
        })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.catalog.get(self.endpoint, ToolName::parse(name)?).cloned()
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let request = mcp_request(&context)?;
        let era = ProtocolEra::of(context.protocol_version().as_ref());
        let tool = ToolName::parse(&call.name).filter(|tool| tool.is_at(self.endpoint));
        let tool = tool.ok_or_else(|| {
            ErrorData::invalid_params("there is no such tool; tools/list lists those there are", None)
        })?;
        // The request was refused before, in HTTP's way, unless it was read in two ways.
        if let (Some(access), Some(scope)) = (&request.access, tool.scope())
            && !access.scopes().contains(scope)
        {
            return Err(ErrorData::invalid_params(format!("the scope {} is missing", scope.as_str()), None));
        }
        let span = tracing::info_span!("tool", request_id = %request.id, tool = tool.as_str());
        let call = ToolCall {
            app: Arc::clone(&self.app),
            tool,
            request,
            arguments: Value::Object(call.arguments.unwrap_or_default()),
            meta: (*context.meta.0).clone(),
        };
        let presented = call.meta.contains_key(json::CREDENTIAL);
        let work = AssertUnwindSafe(run(&call, &context)).catch_unwind();
        let outcome = work.instrument(span).await.unwrap_or_else(|_| {
            tracing::error!(tool = tool.as_str(), "a tool panicked");
            Err(HttpError::new(
                Code::InternalError,
                "an internal error occurred; look at get_balance before you try again",
            ))
        });
        let outcome_name = if outcome.is_ok() { "ok" } else { "error" };
        metrics::counter!("farebox_tool_calls_total", "tool" => tool.as_str(), "outcome" => outcome_name)
            .increment(1);
        match outcome {
            Ok(output) => {
                if let Some(paid) = &output.paid {
                    call.request.delivered.push(paid.payment.clone());
                }
                Ok(result::success(output).into())
            }
            Err(error) => result::failure(&error, self.endpoint, era, presented).map(Into::into),
        }
    }
}

impl McpServer {
    fn instructions(&self) -> String {
        let product = &self.app.config.product.name;
        match self.endpoint {
            McpEndpoint::Account => format!(
                "{product} sells answers of AI models and redaction of personal data. Calls of chat and pii_preview spend \
                 the account's prepaid credits, within the limits of this connection; get_balance shows both."
            ),
            McpEndpoint::PayPerCall => format!(
                "{product} sells answers of AI models, redaction of personal data and prepaid credits, paid by the call over \
                 the Machine Payments Protocol, without an account: the refusal of a call says what to pay."
            ),
        }
    }
}

/// Runs a tool. While it works, a client that asked for progress hears of it; one that goes away ends it.
async fn run(call: &ToolCall, context: &RequestContext<RoleServer>) -> Result<ToolOutput, HttpError> {
    let mut work = std::pin::pin!(tools::run(call));
    let token = context.meta.get_progress_token();
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    // The first is at once.
    ticks.tick().await;
    let mut seconds = 0;
    loop {
        tokio::select! {
            output = &mut work => return output,
            () = context.ct.cancelled() => {
                return Err(HttpError::invalid("the call was cancelled"));
            }
            _ = ticks.tick(), if token.is_some() => {
                seconds += PROGRESS_INTERVAL.as_secs();
                let Some(token) = token.clone() else { continue };
                let message = format!("working for {seconds} s");
                let mut progress = ProgressNotificationParam::new(token, f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)));
                progress.message = Some(message);
                // A client that cannot hear it is told the result.
                let _ = context.peer.notify_progress(progress).await;
            }
        }
    }
}

/// Returns the HTTP request that carried a message.
fn mcp_request(context: &RequestContext<RoleServer>) -> Result<McpRequest, ErrorData> {
    let request = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<McpRequest>());
    request.cloned().ok_or_else(|| ErrorData::internal_error("the message came without its request", None))
}
