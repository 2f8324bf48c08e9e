//! Errors of prepaid requests.

use crate::http::error::{Code, HttpError};
use crate::ledger::{LimitedBy, SpendingLimit};
use crate::meter::{AnswerError, StreamEnd};
use crate::money::Money;
use crate::services::chat::{ChatError, UpstreamError};

/// Makes the error of a request that needs more than can be spent on it.
pub(in crate::http) fn insufficient(left: SpendingLimit, needed: Money) -> HttpError {
    let missing = needed.checked_sub(left.affordable);
    let (needed, affordable) = (needed.to_dollars(), left.affordable.to_dollars());
    let (code, reason) = match left.bound {
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
        format!("this request needs at least ${needed}, and ${affordable} can be spent on it: {reason}"),
    )
    .missing(missing)
}

/// Makes the error of a request whose first try is still being served.
pub(in crate::http) fn in_progress() -> HttpError {
    HttpError::new(
        Code::PaymentInProgress,
        "a request with this Idempotency-Key is being served; wait for its answer",
    )
    .retry_after(1)
}

/// Makes the error of a request whose idempotency key was charged for.
pub(in crate::http) fn key_reused() -> HttpError {
    HttpError::new(
        Code::IdempotencyKeyReused,
        "a request with this Idempotency-Key was charged: it was answered, or its client left when a model had it; use a new \
         key for a new answer",
    )
}

/// Makes the error of a model that there is not, or that this key may not use: not told apart.
pub(in crate::http) fn unknown_model(nearest: Option<&str>) -> HttpError {
    let hint = nearest.map_or_else(
        || "GET /v1/models lists those there are".to_owned(),
        |id| format!("did you mean `{id}`?"),
    );
    HttpError::new(Code::ModelNotFound, format!("there is no such model for this key; {hint}")).param("model")
}

/// Logs a failure of the ledger and makes its error: nothing is delivered then.
pub(in crate::http) fn ledger_unavailable(error: &impl std::fmt::Display) -> HttpError {
    tracing::error!(%error, "a prepaid request cannot be charged");
    billing_error()
}

/// Makes the error of a request that could not be charged.
pub(in crate::http) fn billing_error() -> HttpError {
    HttpError::new(
        Code::BillingError,
        "the request could not be charged, so nothing was delivered; send it again",
    )
    .retry_soon()
}

/// Makes the error of a chat request that is not passed on, with the routes of this API in its text.
pub(in crate::http) fn chat_error(error: &ChatError) -> HttpError {
    match error {
        ChatError::ContextLength { .. } => {
            return HttpError::new(Code::ContextLengthExceeded, error.to_string()).param("messages");
        }
        ChatError::UnknownModel { nearest } => return unknown_model(nearest.as_deref()),
        ChatError::Examination(reason) => return (*reason).into(),
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

fn upstream_error(error: &UpstreamError) -> HttpError {
    HttpError::of_upstream(error, error.to_string())
}

/// Makes the error in place of a non-streaming answer.
pub(in crate::http) fn answer_error(error: &AnswerError) -> HttpError {
    match error {
        AnswerError::Upstream(error) => upstream_error(error),
        AnswerError::KeyEnded => key_ended(),
        AnswerError::Superseded | AnswerError::LedgerUnavailable | AnswerError::ClientGone => billing_error(),
    }
}

/// Makes the error that a stream ends with, unless it is complete.
pub(in crate::http) fn stream_error(end: &StreamEnd) -> Option<HttpError> {
    Some(match end {
        StreamEnd::Complete | StreamEnd::ClientGone => return None,
        StreamEnd::Upstream(error) => upstream_error(error),
        StreamEnd::OutOfCredit => HttpError::new(
            Code::InsufficientCredits,
            "the account's credits or the key's budget are used up; what was delivered is paid, add to them for more",
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
