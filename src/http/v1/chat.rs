//! `POST /v1/chat/completions`: OpenAI's, paid from prepaid credits by the token.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State as AppState;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tracing::Instrument as _;

use super::reply::{self, OpenAiError, in_progress, ledger_unavailable, reused, short};
use super::standing::could_pay;
use super::{Bearer, attachments, top_up};
use crate::http::chat::{ChatBody, with_replaced};
use crate::http::error::HttpError;
use crate::http::request::{Received, ReceivedWithFiles};
use crate::http::{State, sse};
use crate::id::{RequestId, Timestamp};
use crate::keys::{Key, RevocationToken, TokenReservation};
use crate::ledger::{Estimate, LARGEST, OpenOutcome};
use crate::meter::{
    self, MeteredRequest, MeteredStream, PaidAnswer, PrepaidSource, PrepaidTerms, StreamEnd, StreamEvent,
    StreamSummary,
};
use crate::money::Money;
use crate::services::chat::{ChatRequest, ProtectedRequest, RequestLimits};

/// How long a metered may be open before the sweeper takes its request for lost.
const HOLD_TTL_MS: i64 = 2 * 3_600_000;
/// How long a stream's beginning waits for the model: a refusal within this time
/// is an HTTP error, as clients expect it, and a later one an event.
const FIRST: Duration = Duration::from_secs(2);

/// Chat, paid by the token from prepaid credits.
///
/// OpenAI's chat completions. What the answer can cost is set aside, what it did
/// cost is charged. A balance that does not reach for the longest answer asked
/// for gets a shorter one; 402 says that it does not reach for any.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "prepaid", security(("apiKey" = [])),
    request_body(content = ChatBody,
        example = json!({"model": "dev-scripted", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16})),
    params(("Idempotency-Key" = Option<String>, Header, description = "A request is charged once under it; sent again it gets 409, or an answer where the first try cost nothing")),
    responses(
        (status = 200, description = "A completion, or text/event-stream with `stream`", content_type = "application/json", body = serde_json::Value,
            headers(("x-pii-redacted" = u64, description = "How many pieces of personal data were replaced, where they were looked for"))),
        (status = 400, description = "invalid_params, model_not_found; free", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 402, description = "insufficient_credits", body = OpenAiError),
        (status = 403, description = "key_limit_reached", body = OpenAiError),
        (status = 409, description = "idempotency_key_reused, payment_in_progress", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm, rate_limit_exceeded_tpm", body = OpenAiError),
        (status = 500, description = "billing_error, internal_error", body = OpenAiError),
        (status = 502, description = "upstream_failed; nothing was charged", body = OpenAiError),
    ))]
pub async fn completions(
    AppState(app): AppState<State>,
    bearer: Bearer,
    request: Result<ReceivedWithFiles, HttpError>,
) -> Response {
    let answer = async {
        let ReceivedWithFiles(request) = request?;
        let paid = top_up::redeem(&app, &bearer, &request).await?;
        let answer = serve(&app, &bearer, &request).await;
        top_up::conclude(&app, &bearer, &request, paid, answer).await
    };
    bearer.answer(answer.await)
}

async fn serve(app: &State, bearer: &Bearer, request: &Received) -> Result<Response, HttpError> {
    let limits = RequestLimits { attachments: attachments::offered(app), ..RequestLimits::default() };
    let chat = ChatRequest::parse(request.json_text()?, &app.models.catalog, limits)
        .map_err(|error| reply::refused(&error))?;
    if !bearer.key().allows(&chat.model().id) {
        return Err(super::models::unknown(None));
    }
    let idempotency_key = request.idempotency_key()?;
    let chat = attachments::read(app, bearer, chat, idempotency_key.as_deref()).await?;
    // What was attached is protected like what was written. Files take seconds, for who could pay.
    if chat.has_files_to_examine(&app.models.privacy) {
        could_pay(app, bearer, &chat, idempotency_key.as_deref()).await?;
    }
    let chat = chat.protect(&app.models.privacy).await.map_err(|error| reply::refused(&error))?;
    let replaced = chat.replaced().cloned();
    let estimate = chat.prompt().estimated_tokens().saturating_add(chat.max_tokens());
    let accepted = AcceptedRequest {
        app: Arc::clone(app),
        key: bearer.key().clone(),
        revocation: app.keys.revocation_token(&bearer.key().id),
        request_id: request.id.clone(),
        idempotency_key,
        reservation: bearer.tokens(estimate).await?,
        chat,
    };
    let answer = if accepted.chat.stream() { stream(accepted).await } else { non_streaming(accepted).await };
    answer.map(|response| with_replaced(response, replaced.as_ref()))
}

