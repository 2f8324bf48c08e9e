//! Upstreams: the servers that models come from. They are asked in an order of groups and weights until one begins to
//! answer; one that failed rests, and is asked after the others, or again where the request has cost nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "answers are named here, and upstreams drawn, and nowhere else"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::answer::AnswerRewriter;
use super::balance;
use super::client_event::{AnswerHead, Completion};
use super::privacy::ProtectedRequest;
use super::rest::{Rest, Turn};
use super::retry::{self, RETRY_WITHIN};
use super::stream::ChunkStream;
use super::upstream_error::UpstreamError;
use super::upstream_server::{Attempt, UpstreamServer};
use crate::config;
use crate::id::Timestamp;

/// Largest number of keys of an upstream that one request is sent with.
const MAX_KEYS_ASKED: usize = 3;

/// All upstreams, and the models that they serve. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Routes by the model's id: groups in order of preference.
    routes: Arc<HashMap<String, Vec<Vec<ModelRoute>>>>,
}

/// Upstream that serves a model.
#[derive(Debug)]
struct ModelRoute {
    server: Arc<UpstreamServer>,
    /// Name of the model at the upstream, and the URL of its chat completions there.
    model: Arc<str>,
    url: Arc<str>,
    weight: u32,
    rest: Rest,
}

/// Route that a request may still take.
struct DueRoute<'a> {
    route: &'a ModelRoute,
    /// Moment from which it is asked.
    due: Instant,
    failures: u32,
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
            .map(|upstream| {
                Ok((upstream.name.as_str(), (upstream, Arc::new(UpstreamServer::new(upstream)?))))
            })
            .collect::<Result<HashMap<_, _>, reqwest::Error>>()?;
        let routes = models.iter().map(|model| {
            let route = |source: &config::Source| {
                let (upstream, server) = servers.get(source.name.as_str())?;
                let name = source.model.as_ref().unwrap_or(&model.id);
                Some(ModelRoute {
                    server: Arc::clone(server),
                    model: name.as_str().into(),
                    url: upstream.url(upstream.kind.profile().chat_path, name).into(),
                    weight: source.weight.unwrap_or(1),
                    rest: Rest::default(),
                })
            };
            let groups = model.upstreams.iter().map(|group| group.0.iter().filter_map(route).collect());
            (model.id.clone(), groups.collect())
        });
        Ok(Self { routes: Arc::new(routes.collect()) })
    }

    /// Returns true if a model has an upstream that does not rest.
    #[must_use]
    pub fn are_available(&self, model: &str) -> bool {
        let now = Instant::now();
        let routes = self.routes.get(model).into_iter().flatten().flatten();
        routes.into_iter().any(|route| route.rest.left(now).is_zero())
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
        let send = |attempt: Attempt| async move { attempt.stream(request).await };
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
        let send = |attempt: Attempt| async move { attempt.non_streaming(request).await };
        self.first_answer(request, head, send).await
    }

    /// Returns the first answer that `send` gets from the upstreams of a model.
    async fn first_answer<T, Sent>(
        &self,
        request: &ProtectedRequest,
        head: &AnswerHead,
        send: impl Fn(Attempt) -> Sent,
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
        let groups = self.routes.get(id).map(Vec::as_slice).unwrap_or_default();
        let began = Instant::now();
        let rests = |route: &ModelRoute| !route.admits(began);
        let order = balance::order(groups, |route| route.weight, rests, &mut random_below);
        let mut routes: Vec<_> =
            order.into_iter().map(|route| DueRoute { route, due: began, failures: 0 }).collect();
        let mut failure = UpstreamError::Unavailable;
        while let Some(DueRoute { route, due, failures }) = next(&mut routes) {
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let deadline = began + route.server.total_timeout;
            if deadline <= Instant::now() {
                continue;
            }
            let error = match route.ask(request, &rewriter, deadline, &send).await {
                Err(error) if !error.is_client_error() => error,
                answer => return answer,
            };
            let (now, failures) = (Instant::now(), failures + 1);
            let left = RETRY_WITHIN.saturating_sub(now.duration_since(began));
            let wait = retry::backoff(&error, failures, route.rest.left(now), left, &mut random_below);
            if let Some(wait) = wait.filter(|_| failures <= route.server.retries) {
                routes.push(DueRoute { route, due: now + wait, failures });
            }
            failure = failure.or_better(error);
        }
        Err(failure)
    }
}

/// Takes the route that is due first; of several, the first one.
fn next<'a>(routes: &mut Vec<DueRoute<'a>>) -> Option<DueRoute<'a>> {
    let first = routes.iter().enumerate().min_by_key(|(_, route)| route.due)?.0;
    Some(routes.remove(first))
}

/// Returns a random number below `below`.
fn random_below(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    u64::from_le_bytes(bytes) % below.max(1)
}

impl AnswerHead {
    /// Returns the head of a new answer to a request that came `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { id: format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()), created: now.seconds() }
    }
}

impl ModelRoute {
    /// Returns true if it is asked before others that rest.
    fn admits(&self, now: Instant) -> bool {
        self.rest.admits(now) && self.server.has_ready_key(now)
    }

    /// Sends a request to it, with another key where one is refused.
    async fn ask<T, Sent>(
        &self,
        request: &ProtectedRequest,
        rewriter: &AnswerRewriter,
        deadline: Instant,
        send: &impl Fn(Attempt) -> Sent,
    ) -> Result<T, UpstreamError>
    where
        Sent: Future<Output = Result<T, UpstreamError>>,
    {
        let turn = self.rest.begin(Instant::now());
        let mut asked = Vec::new();
        // Keys with which the upstream did not answer this request: they are at fault if it does with another.
        let mut declined: Vec<Turn<'_>> = Vec::new();
        let mut failure = UpstreamError::Unavailable;
        let answer = loop {
            let now = Instant::now();
            let key = self.server.next_key(&asked, now).filter(|_| asked.len() < MAX_KEYS_ASKED);
            let Some((index, key)) = key else { break Err(failure) };
            asked.push(index);
            let key_turn = key.rest.begin(now);
            let answer = send(Attempt {
                server: Arc::clone(&self.server),
                key: key.secret.clone(),
                model: Arc::clone(&self.model),
                url: Arc::clone(&self.url),
                rewriter: rewriter.clone(),
                deadline: deadline.into(),
            });
            let answer = self.noted(request, answer.await);
            match answer {
                Err(error) if error.is_of_key() => {
                    if error == UpstreamError::Declined {
                        declined.push(key_turn);
                    } else {
                        key_turn.failed(&error, Instant::now());
                    }
                    failure = failure.or_better(error);
                }
                Err(error) => break Err(error),
                Ok(answer) => {
                    key_turn.answered();
                    for turn in declined {
                        turn.failed(&UpstreamError::Declined, Instant::now());
                    }
                    break Ok(answer);
                }
            }
        };
        match &answer {
            Err(error) if !error.is_client_error() => turn.failed(error, Instant::now()),
            _ => turn.answered(),
        }
        answer
    }

    /// Notes how an attempt ended.
    fn noted<T>(
        &self,
        request: &ProtectedRequest,
        answer: Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let id = &request.model().id;
        let outcome = answer.as_ref().map_or_else(UpstreamError::code, |_| "answered");
        metrics::counter!("farebox_upstream_requests_total", "model" => id.clone(), "outcome" => outcome)
            .increment(1);
        if let Err(error) = &answer
            && !error.is_client_error()
        {
            request.delivery().fail();
            let upstream = &self.server.name;
            tracing::warn!(upstream, model = id, code = error.code(), ?error, "upstream failed");
        }
        answer
    }
}
