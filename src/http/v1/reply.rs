//! Refusals of the prepaid API.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{Code, HttpError};
use crate::ledger::{LimitedBy, SpendingLimit};
use crate::meter::{AnswerError, StreamEnd};
use crate::money::Money;
use crate::services::chat::{ChatError, UpstreamError};

/// An error in the shape of OpenAI's.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    error: OpenAiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorBody {
    message: String,
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: String,
    /// The field at fault.
    param: Option<String>,
    /// Stable code for programs.
    #[schema(example = "insufficient_credits")]
    code: String,
}

/// There is less than a request needs at the very least.
pub(super) fn short(left: SpendingLimit, needed: Money) -> HttpError {
    let missing = needed.checked_sub(left.affordable);
    let (needed, affordable) = (needed.to_dollars(), left.affordable.to_dollars());
    let (code, why) = match left.bound {
        LimitedBy::Balance => {
            (Code::InsufficientCredits, "the account's credits do not pay for it; add credits")
        }
        LimitedBy::Daily => {
            (Code::KeyLimitReached, "the key's daily limit is reached; it begins anew at 00:00 UTC")
        }
        LimitedBy::Total => {
            (Code::KeyLimitReached, "the key's limit is reached; use another key or raise it")
        }
    };
    HttpError::new(
        code,
        format!("this request needs at least ${needed}, and ${affordable} can be spent on it: {why}"),
    )
    .missing(missing)
}

pub(super) fn in_progress() -> HttpError {
    HttpError::new(
        Code::PaymentInProgress,
        "a request with this Idempotency-Key is being served; wait for its answer",
    )
    .retry_after(1)
}

pub(super) fn reused() -> HttpError {
    HttpError::new(
        Code::IdempotencyKeyReused,
        "a request with this Idempotency-Key was served and charged; use a new one for a new answer",
    )
}

/// The ledger cannot be written: nothing is delivered then.
pub(super) fn ledger_unavailable(error: &impl std::fmt::Display) -> HttpError {
    tracing::error!(%error, "a prepaid request cannot be charged");
    billing()
}

pub(super) fn billing() -> HttpError {
    HttpError::new(
        Code::BillingError,
        "the request could not be charged, so nothing was delivered; send it again",
    )
    .retry_after(2)
}

/// The parser's words, with the routes of this API.
pub(super) fn refused(error: &ChatError) -> HttpError {
    match error {
        ChatError::UnknownModel { nearest } => return super::models::unknown(nearest.as_deref()),
        ChatError::Examination(why) => return (*why).into(),
        ChatError::Syntax(_)
        | ChatError::InvalidField { .. }
        | ChatError::Selection(_)
        | ChatError::File { .. } => {}
    }
    let refused = HttpError::invalid(error.to_string().replace("/mpp/", "/v1/"));
    match error.param() {
        Some(param) => refused.param(param),
        None => refused,
    }
}

pub(super) fn upstream(error: &UpstreamError) -> HttpError {
    let code = if error.is_client_error() { Code::InvalidParams } else { Code::UpstreamFailed };
    HttpError::new(code, error.to_string())
}

/// Why there is no whole answer; nothing was charged for it.
pub(super) fn failed(failed: &AnswerError) -> HttpError {
    match failed {
        AnswerError::Upstream(error) => upstream(error),
        AnswerError::KeyEnded => key_ended(),
        AnswerError::Superseded | AnswerError::LedgerUnavailable | AnswerError::ClientGone => billing(),
    }
}

/// What a stream ends with, unless it is complete.
pub(super) fn broken_off(end: &StreamEnd) -> Option<HttpError> {
    Some(match end {
        StreamEnd::Complete | StreamEnd::ClientGone => return None,
        StreamEnd::Upstream(error) => upstream(error),
        StreamEnd::OutOfCredit => HttpError::new(
            Code::InsufficientCredits,
            "the account's credits are used up; what was delivered is paid, add credits for more",
        ),
        StreamEnd::KeyEnded => key_ended(),
        StreamEnd::NoVoucher | StreamEnd::Superseded | StreamEnd::LedgerUnavailable => HttpError::new(
            Code::BillingError,
            "the answer could not be charged any further; what was delivered is paid",
        ),
    })
}

fn key_ended() -> HttpError {
    HttpError::new(Code::InactiveApiKey, "the API key was revoked or has expired")
}
