//! Ollama ("OpenAI compatibility"): it ignores what it does not know, `max_completion_tokens` and `n` among it, and needs
//! no key.

use axum::http::Method;
use axum::response::Response;
use serde_json::json;

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, model_list, usage_chunk};

pub struct OllamaDouble;

impl OllamaDouble {
    pub const MODEL: &str = "llama3.2";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    if request.is(&Method::GET, "/v1/models") {
        return model_list(&["llama3.2:latest", "qwen3:8b"]);
    }
    if !request.is(&Method::POST, "/v1/chat/completions") {
        return json_answer(404, &json!({"error": "404 page not found"}));
    }
    let model = request.body["model"].as_str().unwrap_or_default();
    if !["llama3.2", "llama3.2:latest", "qwen3:8b"].contains(&model) {
        let message = format!("model '{model}' not found");
        let error = json!({"message": message, "type": "not_found_error", "param": null, "code": null});
        return json_answer(404, &json!({"error": error}));
    }
    // It goes on until it is told how far: only the older field does.
    let limit = request.body["max_tokens"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let words = limit.unwrap_or(400).min(400);
    let text = "word ".repeat(words);
    let reason = if limit.is_some() { "length" } else { "stop" };
    let usage = json!({"prompt_tokens": 26, "completion_tokens": words, "total_tokens": 26 + words});
    if !request.is_stream() {
        return json_answer(200, &completion(&text, reason, &usage));
    }
    let mut sent = chunks(&text, reason);
    sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}
