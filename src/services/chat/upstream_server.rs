//! A server that models come from: its pool of connections, its keys, and one request to it.
//!
//! reqwest is the client: hyper with a pool, TLS and a timeout for connecting, and with
//! bodies that can be read while they arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{Instant as Deadline, timeout_at};

use super::answer::AnswerRewriter;
use super::client_event::Completion;
use super::privacy::ProtectedRequest;
use super::rest::Rest;
use super::stream::{AnswerLimits, ChunkStream};
use super::upstream_error::{MAX_RETRY_AFTER, TimeoutKind, UpstreamError, UpstreamReport};
use super::{assemble, balance};
use crate::config::{self, Secret};
use crate::outbound;

/// Size up to which the body of an error is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Size of the largest whole answer that is sent as a stream, in bytes.
const MAX_CONVERTED_BYTES: usize = 1 << 20;
/// Header by which OpenAI and Azure name a wait in milliseconds.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Connection pool and settings of an upstream.
#[derive(Debug)]
pub(super) struct UpstreamServer {
    pub(super) name: String,
    profile: &'static config::KindProfile,
    /// At least one, which may be no key.
    keys: Vec<ServerKey>,
    /// Number of requests that took a key.
    turns: AtomicUsize,
    headers: Vec<(String, Secret)>,
    client: Client,
    pub(super) retries: u32,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    whole_timeout: Duration,
    pub(super) total_timeout: Duration,
}

/// Key of an upstream.
#[derive(Debug)]
pub(super) struct ServerKey {
    pub(super) secret: Option<Secret>,
    pub(super) rest: Rest,
}

/// One request to an upstream.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) server: Arc<UpstreamServer>,
    pub(super) key: Option<Secret>,
    /// Name of the model at the upstream.
    pub(super) model: Arc<str>,
    pub(super) url: Arc<str>,
    pub(super) rewriter: AnswerRewriter,
    /// Moment at which the answer must have ended.
    pub(super) deadline: Deadline,
}

impl UpstreamServer {
    pub(super) fn new(config: &config::UpstreamConfig) -> Result<Self, reqwest::Error> {
        let client = outbound::client(config.proxy.as_ref())?
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            // A redirect would send the prompt, and maybe the key, to another server.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let keys: Vec<_> = config.keys().cloned().map(Some).collect();
        let keys = if keys.is_empty() { vec![None] } else { keys };
        let profile = config.kind.profile();
        Ok(Self {
            name: config.name.clone(),
            profile,
            keys: keys.into_iter().map(|secret| ServerKey { secret, rest: Rest::of_key() }).collect(),
            turns: AtomicUsize::new(0),
            headers: config.all_headers().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            client,
            retries: config.retries,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            whole_timeout: Duration::from_millis(config.whole_timeout_ms),
            total_timeout: Duration::from_millis(config.total_timeout_ms),
        })
    }

    /// Returns true unless all of several keys rest. The rest of a single key is its upstream's.
    pub(super) fn has_ready_key(&self, now: Instant) -> bool {
        self.keys.len() == 1 || self.keys.iter().any(|key| key.rest.admits(now))
    }

    /// Returns the key to ask with next, and its index: [`balance::next_key`].
    pub(super) fn next_key(&self, asked: &[usize], now: Instant) -> Option<(usize, &ServerKey)> {
        let turn = if asked.is_empty() { self.turns.fetch_add(1, Ordering::Relaxed) } else { asked[0] };
        let admits = |key: usize| self.keys[key].rest.admits(now);
        let rest_left = |key: usize| self.keys[key].rest.left(now);
        let next = balance::next_key(self.keys.len(), turn, asked, admits, rest_left)?;
        Some((next, &self.keys[next]))
    }
}

impl Attempt {
    /// Waits for a stream to begin.
    pub(super) async fn stream(self, request: &ProtectedRequest) -> Result<ChunkStream, UpstreamError> {
        let first_token = self.deadline.min(Deadline::now() + self.server.first_token_timeout);
        let begin = async {
            let response = self.send(request).await?;
            let limits = AnswerLimits::of(request.max_tokens(), request.max_chunks());
            let body = as_events(response.bytes_stream().boxed(), request, limits).await?;
            let (choices, idle_timeout) = (request.choices(), self.server.idle_timeout);
            let stream = ChunkStream::new(body, self.rewriter, choices, limits, idle_timeout, self.deadline);
            stream.wait_for_content().await
        };
        let late = |_| UpstreamError::Timeout(TimeoutKind::FirstToken);
        timeout_at(first_token, begin).await.map_err(late)?
    }

