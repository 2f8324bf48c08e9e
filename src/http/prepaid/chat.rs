//! Chat, paid by the token from prepaid credits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

use super::affordable::minimum_cost;
use super::refusal::{in_progress, insufficient, key_reused};
use super::{PrepaidRequest, affordable, attachments, refusal, top_up};
use crate::http::error::HttpError;
use crate::http::gates::RatedKey;
use crate::http::{State, clock};
use crate::id::{RequestId, Timestamp};
use crate::keys::{Key, RevocationToken, TokenReservation};
use crate::ledger::{Estimate, LARGEST, OpenOutcome};
use crate::meter::{
    self, MeteredRequest, MeteredStream, PrepaidSource, PrepaidTerms, Spender, StreamEnd, StreamEvent,
    StreamSummary, served,
};
use crate::money::Money;
use crate::services::chat::{
    AnswerHead, ChatRequest, Completion, EntityCounts, ProtectedRequest, RequestLimits,
};

/// Time for which the headers of a stream wait for the model: an error within this time
/// is an HTTP error, as clients expect it, and a later one an event.
const FIRST_EVENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whole answer that was charged.
#[derive(Debug)]
pub struct PaidCompletion {
    pub completion: Completion,
    /// Amount charged.
    pub cost: Money,
    /// Amount that the account has available then, where it could be read.
    pub balance: Option<Money>,
}

/// A request that may be served, if it can be paid.
pub struct AcceptedChat {
    app: State,
    key: Key,
    spender: Spender,
    revocation: Arc<RevocationToken>,
    request_id: RequestId,
    idempotency_key: Option<String>,
    reservation: Option<TokenReservation>,
    chat: ProtectedRequest,
    /// Time at which its hold is opened.
    now: Timestamp,
}

/// A request with its hold.
struct HeldRequest {
    app: State,
    metered: MeteredRequest,
    source: PrepaidSource,
    reservation: Option<TokenReservation>,
    /// Kept while the request runs, so that it learns of the end of its key.
    _revocation: Arc<RevocationToken>,
}

/// Length of the answer that a request gets.
#[derive(Debug, PartialEq, Eq)]
struct ServingPlan {
    /// Completion tokens, all choices together.
    tokens: u64,
    /// True if that is less than was asked for.
    shortened: bool,
}

impl ServingPlan {
    /// Plans the longest answer that `affordable` pays for; `None` when that is not
    /// even a minimal one, however short the prompt turns out to be.
    fn new(chat: &ChatRequest, is_limited: bool, affordable: Money) -> Option<Self> {
        let (tariff, prompt, wanted) =
            (chat.tariff_at_most(is_limited), planned_prompt(chat, is_limited), chat.max_tokens());
        if tariff.text_cost(prompt, wanted).is_some_and(|cost| cost <= affordable) {
            return Some(Self { tokens: wanted, shortened: false });
        }
        if minimum_cost(chat, is_limited)? > affordable {
            return None;
        }
        let tokens = tariff.affordable_tokens(affordable, prompt, wanted).max(chat.min_useful_tokens());
        Some(Self { tokens, shortened: true })
    }
}

/// Returns the tokens of the prompt that money is set aside for. Where a budget limits the request, that is the most
/// that it can have: what is charged never exceeds what was set aside.
fn planned_prompt(chat: &ChatRequest, is_limited: bool) -> u64 {
    if is_limited { chat.prompt().max_tokens() } else { chat.prompt().estimated_tokens() }
}

/// Estimates the cost of a request.
fn estimate(chat: &ChatRequest, is_limited: bool) -> Estimate {
    let cost = chat.tariff_at_most(is_limited).text_cost(planned_prompt(chat, is_limited), chat.max_tokens());
    let least = minimum_cost(chat, is_limited);
    Estimate { wanted: cost.unwrap_or(LARGEST), least: least.unwrap_or(LARGEST) }
}

/// Times that personal data grow when placeholders stand in for them, at the most: a name of two letters becomes one such
/// as `<PERSON_10>`.
const MOST_GROWTH: u64 = 8;
/// Step of prices that are paid ahead.
const CENT: u64 = 10_000;

