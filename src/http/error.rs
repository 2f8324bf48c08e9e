//! Failed requests: one error type, and one place that writes them.
//!
//! Handlers know nothing of shapes. An [`HttpError`] travels to [`render`] with
//! its response, and the path decides its [`Shape`]: OpenAI's under `/v1`,
//! the management API's under `/api/v1`, problem details elsewhere.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use axum::http::response::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

pub use super::code::Code;
use crate::id::RequestId;
use crate::money::Money;
use crate::payments::Challenge;
use crate::payments::http::{ChallengeHeader, PAYMENT_AUTHORIZATION};
use crate::services::chat::{UpstreamError, UpstreamRefusal};

/// Seconds after which to ask again a part of the server that is down.
const RETRY_SECONDS: u32 = 2;

/// A failed request. `detail` is for the caller: it says what to do and holds
/// no credential, key, prompt or signature.
#[derive(Debug)]
pub struct HttpError {
    pub code: Code,
    pub detail: String,
    /// Challenges of a 402, which must carry at least one.
    pub challenges: Vec<Challenge>,
    /// True if the credential must come in `Payment-Authorization`, because `Authorization` is taken.
    pub authorization_is_taken: bool,
    /// Seconds after which the same request makes sense again.
    pub retry_after: Option<u32>,
    /// Amount by which a voucher, or an account's credit, falls short.
    pub missing: Option<Money>,
    /// Field at fault, in the shape of `/v1`.
    pub param: Option<String>,
    /// `WWW-Authenticate: Bearer` challenge of a resource whose tokens come from the authorization server.
    pub bearer: Option<Box<str>>,
}

impl HttpError {
    /// Makes an error of that code; `detail` says what happened and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            challenges: Vec::new(),
            authorization_is_taken: false,
            retry_after: None,
            missing: None,
            param: None,
            bearer: None,
        }
    }

    /// Makes a 400 with a sentence about the input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, detail)
    }

    /// Makes the error of a model's server, with the status and the code that OpenAI's clients know; `detail` says it in
    /// words.
    pub fn of_upstream(error: &UpstreamError, detail: impl Into<String>) -> Self {
        let of = |code| Self::new(code, detail.into());
        match error {
            UpstreamError::Refused { reason, field } => {
                let refused = of(match reason {
                    UpstreamRefusal::ContextLength => Code::ContextLengthExceeded,
                    UpstreamRefusal::TextLength => Code::StringAboveMaxLength,
                    UpstreamRefusal::ContentPolicy => Code::ContentPolicyViolation,
                    UpstreamRefusal::ContentFilter => Code::ContentFilter,
                    UpstreamRefusal::TooLarge | UpstreamRefusal::Invalid => Code::InvalidParams,
                });
                let default = (*reason == UpstreamRefusal::ContextLength).then(|| "messages".to_owned());
                Self { param: field.clone().or(default), ..refused }
            }
            UpstreamError::Busy { retry_after } => {
                of(Code::UpstreamBusy).retry_after(retry_after.unwrap_or(RETRY_SECONDS))
            }
            UpstreamError::Overloaded { retry_after } => {
                of(Code::UpstreamUnavailable).retry_after(retry_after.unwrap_or(RETRY_SECONDS))
            }
            UpstreamError::Unreachable
            | UpstreamError::Unavailable
            | UpstreamError::KeyRefused
            | UpstreamError::Declined
            | UpstreamError::Timeout(_)
            | UpstreamError::Interrupted
            | UpstreamError::Malformed(_)
            | UpstreamError::TooLong => of(Code::UpstreamFailed),
        }
    }

    /// Makes a 503: a part of the server is down, and the same request makes sense again soon.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::ServiceUnavailable, detail).retry_soon()
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
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn bearer(mut self, challenge: impl Into<Box<str>>) -> Self {
        self.bearer = Some(challenge.into());
        self
    }

    /// Sets `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets `Retry-After` to a moment, for a part of the server that is down.
    #[must_use]
    pub fn retry_soon(self) -> Self {
        self.retry_after(RETRY_SECONDS)
    }

    /// Sets `Retry-After` to the end of a limiter's wait.
    #[must_use]
    pub fn retry_after_millis(self, millis: i64) -> Self {
        self.retry_after(wait_seconds(millis))
    }
}

/// Whole seconds after which a wait of `millis` is surely over.
#[must_use]
pub fn wait_seconds(millis: i64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX).saturating_add(1)
}

/// An error of the management API.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiError {
    error: ApiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ApiErrorBody {
    /// Stable, for programs.
    #[schema(example = "NONCE_REPLAY")]
    code: &'static str,
    /// Says what happened and what to do.
    message: String,
    request_id: String,
}

/// An error in the shape of OpenAI's.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    pub error: OpenAiErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorBody {
    pub message: String,
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    pub kind: &'static str,
    /// Field at fault.
    pub param: Option<String>,
    /// Stable code for programs.
    #[schema(example = "insufficient_credits")]
    pub code: &'static str,
}

/// An error of the authorization server (RFC 6749, section 5.2).
#[derive(Debug, Serialize)]
struct OauthError<'a> {
    error: &'static str,
    error_description: &'a str,
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
    /// Says what happened and what to do.
    pub detail: String,
    /// Stable code for programs.
    #[schema(example = "payment_required")]
    pub code: &'static str,
    /// The first challenge offered.
    #[serde(rename = "challengeId", skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<String>,
    /// With `insufficient_balance`: the amount that vouchers must allow in addition, in base units.
    #[serde(rename = "requiredTopUp", skip_serializing_if = "Option::is_none")]
    pub required_top_up: Option<String>,
}

