//! Scripted upstream: a stand-in for a model, for `farebox dev` and tests.
//!
//! It serves chat completions on a loopback port and follows the script in a request,
//! failures included. Its models and answers carry the word "scripted", so that nobody
//! takes them for a model's.

mod script;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use script::{Script, UsageReport};
use script::{ScriptStep, ScriptedRequest};

/// Time for the last chunks to leave the buffers before the connection is cut.
const FLUSH_DELAY: Duration = Duration::from_millis(20);

/// Running scripted upstream. Dropping it stops the server.
#[derive(Debug)]
pub struct ScriptedUpstream {
    address: SocketAddr,
    observed: SharedObservations,
    _stop: DropGuard,
}

/// Requests and answers that the scripted upstream observed.
#[derive(Debug, Clone, Default)]
pub struct ObservedRequests {
    /// Number of chat requests.
    pub requests: u64,
    /// Number of answers that were sent to their end.
    pub completed: u64,
    /// Number of answers whose connection was closed before their end.
    pub cancelled: u64,
    /// Number of chunks written to connections.
    pub sent: u64,
    /// Addresses of the peers, one for each connection.
    pub connections: Vec<SocketAddr>,
    /// Headers of the latest request.
    pub headers: HeaderMap,
    /// Body of the latest request.
    pub body: Value,
}

impl ScriptedUpstream {
    /// Starts a scripted upstream on a free loopback port.
    ///
    /// # Errors
    /// An error if it cannot listen on a port.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        // A chunk is sent at once, not when the one before has been acknowledged.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let observed = SharedObservations::default();
        let routes = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(Arc::clone(&observed))
            .into_make_service_with_connect_info::<SocketAddr>();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = axum::serve(listener, routes).into_future() => {}
            }
        });
        Ok(Self { address, observed, _stop: stop.drop_guard() })
    }

    /// Returns the `base_url` for the configuration of an upstream.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the observations so far.
    #[must_use]
    pub fn observed(&self) -> ObservedRequests {
        lock(&self.observed).clone()
    }
}

type SharedObservations = Arc<Mutex<ObservedRequests>>;

fn lock(observed: &Mutex<ObservedRequests>) -> MutexGuard<'_, ObservedRequests> {
    // The counters are valid even if another holder panicked.
    observed.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn models() -> Json<Value> {
    let list: Vec<Value> =
        script::models().map(|id| json!({"id": id, "object": "model", "owned_by": "scripted"})).collect();
    Json(json!({"object": "list", "data": list}))
}

async fn complete(
    State(observed): State<SharedObservations>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let request = ScriptedRequest::read(&body);
    let recorder = EndRecorder { observed: Arc::clone(&observed), is_complete: false };
    {
        let mut observed = lock(&observed);
        observed.requests += 1;
        if !observed.connections.contains(&peer) {
            observed.connections.push(peer);
        }
        (observed.headers, observed.body) = (headers, body);
    }
    let script = match Script::of(&request) {
        Ok(script) => script,
        Err(message) => {
            let error = json!({"message": message, "param": "messages"});
            return failure(StatusCode::BAD_REQUEST, &error, None);
        }
    };
    if let Some(status) = script.status {
        tokio::time::sleep(Duration::from_millis(script.first_ms)).await;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return failure(status, &script.failure(), script.retry_after);
    }
    if request.stream {
        return streamed(script, request, recorder);
    }
    non_streaming(&script, &request, recorder).await
}

fn failure(status: StatusCode, error: &Value, retry_after: Option<u32>) -> Response {
    let retry_after = retry_after.unwrap_or(7).to_string();
    with_foreign_headers(
        (status, [("retry-after", retry_after)], Json(json!({"error": error}))).into_response(),
    )
}

/// Adds headers that must not reach a client.
fn with_foreign_headers(mut response: Response) -> Response {
    for (name, value) in
        [("set-cookie", "scripted=1"), ("payment-receipt", "scripted"), ("openai-organization", "scripted")]
    {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn non_streaming(script: &Script, request: &ScriptedRequest, mut recorder: EndRecorder) -> Response {
    if script.hang_after.is_some() {
        std::future::pending::<Infallible>().await;
    }
    // A sleep of zero would last until the timer's next millisecond.
    if let milliseconds @ 1.. = script.duration_ms(request) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    recorder.is_complete = true;
    if script.cut_after.is_some() || script.error_after.is_some() {
        return failure(StatusCode::BAD_GATEWAY, &script.failure(), script.retry_after);
    }
    match &script.raw {
        Some(raw) => {
            with_foreign_headers(([(CONTENT_TYPE, "application/json")], raw.clone()).into_response())
        }
        None => with_foreign_headers(Json(script.completion(request)).into_response()),
    }
}

fn streamed(script: Script, request: ScriptedRequest, recorder: EndRecorder) -> Response {
    let steps = script.steps(request);
    let body = stream::unfold((steps, recorder), |(mut steps, mut recorder)| async move {
        loop {
            match steps.next() {
                Some(ScriptStep::Wait(0)) => {}
                Some(ScriptStep::Wait(milliseconds)) => {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                }
                Some(ScriptStep::Send(text)) => {
                    lock(&recorder.observed).sent += 1;
                    return Some((Ok(Bytes::from(text)), (steps, recorder)));
                }
                Some(ScriptStep::Cut) => {
                    // The chunks before it must leave the buffers first.
                    tokio::time::sleep(FLUSH_DELAY).await;
                    recorder.is_complete = true;
                    return Some((Err(std::io::Error::other("cut, as the script says")), (steps, recorder)));
                }
                Some(ScriptStep::Hang) => std::future::pending().await,
                None => {
                    recorder.is_complete = true;
                    drop(recorder);
                    return None;
                }
            }
        }
    });
    with_foreign_headers(
        ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body.boxed())).into_response(),
    )
}

/// Recorder of an answer's end: an answer that is dropped before it is complete counts as cancelled.
struct EndRecorder {
    observed: SharedObservations,
    is_complete: bool,
}

impl Drop for EndRecorder {
    fn drop(&mut self) {
        let mut observed = lock(&self.observed);
        if self.is_complete {
            observed.completed += 1;
        } else {
            observed.cancelled += 1;
        }
    }
}