/// A request that may be served, if it can be paid.
struct AcceptedRequest {
    app: State,
    key: Key,
    revocation: Arc<RevocationToken>,
    request_id: RequestId,
    idempotency_key: Option<String>,
    reservation: TokenReservation,
    chat: ProtectedRequest,
}

/// The same, with its metered.
struct HeldRequest {
    app: State,
    chat: ProtectedRequest,
    metered: MeteredRequest,
    source: PrepaidSource,
    reservation: TokenReservation,
    /// Kept while it runs, so that the end of the key is told.
    _revocation: Arc<RevocationToken>,
}

/// What a request is served for.
#[derive(Debug, PartialEq, Eq)]
struct ServingPlan {
    /// Completion tokens, all choices together.
    tokens: u64,
    /// Whether that is less than was asked for.
    shortened: bool,
}

impl ServingPlan {
    /// The longest answer that `affordable` pays for; `None` when that is not
    /// even a minimal one, however short the prompt turns out to be.
    fn new(chat: &ChatRequest, affordable: Money) -> Option<Self> {
        let (tariff, prompt, asked) =
            (chat.model().tariff(), chat.prompt().estimated_tokens(), chat.max_tokens());
        if tariff.cost(prompt, asked).is_some_and(|cost| cost <= affordable) {
            return Some(Self { tokens: asked, shortened: false });
        }
        if least(chat)? > affordable {
            return None;
        }
        let tokens = tariff.affordable_tokens(affordable, prompt, asked).max(chat.min_useful_tokens());
        Some(Self { tokens, shortened: true })
    }
}

/// What is set aside for a request.
fn estimate(chat: &ChatRequest) -> Estimate {
    let cost = chat.model().tariff().cost(chat.prompt().estimated_tokens(), chat.max_tokens());
    Estimate { wanted: cost.unwrap_or(LARGEST), least: least(chat).unwrap_or(LARGEST) }
}

/// What a request costs at the very least.
pub(super) fn least(chat: &ChatRequest) -> Option<Money> {
    chat.model().tariff().cost(chat.prompt().min_tokens(), chat.min_useful_tokens())
}

impl AcceptedRequest {
    /// Opens the metered.
    async fn open(self, now: Timestamp) -> Result<HeldRequest, HttpError> {
        let until = now.checked_add_millis(HOLD_TTL_MS).unwrap_or(now);
        let opening =
            self.key.hold_request(self.idempotency_key.as_deref(), estimate(&self.chat), now, until);
        let opened = self.app.ledger.open(opening).await;
        let (hold, reserved) = match opened.map_err(|error| ledger_unavailable(&error))? {
            OpenOutcome::Open { hold, reserved } => (hold, reserved),
            OpenOutcome::InProgress => return Err(in_progress()),
            OpenOutcome::Charged => return Err(reused()),
            OpenOutcome::Short(found) => {
                return Err(short(found, estimate(&self.chat).least));
            }
        };
        let shortened = ServingPlan::new(&self.chat, reserved).filter(|plan| plan.shortened);
        let is_shortened = shortened.is_some();
        let chat = match shortened {
            Some(plan) => self.chat.with_max_tokens(plan.tokens),
            None => self.chat,
        };
        let source = PrepaidSource::new(PrepaidTerms {
            tariff: chat.model().tariff(),
            prompt: chat.prompt(),
            max_tokens: chat.max_tokens(),
            is_shortened,
            key: self.key.id.to_string(),
            key_ended: self.revocation.cancellation(),
        });
        let metered = MeteredRequest {
            hold,
            request_id: self.request_id,
            model: chat.model().id.clone(),
            wants_usage: chat.wants_usage(),
            replaced: chat.replaced().cloned().unwrap_or_default(),
        };
        Ok(HeldRequest {
            app: self.app,
            chat,
            metered,
            source,
            reservation: self.reservation,
            _revocation: self.revocation,
        })
    }
}

