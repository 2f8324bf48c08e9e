//! Google's endpoint for clients of OpenAI ("OpenAI compatibility"): errors come in a list, a wrong key is a bad request,
//! and a field that is unknown refuses the request.

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, model_list, usage_chunk};

/// Fields that it is known to take.
const FIELDS: [&str; 16] = [
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
];

pub struct GeminiDouble;

impl GeminiDouble {
    pub const KEY: &str = "AIzaDouble";
    pub const MODEL: &str = "gemini-2.5-flash";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    if request.bearer() != Some(GeminiDouble::KEY) {
        return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", &json!([]));
    }
    if request.is(&Method::GET, "/v1beta/openai/models") {
        return model_list(&["models/gemini-2.5-flash", "models/gemini-2.5-pro"]);
    }
    if !request.is(&Method::POST, "/v1beta/openai/chat/completions") {
        return error(404, "NOT_FOUND", "Requested entity was not found.", &json!([]));
    }
    if let Some(name) = request.unknown_field(&FIELDS) {
        let message = format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
        return error(400, "INVALID_ARGUMENT", &message, &json!([]));
    }
    let model = request.body["model"].as_str().unwrap_or_default();
    if model.strip_prefix("models/").unwrap_or(model) != GeminiDouble::MODEL {
        return error(404, "NOT_FOUND", "models/x is not found for API version v1main", &json!([]));
    }
    if request.prompt() == "quota" {
        let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}]);
        return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", &retry);
    }
    // Thoughts are in the total alone.
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 39});
    if !request.is_stream() {
        return json_answer(200, &completion(request.prompt(), "stop", &usage));
    }
    let mut sent = chunks(request.prompt(), "stop");
    sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}

fn error(status: u16, name: &str, message: &str, details: &Value) -> Response {
    let error = json!({"code": status, "message": message, "status": name, "details": details});
    json_answer(status, &json!([{"error": error}]))
}
