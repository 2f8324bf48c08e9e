//! The servers that models come from: one pool of connections each, asked in
//! order until one begins to answer.
//!
//! reqwest is the client: it is hyper with what every caller would have to add
//! (pool, TLS, a limit for connecting) and hands the body on as it comes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::answer::{Completion, Identity};
use super::error::{UpstreamError, UpstreamReport, Wait};
use super::privacy::Outgoing;
use super::stream::{AnswerLimits, ChunkStream};
use crate::config::{self, Secret};
use crate::id::Timestamp;

/// Most of an error's body that is read.
const MAX_ERROR: usize = 64 << 10;
/// Largest whole answer.
const MAX_ANSWER: u64 = 64 << 20;
/// Longest wait an upstream can make us advise, in seconds.
const MAX_RETRY_AFTER: u32 = 3600;

/// All upstreams and the models they serve. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// By the model's id, in order of preference.
    routes: Arc<HashMap<String, Vec<ModelRoute>>>,
}

#[derive(Debug, Clone)]
struct ModelRoute {
    server: Arc<UpstreamServer>,
    /// The model's id there.
    model: String,
}

#[derive(Debug)]
struct UpstreamServer {
    name: String,
    url: String,
    key: Option<Secret>,
    client: Client,
    first_token: Duration,
    idle: Duration,
    total: Duration,
}

impl Upstreams {
    /// The upstreams of a checked configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// When the system's TLS roots cannot be loaded.
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
                Some(ModelRoute { server: Arc::clone(server), model: name.clone() })
            };
            (model.id.clone(), model.upstreams.iter().filter_map(route).collect())
        });
        Ok(Self { routes: Arc::new(routes.collect()) })
    }

    /// Sends a request and waits for its stream to begin. The next upstream is
    /// asked when one fails before that, never after. Dropping the future, or
    /// the stream it gives, ends the request upstream.
    ///
    /// # Errors
    /// [`UpstreamError`]: what the caller is to change, or that nobody answered.
    pub async fn stream(&self, request: &Outgoing) -> Result<ChunkStream, UpstreamError> {
        self.first(request, |route, identity| async move { route.stream(request, identity).await }).await
    }

    /// Sends a request and waits for all of its answer; otherwise like [`Upstreams::stream`].
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn whole(&self, request: &Outgoing) -> Result<Completion, UpstreamError> {
        self.first(request, |route, identity| async move { route.whole(request, &identity).await }).await
    }

    /// The first answer that `ask` gets from the upstreams of a model.
    async fn first<T, Asked>(
        &self,
        request: &Outgoing,
        ask: impl Fn(ModelRoute, Identity) -> Asked,
    ) -> Result<T, UpstreamError>
    where
        Asked: Future<Output = Result<T, UpstreamError>>,
    {
        let id = &request.model().id;
        let identity = Identity {
            id: format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()),
            model: id.clone(),
            created: Timestamp::now().seconds(),
            bounds: request.bounds(),
            wants_usage: request.wants_usage(),
            restoring: request.restoring(),
        };
        let mut failure = UpstreamError::Unavailable;
        for route in self.routes.get(id).map(Vec::as_slice).unwrap_or_default() {
            let asked = ask(route.clone(), identity.clone()).await;
            let outcome = asked.as_ref().map_or_else(UpstreamError::code, |_| "answered");
            metrics::counter!("farebox_upstream_requests_total", "model" => id.clone(), "outcome" => outcome)
                .increment(1);
            match asked {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_callers() => return Err(error),
                Err(error) => {
                    let upstream = &route.server.name;
                    tracing::warn!(upstream, model = id, code = error.code(), ?error, "upstream failed");
                    // "Try again in 5 s" is the most useful of several failures.
                    if !matches!(failure, UpstreamError::Busy { .. }) {
                        failure = error;
                    }
                }
            }
        }
        Err(failure)
    }
}

impl ModelRoute {
    async fn stream(&self, request: &Outgoing, identity: Identity) -> Result<ChunkStream, UpstreamError> {
        let server = &*self.server;
        let end = Instant::now() + server.total;
        let begin = async {
            let response = self.send(request).await?;
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream")) {
                return Err(not_a_stream(response, request).await);
            }
            let budget = AnswerLimits::of(request.max_chunks());
            let body = response.bytes_stream();
            ChunkStream::new(body, identity, request.choices(), budget, server.idle, end).begin().await
        };
        let late = |_| UpstreamError::Timeout(Wait::FirstToken);
        timeout(server.first_token.min(server.total), begin).await.map_err(late)?
    }

    async fn whole(&self, request: &Outgoing, identity: &Identity) -> Result<Completion, UpstreamError> {
        let answer = async {
            let response = self.send(request).await?;
            let limit = AnswerLimits::of(request.max_chunks()).bytes.min(MAX_ANSWER);
            let body = read(response, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
            identity.completion(&body).map_err(|wrong| match wrong {
                Ok(error) => UpstreamReport::of_event(&error).judge(&request.fields(), None),
                Err(malformed) => UpstreamError::Malformed(malformed.0),
            })
        };
        let late = |_| UpstreamError::Timeout(Wait::Total);
        timeout(self.server.total, answer).await.map_err(late)?
    }

    /// Sends the request; answers only when the upstream accepted it.
    async fn send(&self, request: &Outgoing) -> Result<Response, UpstreamError> {
        let server = &*self.server;
        let accept = if request.stream() { "text/event-stream" } else { "application/json" };
        let mut message = server
            .client
            .post(&server.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, accept)
            .body(request.upstream_body(&self.model));
        if let Some(key) = &server.key {
            message = message.bearer_auth(key.expose());
        }
        let response = message.send().await.map_err(|error| {
            let slow = error.is_connect() && error.is_timeout();
            tracing::debug!(upstream = server.name, error = %error.without_url(), "no answer");
            if slow { UpstreamError::Timeout(Wait::Connect) } else { UpstreamError::Unavailable }
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
        let body = read(response, MAX_ERROR).await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(UpstreamReport::of_answer(status, &body).judge(&request.fields(), retry_after))
    }
}

impl UpstreamServer {
    fn new(config: &config::UpstreamConfig) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            // A redirect would carry the prompt, and maybe the key, elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // The environment was read once, at the start.
            .no_proxy()
            .user_agent(concat!("farebox/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            name: config.name.clone(),
            url: format!("{}/chat/completions", config.base_url),
            key: config.api_key.clone(),
            client,
            first_token: Duration::from_millis(config.first_token_timeout_ms),
            idle: Duration::from_millis(config.idle_timeout_ms),
            total: Duration::from_millis(config.total_timeout_ms),
        })
    }
}

/// Some servers report errors with status 200 and a JSON body.
async fn not_a_stream(response: Response, request: &Outgoing) -> UpstreamError {
    let body = read(response, MAX_ERROR).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match body.get("error") {
        Some(error) => UpstreamReport::of_event(error).judge(&request.fields(), None),
        None => UpstreamError::Malformed("not an event stream"),
    }
}

/// The body, if it is no larger than `limit` bytes.
async fn read(response: Response, limit: usize) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| UpstreamError::Interrupted)?;
        if body.len() + piece.len() > limit {
            return Err(UpstreamError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