    /// Waits for a non-streaming answer.
    pub(super) async fn non_streaming(self, request: &ProtectedRequest) -> Result<Completion, UpstreamError> {
        let end = self.deadline.min(Deadline::now() + self.server.whole_timeout);
        let answer = async {
            let response = self.send(request).await?;
            let limits = AnswerLimits::of(request.max_tokens(), request.max_chunks());
            let mut body = read(response.bytes_stream().boxed(), limits.whole_bytes()).await?;
            if assemble::is_event_stream(&body) {
                let whole = assemble::to_whole(&body, request.choices());
                body = whole.ok_or(UpstreamError::Malformed("events without an answer"))?.to_string().into();
            }
            let complete = |reported, texts: &[String]| request.complete_usage(reported, texts);
            self.rewriter.completion(&body, complete).map_err(|error| match error {
                Ok(error) => UpstreamReport::from_event(&error).classify(&request.fields(), None),
                Err(malformed) => UpstreamError::Malformed(malformed.0),
            })
        };
        let late = |_| UpstreamError::Timeout(TimeoutKind::Total);
        timeout_at(end, answer).await.map_err(late)?
    }

    /// Sends the request, and returns the response if the upstream accepted it.
    async fn send(&self, request: &ProtectedRequest) -> Result<Response, UpstreamError> {
        let server = &*self.server;
        let accept = if request.stream() { "text/event-stream" } else { "application/json" };
        let body = request.upstream_body(&self.model, server.profile);
        let mut message = server
            .client
            .post(&*self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(request.delivery().body(body));
        for (name, value) in &server.headers {
            message = message.header(name, value.expose());
        }
        if let Some(key) = &self.key {
            message = outbound::with_key(message, server.profile.key_header, key);
        }
        let response = message.send().await.map_err(|error| {
            let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
            tracing::debug!(upstream = server.name, error = %error.without_url(), "no response");
            match (is_connect, is_timeout) {
                (true, true) => UpstreamError::Timeout(TimeoutKind::Connect),
                (true, false) => UpstreamError::Unreachable,
                // The connection ended before the body was on it.
                (false, _) if !request.delivery().is_taken() => UpstreamError::Unreachable,
                (false, _) => UpstreamError::Unavailable,
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        tracing::debug!(upstream = server.name, status, "refused");
        let body = read(response.bytes_stream().boxed(), MAX_ERROR_BYTES).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(UpstreamReport::from_response(status, &body).classify(&request.fields(), retry_after))
    }
}

/// Returns the seconds after which an upstream wants to be asked again.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    let milliseconds = number(RETRY_AFTER_MS).map(|milliseconds| milliseconds.div_ceil(1000));
    let seconds = milliseconds.or_else(|| number(RETRY_AFTER.as_str()))?;
    Some(seconds.min(MAX_RETRY_AFTER))
}

type Body = BoxStream<'static, reqwest::Result<Bytes>>;

/// Returns a body as a stream of events, whatever type it says it is of: some servers give such a stream another type, or
/// none; some answer a request for a stream with a whole answer, or report errors so.
async fn as_events(
    mut body: Body,
    request: &ProtectedRequest,
    limits: AnswerLimits,
) -> Result<Body, UpstreamError> {
    let first = match body.next().await {
        Some(first) => first.map_err(|_| UpstreamError::Interrupted)?,
        None => Bytes::new(),
    };
    let is_json = first.trim_ascii_start().starts_with(b"{");
    let whole = futures_util::stream::once(std::future::ready(Ok(first))).chain(body).boxed();
    if !is_json {
        return Ok(whole);
    }
    let json = read(whole, MAX_CONVERTED_BYTES).await?;
    let answer: Value =
        serde_json::from_slice(&json).map_err(|_| UpstreamError::Malformed("not an event stream"))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(UpstreamReport::from_event(error).classify(&request.fields(), None));
    }
    let events = Bytes::from(assemble::to_events(answer, limits.billable));
    Ok(futures_util::stream::once(std::future::ready(Ok(events))).boxed())
}

/// Reads a body of at most `limit` bytes.
async fn read(mut parts: Body, limit: usize) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| UpstreamError::Interrupted)?;
        if body.len() + part.len() > limit {
            return Err(UpstreamError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