impl IntoResponse for HttpError {
    /// Carries the status, and the error itself for [`render`].
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Form of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// `{"error":{"code","message","request_id"}}`.
    Management,
    /// `{"error","error_description"}` (RFC 6749, section 5.2).
    Oauth,
    /// Problem details (RFC 9457).
    Problem,
}

impl Shape {
    /// Returns the shape of everything at and below a path, found or not.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if below("/v1") => Self::OpenAi,
            () if below("/api/v1") => Self::Management,
            () if below("/oauth") => Self::Oauth,
            () => Self::Problem,
        }
    }
}

/// Writes the error that a response carries, if it carries one.
pub fn render(response: Response, shape: Shape, id: &RequestId) -> Response {
    let (mut parts, body) = response.into_parts();
    let error = parts.extensions.remove::<Arc<HttpError>>().or_else(|| unread(&parts).map(Arc::new));
    let Some(error) = error else { return Response::from_parts(parts, body) };
    debug_assert!(
        error.code.status() != StatusCode::PAYMENT_REQUIRED || !error.challenges.is_empty(),
        "a 402 without a challenge is not allowed"
    );
    let headers = &mut parts.headers;
    let kind = if shape == Shape::Problem { "application/problem+json" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(CONTENT_LENGTH);
    let carrier = error.authorization_is_taken.then_some(PAYMENT_AUTHORIZATION);
    for challenge in &error.challenges {
        // Ours, and made of visible ASCII only.
        if let Ok(value) = HeaderValue::try_from(ChallengeHeader::new(challenge, carrier).value) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if let Some(Ok(value)) = error.bearer.as_deref().map(HeaderValue::try_from) {
        headers.append(WWW_AUTHENTICATE, value);
    }
    if error.code.status() == StatusCode::UNAUTHORIZED && shape == Shape::OpenAi {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Response::from_parts(parts, Body::from(error.to_json(shape, id)))
}

/// Returns the error in place of an extractor's own refusal, which is plain text.
fn unread(parts: &Parts) -> Option<HttpError> {
    let is_text =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let detail = "the path or the query of the URL cannot be read; write them as UTF-8, percent-encoded, without \
                  parameters that the route does not have";
    (is_text && parts.status == StatusCode::BAD_REQUEST).then(|| HttpError::invalid(detail))
}

impl HttpError {
    /// Returns the error as problem details (RFC 9457).
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            kind: self.code.problem_type(),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str(),
            challenge_id: self.challenges.first().map(|c| c.id.clone()),
            required_top_up: self.missing.map(Money::to_base_units),
        }
    }

    fn to_json(&self, shape: Shape, id: &RequestId) -> String {
        let json = match shape {
            Shape::OpenAi => serde_json::to_string(&self.to_openai()),
            Shape::Management => serde_json::to_string(&ApiError {
                error: ApiErrorBody {
                    code: self.code.as_str(),
                    message: self.detail.clone(),
                    request_id: id.to_string(),
                },
            }),
            Shape::Oauth => serde_json::to_string(&OauthError {
                error: self.code.oauth_error(),
                error_description: &self.detail,
            }),
            Shape::Problem => serde_json::to_string(&self.problem()),
        };
        json.expect("plain data is valid JSON")
    }

    /// Returns the error as `/v1` writes it, in answers and in streams.
    #[must_use]
    pub fn to_openai(&self) -> OpenAiError {
        OpenAiError {
            error: OpenAiErrorBody {
                message: self.detail.clone(),
                kind: self.code.openai_type(),
                param: self.param.clone(),
                code: self.code.as_str(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_path_decides_the_shape() {
        for (path, shape) in [
            ("/v1", Shape::OpenAi),
            ("/v1/", Shape::OpenAi),
            ("/v1/chat/completions", Shape::OpenAi),
            ("/v1x", Shape::Problem),
            ("/api/v1/keys", Shape::Management),
            ("/api/v10", Shape::Problem),
            ("/oauth/token", Shape::Oauth),
            ("/oauthx", Shape::Problem),
            ("/api", Shape::Problem),
            ("/mpp/v1", Shape::Problem),
            ("/", Shape::Problem),
        ] {
            assert_eq!(Shape::of(path), shape, "{path}");
        }
    }

    #[test]
    fn a_wait_is_over_after_its_seconds() {
        for (millis, seconds) in [(1, 1), (999, 1), (1_000, 2), (59_999, 60), (i64::MAX, u32::MAX)] {
            assert_eq!(wait_seconds(millis), seconds, "{millis}");
        }
    }

    #[test]
    fn one_error_in_three_shapes() {
        let id = RequestId::from_client("r-1").expect("an id");
        let error = || HttpError::new(Code::ModelNotFound, "no such model").param("model");
        let text =
            |shape| serde_json::from_str::<serde_json::Value>(&error().to_json(shape, &id)).expect("JSON");
        assert_eq!(
            text(Shape::OpenAi),
            json!({"error": {"message": "no such model", "type": "invalid_request_error", "param": "model",
                "code": "model_not_found"}})
        );
        // The bytes, too: fields keep their order.
        assert_eq!(
            error().to_json(Shape::OpenAi, &id),
            r#"{"error":{"message":"no such model","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
        );
        assert_eq!(
            text(Shape::Management),
            json!({"error": {"code": "model_not_found", "message": "no such model", "request_id": "r-1"}})
        );
        assert_eq!(text(Shape::Problem)["code"], "model_not_found");
        assert_eq!(
            text(Shape::Oauth),
            json!({"error": "model_not_found", "error_description": "no such model"})
        );
        let response = render(error().into_response(), Shape::OpenAi, &id);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
}