/// Returns the most that a request can cost, in whole cents: who has no account pays it ahead.
///
/// # Errors
/// The reason for which it cannot be served, as far as it is known without examining it.
pub fn price_ahead(app: &State, request: &PrepaidRequest<'_>) -> Result<Money, HttpError> {
    let chat = request
        .parse(|body| ChatRequest::parse(body, &app.models.catalog, RequestLimits::default()))
        .map_err(|error| refusal::chat_error(&error))?;
    let mut prompt = planned_prompt(&chat, true);
    if chat.is_examined(&app.models.privacy) {
        prompt = prompt.saturating_mul(MOST_GROWTH).min(chat.model().context_length);
    }
    let cost = chat.tariff_at_most(true).text_cost(prompt, chat.max_tokens());
    cost.and_then(whole_cents).filter(|price| *price <= top_up::MOST).ok_or_else(|| {
        HttpError::invalid("the longest answer is too expensive to pay for ahead; send a smaller `maxTokens`")
    })
}

/// Returns an amount in whole cents, at least one.
fn whole_cents(amount: Money) -> Option<Money> {
    let cents = u64::try_from(amount.micros()).ok()?.div_ceil(CENT).max(1);
    Some(Money::from_micros(i64::try_from(cents.checked_mul(CENT)?).ok()?))
}

impl AcceptedChat {
    /// Checks a request, reads its attachments and protects its personal data. Nothing is set aside yet.
    ///
    /// # Errors
    /// The reason for which it is not served; it costs nothing.
    pub async fn new(app: &State, key: &RatedKey, request: PrepaidRequest<'_>) -> Result<Self, HttpError> {
        let limits = RequestLimits { attachments: attachments::accepted(app), ..RequestLimits::default() };
        let chat = request
            .parse(|body| ChatRequest::parse(body, &app.models.catalog, limits))
            .map_err(|error| refusal::chat_error(&error))?;
        let PrepaidRequest { idempotency_key, id, at, .. } = request;
        if !key.key().allows(&chat.model().id) {
            return Err(refusal::unknown_model(None));
        }
        let chat = attachments::read(app, key, chat, idempotency_key.as_deref(), at).await?;
        // Attachments are protected like messages. Files take seconds, and so can texts: for those who could pay.
        let privacy = app.models.privacy.for_account(key.key().account().as_str());
        if chat.is_costly_to_examine(&privacy) {
            affordable::check(app, key, &chat, idempotency_key.as_deref(), at).await?;
        }
        let chat = chat.protect(&privacy).await.map_err(|error| refusal::chat_error(&error))?;
        let least = chat.prompt().min_tokens();
        let likely = chat.prompt().estimated_tokens().saturating_add(chat.likely_tokens());
        // Attachments and files may have taken half a minute: tokens count in the minute in which they are used, and
        // the hold's day and end are counted from when it is opened.
        let now = clock::after_wait();
        Ok(Self {
            app: Arc::clone(app),
            key: key.key().clone(),
            spender: key.spender().clone(),
            revocation: app.keys.revocation_token(&key.key().id),
            request_id: id,
            idempotency_key,
            reservation: key.reserve_tokens(least, likely, now).await?,
            chat,
            now,
        })
    }

