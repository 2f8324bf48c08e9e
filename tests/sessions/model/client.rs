//! One payer of the model: its actions, the answers it got, and its belief about its channel.

use std::fmt;

use farebox::funding::channel::{Channel, Phase};
use farebox_test_support::agent::{Challenge, authorization};
use farebox_test_support::harness;
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::Stream;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::reader::{Cost, IN_FLIGHT, StreamReader};
use super::rules::{Allowed, Belief, Certainty, OK, Range};
use crate::fixture::{CHAT, Fixture, PRICE, body, units};

/// Tokens of the longest non-streaming answer.
pub const MAX_TOKENS: u64 = 20;
/// An action of a payer.
#[derive(Debug, Clone)]
pub enum Action {
    Open { amount: u64, again: bool },
    Voucher(u64),
    TopUp { more: u64, transaction: Raw },
    Stream { amount: u64, script: Value },
    NonStreaming { amount: u64, script: Value },
    Close(u64),
}

/// A signed transaction, too long for the trace.
#[derive(Clone)]
pub struct Raw(pub String);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// The server's answer.
#[derive(Debug)]
pub struct Answer {
    /// The problem's code, [`OK`], or `lost` when nothing came.
    pub code: String,
    /// Units of the receipt.
    units: Option<u64>,
    stream: Option<Stream>,
}

/// Result of an action, as the answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    /// It may have been done.
    Unknown,
}

impl Answer {
    pub fn lost() -> Self {
        Self { code: "lost".into(), units: None, stream: None }
    }
}

/// A payer and its channel.
pub struct Client {
    pub name: String,
    pub payer: Payer,
    /// The challenge of non-streaming answers, which have another price.
    non_streaming_challenge: Challenge,
    pub belief: Belief,
    /// It requested a close on the chain, past the server. A top-up takes that back there, and a node
    /// that is behind may still say it.
    pub close_requested: bool,
    /// It has sent an open.
    pub tried: bool,
    /// Actions without a verdict yet; a payer sends them again.
    pub unresolved: Vec<Action>,
    costs: Vec<Cost>,
    streams: Vec<StreamReader>,
    requests: u32,
}

impl Client {
    pub fn new(name: String, payer: Payer, non_streaming_challenge: Challenge) -> Self {
        Self {
            name,
            payer,
            non_streaming_challenge,
            belief: Belief::NOTHING,
            close_requested: false,
            tried: false,
            unresolved: Vec::new(),
            costs: Vec::new(),
            streams: Vec::new(),
            requests: 0,
        }
    }

    /// The request, and its id in the ledger's entries.
    pub fn request(&mut self, fixture: &Fixture<'_>, action: &Action) -> (RequestBuilder, String) {
        self.requests += 1;
        let name = format!("{}-{}", self.name, self.requests);
        let payer = &self.payer;
        let (credential, body) = match action {
            Action::Open { amount, .. } => (payer.authorization(payer.open(*amount)), String::new()),
            Action::Voucher(amount) => (payer.authorization(payer.voucher(*amount)), String::new()),
            Action::TopUp { more, transaction } => {
                (payer.authorization(payer.top_up_with(*more, &transaction.0)), String::new())
            }
            Action::Close(amount) => (payer.authorization(payer.authorized_close(*amount)), String::new()),
            Action::Stream { amount, script } => {
                (payer.authorization(payer.voucher(*amount)), body(script, true))
            }
            Action::NonStreaming { amount, script } => {
                let credential =
                    payer.agent.credential(&self.non_streaming_challenge, payer.voucher(*amount));
                (authorization(&credential), non_streaming_body(script))
            }
        };
        let request = fixture.server.post(CHAT, &body);
        (request.header("authorization", credential).header("x-request-id", &name), name)
    }

    /// The answers that are right. `spent` is what had been charged before and after; `unreliable`, that
    /// the chain could not be relied on; `stale`, that the server asks it before it takes a voucher.
    pub fn expects(&self, action: &Action, spent: Range, unreliable: bool, stale: bool) -> Allowed {
        let is_unverifiable = unreliable && stale;
        let unreliable = unreliable || self.close_requested;
        let mut allowed = match action {
            Action::Open { amount, again } => self.belief.open(*amount, *again, unreliable),
            Action::Voucher(amount) => self.belief.voucher(*amount),
            Action::TopUp { .. } => self.belief.top_up(unreliable),
            Action::Stream { amount, .. } => self.belief.buy(*amount, PRICE, spent),
            Action::NonStreaming { amount, script } => {
                let mut allowed = self.belief.buy(*amount, MAX_TOKENS * PRICE, spent);
                // The model is called only once the request is covered.
                if script.get("status").is_some() && allowed.remove(OK) {
                    allowed.insert("upstream_failed");
                }
                allowed
            }
            Action::Close(amount) => self.belief.close(*amount, spent, unreliable),
        };
        if is_unverifiable {
            allowed.insert("service_unavailable");
        }
        allowed
    }

