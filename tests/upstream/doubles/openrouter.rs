//! `OpenRouter` ("API Reference", "Errors and Debugging", "Usage Accounting"). The prompt chooses a failure.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, model_list, usage_chunk};

pub struct OpenrouterDouble;

impl OpenrouterDouble {
    pub const KEY: &str = "sk-or-v1-double";
    pub const MODEL: &str = "vendor/model";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    // Everybody may read the list.
    if request.is(&Method::GET, "/api/v1/models") {
        return model_list(&[OpenrouterDouble::MODEL, "vendor/other:free"]);
    }
    if request.bearer() != Some(OpenrouterDouble::KEY) {
        return error(401, "No auth credentials found");
    }
    if request.is(&Method::GET, "/api/v1/key") {
        return json_answer(200, &json!({"data": {"label": "sk-or-v1-...", "limit": null, "usage": 0}}));
    }
    if !request.is(&Method::POST, "/api/v1/chat/completions") {
        return json_answer(404, &json!({"error": {"message": "Not Found", "code": 404}}));
    }
    let model = request.body["model"].as_str().unwrap_or_default();
    if model.split(':').next() != Some(OpenrouterDouble::MODEL) {
        return error(400, &format!("{model} is not a valid model ID"));
    }
    let provider = json!({"provider_name": "Somebody", "raw": "their words"});
    match request.prompt() {
        "flagged" => {
            let metadata = json!({"reasons": ["violence"], "flagged_input": "flagged", "provider_name": "Somebody",
                "model_slug": model});
            let message = "Your chosen model requires moderation and your input was flagged";
            return json_answer(
                403,
                &json!({"error": {"code": 403, "message": message, "metadata": metadata}}),
            );
        }
        "no credit" => return error(402, "Insufficient credits"),
        // The status had been sent before the provider failed.
        "provider busy" => {
            let error = json!({"code": 429, "message": "Provider returned error", "metadata": provider});
            return json_answer(200, &json!({"error": error, "user_id": "user_double"}));
        }
        "provider fails late" => return failing_late(request, &provider),
        _ => {}
    }
    let usage = json!({"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16, "cost": 0.95,
        "cost_details": {"upstream_inference_cost": 19}, "is_byok": false,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 10, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0}});
    // Its own way to ask; the other one came later.
    let has_usage = request.body["usage"]["include"] == true;
    if !request.is_stream() {
        let mut whole = completion(request.prompt(), "stop", &if has_usage { usage } else { Value::Null });
        whole["provider"] = "Somebody".into();
        return json_answer(200, &whole);
    }
    let mut sent: Vec<Value> = vec![": OPENROUTER PROCESSING".into(), ": OPENROUTER PROCESSING".into()];
    sent.extend(chunks(request.prompt(), "stop"));
    sent.extend(has_usage.then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}

/// An answer whose provider fails after its first word.
fn failing_late(request: &SeenRequest, provider: &Value) -> Response {
    let failure = json!({"code": 502, "message": "Provider disconnected unexpectedly", "metadata": provider});
    if !request.is_stream() {
        let mut whole = completion("provider", "error", &Value::Null);
        whole["choices"][0]["error"] = failure;
        return json_answer(200, &whole);
    }
    let mut sent = chunks("provider", "error");
    sent.pop();
    sent.push(
        json!({"id": "gen-double", "object": "chat.completion.chunk", "created": 1, "model": "vendor/model",
        "provider": "Somebody", "error": failure,
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
    );
    events(&sent)
}

fn error(status: u16, message: &str) -> Response {
    json_answer(status, &json!({"error": {"code": status, "message": message}}))
}
