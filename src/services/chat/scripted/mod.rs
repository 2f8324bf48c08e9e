//! The scripted upstream: a stand-in for a model, for `farebox dev` and tests.
//!
//! It speaks chat completions on a loopback port and does what it is told,
//! failures included. It is called "scripted" wherever it can be seen.

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

/// How long the last words need to get on their way before a cut.
const FLUSH: Duration = Duration::from_millis(20);

/// A running scripted upstream. Dropping it stops it.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<ObservedRequests>>,
    _stop: DropGuard,
}

/// What the scripted upstream observed.
#[derive(Debug, Clone, Default)]
pub struct ObservedRequests {
    /// Chat requests, and how they ended: sent to the end, or dropped before.
    pub requests: u64,
    pub completed: u64,
    pub cancelled: u64,
    /// Pieces handed to the connection.
    pub sent: u64,
    /// Peers: one for each connection.
    pub connections: Vec<SocketAddr>,
    /// The latest request.
    pub headers: HeaderMap,
    pub body: Value,
}

impl Scripted {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        // A piece leaves when it is said, not when the one before has been acknowledged.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let seen = Arc::new(Mutex::new(ObservedRequests::default()));
        let routes = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(Arc::clone(&seen))
            .into_make_service_with_connect_info::<SocketAddr>();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = axum::serve(listener, routes).into_future() => {}
            }
        });
        Ok(Self { address, seen, _stop: stop.drop_guard() })
    }

    /// For `base_url` of an upstream.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was observed so far.
    #[must_use]
    pub fn seen(&self) -> ObservedRequests {
        lock(&self.seen).clone()
    }
}

type ObservedRequest = Arc<Mutex<ObservedRequests>>;

fn lock(seen: &Mutex<ObservedRequests>) -> MutexGuard<'_, ObservedRequests> {
    // Counters stay usable whatever happened to another holder.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn models() -> Json<Value> {
    let list: Vec<Value> =
        script::models().map(|id| json!({"id": id, "object": "model", "owned_by": "scripted"})).collect();
    Json(json!({"object": "list", "data": list}))
}

async fn complete(
    State(seen): State<ObservedRequest>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = ScriptedRequest::read(&body);
    let ending = Ending { seen: Arc::clone(&seen), completed: false };
    {
        let mut seen = lock(&seen);
        seen.requests += 1;
        if !seen.connections.contains(&peer) {
            seen.connections.push(peer);
        }
        (seen.headers, seen.body) = (headers, body);
    }
    let script = match Script::of(&asked) {
        Ok(script) => script,
        Err(why) => {
            return failure(StatusCode::BAD_REQUEST, &json!({"message": why, "param": "messages"}));
        }
    };
    if let Some(status) = script.status {
        tokio::time::sleep(Duration::from_millis(script.first_ms)).await;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return failure(status, &script.failure());
    }
    if asked.stream {
        return streamed(script, asked, ending);
    }
    whole(&script, &asked, ending).await
}

fn failure(status: StatusCode, error: &Value) -> Response {
    marked((status, [("retry-after", "7")], Json(json!({"error": error}))).into_response())
}

/// Every answer carries headers that must not reach a client.
fn marked(mut response: Response) -> Response {
    for (name, value) in
        [("set-cookie", "scripted=1"), ("payment-receipt", "scripted"), ("openai-organization", "scripted")]
    {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn whole(script: &Script, asked: &ScriptedRequest, mut ending: Ending) -> Response {
    if script.hang_after.is_some() {
        std::future::pending::<Infallible>().await;
    }
    // A sleep of nothing would last until the timer's next millisecond.
    if let milliseconds @ 1.. = script.duration(asked) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    ending.completed = true;
    if script.cut_after.is_some() || script.error_after.is_some() {
        return failure(StatusCode::BAD_GATEWAY, &script.failure());
    }
    match &script.raw {
        Some(raw) => marked(([(CONTENT_TYPE, "application/json")], raw.clone()).into_response()),
        None => marked(Json(script.whole(asked)).into_response()),
    }
}

fn streamed(script: Script, asked: ScriptedRequest, ending: Ending) -> Response {
    let steps = script.steps(asked);
    let body = stream::unfold((steps, ending), |(mut steps, mut ending)| async move {
        loop {
            match steps.next() {
                Some(ScriptStep::Wait(0)) => {}
                Some(ScriptStep::Wait(milliseconds)) => {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                }
                Some(ScriptStep::Send(text)) => {
                    lock(&ending.seen).sent += 1;
                    return Some((Ok(Bytes::from(text)), (steps, ending)));
                }
                Some(ScriptStep::Cut) => {
                    // Let what was said before leave the buffers.
                    tokio::time::sleep(FLUSH).await;
                    ending.completed = true;
                    return Some((Err(std::io::Error::other("cut, as the script says")), (steps, ending)));
                }
                Some(ScriptStep::Hang) => std::future::pending().await,
                None => {
                    ending.completed = true;
                    drop(ending);
                    return None;
                }
            }
        }
    });
    marked(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body.boxed())).into_response())
}

/// Notes how an answer ended: dropped before it was complete is cancelled.
struct Ending {
    seen: ObservedRequest,
    completed: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut seen = lock(&self.seen);
        if self.completed {
            seen.completed += 1;
        } else {
            seen.cancelled += 1;
        }
    }
}