    /// Records an answer. In `unreliable` a refusal of a transaction is no verdict.
    pub fn record(&mut self, action: &Action, request: String, answer: Answer, unreliable: bool) {
        let outcome = match answer.code.as_str() {
            OK => Outcome::Done,
            "lost" | "settlement_pending" | "service_unavailable" => Outcome::Unknown,
            "verification_failed" if unreliable => Outcome::Unknown,
            _ => Outcome::Refused,
        };
        self.update_belief(action, outcome, &answer.code, unreliable);
        match action {
            Action::Voucher(_) => {}
            Action::Open { .. } | Action::TopUp { .. } | Action::Close(_) => {
                self.unresolved.retain(|other| !is_same_kind(action, other));
                if outcome == Outcome::Unknown {
                    self.unresolved.push(match action {
                        Action::Open { amount, .. } => Action::Open { amount: *amount, again: true },
                        other => other.clone(),
                    });
                }
            }
            Action::Stream { .. } => self.note_stream(request, answer),
            Action::NonStreaming { script, .. } => {
                let chunks = script["chunks"].as_u64().unwrap_or(0);
                let units = match outcome {
                    Outcome::Done => {
                        assert_eq!(answer.units, Some(chunks), "{request}: the receipt's units");
                        Range::exactly(chunks)
                    }
                    Outcome::Unknown => Range { low: 0, high: MAX_TOKENS },
                    Outcome::Refused => Range::exactly(0),
                };
                self.costs.push(Cost { request, units });
            }
        }
    }

    /// Updates the belief after an answer. The voucher of a request counts even when the request
    /// could not be served; when several things happen at once, any refusal can mean that.
    fn update_belief(&mut self, action: &Action, outcome: Outcome, code: &str, unreliable: bool) {
        let (done, again) =
            (outcome == Outcome::Done, self.unresolved.iter().any(|other| is_same_kind(action, other)));
        let buys = matches!(action, Action::Stream { .. } | Action::NonStreaming { .. });
        let is_taken = outcome != Outcome::Refused
            || buys && (unreliable || ["upstream_failed", "insufficient_balance"].contains(&code));
        let belief = &mut self.belief;
        let raise = |range: &mut Range, amount: u64| {
            range.high = range.high.max(amount);
            if done {
                range.low = range.low.max(amount);
            }
        };
        match action {
            _ if !is_taken => {}
            Action::Open { amount, .. } => {
                belief.opened = if done { Certainty::Yes } else { Certainty::Perhaps };
                raise(&mut belief.accepted, *amount);
                raise(&mut belief.deposit, super::DEPOSIT);
            }
            Action::TopUp { .. } if again => {}
            Action::TopUp { more, .. } => belief.deposit.high += more,
            Action::Voucher(amount) | Action::Stream { amount, .. } | Action::NonStreaming { amount, .. } => {
                raise(&mut belief.accepted, *amount);
            }
            Action::Close(_) if done => belief.ended = Certainty::Yes,
            Action::Close(_) => {
                belief.ending = Certainty::Perhaps;
                belief.ended = Certainty::Perhaps;
            }
        }
    }

    fn note_stream(&mut self, request: String, answer: Answer) {
        if let Some(stream) = answer.stream {
            return self.streams.push(StreamReader::start(stream, request));
        }
        let high = if answer.code == "lost" { IN_FLIGHT } else { 0 };
        self.costs.push(Cost { request, units: Range { low: 0, high } });
    }

    /// The voucher that the newest stream waits for.
    pub fn required_voucher(&self) -> Option<u64> {
        self.streams.last().and_then(|stream| stream.waits_for(self.belief.accepted.high))
    }

    /// True if its newest stream is still running.
    pub fn is_streaming(&self) -> bool {
        self.streams.last().is_some_and(StreamReader::is_running)
    }

    /// Goes away from the newest stream; whether it went on.
    pub fn leave(&mut self) -> bool {
        self.streams.last_mut().is_some_and(StreamReader::leave)
    }

