//! Upstreams: the servers that models come from, each with a pool of connections. They are
//! tried in order until one begins to answer; one that failed rests, and is tried after the others.
//!
//! reqwest is the client: hyper with a pool, TLS and a timeout for connecting, and with
//! bodies that can be read while they arrive.

#![expect(clippy::disallowed_methods, reason = "answers are named here and nowhere else")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::answer::AnswerRewriter;
use super::assemble;
use super::client_event::{AnswerHead, Completion};
use super::privacy::ProtectedRequest;
use super::rest::Rest;
use super::stream::{AnswerLimits, ChunkStream};
use super::upstream_error::{TimeoutKind, UpstreamError, UpstreamReport};
use crate::config::{self, Secret};
use crate::id::Timestamp;

/// Size up to which the body of an error is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Size of the largest whole answer that is sent as a stream, in bytes.
const MAX_CONVERTED_BYTES: usize = 1 << 20;
/// Longest `Retry-After` of an upstream that clients are told, in seconds.
const MAX_RETRY_AFTER: u32 = 3600;

/// All upstreams, and the models that they serve. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Routes by the model's id, in order of preference.
    routes: Arc<HashMap<String, Vec<ModelRoute>>>,
}

/// Upstream that serves a model.
#[derive(Debug, Clone)]
struct ModelRoute {
    server: Arc<UpstreamServer>,
    /// Name of the model at the upstream.
    model: String,
    rest: Arc<Rest>,
}

/// Connection pool and settings of an upstream.
#[derive(Debug)]
struct UpstreamServer {
    name: String,
    url: String,
    key: Option<Secret>,
    client: Client,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    whole_timeout: Duration,
    total_timeout: Duration,
}

impl Upstreams {
    /// Creates the upstreams of a checked configuration, without connecting.
    ///
    /// # Errors
    /// An error if the system's TLS roots cannot be loaded.
    pub fn new(
        upstreams: &[config::UpstreamConfig],
        models: &[config::ModelConfig],
    ) -> Result<Self, reqwest::Error> {
        let servers = upstreams
            .iter()
            .map(|upstream| Ok((upstream.name.as_str(), Arc::new(UpstreamServer::new(upstream)?))))
            .collect::<Result<HashMap<_, _>, reqwest::Error>>()?;
        let routes = models.iter().map(|model| {
            let route = |source: &config::Source| {
                let server = servers.get(source.name.as_str())?;
                let name = source.model.as_ref().unwrap_or(&model.id);
                Some(ModelRoute { server: Arc::clone(server), model: name.clone(), rest: Arc::default() })
            };
            (model.id.clone(), model.upstreams.iter().filter_map(route).collect())
        });
        Ok(Self { routes: Arc::new(routes.collect()) })
    }

    /// Sends a request and waits for its stream to begin. An upstream that fails before
    /// that is replaced by the next one, never after. Dropping the future, or the stream,
    /// cancels the request at the upstream.
    ///
    /// # Errors
    /// [`UpstreamError`] of the request, or of the upstreams if none answered.
    pub async fn stream(
        &self,
        request: &ProtectedRequest,
        head: &AnswerHead,
    ) -> Result<ChunkStream, UpstreamError> {
        let send = |route: ModelRoute, rewriter: AnswerRewriter| async move {
            route.stream(request, rewriter).await
        };
        self.first_answer(request, head, send).await
    }

    /// Sends a request and waits for its non-streaming answer; otherwise like
    /// [`Upstreams::stream`].
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn non_streaming(
        &self,
        request: &ProtectedRequest,
        head: &AnswerHead,
    ) -> Result<Completion, UpstreamError> {
        let send = |route: ModelRoute, rewriter: AnswerRewriter| async move {
            route.non_streaming(request, &rewriter).await
        };
        self.first_answer(request, head, send).await
    }

