//! One payer of the model: what it asks, what it transcript, and what it believes because of that.

use std::fmt;

use farebox::funding::channel::{Channel, Phase};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::listening::{Cost, IN_FLIGHT, Listening};
use super::rules::{Allowed, Belief, Maybe, OK, Range};
use crate::agent::{Asked, authorization};
use crate::payer::Payer;
use crate::sse::Stream;
use crate::stage::{CHAT, PRICE, Stage, body, units};

/// The longest whole answer that is asked for, in tokens.
pub const WHOLE: u64 = 20;
/// Something that a payer asks the server for.
#[derive(Debug, Clone)]
pub enum Ask {
    Open { amount: u64, again: bool },
    Voucher(u64),
    TopUp { more: u64, transaction: Raw },
    Stream { amount: u64, script: Value },
    Whole { amount: u64, script: Value },
    Close(u64),
}

/// A signed transaction, too long to be told.
#[derive(Clone)]
pub struct Raw(pub String);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The problem's code, [`OK`], or `lost` when nothing came.
    pub code: String,
    /// Units of the receipt.
    units: Option<u64>,
    stream: Option<Stream>,
}

/// What an answer means for what was asked.
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
    /// The challenge of whole answers, whose price is another one.
    whole: Asked,
    pub belief: Belief,
    /// It asked to close on the chain, past the server. A top-up takes that back there, and a node
    /// that is behind may still say it.
    pub asked_on_chain: bool,
    /// It has sent an open.
    pub tried: bool,
    /// Asked, and no verdict yet: the same again is what a payer sends then.
    pub unresolved: Vec<Ask>,
    costs: Vec<Cost>,
    streams: Vec<Listening>,
    requests: u32,
}

impl Client {
    pub fn new(name: String, payer: Payer, whole: Asked) -> Self {
        Self {
            name,
            payer,
            whole,
            belief: Belief::NOTHING,
            asked_on_chain: false,
            tried: false,
            unresolved: Vec::new(),
            costs: Vec::new(),
            streams: Vec::new(),
            requests: 0,
        }
    }

    /// The request, and the name by which the books will know it.
    pub fn request(&mut self, stage: &Stage<'_>, ask: &Ask) -> (RequestBuilder, String) {
        self.requests += 1;
        let name = format!("{}-{}", self.name, self.requests);
        let payer = &self.payer;
        let (credential, body) = match ask {
            Ask::Open { amount, .. } => (payer.authorization(payer.open(*amount)), String::new()),
            Ask::Voucher(amount) => (payer.authorization(payer.voucher(*amount)), String::new()),
            Ask::TopUp { more, transaction } => {
                (payer.authorization(payer.top_up_with(*more, &transaction.0)), String::new())
            }
            Ask::Close(amount) => (payer.authorization(payer.authorized_close(*amount)), String::new()),
            Ask::Stream { amount, script } => {
                (payer.authorization(payer.voucher(*amount)), body(script, true))
            }
            Ask::Whole { amount, script } => {
                let credential = payer.agent.credential(&self.whole, payer.voucher(*amount));
                (authorization(&credential), whole_body(script))
            }
        };
        let request = stage.server.post(CHAT, &body);
        (request.header("authorization", credential).header("x-request-id", &name), name)
    }

    /// The answers that are right. `spent` is what had been charged before and after; `trouble`, that
    /// the chain could not be relied on; `stale`, that the server asks it before it takes a voucher.
    pub fn expects(&self, ask: &Ask, spent: Range, trouble: bool, stale: bool) -> Allowed {
        let cannot_ask = trouble && stale;
        let trouble = trouble || self.asked_on_chain;
        let mut allowed = match ask {
            Ask::Open { amount, again } => self.belief.open(*amount, *again, trouble),
            Ask::Voucher(amount) => self.belief.voucher(*amount),
            Ask::TopUp { .. } => self.belief.top_up(trouble),
            Ask::Stream { amount, .. } => self.belief.buy(*amount, PRICE, spent),
            Ask::Whole { amount, script } => {
                let mut allowed = self.belief.buy(*amount, WHOLE * PRICE, spent);
                // The model is asked only once the request is covered.
                if script.get("status").is_some() && allowed.remove(OK) {
                    allowed.insert("upstream_failed");
                }
                allowed
            }
            Ask::Close(amount) => self.belief.close(*amount, spent, trouble),
        };
        if cannot_ask {
            allowed.insert("service_unavailable");
        }
        allowed
    }

    /// Takes note of an answer. In `trouble` a refusal of a transaction is no verdict.
    pub fn learn(&mut self, ask: &Ask, request: String, answer: Answer, trouble: bool) {
        let outcome = match answer.code.as_str() {
            OK => Outcome::Done,
            "lost" | "settlement_pending" | "service_unavailable" => Outcome::Unknown,
            "verification_failed" if trouble => Outcome::Unknown,
            _ => Outcome::Refused,
        };
        self.believe(ask, outcome, &answer.code, trouble);
        match ask {
            Ask::Voucher(_) => {}
            Ask::Open { .. } | Ask::TopUp { .. } | Ask::Close(_) => {
                self.unresolved.retain(|other| !is_same_kind(ask, other));
                if outcome == Outcome::Unknown {
                    self.unresolved.push(match ask {
                        Ask::Open { amount, .. } => Ask::Open { amount: *amount, again: true },
                        other => other.clone(),
                    });
                }
            }
            Ask::Stream { .. } => self.note_stream(request, answer),
            Ask::Whole { script, .. } => {
                let asked = script["chunks"].as_u64().unwrap_or(0);
                let units = match outcome {
                    Outcome::Done => {
                        assert_eq!(answer.units, Some(asked), "{request}: the receipt's units");
                        Range::exactly(asked)
                    }
                    Outcome::Unknown => Range { low: 0, high: WHOLE },
                    Outcome::Refused => Range::exactly(0),
                };
                self.costs.push(Cost { request, units });
            }
        }
    }