    /// Units that have surely been received, and so must have been charged.
    pub fn received(&self) -> u64 {
        self.streams.iter().map(StreamReader::chunks).sum::<u64>()
            + self.costs.iter().map(|cost| cost.units.low).sum::<u64>()
    }

    /// Compares the recorded channel with the belief, and takes it as the belief from now on. `idle`: the
    /// worker may close it because it was quiet.
    pub fn check_invariants(&mut self, channel: Option<&Channel>, received: u64, idle: bool) {
        let name = self.name.clone();
        let Some(channel) = channel else {
            assert_ne!(self.belief.opened, Certainty::Yes, "{name}: the channel is forgotten");
            return;
        };
        let [deposit, accepted, spent, settled] =
            [channel.deposit, channel.accepted(), channel.spent, channel.settled].map(units);
        assert!(received * PRICE <= spent, "{name}: {received} units received, {spent} charged");
        assert!(spent <= accepted && accepted <= deposit, "{name}: {channel:?}");
        assert!(settled <= spent, "{name}: settled more than charged: {channel:?}");
        let belief = &mut self.belief;
        assert!(belief.accepted.holds(accepted), "{name}: accepted {accepted}, believed {belief:?}");
        belief.accepted = Range::exactly(accepted);
        match channel.phase {
            Phase::Opening => assert_eq!(belief.opened, Certainty::Perhaps, "{name}: {channel:?}"),
            Phase::Failed => {
                assert_ne!(belief.opened, Certainty::Yes, "{name}: {channel:?}");
                *belief = Belief::NOTHING;
                return;
            }
            Phase::Open | Phase::Closed => {
                assert!(belief.opened.is_possible(), "{name}: opened by nobody: {channel:?}");
                belief.opened = Certainty::Yes;
                assert!(belief.deposit.holds(deposit), "{name}: {deposit} in {belief:?}");
                belief.deposit.low = deposit;
                if !self.unresolved.iter().any(|action| matches!(action, Action::TopUp { .. })) {
                    belief.deposit.high = deposit;
                }
            }
        }
        let closing = channel.closing().is_some() || channel.close_requested_at > 0;
        let may_end = idle || self.close_requested || belief.ending.is_possible();
        if channel.phase == Phase::Closed {
            assert!(may_end || belief.ended.is_possible(), "{name}: closed by nobody: {channel:?}");
            belief.ended = Certainty::Yes;
        } else {
            assert_ne!(belief.ended, Certainty::Yes, "{name}: open again: {channel:?}");
            assert!(!closing || may_end, "{name}: closing for nobody: {channel:?}");
            let quiet = !closing && !idle && !self.close_requested;
            (belief.ending, belief.ended) = match (quiet, closing) {
                (true, _) => (Certainty::No, Certainty::No),
                (_, true) => (Certainty::Yes, Certainty::Perhaps),
                _ => (Certainty::Perhaps, Certainty::Perhaps),
            };
            if channel.closing().is_some() {
                // It can come to nothing, and the channel is of use again.
                belief.ending = Certainty::Perhaps;
            }
        }
    }

    /// Ends all streams and returns the possible cost of each request. The newest one is left, and what
    /// waits for a voucher; everything else has been ended by a newer one or a close.
    pub async fn finish(&mut self) -> Vec<Cost> {
        self.leave();
        let mut costs = std::mem::take(&mut self.costs);
        for mut stream in self.streams.drain(..) {
            if stream.waits_for(self.belief.accepted.high).is_some() {
                stream.leave();
            }
            costs.push(stream.cost().await);
        }
        costs
    }
}

fn is_same_kind(one: &Action, other: &Action) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// A request for a whole answer.
pub fn non_streaming_body(script: &Value) -> String {
    let mut request: Value = serde_json::from_str(&body(script, false)).expect("JSON");
    request["max_tokens"] = json!(MAX_TOKENS);
    request.to_string()
}

/// Sends a request and reads its answer, the head of a stream only.
pub async fn answer(request: RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else { return Answer::lost() };
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        return Answer { code: OK.into(), units: None, stream: Some(Stream::new(response)) };
    }
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let Ok(text) = response.text().await else { return Answer::lost() };
    let reply = harness::Reply { status, headers, text };
    if status < 300 {
        return Answer { code: OK.into(), units: reply.receipt()["units"].as_u64(), stream: None };
    }
    Answer { code: reply.code(), units: None, stream: None }
}
