//! Every way a request can fail: one table of codes, one place that writes answers.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::money::Money;
use crate::mpp::Challenge;

/// Stable error codes. Their strings are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidParams,
    SeveralCredentials,
    MethodUnsupported,
    PaymentRequired,
    PaymentInsufficient,
    PaymentExpired,
    VerificationFailed,
    MalformedCredential,
    InvalidChallenge,
    ChallengeNotFound,
    InvalidSignature,
    AmountExceedsDeposit,
    DeltaTooSmall,
    InsufficientBalance,
    CredentialSpent,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    PaymentInProgress,
    IdempotencyKeyReused,
    ChannelNotFound,
    ChannelFinalized,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimitExceeded,
    InternalError,
    UpstreamFailed,
    SettlementPending,
    ServiceUnavailable,
}

/// Base of the core draft's problem types (draft-httpauth-payment-00, "Error Codes").
const PROBLEMS: &str = "https://paymentauth.org/problems/";

impl Code {
    /// All of them, in the order of their status.
    pub const ALL: [Self; 29] = [
        Self::InvalidParams,
        Self::SeveralCredentials,
        Self::MethodUnsupported,
        Self::PaymentRequired,
        Self::PaymentInsufficient,
        Self::PaymentExpired,
        Self::VerificationFailed,
        Self::MalformedCredential,
        Self::InvalidChallenge,
        Self::ChallengeNotFound,
        Self::InvalidSignature,
        Self::AmountExceedsDeposit,
        Self::DeltaTooSmall,
        Self::InsufficientBalance,
        Self::CredentialSpent,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PaymentInProgress,
        Self::IdempotencyKeyReused,
        Self::ChannelNotFound,
        Self::ChannelFinalized,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimitExceeded,
        Self::InternalError,
        Self::UpstreamFailed,
        Self::SettlementPending,
        Self::ServiceUnavailable,
    ];

    /// The one table: status, code, problem type (of the core draft, where it
    /// has one) and title.
    const fn row(self) -> (u16, &'static str, Option<&'static str>, &'static str) {
        match self {
            Self::InvalidParams => (400, "invalid_params", None, "Bad Request"),
            Self::SeveralCredentials => (400, "several_credentials", None, "Several Payment Credentials"),
            Self::MethodUnsupported => {
                (400, "method_unsupported", Some("method-unsupported"), "Method Unsupported")
            }
            Self::PaymentRequired => (402, "payment_required", Some("payment-required"), "Payment Required"),
            Self::PaymentInsufficient => {
                (402, "payment_insufficient", Some("payment-insufficient"), "Payment Insufficient")
            }
            Self::PaymentExpired => (402, "payment_expired", Some("payment-expired"), "Payment Expired"),
            Self::VerificationFailed => {
                (402, "verification_failed", Some("verification-failed"), "Verification Failed")
            }
            Self::MalformedCredential => {
                (402, "malformed_credential", Some("malformed-credential"), "Malformed Credential")
            }
            Self::InvalidChallenge => {
                (402, "invalid_challenge", Some("invalid-challenge"), "Invalid Challenge")
            }
            Self::ChallengeNotFound => {
                (402, "challenge_not_found", Some("session/challenge-not-found"), "Challenge Not Found")
            }
            Self::InvalidSignature => {
                (402, "invalid_signature", Some("session/invalid-signature"), "Invalid Signature")
            }
            Self::AmountExceedsDeposit => (
                402,
                "amount_exceeds_deposit",
                Some("session/amount-exceeds-deposit"),
                "Amount Exceeds Deposit",
            ),
            Self::DeltaTooSmall => {
                (402, "delta_too_small", Some("session/delta-too-small"), "Delta Too Small")
            }
            Self::InsufficientBalance => {
                (402, "insufficient_balance", Some("session/insufficient-balance"), "Insufficient Balance")
            }
            Self::ChannelNotFound => {
                (410, "channel_not_found", Some("session/channel-not-found"), "Channel Not Found")
            }
            Self::ChannelFinalized => {
                (410, "channel_finalized", Some("session/channel-finalized"), "Channel Finalized")
            }
            Self::UpstreamFailed => (502, "upstream_failed", None, "Bad Gateway"),
            Self::CredentialSpent => {
                (403, "credential_spent", Some("verification-failed"), "Credential Already Used")
            }
            Self::NotFound => (404, "not_found", None, "Not Found"),
            Self::MethodNotAllowed => (405, "method_not_allowed", None, "Method Not Allowed"),
            Self::RequestTimeout => (408, "request_timeout", None, "Request Timeout"),
            Self::PaymentInProgress => (409, "payment_in_progress", None, "Payment In Progress"),
            Self::IdempotencyKeyReused => (409, "idempotency_key_reused", None, "Idempotency Key Reused"),
            Self::PayloadTooLarge => (413, "payload_too_large", None, "Payload Too Large"),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", None, "Unsupported Media Type"),
            Self::RateLimitExceeded => (429, "rate_limit_exceeded", None, "Too Many Requests"),
            Self::InternalError => (500, "internal_error", None, "Internal Server Error"),
            Self::SettlementPending => (503, "settlement_pending", None, "Settlement Pending"),
            Self::ServiceUnavailable => (503, "service_unavailable", None, "Service Unavailable"),
        }
    }