    /// Returns the first answer that `send` gets from the upstreams of a model.
    async fn first_answer<T, Sent>(
        &self,
        request: &ProtectedRequest,
        head: &AnswerHead,
        send: impl Fn(ModelRoute, AnswerRewriter) -> Sent,
    ) -> Result<T, UpstreamError>
    where
        Sent: Future<Output = Result<T, UpstreamError>>,
    {
        let id = &request.model().id;
        let rewriter = AnswerRewriter {
            head: head.clone(),
            model: id.clone(),
            bounds: request.usage_bounds(),
            wants_usage: request.wants_usage(),
            restorer: request.restorer(),
        };
        let mut failure = UpstreamError::Unavailable;
        let routes = self.routes.get(id).map(Vec::as_slice).unwrap_or_default();
        let now = std::time::Instant::now();
        let (ready, resting): (Vec<_>, Vec<_>) = routes.iter().partition(|route| route.rest.admits(now));
        for route in ready.into_iter().chain(resting) {
            let turn = route.rest.begin(std::time::Instant::now());
            let answer = send(route.clone(), rewriter.clone()).await;
            let outcome = answer.as_ref().map_or_else(UpstreamError::code, |_| "answered");
            metrics::counter!("farebox_upstream_requests_total", "model" => id.clone(), "outcome" => outcome)
                .increment(1);
            match answer {
                Ok(answer) => {
                    turn.answered();
                    return Ok(answer);
                }
                Err(error) if error.is_client_error() => {
                    turn.answered();
                    return Err(error);
                }
                Err(error) => {
                    request.delivery().fail();
                    turn.failed(&error, std::time::Instant::now());
                    let upstream = &route.server.name;
                    tracing::warn!(upstream, model = id, code = error.code(), ?error, "upstream failed");
                    // Of several errors, one that says when to try again is the most useful.
                    if !failure.says_when_to_retry() {
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }
}

impl AnswerHead {
    /// Returns the head of a new answer to a request that came `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { id: format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()), created: now.seconds() }
    }
}

impl ModelRoute {
    async fn stream(
        &self,
        request: &ProtectedRequest,
        rewriter: AnswerRewriter,
    ) -> Result<ChunkStream, UpstreamError> {
        let server = &*self.server;
        let deadline = Instant::now() + server.total_timeout;
        let begin = async {
            let response = self.send(request).await?;
            let limits = AnswerLimits::of(request.max_tokens(), request.max_chunks());
            let body = as_events(response.bytes_stream().boxed(), request, limits).await?;
            let choices = request.choices();
            let stream = ChunkStream::new(body, rewriter, choices, limits, server.idle_timeout, deadline);
            stream.wait_for_content().await
        };
        let late = |_| UpstreamError::Timeout(TimeoutKind::FirstToken);
        timeout(server.first_token_timeout.min(server.total_timeout), begin).await.map_err(late)?
    }

    async fn non_streaming(
        &self,
        request: &ProtectedRequest,
        rewriter: &AnswerRewriter,
    ) -> Result<Completion, UpstreamError> {
        let answer = async {
            let response = self.send(request).await?;
            let limits = AnswerLimits::of(request.max_tokens(), request.max_chunks());
            let mut body = read(response.bytes_stream().boxed(), limits.whole_bytes()).await?;
            if assemble::is_event_stream(&body) {
                let whole = assemble::to_whole(&body, request.choices());
                body = whole.ok_or(UpstreamError::Malformed("events without an answer"))?.to_string().into();
            }
            rewriter.completion(&body, |reported, texts| request.complete_usage(reported, texts)).map_err(
                |error| match error {
                    Ok(error) => UpstreamReport::from_event(&error).classify(&request.fields(), None),
                    Err(malformed) => UpstreamError::Malformed(malformed.0),
                },
            )
        };
        let late = |_| UpstreamError::Timeout(TimeoutKind::Total);
        timeout(self.server.whole_timeout, answer).await.map_err(late)?
    }

    /// Sends the request, and returns the response if the upstream accepted it.
    async fn send(&self, request: &ProtectedRequest) -> Result<Response, UpstreamError> {
        let server = &*self.server;
        let accept = if request.stream() { "text/event-stream" } else { "application/json" };
        let mut message = server
            .client
            .post(&server.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(request.delivery().body(request.upstream_body(&self.model)));
        if let Some(key) = &server.key {
            message = message.bearer_auth(key.expose());
        }
        let response = message.send().await.map_err(|error| {
            let is_connect_timeout = error.is_connect() && error.is_timeout();
            tracing::debug!(upstream = server.name, error = %error.without_url(), "no response");
            if is_connect_timeout {
                UpstreamError::Timeout(TimeoutKind::Connect)
            } else {
                UpstreamError::Unavailable
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse::<u32>().ok())
            .map(|seconds| seconds.min(MAX_RETRY_AFTER));
        tracing::debug!(upstream = server.name, status, "refused");
        let body = read(response.bytes_stream().boxed(), MAX_ERROR_BYTES).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(UpstreamReport::from_response(status, &body).classify(&request.fields(), retry_after))
    }
}

impl UpstreamServer {
    fn new(config: &config::UpstreamConfig) -> Result<Self, reqwest::Error> {
        let client = crate::outbound::client(config.proxy.as_ref())?
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            // A redirect would send the prompt, and maybe the key, to another server.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            name: config.name.clone(),
            url: format!("{}/chat/completions", config.base_url),
            key: config.api_key.clone(),
            client,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            whole_timeout: Duration::from_millis(config.whole_timeout_ms.min(config.total_timeout_ms)),
            total_timeout: Duration::from_millis(config.total_timeout_ms),
        })
    }
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