    /// What an answer says of the channel. The voucher of a request counts even when the request
    /// could not be served; when several things happen at once, any refusal can mean that.
    fn believe(&mut self, ask: &Ask, outcome: Outcome, code: &str, trouble: bool) {
        let (done, again) =
            (outcome == Outcome::Done, self.unresolved.iter().any(|other| is_same_kind(ask, other)));
        let buys = matches!(ask, Ask::Stream { .. } | Ask::Whole { .. });
        let is_taken = outcome != Outcome::Refused
            || buys && (trouble || ["upstream_failed", "insufficient_balance"].contains(&code));
        let belief = &mut self.belief;
        let raise = |range: &mut Range, amount: u64| {
            range.high = range.high.max(amount);
            if done {
                range.low = range.low.max(amount);
            }
        };
        match ask {
            _ if !is_taken => {}
            Ask::Open { amount, .. } => {
                belief.opened = if done { Maybe::Yes } else { Maybe::Perhaps };
                raise(&mut belief.accepted, *amount);
                raise(&mut belief.deposit, super::DEPOSIT);
            }
            Ask::TopUp { .. } if again => {}
            Ask::TopUp { more, .. } => belief.deposit.high += more,
            Ask::Voucher(amount) | Ask::Stream { amount, .. } | Ask::Whole { amount, .. } => {
                raise(&mut belief.accepted, *amount);
            }
            Ask::Close(_) if done => belief.ended = Maybe::Yes,
            Ask::Close(_) => {
                belief.ending = Maybe::Perhaps;
                belief.ended = Maybe::Perhaps;
            }
        }
    }

    fn note_stream(&mut self, request: String, answer: Answer) {
        if let Some(stream) = answer.stream {
            return self.streams.push(Listening::to(stream, request));
        }
        let high = if answer.code == "lost" { IN_FLIGHT } else { 0 };
        self.costs.push(Cost { request, units: Range { low: 0, high } });
    }

    /// What the newest stream waits for.
    pub fn asked(&self) -> Option<u64> {
        self.streams.last().and_then(|stream| stream.waits_for(self.belief.accepted.high))
    }

    /// Whether its newest stream goes on.
    pub fn is_listening(&self) -> bool {
        self.streams.last().is_some_and(Listening::goes_on)
    }

    /// Goes away from the newest stream; whether it went on.
    pub fn leave(&mut self) -> bool {
        self.streams.last_mut().is_some_and(Listening::leave)
    }

    /// Units that have surely been received, and so must have been charged.
    pub fn received(&self) -> u64 {
        self.streams.iter().map(Listening::chunks).sum::<u64>()
            + self.costs.iter().map(|cost| cost.units.low).sum::<u64>()
    }

    /// Compares the books with what is believed, and believes the books from now on. `idle`: the
    /// worker may close it because it was quiet.
    pub fn look(&mut self, channel: Option<&Channel>, received: u64, idle: bool) {
        let name = self.name.clone();
        let Some(channel) = channel else {
            assert_ne!(self.belief.opened, Maybe::Yes, "{name}: the channel is forgotten");
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
            Phase::Opening => assert_eq!(belief.opened, Maybe::Perhaps, "{name}: {channel:?}"),
            Phase::Failed => {
                assert_ne!(belief.opened, Maybe::Yes, "{name}: {channel:?}");
                *belief = Belief::NOTHING;
                return;
            }
            Phase::Open | Phase::Closed => {
                assert!(belief.opened.is_possible(), "{name}: opened by nobody: {channel:?}");
                belief.opened = Maybe::Yes;
                assert!(belief.deposit.holds(deposit), "{name}: {deposit} in {belief:?}");
                belief.deposit.low = deposit;
                if !self.unresolved.iter().any(|ask| matches!(ask, Ask::TopUp { .. })) {
                    belief.deposit.high = deposit;
                }
            }
        }
        let closing = channel.closing().is_some() || channel.close_requested_at > 0;
        let may_end = idle || self.asked_on_chain || belief.ending.is_possible();
        if channel.phase == Phase::Closed {
            assert!(may_end || belief.ended.is_possible(), "{name}: closed by nobody: {channel:?}");
            belief.ended = Maybe::Yes;
        } else {
            assert_ne!(belief.ended, Maybe::Yes, "{name}: open again: {channel:?}");
            assert!(!closing || may_end, "{name}: closing for nobody: {channel:?}");
            let quiet = !closing && !idle && !self.asked_on_chain;
            (belief.ending, belief.ended) = match (quiet, closing) {
                (true, _) => (Maybe::No, Maybe::No),
                (_, true) => (Maybe::Yes, Maybe::Perhaps),
                _ => (Maybe::Perhaps, Maybe::Perhaps),
            };
            if channel.closing().is_some() {
                // It can come to nothing, and the channel is of use again.
                belief.ending = Maybe::Perhaps;
            }
        }
    }

    /// Ends all streams and says what each request may have cost. The newest one is left, and what
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

fn is_same_kind(one: &Ask, other: &Ask) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// A request for a whole answer.
pub fn whole_body(script: &Value) -> String {
    let mut request: Value = serde_json::from_str(&body(script, false)).expect("JSON");
    request["max_tokens"] = json!(WHOLE);
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
    let reply = crate::harness::Reply { status, headers, text };
    if status < 300 {
        return Answer { code: OK.into(), units: reply.receipt()["units"].as_u64(), stream: None };
    }
    Answer { code: reply.code(), units: None, stream: None }
}