    /// The stable string.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds valid status codes")
    }

    /// The `type` of problem details (RFC 9457).
    #[must_use]
    pub fn problem_type(self) -> String {
        self.row().2.map_or_else(|| "about:blank".to_owned(), |name| format!("{PROBLEMS}{name}"))
    }
}

/// A failed request. `detail` is for the caller: it says what to do and holds
/// no credential, key, prompt or signature.
#[derive(Debug)]
pub struct HttpError {
    pub code: Code,
    pub detail: String,
    /// Sent with a 402, which must carry at least one.
    pub challenges: Vec<Challenge>,
    /// Seconds after which the same request makes sense again.
    pub retry_after: Option<u32>,
    /// How much more a voucher must allow.
    pub missing: Option<Money>,
}

impl HttpError {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), challenges: Vec::new(), retry_after: None, missing: None }
    }

    /// 400 with a sentence about the input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, detail)
    }

    #[must_use]
    pub fn with_challenges(mut self, challenges: Vec<Challenge>) -> Self {
        self.challenges = challenges;
        self
    }

    #[must_use]
    pub fn missing(mut self, missing: Option<Money>) -> Self {
        self.missing = missing;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// Problem details (RFC 9457), the error shape of `/mpp`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// One of the core draft's problem types, or `about:blank`.
    #[serde(rename = "type")]
    #[schema(example = "https://paymentauth.org/problems/payment-required")]
    pub kind: String,
    /// The type in words.
    #[schema(example = "Payment Required")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 402)]
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Stable code for programs.
    #[schema(example = "payment_required")]
    pub code: &'static str,
    /// The first challenge offered.
    #[serde(rename = "challengeId", skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<String>,
    /// With `insufficient_balance`: how much more vouchers must allow, in base units.
    #[serde(rename = "requiredTopUp", skip_serializing_if = "Option::is_none")]
    pub required_top_up: Option<String>,
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let (status, code, _, title) = self.code.row();
        debug_assert!(
            status != 402 || !self.challenges.is_empty(),
            "a 402 without a challenge is not allowed"
        );
        let problem = Problem {
            kind: self.code.problem_type(),
            title,
            status,
            detail: self.detail,
            code,
            challenge_id: self.challenges.first().map(|c| c.id.clone()),
            required_top_up: self.missing.map(Money::to_base_units),
        };
        let mut response = (self.code.status(), Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for challenge in self.challenges {
            // Ours, and made of visible ASCII only.
            if let Ok(value) = HeaderValue::try_from(challenge.header) {
                headers.append(WWW_AUTHENTICATE, value);
            }
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_ordered_by_status() {
        let mut codes: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        let statuses: Vec<_> = Code::ALL.iter().map(|c| c.status().as_u16()).collect();
        assert!(statuses.is_sorted());
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Code::ALL.len());
    }

    #[test]
    fn every_problem_type_of_the_core_draft_is_used() {
        for (name, status) in [
            ("payment-required", 402),
            ("payment-insufficient", 402),
            ("payment-expired", 402),
            ("verification-failed", 402),
            ("method-unsupported", 400),
            ("malformed-credential", 402),
            ("invalid-challenge", 402),
        ] {
            let uri = format!("{PROBLEMS}{name}");
            assert!(
                Code::ALL.iter().any(|c| c.problem_type() == uri && c.status().as_u16() == status),
                "{name}"
            );
        }
    }
}
