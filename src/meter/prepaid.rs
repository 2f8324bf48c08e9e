//! Funding source of an account: charges by the token.
//!
//! While an answer streams it is charged ahead of its usage: a chunk counts as a token or less, and the prompt as the
//! smallest number of tokens it can be. The usage decides at the end: what was charged beyond it comes back, and the hold
//! covers what is missing.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::source::{FundingSource, MeteredRequest, StreamContext};
use super::stream::StreamEnd;
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, LARGEST, Ledger, Owed};
use crate::money::Money;
use crate::services::chat::{AnswerUsage, Chunk, Completion, PromptSize, ReportedUsage, Tariff, Usage};

/// Funding source of an answer that prepaid credits pay for.
pub struct PrepaidSource {
    terms: PrepaidTerms,
    tally: ChunkTally,
    /// Usage that is paid for, once it is known.
    usage: Usage,
    charged: Money,
    /// True if an answer was delivered that is to be paid for, even an empty one.
    is_due: bool,
}

/// Terms on which prepaid credits pay for an answer.
#[derive(Debug, Clone)]
pub struct PrepaidTerms {
    pub tariff: Tariff,
    pub prompt: PromptSize,
    /// Completion tokens that the hold reserves money for.
    pub max_tokens: u64,
    /// True if that is less than the request allows, because the account has no more.
    pub is_shortened: bool,
    /// Largest amount that may be charged, which the hold reserves; `None` if no budget limits it.
    pub limit: Option<Money>,
    pub spender: Spender,
    /// Cancelled when the key is revoked or expires.
    pub key_ended: CancellationToken,
}

/// Spender of prepaid credits, as entries name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spender {
    /// API key, by its public id.
    Key(String),
    /// Payment that was made for the call, by its challenge.
    Payment(String),
}

impl Spender {
    /// Returns the member of an entry that names it, and the name.
    const fn member(&self) -> (&'static str, &String) {
        match self {
            Self::Key(id) => ("key", id),
            Self::Payment(id) => ("payment", id),
        }
    }
}

/// Chunks of an answer so far, and the usage that came with them.
#[derive(Debug, Clone, Copy, Default)]
struct ChunkTally {
    chunks: u64,
    bytes: u64,
    usage: ReportedUsage,
}

impl ChunkTally {
    fn add(&mut self, chunk: &Chunk) {
        self.chunks += u64::from(chunk.billable);
        self.bytes = self.bytes.saturating_add(chunk.text_bytes as u64);
        self.usage = chunk.usage.unwrap_or_default().after(self.usage);
    }

    /// Returns the number of tokens counted by chunks: a token each, fewer if chunks
    /// are shorter than tokens are.
    fn counted_tokens(&self) -> u64 {
        self.chunks.min(self.bytes / 3 + 1)
    }

    /// Returns the completion tokens to charge ahead: as counted, as reported, or by
    /// length where chunks are much longer than a token is.
    fn tokens(&self) -> u64 {
        let reported = self.usage.completion.map_or(0, |completion| completion.tokens);
        self.counted_tokens().max(self.bytes / 8).max(reported)
    }
}

impl PrepaidSource {
    #[must_use]
    pub fn new(terms: PrepaidTerms) -> Self {
        let (tally, usage) = (ChunkTally::default(), Usage::default());
        Self { terms, tally, usage, charged: Money::ZERO, is_due: false }
    }

    /// Returns the amount to charge for the chunks so far, less the amount charged already; `None` if the price is out of
    /// range. At the lowest prices: an instance that is lost leaves it charged.
    fn due_ahead(&self) -> Option<Money> {
        let prompt = self.tally.usage.prompt.map_or(self.terms.prompt.min_tokens(), |prompt| prompt.tokens);
        let completion = self.tally.tokens().min(self.terms.max_tokens);
        let cost = self.terms.tariff.at_least().text_cost(prompt, completion)?;
        Some(cost.checked_sub(self.charged)?.max(Money::ZERO))
    }

    /// Returns the amount that a budget leaves.
    fn left(&self) -> Money {
        let limit = self.terms.limit.unwrap_or(LARGEST);
        limit.checked_sub(self.charged).unwrap_or_default().max(Money::ZERO)
    }

