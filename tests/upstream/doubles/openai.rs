//! OpenAI ("Create chat completion", "Error codes").

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, model_list, usage_chunk};

/// Fields of the request ("Create chat completion").
pub const FIELDS: [&str; 36] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
    "moderation",
];

pub struct OpenaiDouble;

impl OpenaiDouble {
    pub const KEY: &str = "sk-proj-double";
    pub const MODEL: &str = "gpt-4o";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| Self::answer(request)).await
    }

    /// The answer to a request with its key.
    pub fn answer(request: &SeenRequest) -> Response {
        if request.bearer() != Some(Self::KEY) {
            return error(401, "invalid_api_key", "Incorrect API key provided.", None);
        }
        Self::answer_any_key(request)
    }

    /// The answer to a request whose key was looked at.
    pub fn answer_any_key(request: &SeenRequest) -> Response {
        if request.is(&Method::GET, "/v1/models") {
            return model_list(&[Self::MODEL, "o4-mini"]);
        }
        if !request.is(&Method::POST, "/v1/chat/completions") {
            return error(404, "unknown_url", "Invalid URL", None);
        }
        if let Some(name) = request.unknown_field(&FIELDS) {
            let message = format!("Unrecognized request argument supplied: {name}");
            return error(400, "unknown_parameter", &message, Some(&name));
        }
        if ![Self::MODEL, "o4-mini", "vendor/small"]
            .contains(&request.body["model"].as_str().unwrap_or_default())
        {
            return error(
                404,
                "model_not_found",
                "The model does not exist or you do not have access to it.",
                None,
            );
        }
        if request.body["model"] == "o4-mini" && !request.body["max_tokens"].is_null() {
            let message =
                "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
            return error(400, "unsupported_parameter", message, Some("max_tokens"));
        }
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}});
        if !request.is_stream() {
            return json_answer(200, &completion(request.prompt(), "stop", &usage));
        }
        let mut sent = chunks(request.prompt(), "stop");
        sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
        sent.push("[DONE]".into());
        events(&sent)
    }
}

/// An error as OpenAI writes it.
pub fn error(status: u16, code: &str, message: &str, param: Option<&str>) -> Response {
    let error: Value =
        json!({"message": message, "type": "invalid_request_error", "param": param, "code": code});
    json_answer(status, &json!({"error": error}))
}
