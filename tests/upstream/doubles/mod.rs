//! Doubles of vendors' servers, written from their documentation: each answers as the real one does, and refuses what
//! the real one refuses. They are named as doubles, and as the kind that they stand for.

mod anthropic;
mod azure;
mod gemini;
mod ollama;
mod openai;
mod openrouter;
mod vllm;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use anthropic::AnthropicDouble;
pub use azure::AzureDouble;
pub use gemini::GeminiDouble;
pub use ollama::OllamaDouble;
pub use openai::OpenaiDouble;
pub use openrouter::OpenrouterDouble;
pub use vllm::VllmDouble;

/// Running double. Dropping it stops the server.
pub struct VendorDouble {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
    _stop: DropGuard,
}

/// A request as the double got it.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl VendorDouble {
    /// Starts a server that answers by these rules, which also get the number of the request, from 0.
    pub async fn start(
        rules: impl Fn(&SeenRequest, usize) -> Response + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let request = SeenRequest {
                method,
                path: uri.path().to_owned(),
                query: uri.query().unwrap_or_default().to_owned(),
                headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let number = {
                let mut requests = requests.lock().expect("not poisoned");
                requests.push(request.clone());
                requests.len() - 1
            };
            rules(&request, number)
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = axum::serve(listener, Router::new().fallback(answer)).into_future() => {}
            }
        });
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// The address that a `base_url` begins with.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl SeenRequest {
    pub fn is(&self, method: &Method, path: &str) -> bool {
        self.method == method && self.path == path
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The key that comes as a Bearer token.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The first field of the body that is not in a list.
    fn unknown_field(&self, known: &[&str]) -> Option<String> {
        self.body.as_object()?.keys().find(|name| !known.contains(&name.as_str())).cloned()
    }

    /// The text of the last message.
    pub fn prompt(&self) -> &str {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        messages.last().and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// True if usage is asked for, where a stream has none without.
    fn wants_usage(&self) -> bool {
        self.body["stream_options"]["include_usage"] == true
    }

    fn is_stream(&self) -> bool {
        self.body["stream"] == true
    }
}

/// An answer as JSON.
pub fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// An answer as events: comments as they are, anything else as data.
fn events(events: &[Value]) -> Response {
    let line = |event: &Value| match event.as_str() {
        Some(comment) if comment.starts_with(':') => format!("{comment}\n\n"),
        Some(data) => format!("data: {data}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let body: String = events.iter().map(line).collect();
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// A whole answer with this text.
fn completion(text: &str, reason: &str, usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-double", "object": "chat.completion", "created": 1, "model": "double",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason,
        }],
        "usage": usage,
    })
}

/// The chunks of a stream with this text, a word each; the last one has the reason.
fn chunks(text: &str, reason: &str) -> Vec<Value> {
    let chunk = |delta: Value, reason: Option<&str>| {
        json!({
            "id": "chatcmpl-double", "object": "chat.completion.chunk", "created": 1, "model": "double",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        })
    };
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    chunks.extend(text.split_inclusive(' ').map(|word| chunk(json!({"content": word}), None)));
    chunks.push(chunk(json!({}), Some(reason)));
    chunks
}

/// The chunk of usage at the end of a stream.
fn usage_chunk(usage: &Value) -> Value {
    json!({"id": "chatcmpl-double", "object": "chat.completion.chunk", "choices": [], "usage": usage})
}

/// A list of models as OpenAI has it.
fn model_list(ids: &[&str]) -> Response {
    let models: Vec<Value> = ids.iter().map(|id| json!({"id": id, "object": "model"})).collect();
    json_answer(200, &json!({"object": "list", "data": models}))
}