    /// Returns true if the client asked for a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.chat.stream()
    }

    /// Returns the pieces of personal data that were replaced, where they were looked for.
    #[must_use]
    pub fn replaced(&self) -> Option<&EntityCounts> {
        self.chat.replaced()
    }

    /// Streams the answer: returns its first event, and the others. From opening the hold to closing it is one task that
    /// a client cannot cancel by going away: it learns of that, and closes the hold at what was delivered.
    ///
    /// # Errors
    /// The reason for which there is no answer.
    pub async fn stream(self) -> Result<(StreamEvent, mpsc::Receiver<StreamEvent>), HttpError> {
        let tasks = self.app.tasks.clone();
        let (opened, opening) = oneshot::channel();
        let served = async move {
            let held = match self.open().await {
                Ok(held) => held,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let HeldRequest { app, metered, source, reservation, _revocation } = held;
            let (chat, head) = (Arc::clone(&metered.chat), metered.head.clone());
            let (stream, events) = MeteredStream::new(metered, source, app.ledger.clone());
            // Where the client is gone, dropping the events ends the stream at once.
            drop(opened.send(Ok(events)));
            let summary = stream.run(Box::pin(app.models.upstreams.stream(&chat, &head))).await;
            if let Some(reservation) = reservation {
                reservation.use_tokens(summary.units);
            }
            tracing::info!(tokens = summary.units, end = summary.end.as_str(), "prepaid stream ended");
        };
        tasks.spawn(served.in_current_span());
        let mut events = opening.await.map_err(|_| refusal::billing_error())??;
        let first = match tokio::time::timeout(FIRST_EVENT_TIMEOUT, events.recv()).await {
            Ok(Some(StreamEvent::End(summary))) => match early_error(&summary) {
                Some(error) => return Err(error),
                None => StreamEvent::End(summary),
            },
            Ok(Some(event)) => event,
            Ok(None) => return Err(refusal::billing_error()),
            Err(_) => StreamEvent::Ping,
        };
        Ok((first, events))
    }

    /// Waits for the whole answer. A caller that goes away ends the work, which is charged as far as the upstream has it.
    ///
    /// # Errors
    /// The reason for which there is no answer.
    pub async fn answer(self) -> Result<PaidCompletion, HttpError> {
        let (app, account) = (Arc::clone(&self.app), self.key.account());
        let (mut answer, answered) = oneshot::channel();
        let served = async move {
            let answered = match self.open().await {
                Ok(HeldRequest { app, metered, source, reservation, _revocation }) => {
                    let (chat, head) = (Arc::clone(&metered.chat), metered.head.clone());
                    let start = app.models.upstreams.non_streaming(&chat, &head);
                    let summary =
                        meter::non_streaming(metered, source, &app.ledger, start, answer.closed()).await;
                    if let Some(reservation) = reservation {
                        reservation.use_tokens(summary.units);
                    }
                    let cost = summary.cost;
                    summary
                        .answer
                        .map(|completion| (completion, cost))
                        .map_err(|error| refusal::answer_error(&error))
                }
                Err(error) => Err(error),
            };
            // Nobody waits any more when the client went away.
            drop(answer.send(answered));
        };
        app.tasks.spawn(served.in_current_span());
        let (completion, cost) = answered.await.map_err(|_| refusal::billing_error())??;
        // Not worth failing a paid answer for.
        let balance = app.ledger.balance(&account).await.ok().map(|balance| balance.available());
        Ok(PaidCompletion { completion, cost, balance })
    }

    /// Opens the hold.
    async fn open(self) -> Result<HeldRequest, HttpError> {
        // Attachments may have taken long.
        let expires_at = served::expiry(clock::after_wait());
        let key = self.idempotency_key.as_deref();
        let is_limited = self.key.limits.has_budget();
        let estimate = estimate(&self.chat, is_limited);
        let request = self.key.hold_request(key, estimate, self.now, expires_at);
        let (hold, reserved) = match affordable::open(&self.app, request).await? {
            OpenOutcome::Open { hold, reserved } => (hold, reserved),
            OpenOutcome::InProgress => return Err(in_progress()),
            OpenOutcome::Charged => return Err(key_reused()),
            OpenOutcome::Short(found) => {
                return Err(insufficient(found, estimate.least));
            }
        };
        let shortened = ServingPlan::new(&self.chat, is_limited, reserved).filter(|plan| plan.shortened);
        let is_shortened = shortened.is_some();
        let chat = match shortened {
            Some(plan) => self.chat.with_max_tokens(plan.tokens),
            None => self.chat,
        };
        let source = PrepaidSource::new(PrepaidTerms {
            tariff: chat.model().tariff,
            prompt: chat.prompt(),
            max_tokens: chat.max_tokens(),
            is_shortened,
            limit: is_limited.then_some(reserved),
            spender: self.spender,
            key_ended: self.revocation.cancellation(),
        });
        let metered = MeteredRequest {
            hold: self.app.served.serve(hold),
            request_id: self.request_id,
            chat: Arc::new(chat),
            head: AnswerHead::new(self.now),
        };
        Ok(HeldRequest {
            app: self.app,
            metered,
            source,
            reservation: self.reservation,
            _revocation: self.revocation,
        })
    }
}

/// Returns the error of a stream that ended before it began.
fn early_error(summary: &StreamSummary) -> Option<HttpError> {
    match &summary.end {
        StreamEnd::Upstream(_) | StreamEnd::KeyEnded | StreamEnd::LedgerUnavailable if summary.units == 0 => {
            refusal::stream_error(&summary.end)
        }
        _ => None,
    }
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
            let plan = ServingPlan::new(&chat, false, Money::from_micros(affordable));
            assert_eq!(
                plan.as_ref().map(|plan| (plan.tokens, plan.shortened)),
                tokens,
                "{more} {affordable}"
            );
            let held = estimate(&chat, false).within(Money::from_micros(affordable));
            assert_eq!(held.is_some(), plan.is_some());
            assert!(held.is_none_or(|held| held.micros() <= affordable));
        }
    }
}
