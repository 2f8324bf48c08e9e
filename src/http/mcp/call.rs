//! Call of a tool: what came, and who calls.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{ContentBlock, JsonObject};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::catalog::ToolName;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::payable::{CredentialCarrier, PayableRequest};
use crate::http::gates::{AccessToken, RatedKey};
use crate::http::request::checked_idempotency_key;
use crate::id::{RequestId, Timestamp};
use crate::payments::{Delivery, Resource, json};

/// Member of `_meta` that carries the idempotency key: clients send a call that broke again under another id.
pub const IDEMPOTENCY_KEY: &str = "farebox/idempotency-key";

/// Request that carried a message, and who sent it.
#[derive(Clone)]
pub struct McpRequest {
    /// Proof of an access token; `None` where none is asked for.
    pub access: Option<Arc<AccessToken>>,
    pub id: RequestId,
    pub client: Option<IpAddr>,
    pub at: Timestamp,
    pub nonce: Uuid,
    /// Payments whose answers leave with this response.
    pub delivered: DeliveredPayments,
}

/// Payments whose answers leave with a response. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct DeliveredPayments(Arc<Mutex<Vec<String>>>);

impl DeliveredPayments {
    pub fn push(&self, payment: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(payment);
    }

    /// Takes all of them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Call of a tool.
pub struct ToolCall {
    pub app: State,
    pub tool: ToolName,
    pub request: McpRequest,
    /// A JSON object.
    pub arguments: Value,
    /// `_meta` of the call.
    pub meta: JsonObject,
}

/// Result of a tool: an object as its output schema has it, and the payment that was made for it.
pub struct ToolOutput {
    pub structured: Value,
    pub paid: Option<Delivery>,
    /// Content beside the object: a file, or a link to one.
    pub more: Vec<ContentBlock>,
}

impl From<Value> for ToolOutput {
    fn from(structured: Value) -> Self {
        Self { structured, paid: None, more: Vec::new() }
    }
}

impl ToolCall {
    /// Reads the arguments.
    ///
    /// # Errors
    /// 400 with the argument's name.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_path_to_error::deserialize(&self.arguments).map_err(|error| {
            let path = error.path().to_string();
            let reason = error.inner().to_string();
            // serde repeats values, which may be anything.
            let reason = match reason.split_once(", expected") {
                Some((_, expected)) if reason.starts_with("invalid") => format!("must be{expected}"),
                _ => reason,
            };
            let place = if path == "." { "the arguments".to_owned() } else { format!("`{path}`") };
            HttpError::invalid(format!("{place}: {reason}; see the tool's inputSchema"))
        })
    }

    /// Returns the proof of the access token.
    ///
    /// # Errors
    /// If the call came without one, which no tool of `/mcp` can.
    pub fn access(&self) -> Result<&AccessToken, HttpError> {
        self.request
            .access
            .as_deref()
            .ok_or_else(|| HttpError::invalid("this tool needs an account; use /mcp"))
    }

    /// Returns the key that the call spends.
    ///
    /// # Errors
    /// Those of [`Self::access`].
    pub fn key(&self) -> Result<&RatedKey, HttpError> {
        self.access().map(|access| &**access)
    }

    /// Returns the key under which the call is charged once.
    ///
    /// # Errors
    /// 400 when it is not 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<String>, HttpError> {
        let value = self.meta.get(IDEMPOTENCY_KEY);
        let field = format!("_meta.{IDEMPOTENCY_KEY}");
        value.map(|value| checked_idempotency_key(&field, value.as_str())).transpose()
    }

    /// Returns the call as the payment gate sees it.
    ///
    /// # Errors
    /// 400 for arguments that have no canonical form, or an idempotency key that cannot be one.
    pub fn payable(&self) -> Result<PayableRequest<'_>, HttpError> {
        let digest = json::digest(self.tool.as_str(), &self.arguments);
        let digest = digest.map_err(|_| {
            HttpError::invalid(
                "a number of the arguments is too large to be paid for; send whole numbers below 2^53",
            )
        })?;
        Ok(PayableRequest {
            resource: Resource::mcp_tool(self.tool.as_str()),
            digest: Some(digest),
            is_costly: self.arguments.to_string().len() > PayableRequest::CHEAP_BYTES,
            id: self.request.id.clone(),
            idempotency_key: self.idempotency_key()?,
            client: self.request.client,
            at: self.request.at,
            nonce: self.request.nonce,
            carrier: CredentialCarrier::Meta(self.meta.get(json::CREDENTIAL)),
        })
    }
}
