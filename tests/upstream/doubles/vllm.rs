//! vLLM ("OpenAI-Compatible Server"), started with `--api-key`.

use axum::http::Method;
use axum::response::Response;
use serde_json::json;

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, model_list, usage_chunk};

pub struct VllmDouble;

impl VllmDouble {
    pub const KEY: &str = "token-abc123";
    pub const MODEL: &str = "NousResearch/Meta-Llama-3-8B-Instruct";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    if request.bearer() != Some(VllmDouble::KEY) {
        return json_answer(401, &json!({"error": "Unauthorized"}));
    }
    if request.is(&Method::GET, "/v1/models") {
        return model_list(&[VllmDouble::MODEL]);
    }
    if !request.is(&Method::POST, "/v1/chat/completions") {
        return json_answer(404, &json!({"detail": "Not Found"}));
    }
    if request.body["model"] != VllmDouble::MODEL {
        return error(404, "NotFoundError", "The model does not exist.");
    }
    if request.prompt().len() > 2000 {
        let message = "This model's maximum context length is 512 tokens. However, you requested 700 tokens.";
        return error(400, "BadRequestError", message);
    }
    // Unlike OpenAI's, these are meant: an empty sampling set is an error.
    if request.body["top_k"] == 0 {
        return error(400, "BadRequestError", "top_k must be -1 (disable), or at least 1, got 0.");
    }
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14,
        "prompt_tokens_details": null});
    if !request.is_stream() {
        return json_answer(200, &completion(request.prompt(), "stop", &usage));
    }
    let mut sent = chunks(request.prompt(), "stop");
    sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}

/// An error as its newer versions write it.
fn error(status: u16, kind: &str, message: &str) -> Response {
    json_answer(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": status}}))
}
