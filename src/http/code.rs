//! Table of error codes.

use axum::http::StatusCode;

/// Stable error codes. Their strings are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidParams,
    SeveralCredentials,
    MethodUnsupported,
    ModelNotFound,
    ContextLengthExceeded,
    StringAboveMaxLength,
    ContentPolicyViolation,
    ContentFilter,
    UnsupportedGrantType,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidTarget,
    InvalidRedirectUri,
    InvalidClientMetadata,
    MissingApiKey,
    InvalidApiKey,
    InactiveApiKey,
    MissingWalletAuth,
    MissingToken,
    InvalidToken,
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
    InsufficientCredits,
    CredentialSpent,
    KeyLimitReached,
    InsufficientScope,
    ForeignOrigin,
    ActionMismatch,
    KeyIdMismatch,
    NonceReplay,
    SignatureInvalid,
    SignatureVerifyError,
    TimestampInvalid,
    MessageInvalid,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    PaymentInProgress,
    IdempotencyKeyReused,
    ChannelNotFound,
    ChannelFinalized,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimitExceeded,
    RateLimitExceededRpm,
    RateLimitExceededTpm,
    UpstreamBusy,
    InternalError,
    BillingError,
    UpstreamFailed,
    UpstreamUnavailable,
    SettlementPending,
    ServiceUnavailable,
}

/// Base of the core draft's problem types (draft-httpauth-payment-00, "Error Codes").
const PROBLEMS: &str = "https://paymentauth.org/problems/";

impl Code {
    /// All codes, in the order of their status.
    pub const ALL: [Self; 64] = [
        Self::InvalidParams,
        Self::SeveralCredentials,
        Self::MethodUnsupported,
        Self::ModelNotFound,
        Self::ContextLengthExceeded,
        Self::StringAboveMaxLength,
        Self::ContentPolicyViolation,
        Self::ContentFilter,
        Self::UnsupportedGrantType,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::MissingApiKey,
        Self::InvalidApiKey,
        Self::InactiveApiKey,
        Self::MissingWalletAuth,
        Self::MissingToken,
        Self::InvalidToken,
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
        Self::InsufficientCredits,
        Self::CredentialSpent,
        Self::KeyLimitReached,
        Self::InsufficientScope,
        Self::ForeignOrigin,
        Self::ActionMismatch,
        Self::KeyIdMismatch,
        Self::NonceReplay,
        Self::SignatureInvalid,
        Self::SignatureVerifyError,
        Self::TimestampInvalid,
        Self::MessageInvalid,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::PaymentInProgress,
        Self::IdempotencyKeyReused,
        Self::ChannelNotFound,
        Self::ChannelFinalized,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RateLimitExceeded,
        Self::RateLimitExceededRpm,
        Self::RateLimitExceededTpm,
        Self::UpstreamBusy,
        Self::InternalError,
        Self::BillingError,
        Self::UpstreamFailed,
        Self::UpstreamUnavailable,
        Self::SettlementPending,
        Self::ServiceUnavailable,
    ];

