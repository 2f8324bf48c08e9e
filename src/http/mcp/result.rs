//! Results of tools on the wire: what they return, and errors that say what to do.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, JsonObject, MetaObject, ProtocolVersion};
use serde_json::{Value, json};

use super::call::ToolOutput;
use super::catalog::McpEndpoint;
use crate::http::error::{Code, HttpError};
use crate::payments::json as payment;

/// JSON-RPC code of a call that must be paid for (draft-payment-transport-mcp-00).
const PAYMENT_REQUIRED: ErrorCode = ErrorCode(-32042);
/// JSON-RPC code of a call whose payment was not accepted (draft-payment-transport-mcp-00).
const VERIFICATION_FAILED: ErrorCode = ErrorCode(-32043);

/// Generation of the protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolEra {
    /// Before 2026-07-28: payments are asked for in a JSON-RPC error.
    Initialized,
    /// From 2026-07-28 on: in the result's `_meta`.
    Stateless,
}

impl ProtocolEra {
    /// Returns the era of a version; without one, the earlier.
    #[must_use]
    pub fn of(version: Option<&ProtocolVersion>) -> Self {
        let is_stateless =
            version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        if is_stateless { Self::Stateless } else { Self::Initialized }
    }
}

/// Writes what a tool returned: the object, and the same as text for models that read text alone.
#[must_use]
pub fn success(output: ToolOutput) -> CallToolResult {
    let ToolOutput { structured, paid, more } = output;
    let mut result = CallToolResult::structured(structured);
    result.content.extend(more);
    if let Some(paid) = paid {
        result.meta = Some(meta(payment::RECEIPT, payment::receipt(&paid.receipt)));
    }
    result
}

/// Writes why a tool returned nothing: a result that the model reads. What must be paid is in its `_meta`, or for earlier
/// clients of the endpoint without accounts in a JSON-RPC error, where they look for it.
///
/// # Errors
/// The JSON-RPC error.
pub fn failure(
    error: &HttpError,
    endpoint: McpEndpoint,
    era: ProtocolEra,
    presented: bool,
) -> Result<CallToolResult, ErrorData> {
    let text = format!("{} ({})", words(error), error.code.as_str());
    if error.challenges.is_empty() {
        return Ok(CallToolResult::error(vec![ContentBlock::text(text)]));
    }
    let challenges: Vec<Value> = error.challenges.iter().map(payment::challenge).collect();
    let data = json!({ "httpStatus": 402, "challenges": challenges, "problem": error.problem() });
    if endpoint == McpEndpoint::PayPerCall && era == ProtocolEra::Initialized {
        let code = if presented { VERIFICATION_FAILED } else { PAYMENT_REQUIRED };
        return Err(ErrorData::new(code, text, Some(data)));
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.meta = Some(meta(payment::PAYMENT_REQUIRED, data));
    Ok(result)
}

/// Returns an error in the words of tools: those of HTTP name routes that a model cannot ask.
fn words(error: &HttpError) -> String {
    match error.code {
        Code::ModelNotFound => error.detail.replace("GET /v1/models lists", "list_models lists"),
        Code::InsufficientCredits => error.detail.replace("add credits", "add credits with top_up"),
        _ => error.detail.clone(),
    }
}

fn meta(name: &str, value: Value) -> MetaObject {
    let mut fields = JsonObject::new();
    fields.insert(name.to_owned(), value);
    MetaObject(fields)
}
