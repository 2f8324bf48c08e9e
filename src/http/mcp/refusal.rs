//! Refusals below JSON-RPC, which the protocol library writes as plain text, in the words and the shape of this server.

use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};

use crate::http::error::{Code, HttpError};

/// Returns the error in place of a plain-text refusal; `None` for an answer.
pub fn of<B>(response: &Response<B>) -> Option<HttpError> {
    let (status, headers) = (response.status(), response.headers());
    let is_plain = headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if status.is_success() || !is_plain {
        return None;
    }
    let (code, detail) = match status {
        StatusCode::FORBIDDEN => (
            Code::ForeignOrigin,
            "the Host or Origin header is not one of this server's; use its public URL, or have the operator add the \
             origin to mcp.allowed_origins",
        ),
        StatusCode::METHOD_NOT_ALLOWED => (
            Code::MethodNotAllowed,
            "each MCP message is a POST of its own; there are no sessions or streams to GET",
        ),
        StatusCode::NOT_ACCEPTABLE => {
            (Code::NotAcceptable, "send `Accept: application/json, text/event-stream`")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            Code::UnsupportedMediaType,
            "send one JSON-RPC message as application/json; batches are not part of the protocol",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (Code::PayloadTooLarge, "the message is too large"),
        status if status.is_server_error() => {
            (Code::InternalError, "the message could not be served; send it again")
        }
        _ => (
            Code::InvalidParams,
            "the message does not follow the protocol: check the MCP-Protocol-Version header and the JSON-RPC message",
        ),
    };
    Some(HttpError::new(code, detail))
}