    /// Returns the code's row: status, code, problem type (of the core draft, where it
    /// has one) and title.
    const fn row(self) -> (u16, &'static str, Option<&'static str>, &'static str) {
        match self {
            Self::InvalidParams => (400, "invalid_params", None, "Bad Request"),
            Self::SeveralCredentials => (400, "several_credentials", None, "Several Payment Credentials"),
            Self::MethodUnsupported => {
                (400, "method_unsupported", Some("method-unsupported"), "Method Unsupported")
            }
            Self::ModelNotFound => (400, "model_not_found", None, "Model Not Found"),
            // Four that OpenAI's clients look for: to shorten a conversation, or to say why there is no answer.
            Self::ContextLengthExceeded => (400, "context_length_exceeded", None, "Context Length Exceeded"),
            Self::StringAboveMaxLength => (400, "string_above_max_length", None, "Text Too Long"),
            Self::ContentPolicyViolation => {
                (400, "content_policy_violation", None, "Content Policy Violation")
            }
            Self::ContentFilter => (400, "content_filter", None, "Content Filtered"),
            // OAuth's own (RFC 6749, RFC 7591, RFC 8707, RFC 6750).
            Self::UnsupportedGrantType => (400, "unsupported_grant_type", None, "Unsupported Grant Type"),
            Self::InvalidClient => (400, "invalid_client", None, "Invalid Client"),
            Self::InvalidGrant => (400, "invalid_grant", None, "Invalid Grant"),
            Self::InvalidScope => (400, "invalid_scope", None, "Invalid Scope"),
            Self::InvalidTarget => (400, "invalid_target", None, "Invalid Target"),
            Self::InvalidRedirectUri => (400, "invalid_redirect_uri", None, "Invalid Redirect URI"),
            Self::InvalidClientMetadata => (400, "invalid_client_metadata", None, "Invalid Client Metadata"),
            Self::MissingToken => (401, "missing_token", None, "Missing Access Token"),
            Self::InvalidToken => (401, "invalid_token", None, "Invalid Access Token"),
            Self::InsufficientScope => (403, "insufficient_scope", None, "Insufficient Scope"),
            Self::MissingApiKey => (401, "missing_api_key", None, "Missing API Key"),
            Self::InvalidApiKey => (401, "invalid_api_key", None, "Invalid API Key"),
            Self::InactiveApiKey => (401, "inactive_api_key", None, "Inactive API Key"),
            Self::MissingWalletAuth => (401, "missing_wallet_auth", None, "Missing Wallet Signature"),
            Self::InsufficientCredits => {
                (402, "insufficient_credits", Some("payment-required"), "Insufficient Credits")
            }
            Self::KeyLimitReached => (403, "key_limit_reached", None, "Key Limit Reached"),
            Self::ForeignOrigin => (403, "foreign_origin", None, "Foreign Origin"),
            // The contract writes those of wallet signatures in capitals.
            Self::ActionMismatch => (403, "ACTION_MISMATCH", None, "Action Mismatch"),
            Self::KeyIdMismatch => (403, "KEY_ID_MISMATCH", None, "Key Id Mismatch"),
            Self::NonceReplay => (403, "NONCE_REPLAY", None, "Nonce Replay"),
            Self::SignatureInvalid => (403, "SIGNATURE_INVALID", None, "Signature Invalid"),
            Self::SignatureVerifyError => (403, "SIGNATURE_VERIFY_ERROR", None, "Signature Not Verified"),
            Self::TimestampInvalid => (403, "TIMESTAMP_INVALID", None, "Timestamp Invalid"),
            Self::MessageInvalid => (403, "MESSAGE_INVALID", None, "Message Invalid"),
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
            Self::NotAcceptable => (406, "not_acceptable", None, "Not Acceptable"),
            Self::RequestTimeout => (408, "request_timeout", None, "Request Timeout"),
            Self::PaymentInProgress => (409, "payment_in_progress", None, "Payment In Progress"),
            Self::IdempotencyKeyReused => (409, "idempotency_key_reused", None, "Idempotency Key Reused"),
            Self::PayloadTooLarge => (413, "payload_too_large", None, "Payload Too Large"),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", None, "Unsupported Media Type"),
            Self::RateLimitExceeded => (429, "rate_limit_exceeded", None, "Too Many Requests"),
            Self::RateLimitExceededRpm => (429, "rate_limit_exceeded_rpm", None, "Too Many Requests"),
            Self::RateLimitExceededTpm => (429, "rate_limit_exceeded_tpm", None, "Too Many Tokens"),
            Self::UpstreamBusy => (429, "upstream_busy", None, "Model Busy"),
            Self::BillingError => (500, "billing_error", None, "Billing Error"),
            Self::InternalError => (500, "internal_error", None, "Internal Server Error"),
            Self::UpstreamUnavailable => (503, "upstream_unavailable", None, "Model Unavailable"),
            Self::SettlementPending => (503, "settlement_pending", None, "Settlement Pending"),
            Self::ServiceUnavailable => (503, "service_unavailable", None, "Service Unavailable"),
        }
    }

    /// Returns the `type` of OpenAI's errors, by which their clients tell errors apart, beside the status.
    #[must_use]
    pub const fn openai_type(self) -> &'static str {
        match self.row().0 {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// Returns the `error` of OAuth's errors, whose clients know some words of their own for what is not special to OAuth.
    #[must_use]
    pub const fn oauth_error(self) -> &'static str {
        match self {
            Self::InvalidParams => "invalid_request",
            Self::InternalError => "server_error",
            Self::ServiceUnavailable => "temporarily_unavailable",
            _ => self.as_str(),
        }
    }

    /// Returns the type in words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().3
    }

    /// Returns the stable string.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds valid status codes")
    }

    /// Returns the `type` of problem details (RFC 9457).
    #[must_use]
    pub fn problem_type(self) -> String {
        self.row().2.map_or_else(|| "about:blank".to_owned(), |name| format!("{PROBLEMS}{name}"))
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
