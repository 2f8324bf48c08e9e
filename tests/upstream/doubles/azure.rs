//! Azure OpenAI by deployments (REST API reference, `api-version` 2024-10-21; "Content filtering").

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::openai::FIELDS;
use super::{SeenRequest, VendorDouble, chunks, completion, events, json_answer, usage_chunk};

const VERSIONS: [&str; 3] = ["2024-06-01", "2024-10-21", "2025-04-01-preview"];

pub struct AzureDouble;

impl AzureDouble {
    pub const KEY: &str = "0123456789abcdef";
    pub const DEPLOYMENT: &str = "gpt-4o-east";

    pub async fn start() -> VendorDouble {
        VendorDouble::start(|request, _| answer(request)).await
    }
}

fn answer(request: &SeenRequest) -> Response {
    // A token would be one of Microsoft Entra, which this key is not.
    if request.header("api-key") != Some(AzureDouble::KEY) {
        return error(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.");
    }
    let version = request.query.strip_prefix("api-version=");
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        return error(404, "404", "Resource not found");
    }
    if request.is(&Method::GET, "/openai/models") {
        let model = json!({"id": "gpt-4o-2024-08-06", "object": "model", "status": "succeeded",
            "capabilities": {"chat_completion": true, "inference": true}});
        return json_answer(200, &json!({"object": "list", "data": [model]}));
    }
    let deployment = request.path.strip_prefix("/openai/deployments/");
    let deployment = deployment.and_then(|rest| rest.strip_suffix("/chat/completions"));
    match deployment.filter(|_| request.method == Method::POST) {
        None => return error(404, "404", "Resource not found"),
        Some(name) if name != AzureDouble::DEPLOYMENT => {
            return error(404, "DeploymentNotFound", "The API deployment for this resource does not exist.");
        }
        Some(_) => {}
    }
    if !request.body["messages"].is_array() {
        return error(400, "missing_required_parameter", "Missing required parameter: 'messages'.");
    }
    if let Some(name) = request.unknown_field(&FIELDS) {
        return error(400, "unknown_parameter", &format!("Unrecognized request argument supplied: {name}"));
    }
    let filter = json!({"violence": {"filtered": false, "severity": "safe"}});
    if request.prompt().contains("violence") {
        let filter = json!({"violence": {"filtered": true, "severity": "high"}});
        let inner = json!({"code": "ResponsibleAIPolicyViolation", "content_filter_result": filter});
        let message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.";
        let error = json!({"message": message, "type": null, "param": "prompt", "code": "content_filter",
            "status": 400, "innererror": inner});
        return json_answer(400, &json!({"error": error}));
    }
    let usage = json!({"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10});
    let results = json!([{"prompt_index": 0, "content_filter_results": filter}]);
    if !request.is_stream() {
        let mut whole = completion(request.prompt(), "stop", &usage);
        whole["prompt_filter_results"] = results;
        whole["choices"][0]["content_filter_results"] = filter;
        return json_answer(200, &whole);
    }
    // The first event is about the prompt.
    let mut sent: Vec<Value> = vec![json!({"choices": [], "created": 0, "id": "", "model": "", "object": "",
        "prompt_filter_results": results})];
    sent.extend(chunks(request.prompt(), "stop"));
    sent.extend(request.wants_usage().then(|| usage_chunk(&usage)));
    sent.push("[DONE]".into());
    events(&sent)
}

fn error(status: u16, code: &str, message: &str) -> Response {
    json_answer(status, &json!({"error": {"code": code, "message": message}}))
}
