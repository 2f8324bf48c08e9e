//! Receipts and errors of a session.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::funding::channel::Channel;
use crate::http::PAYMENT_RECEIPT;
use crate::http::error::{Code, HttpError};
use crate::id::Timestamp;
use crate::meter::ChannelBalance;
use crate::money::Money;
use crate::payments::methods::tempo::session::SessionReceipt;
use crate::payments::{Intent, Method};
use crate::services::chat::{ChatError, UpstreamError};

/// Header with the channel of a client that has one.
pub(super) const PAYMENT_SESSION: HeaderName = HeaderName::from_static("payment-session");

pub(super) fn balance(channel: &Channel) -> ChannelBalance {
    ChannelBalance { accepted: channel.accepted(), spent: channel.spent, deposit: channel.deposit }
}

/// Cost of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Units of prompt and answer.
    pub units: u64,
    /// Units of the prompt, so far as they are charged.
    pub prompt_units: u64,
    /// Price of one unit.
    pub price: Money,
}

/// Makes the receipt of what was paid at `now`.
pub(super) fn receipt(
    challenge_id: &str,
    channel: &Channel,
    accepted: Money,
    cost: Option<Cost>,
    tx_hash: Option<String>,
    now: Timestamp,
) -> SessionReceipt {
    SessionReceipt {
        method: Method::Tempo.as_str().into(),
        intent: Intent::Session.as_str().into(),
        status: "success".into(),
        timestamp: now.to_rfc3339(),
        reference: channel.id.to_string(),
        challenge_id: challenge_id.to_owned(),
        channel_id: channel.id.to_string(),
        accepted_cumulative: accepted.to_base_units(),
        spent: channel.spent.to_base_units(),
        units: cost.map(|cost| cost.units),
        prompt_units: cost.map(|cost| cost.prompt_units.min(cost.units)).filter(|units| *units > 0),
        unit_price: cost.map(|cost| cost.price.to_base_units()),
        tx_hash,
    }
}

pub(super) fn with_receipt(response: &mut Response, receipt: &SessionReceipt) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    if let Ok(value) = HeaderValue::try_from(receipt.to_header()) {
        headers.insert(PAYMENT_RECEIPT, value);
    }
    if let Ok(value) = HeaderValue::try_from(receipt.channel_id.as_str()) {
        headers.insert(PAYMENT_SESSION, value);
    }
}

pub(super) fn no_content(receipt: &SessionReceipt) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    with_receipt(&mut response, receipt);
    response
}

pub(super) fn chat_error(error: &ChatError) -> HttpError {
    match error {
        ChatError::ContextLength { .. } => HttpError::new(Code::ContextLengthExceeded, error.to_string()),
        ChatError::Examination(reason) => (*reason).into(),
        ChatError::Syntax(_)
        | ChatError::UnknownModel { .. }
        | ChatError::InvalidField { .. }
        | ChatError::Selection(_)
        | ChatError::File { .. } => HttpError::invalid(error.to_string()),
    }
}

pub(super) fn pending() -> HttpError {
    HttpError::new(
        Code::SettlementPending,
        "the transaction's outcome is not known yet; send the same request with the same credential again",
    )
    .retry_soon()
}

/// Makes the error of a request that needs a part of the server which is down.
pub(super) fn unavailable(part: &str) -> HttpError {
    HttpError::unavailable(format!(
        "{part} cannot be reached; nothing was charged for this request, send it again"
    ))
}

pub(super) fn upstream_error(error: &UpstreamError) -> HttpError {
    HttpError::of_upstream(error, format!("{error}; nothing was charged"))
}
