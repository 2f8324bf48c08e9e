//! Anthropic's endpoint for clients of OpenAI ("OpenAI SDK compatibility"), and the list of models of its own API
//! ("List Models"), which has pages.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, usage_chunk};

pub struct AnthropicDouble;

impl AnthropicDouble {
    pub const KEY: &str = "sk-ant-double";
    /// The last one of the list.
    pub const MODEL: &str = "claude-29";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    if request.is(&Method::GET, "/v1/models") {
        return models(request);
    }
    if !request.is(&Method::POST, "/v1/chat/completions") {
        return own_error(404, "not_found_error", "Not Found");
    }
    if request.bearer() != Some(AnthropicDouble::KEY) {
        return error(401, "authentication_error", "invalid x-api-key");
    }
    if request.body["model"] != AnthropicDouble::MODEL {
        return error(404, "not_found_error", "model: not found");
    }
    if request.body["n"].as_u64().is_some_and(|n| n != 1) {
        return error(400, "invalid_request_error", "n: must be exactly 1");
    }
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
    if !request.is_stream() {
        return json_answer(200, &completion(request.prompt(), "stop", &usage));
    }
    let mut sent = chunks(request.prompt(), "stop");
    sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}

/// A page of twenty models, or of as many as are asked for.
fn models(request: &SeenRequest) -> Response {
    if request.header("x-api-key") != Some(AnthropicDouble::KEY) {
        return own_error(401, "authentication_error", "x-api-key header is required");
    }
    if request.header("anthropic-version") != Some("2023-06-01") {
        return own_error(400, "invalid_request_error", "anthropic-version: header is required");
    }
    let limit = request.query.strip_prefix("limit=").and_then(|limit| limit.parse().ok()).unwrap_or(20);
    let all: Vec<Value> =
        (0..30).map(|number| json!({"type": "model", "id": format!("claude-{number}")})).collect();
    let page: Vec<&Value> = all.iter().take(limit).collect();
    json_answer(200, &json!({"data": page, "has_more": page.len() < all.len()}))
}

fn error(status: u16, kind: &str, message: &str) -> Response {
    let error = json!({"code": kind, "message": message, "type": kind, "param": null});
    json_answer(status, &json!({"error": error}))
}

fn own_error(status: u16, kind: &str, message: &str) -> Response {
    json_answer(status, &json!({"type": "error", "error": {"type": kind, "message": message}}))
}