    /// Charges the hold; `false` if the account or a budget has not enough.
    async fn charge(
        &mut self,
        ledger: &Ledger,
        request: &MeteredRequest,
        amount: Money,
    ) -> Result<bool, StreamEnd> {
        if amount.is_zero() {
            return Ok(true);
        }
        if amount > self.left() {
            return Ok(false);
        }
        match ledger.charge(&request.hold, amount).await {
            Ok(ChargeOutcome::Charged { total }) => {
                self.charged = total;
                Ok(true)
            }
            Ok(ChargeOutcome::Short { .. }) => Ok(false),
            Ok(ChargeOutcome::Closed) => Err(StreamEnd::Superseded),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be charged");
                Err(StreamEnd::LedgerUnavailable)
            }
        }
    }

    /// Returns the amount owed for the usage of the answer, all in all.
    fn owed(&self) -> Owed {
        if !self.is_due {
            return Owed::InAll(Money::ZERO);
        }
        let cost = self.terms.tariff.cost(&self.usage);
        cost.map_or_else(
            || {
                tracing::error!(
                    spender = ?self.terms.spender,
                    "the price of an answer is out of range; only what was charged before is kept"
                );
                Owed::NOTHING
            },
            |cost| Owed::InAll(cost.min(self.terms.limit.unwrap_or(LARGEST))),
        )
    }
}

