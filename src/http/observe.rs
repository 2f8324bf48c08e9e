//! Middleware of every request: an id, the time, a log line, a count, and a safe answer to a panic.

use axum::extract::{MatchedPath, Request, State as AppState};
use axum::http::header::{CACHE_CONTROL, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::State;
use super::clock::ArrivedAt;
use super::error::{Code, HttpError, Shape, render};
use crate::id::RequestId;

/// Header of the request's id: accepted from the client, made when missing, echoed, stored in ledger entries.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives a request its id and time, and finishes its answer.
pub async fn observe(AppState(_): AppState<State>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let arrived = ArrivedAt::now();
    let id = RequestId::accept(given, arrived.0);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(arrived);
    let method = request.method().clone();
    // The route's pattern, never the path: a label must not grow with the requests.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "(none)".to_owned(), |p| p.as_str().to_owned());
    let shape = Shape::of(request.uri().path());
    let span = tracing::info_span!("request", request_id = %id, %method, route);
    let names_one_host = names_one_host(request.version(), request.headers());
    let answer = async move {
        if !names_one_host {
            let detail = "a request of HTTP/1.1 has exactly one Host header; send one";
            return HttpError::invalid(detail).into_response();
        }
        next.run(request).await
    };
    let answered = std::panic::AssertUnwindSafe(answer).catch_unwind().instrument(span.clone());
    let response = answered.await.unwrap_or_else(|_| {
        tracing::error!(parent: &span, "handler panicked");
        HttpError::new(
            Code::InternalError,
            "an internal error occurred; nothing was charged for this request",
        )
        .into_response()
    });
    let mut response = render(response, shape, &id);
    let status = response.status().as_u16();
    tracing::debug!(parent: &span, status, micros = started.elapsed().as_micros(), "answered");
    metrics::counter!("farebox_requests_total", "route" => route, "status" => status_class(status))
        .increment(1);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Answers are somebody's; what is for everybody says so.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// True for a request that names the host it is for (RFC 9112, section 3.2): who reads another one than we do would
/// mistake its answer.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let hosts = headers.get_all(HOST).iter().count();
    hosts == 1 || version != Version::HTTP_11 && hosts == 0
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        402 => "402",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}