/// From opening the metered to closing it is one task that a client cannot cancel by
/// going away: it is told, and closes the hold at what was delivered.
async fn stream(accepted: AcceptedRequest) -> Result<Response, HttpError> {
    let tasks = accepted.app.tasks.clone();
    let (begin, begun) = oneshot::channel();
    let held = async move {
        let now = Timestamp::now();
        let held = match accepted.open(now).await {
            Ok(held) => held,
            Err(error) => return drop(begin.send(Err(error))),
        };
        let HeldRequest { app, chat, metered, source, reservation, _revocation } = held;
        let (metered, events) = MeteredStream::new(metered, source, app.ledger.clone());
        // Nobody there: dropping the events tells the stream at once.
        drop(begin.send(Ok(events)));
        let delivered = metered.run(Box::pin(app.models.upstreams.stream(&chat, now))).await;
        reservation.use_tokens(delivered.units);
        tracing::info!(tokens = delivered.units, end = delivered.end.as_str(), "prepaid stream ended");
    };
    tasks.spawn(held.in_current_span());
    let mut events = begun.await.map_err(|_| reply::billing())??;
    let first = match tokio::time::timeout(FIRST, events.recv()).await {
        Ok(Some(StreamEvent::End(delivered))) => match refusal(&delivered) {
            Some(error) => return Err(error),
            None => StreamEvent::End(delivered),
        },
        Ok(Some(event)) => event,
        Ok(None) => return Err(reply::billing()),
        Err(_) => StreamEvent::Ping,
    };
    let mut response = Response::new(Body::from_stream(frames(first, events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The error of a stream that ended before it began.
fn refusal(delivered: &StreamSummary) -> Option<HttpError> {
    match &delivered.end {
        StreamEnd::Upstream(_) | StreamEnd::KeyEnded | StreamEnd::LedgerUnavailable
            if delivered.units == 0 =>
        {
            reply::broken_off(&delivered.end)
        }
        _ => None,
    }
}

fn frames(
    first: StreamEvent,
    events: mpsc::Receiver<StreamEvent>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    tokio_stream::once(first).chain(ReceiverStream::new(events)).map(|event| Ok(frame(&event)))
}

fn frame(event: &StreamEvent) -> Bytes {
    match event {
        StreamEvent::Chunks(chunks) => sse::data(chunks),
        // There are no vouchers here.
        StreamEvent::Ping | StreamEvent::NeedVoucher { .. } => sse::PING,
        StreamEvent::End(delivered) => match reply::broken_off(&delivered.end) {
            Some(error) => format!("data: {}\n\n{}", json!({ "error": error.openai() }), sse::DONE).into(),
            None => Bytes::from_static(sse::DONE.as_bytes()),
        },
    }
}

async fn non_streaming(accepted: AcceptedRequest) -> Result<Response, HttpError> {
    let tasks = accepted.app.tasks.clone();
    let (mut answer, answered) = oneshot::channel();
    let held = async move {
        let now = Timestamp::now();
        let served = match accepted.open(now).await {
            Ok(HeldRequest { app, chat, metered, source, reservation, _revocation }) => {
                let start = app.models.upstreams.non_streaming(&chat, now);
                let served = meter::non_streaming(metered, source, &app.ledger, start, answer.closed()).await;
                reservation.use_tokens(served.as_ref().map_or(0, |served| served.units));
                served.map_err(|failed| reply::failed(&failed))
            }
            Err(error) => Err(error),
        };
        // Nobody waits any more when the client went away.
        drop(answer.send(served));
    };
    tasks.spawn(held.in_current_span());
    let PaidAnswer { completion, .. } = answered.await.map_err(|_| reply::billing())??;
    let mut response = Response::new(Body::from(completion.data));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::services::chat::Catalog;

    fn chat(more: &str) -> ChatRequest {
        let catalog = Catalog::new(&[config::ModelConfig {
            id: "small".into(),
            price_per_million_input: Money::from_micros(1_000_000),
            price_per_million_output: Money::from_micros(10_000_000),
            context_length: 1000,
            max_output_tokens: 100,
            ..config::ModelConfig::default()
        }]);
        let body = format!(
            r#"{{"model":"small","messages":[{{"role":"user","content":"{}"}}]{more}}}"#,
            "x".repeat(80)
        );
        ChatRequest::parse(&body, &catalog, RequestLimits::default()).expect("valid")
    }

    #[test]
    fn what_the_balance_can_pay_is_never_refused() {
        // The prompt is 24 tokens, and 10 at the least; a token of the answer costs 10.
        for (more, affordable, tokens) in [
            ("", 5_000, Some((100, false))),
            ("", 1_024, Some((100, false))),
            ("", 1_023, Some((99, true))),
            ("", 300, Some((27, true))),
            ("", 170, Some((16, true))),
            ("", 169, None),
            (r#","max_tokens":5"#, 74, Some((5, false))),
            (r#","max_tokens":5"#, 73, Some((5, true))),
            (r#","max_tokens":5"#, 59, None),
            (r#","max_tokens":3,"n":4"#, 140, Some((12, true))),
            ("", 0, None),
        ] {
            let chat = chat(more);
            let plan = ServingPlan::new(&chat, Money::from_micros(affordable));
            assert_eq!(
                plan.as_ref().map(|plan| (plan.tokens, plan.shortened)),
                tokens,
                "{more} {affordable}"
            );
            let held = estimate(&chat).within(Money::from_micros(affordable));
            assert_eq!(held.is_some(), plan.is_some());
            assert!(held.is_none_or(|held| held.micros() <= affordable));
        }
    }
}
