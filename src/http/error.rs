//! A failed request: one error type, one place that writes answers.
//!
//! Handlers know nothing of shapes. An [`HttpError`] travels to [`render`] with
//! its response, and the path decides what it looks like: OpenAI's under `/v1`,
//! the management API's under `/api/v1`, problem details elsewhere.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub use super::code::Code;
use crate::id::RequestId;
use crate::money::Money;
use crate::payments::http::ChallengeHeader;

/// A failed request. `detail` is for the caller: it says what to do and holds
/// no credential, key, prompt or signature.
#[derive(Debug)]
pub struct HttpError {
    pub code: Code,
    pub detail: String,
    /// Sent with a 402, which must carry at least one.
    pub challenges: Vec<ChallengeHeader>,
    /// Seconds after which the same request makes sense again.
    pub retry_after: Option<u32>,
    /// How much more a voucher must allow, or an account must have.
    pub missing: Option<Money>,
    /// The field at fault, in the shape of `/v1`.
    pub param: Option<String>,
}

impl HttpError {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            challenges: Vec::new(),
            retry_after: None,
            missing: None,
            param: None,
        }
    }

    /// 400 with a sentence about the input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, detail)
    }

    #[must_use]
    pub fn with_challenges(mut self, challenges: Vec<ChallengeHeader>) -> Self {
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
    /// The status, and the error itself for [`render`].
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// What errors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"error":{"message","type","param","code"}}`.
    OpenAi,
    /// `{"error":{"code","message","request_id"}}`.
    Management,
    /// Problem details (RFC 9457).
    Problem,
}

impl Shape {
    /// The shape of everything at and below a path, found or not.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if below("/v1") => Self::OpenAi,
            () if below("/api/v1") => Self::Management,
            () => Self::Problem,
        }
    }
}

/// Writes out the error that a response carries, if it does.
pub fn render(response: Response, shape: Shape, id: &RequestId) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<Arc<HttpError>>() else {
        return Response::from_parts(parts, body);
    };
    debug_assert!(
        error.code.status() != StatusCode::PAYMENT_REQUIRED || !error.challenges.is_empty(),
        "a 402 without a challenge is not allowed"
    );
    let headers = &mut parts.headers;
    let kind = if shape == Shape::Problem { "application/problem+json" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(CONTENT_LENGTH);
    for challenge in &error.challenges {
        // Ours, and made of visible ASCII only.
        if let Ok(value) = HeaderValue::try_from(challenge.value.as_str()) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if error.code.status() == StatusCode::UNAUTHORIZED && shape == Shape::OpenAi {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Response::from_parts(parts, Body::from(error.to_json(shape, id)))
}

impl HttpError {
    fn to_json(&self, shape: Shape, id: &RequestId) -> String {
        match shape {
            Shape::OpenAi => json!({ "error": self.openai() }).to_string(),
            Shape::Management => json!({ "error": {
                "code": self.code.as_str(), "message": self.detail, "request_id": id.as_str(),
            } })
            .to_string(),
            Shape::Problem => {
                let problem = Problem {
                    kind: self.code.problem_type(),
                    title: self.code.title(),
                    status: self.code.status().as_u16(),
                    detail: self.detail.clone(),
                    code: self.code.as_str(),
                    challenge_id: self.challenges.first().map(|c| c.id.clone()),
                    required_top_up: self.missing.map(Money::to_base_units),
                };
                serde_json::to_string(&problem).expect("plain data is valid JSON")
            }
        }
    }

    /// The error object of `/v1`, in answers and in streams.
    #[must_use]
    pub fn openai(&self) -> serde_json::Value {
        json!({
            "message": self.detail,
            "type": self.code.openai_type(),
            "param": self.param,
            "code": self.code.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
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
            ("/api", Shape::Problem),
            ("/mpp/v1", Shape::Problem),
            ("/", Shape::Problem),
        ] {
            assert_eq!(Shape::of(path), shape, "{path}");
        }
    }

    #[test]
    fn one_error_in_three_shapes() {
        let id = RequestId::accept(Some("r-1"));
        let error = || HttpError::new(Code::ModelNotFound, "no such model").param("model");
        let text =
            |shape| serde_json::from_str::<serde_json::Value>(&error().to_json(shape, &id)).expect("JSON");
        assert_eq!(
            text(Shape::OpenAi),
            json!({"error": {"message": "no such model", "type": "invalid_request_error", "param": "model",
                "code": "model_not_found"}})
        );
        assert_eq!(
            text(Shape::Management),
            json!({"error": {"code": "model_not_found", "message": "no such model", "request_id": "r-1"}})
        );
        assert_eq!(text(Shape::Problem)["code"], "model_not_found");
        let response = render(error().into_response(), Shape::OpenAi, &id);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
}