/// Returns the chunks from the front up to the first billable one after `billable`
/// billable ones; all chunks if there is none.
fn billable_prefix<'a>(chunks: &'a [&'a Chunk], billable: u64) -> &'a [&'a Chunk] {
    let mut left = billable;
    let end = chunks.iter().position(|chunk| {
        let beyond = chunk.billable && left == 0;
        left -= u64::from(chunk.billable && left > 0);
        beyond
    });
    &chunks[..end.unwrap_or(chunks.len())]
}

impl FundingSource for PrepaidSource {
    async fn charge_chunks(&mut self, context: &StreamContext, chunks: &[&Chunk]) -> Result<u64, StreamEnd> {
        let mut units = chunks.iter().filter(|chunk| chunk.billable).count() as u64;
        let before = self.tally;
        loop {
            self.tally = before;
            for chunk in billable_prefix(chunks, units) {
                self.tally.add(chunk);
            }
            let due = self.due_ahead().ok_or(StreamEnd::LedgerUnavailable)?;
            let is_exhausted = self.terms.is_shortened && self.tally.counted_tokens() > self.terms.max_tokens;
            if !is_exhausted {
                match self.charge(&context.ledger, &context.request, due).await {
                    Ok(true) => return Ok(units),
                    Ok(false) => {}
                    Err(end) => {
                        self.tally = before;
                        return Err(end);
                    }
                }
            }
            if units == 0 {
                // No billable chunk, only usage: the capture at the end charges the difference.
                return Ok(0);
            }
            if units == 1 {
                self.tally = before;
                return Err(StreamEnd::OutOfCredit);
            }
            units /= 2;
        }
    }

    async fn cancelled(&mut self, _request: &MeteredRequest) -> StreamEnd {
        self.terms.key_ended.cancelled().await;
        StreamEnd::KeyEnded
    }

    /// The prompt is owed from the moment at which an upstream has it: who leaves then has caused its
    /// cost. What the upstream or this server fails to do is owed only as far as it was delivered.
    fn owed_at_end(&mut self, request: &MeteredRequest, end: &StreamEnd, usage: &AnswerUsage) -> Owed {
        let is_delivered = self.tally.chunks > 0;
        self.is_due = match end {
            StreamEnd::Complete => true,
            StreamEnd::ClientGone | StreamEnd::KeyEnded | StreamEnd::OutOfCredit => {
                is_delivered || request.chat.delivery().is_taken()
            }
            StreamEnd::Upstream(_)
            | StreamEnd::NoVoucher
            | StreamEnd::Superseded
            | StreamEnd::LedgerUnavailable => is_delivered,
        };
        if self.is_due {
            self.usage = usage.of(&request.chat);
        }
        self.owed()
    }

    fn owed_for_completion(&mut self, completion: &Completion) -> Owed {
        self.usage = completion.usage;
        self.is_due = true;
        self.owed()
    }

    /// Tokens of prompt and completion.
    fn units(&self) -> u64 {
        self.usage.total_tokens()
    }

    /// The price of one unit is zero: each item in the metadata has its own.
    fn entry_details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails {
        let usage = if units == 0 { Usage::default() } else { self.usage };
        let items = if units == 0 { json!([]) } else { self.terms.tariff.items_json(&usage) };
        let (member, name) = self.terms.spender.member();
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(request.request_id.clone()),
            service: request.chat.model().id.clone(),
            units,
            unit_price: Money::ZERO,
            meta: request.entry_meta(json!({
                (member): name,
                "end": end,
                "promptTokens": usage.prompt.tokens,
                "completionTokens": usage.completion.tokens,
                "reported": units > 0 && !usage.is_estimated,
                "items": items,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::config;
    use crate::id::{HoldId, RequestId, Timestamp};
    use crate::meter::ServedHolds;
    use crate::services::chat::{
        AnswerHead, Catalog, ChatRequest, ChoiceText, ProtectedRequest, RequestLimits,
    };

    fn chunk(billable: bool) -> Chunk {
        let text_bytes = if billable { 6 } else { 0 };
        Chunk {
            data: Bytes::new(),
            billable,
            text_bytes,
            texts: Vec::new(),
            usage: None,
            finished: Vec::new(),
            held_back: None,
        }
    }

    fn chat() -> ChatRequest {
        let catalog = Catalog::new(&[config::ModelConfig {
            id: "small".into(),
            price_per_million_output: Money::from_micros(1_000_000),
            context_length: 1_000,
            max_output_tokens: 10,
            ..config::ModelConfig::default()
        }]);
        let body = r#"{"model":"small","messages":[{"role":"user","content":"hi"}]}"#;
        ChatRequest::parse(body, &catalog, RequestLimits::default()).expect("valid")
    }

    fn request() -> MeteredRequest {
        MeteredRequest {
            hold: ServedHolds::default().serve(HoldId::new(Timestamp::from_millis(0))),
            request_id: RequestId::from_client("r").expect("an id"),
            chat: Arc::new(ProtectedRequest::unexamined(chat())),
            head: AnswerHead { id: "a".into(), created: 0 },
        }
    }

    #[test]
    fn a_prefix_ends_before_the_next_billable_chunk() {
        let (yes, no) = (chunk(true), chunk(false));
        let chunks = [&no, &yes, &no, &yes, &no];
        for (billable, length) in [(0, 1), (1, 3), (2, 5), (9, 5)] {
            assert_eq!(billable_prefix(&chunks, billable).len(), length, "{billable}");
        }
    }

    /// The sum is what was delivered, whether or not the last charge was made.
    #[test]
    fn attack_30_a_charge_of_unknown_outcome_is_not_made_again_when_the_hold_is_captured() {
        let delivered =
            Chunk { texts: vec![ChoiceText { choice: 0, text: "one two three".into() }], ..chunk(true) };
        let mut usage = AnswerUsage::default();
        usage.add(&delivered);
        for (end, owed) in [(StreamEnd::Complete, 3), (StreamEnd::LedgerUnavailable, 3)] {
            let chat = chat();
            let mut source = PrepaidSource::new(PrepaidTerms {
                tariff: chat.model().tariff,
                prompt: chat.prompt(),
                max_tokens: 10,
                is_shortened: false,
                limit: None,
                spender: Spender::Key("key".into()),
                key_ended: CancellationToken::new(),
            });
            source.tally.add(&delivered);
            source.charged = Money::from_micros(9);
            assert_eq!(source.owed_at_end(&request(), &end, &usage), Owed::InAll(Money::from_micros(owed)));
        }
    }

    #[test]
    fn a_chunk_is_a_token_unless_it_is_shorter_or_much_longer() {
        for (chunks, bytes, tokens) in [(0, 0, 0), (1, 1, 1), (10, 60, 10), (100, 100, 34), (2, 800, 100)] {
            assert_eq!(
                ChunkTally { chunks, bytes, ..ChunkTally::default() }.tokens(),
                tokens,
                "{chunks} {bytes}"
            );
        }
    }
}
