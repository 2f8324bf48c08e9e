//! Work that is paid from prepaid credits, free of its presentation: `/v1` and the MCP server both sell it.

pub mod affordable;
mod attachments;
pub mod chat;
pub mod preview;
pub mod refusal;
pub mod top_up;

use crate::http::error::HttpError;
use crate::http::request::{Received, read_through};
use crate::id::{RequestId, Timestamp};

/// Request for prepaid work.
#[derive(Debug)]
pub struct PrepaidRequest<'a> {
    /// JSON object with the parameters, as `/v1` has them.
    pub body: &'a str,
    /// Key under which it is charged once.
    pub idempotency_key: Option<String>,
    /// Name in logs and entries.
    pub id: RequestId,
    /// Time at which it was complete.
    pub at: Timestamp,
}

impl<'a> PrepaidRequest<'a> {
    /// Returns what `parse` makes of the body. A large one is parsed beside the threads that serve.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&str) -> T) -> T {
        read_through(self.body.len(), || parse(self.body))
    }

    /// Reads an HTTP request.
    ///
    /// # Errors
    /// Those of [`Received::json_text`] and [`Received::idempotency_key`].
    pub fn of(request: &'a Received) -> Result<Self, HttpError> {
        Ok(Self {
            body: request.json_text()?,
            idempotency_key: request.idempotency_key()?,
            id: request.id.clone(),
            at: request.at,
        })
    }
}
