//! Accepts connections, with limits, until the process is to stop.

mod answer_body;
mod places;
mod progress;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::App;
use crate::http::{self, Peer};
use answer_body::{AnswerBody, OpenAnswer, SharedProgress};
use places::{Place, Places};
use progress::{ConnectionLimits, Progress};

/// Files that the server opens beside its connections: database, logs, models, upstreams.
pub const OTHER_FILES: u64 = 256;
/// Interval between two looks at a connection's progress.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Time that a connection which is let go has to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Requests of one HTTP/2 connection that are open at once.
const MAX_STREAMS: u32 = 64;
/// Largest list of headers on HTTP/2, in bytes as it counts them: a byte there can stand for a whole header.
const MAX_HEADER_LIST: usize = 64 << 10;
/// Bytes of bodies that an HTTP/2 stream, and a connection, may send ahead of their being read.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Serves until `stop` completes, then lets open requests finish and shuts the
/// program down. Requests that are open after `server.drain_seconds` are cut off;
/// payments among them are finished at the next start.
/// `admin` is the operator's own listener.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    stop: impl Future<Output = ()>,
) {
    let limits = app.config.server.clone();
    let admin = admin.map(|admin| {
        let served = axum::serve(admin, http::admin_router(&app));
        AbortOnDrop(tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the operator's listener ended");
            }
        }))
    });
    let service = ConnectionService {
        router: http::router(&app),
        limits: ConnectionLimits {
            first_request: Duration::from_millis(limits.header_timeout_ms),
            idle: Duration::from_millis(limits.idle_timeout_ms),
            write: Duration::from_millis(limits.write_timeout_ms),
        },
        header_limit: limits.header_limit_bytes,
        stopping: app.stopping.clone(),
    };
    let places = Places::new(fitting_connections(limits.max_connections), limits.max_connections_per_address);
    let connections = TaskTracker::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: give others time to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let address = peer.ip().to_canonical();
        // A proxy that is trusted speaks for many.
        let place =
            if app.is_trusted_proxy(address) { places.take_any(address) } else { places.take(address) };
        let Some(place) = place else {
            metrics::counter!("farebox_connections_refused_total").increment(1);
            continue;
        };
        connections.spawn(service.clone().serve(stream, Peer(address), place));
    }
    drop((listener, admin));
    service.stopping.cancel();
    connections.close();
    let drain = Duration::from_secs(limits.drain_seconds);
    tracing::info!(seconds = limits.drain_seconds, "stopping; open requests may finish");
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            seconds = limits.drain_seconds,
            "requests were still open after server.drain_seconds and are cut off"
        );
    }
    app.shutdown(drain).await;
}

/// A task that ends with this.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connections that are served at once: as many as are configured, or as the limit of open files leaves room for.
fn fitting_connections(configured: usize) -> usize {
    let Some(allowed) = open_files_limit() else { return configured };
    let fitting = usize::try_from(allowed.saturating_sub(OTHER_FILES).max(16)).unwrap_or(usize::MAX);
    if fitting < configured {
        tracing::warn!(
            allowed,
            fitting,
            "server.max_connections is lowered to what the limit of open files leaves"
        );
    }
    configured.min(fitting)
}

/// Files that this process may have open, its limit raised as far as it may raise it itself; `None` without a limit.
#[must_use]
pub fn open_files_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// Service of connections.
#[derive(Clone)]
struct ConnectionService {
    router: Router,
    limits: ConnectionLimits,
    header_limit: usize,
    /// Cancelled when the server is to stop.
    stopping: CancellationToken,
}

impl ConnectionService {
    /// Serves a connection until it ends, is let go, or the server stops.
    async fn serve(self, stream: TcpStream, peer: Peer, place: Place) {
        // Answers are small and complete: waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let progress: SharedProgress = Arc::new(Mutex::new(Progress::new(Instant::now())));
        let (router, shared, is_kept) = (self.router, Arc::clone(&progress), place.is_kept);
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            let answer = OpenAnswer::begin(Arc::clone(&shared));
            request.extensions_mut().insert(peer);
            let router = router.clone();
            async move {
                let response = if is_kept && !is_health_check(request.uri().path()) {
                    full()
                } else {
                    answered(router, request).await
                };
                // What is ready waits to be taken from now on.
                answer.give();
                Ok::<_, Infallible>(response.map(|inner| AnswerBody { inner, answer }))
            }
        });
        let builder = builder(self.header_limit, self.limits.first_request);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut is_stopping = false;
        let reason = loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended early");
                    }
                    return;
                }
                () = self.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = looks.tick() => {
                    if let Some(reason) = answer_body::verdict(&progress, &self.limits) {
                        break reason;
                    }
                }
            }
        };
        tracing::debug!(?reason, "a connection is let go");
        metrics::counter!("farebox_connections_let_go_total", "reason" => reason.as_str()).increment(1);
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GOODBYE, connection).await;
        drop(place);
    }
}

fn builder(header_limit: usize, header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(header_limit)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(header_limit.min(MAX_HEADER_LIST)).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(30)));
    builder
}

fn is_health_check(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// The answer while all places are taken.
fn full() -> Response {
    let mut response =
        Response::new(Body::from("the server has no place for another connection; try again\n"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn answered(router: Router, request: hyper::Request<Incoming>) -> Response {
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
