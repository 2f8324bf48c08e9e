//! Funding source of an account: charges by the token. While an answer streams, it
//! charges only what the answer costs at the least; the reported usage decides the
//! remainder.
//!
//! A charge cannot be taken back, so until usage is known a chunk counts as a token or
//! less, and the prompt as the smallest number of tokens it can be. The hold covers
//! the difference meanwhile.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::source::{FundingSource, MeteredRequest, StreamContext};
use super::stream::StreamEnd;
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, LARGEST, Ledger, Owed};
use crate::money::Money;
use crate::services::chat::{Chunk, Completion, PromptSize, Tariff, Usage};

/// Funding source of an answer that prepaid credits pay for.
pub struct PrepaidSource {
    tariff: Tariff,
    prompt: PromptSize,
    /// Largest number of completion tokens that are charged.
    max_tokens: u64,
    /// True if that is less than the request allows, because the account has no more.
    is_shortened: bool,
    /// Largest amount that is charged; `None` if no budget limits it.
    limit: Option<Money>,
    /// Public id of the API key.
    key: String,
    /// Cancelled when the key is revoked or expires.
    key_ended: CancellationToken,
    tally: UsageTally,
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
    /// Public id of the API key.
    pub key: String,
    /// Cancelled when the key is revoked or expires.
    pub key_ended: CancellationToken,
}

/// Usage of an answer so far: counted, and reported.
#[derive(Debug, Clone, Copy, Default)]
struct UsageTally {
    chunks: u64,
    bytes: u64,
    usage: Option<Usage>,
}

impl UsageTally {
    fn add(&mut self, chunk: &Chunk) {
        self.chunks += u64::from(chunk.billable);
        self.bytes = self.bytes.saturating_add(chunk.content_bytes as u64);
        self.usage = chunk.usage.or(self.usage);
    }

    /// Returns the number of tokens counted by chunks: a token each, fewer if chunks
    /// are shorter than tokens are.
    fn counted_tokens(&self) -> u64 {
        self.chunks.min(self.bytes / 3 + 1)
    }

    /// Returns a lower bound of the completion tokens: as counted, as reported, or by
    /// length where chunks are much longer than a token is.
    fn tokens(&self) -> u64 {
        let reported = self.usage.map_or(0, |usage| usage.completion_tokens);
        self.counted_tokens().max(self.bytes / 8).max(reported)
    }
}

impl PrepaidSource {
    #[must_use]
    pub fn new(terms: PrepaidTerms) -> Self {
        let PrepaidTerms { tariff, prompt, max_tokens, is_shortened, limit, key, key_ended } = terms;
        let (tally, charged) = (UsageTally::default(), Money::ZERO);
        Self {
            tariff,
            prompt,
            max_tokens,
            is_shortened,
            limit,
            key,
            key_ended,
            tally,
            charged,
            is_due: false,
        }
    }

    /// Returns the prompt tokens as reported if that many are possible, else as estimated.
    fn prompt_tokens(&self) -> u64 {
        let reported = self.tally.usage.map(|usage| usage.prompt_tokens);
        reported
            .filter(|tokens| *tokens <= self.prompt.max_tokens())
            .unwrap_or(self.prompt.estimated_tokens())
    }

    fn completion_tokens(&self) -> u64 {
        self.tally.tokens().min(self.max_tokens)
    }

    /// Returns the price of `prompt` and `completion` tokens less the amount charged
    /// already; `None` if the price is out of range.
    fn amount_due(&self, prompt: u64, completion: u64) -> Option<Money> {
        let owed = self.tariff.cost(prompt, completion)?.checked_sub(self.charged)?;
        Some(owed.max(Money::ZERO))
    }

    /// Returns the amount that a budget leaves.
    fn left(&self) -> Money {
        let limit = self.limit.unwrap_or(LARGEST);
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

    /// Returns the amount still owed for the usage of the whole answer.
    fn remaining_due(&self) -> Owed {
        let due = self.amount_due(self.prompt_tokens(), self.completion_tokens());
        due.map_or_else(
            || {
                tracing::error!(
                    key = self.key,
                    "the price of an answer is out of range; only what was charged before is kept"
                );
                Owed::NOTHING
            },
            |due| Owed::AtMost(due.min(self.left())),
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
            // Reported usage decides the length of the prompt; until then it counts as short as it can be.
            let prompt = match self.tally.usage {
                Some(_) => self.prompt_tokens(),
                None => self.prompt.min_tokens(),
            };
            let due =
                self.amount_due(prompt, self.completion_tokens()).ok_or(StreamEnd::LedgerUnavailable)?;
            let is_exhausted = self.is_shortened && self.tally.counted_tokens() > self.max_tokens;
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
        self.key_ended.cancelled().await;
        StreamEnd::KeyEnded
    }

    /// The prompt is owed from the moment at which an upstream has it: who leaves then has caused its
    /// cost. What the upstream or this server fails to do is owed only as far as it was delivered, and
    /// nothing is charged after a charge of unknown outcome, which may have been made.
    fn owed_at_end(&mut self, request: &MeteredRequest, end: &StreamEnd) -> Owed {
        let is_delivered = self.tally.chunks > 0;
        self.is_due = match end {
            StreamEnd::LedgerUnavailable => false,
            StreamEnd::Complete => true,
            StreamEnd::ClientGone | StreamEnd::KeyEnded | StreamEnd::OutOfCredit => {
                is_delivered || request.delivery.is_taken()
            }
            StreamEnd::Upstream(_) | StreamEnd::NoVoucher | StreamEnd::Superseded => is_delivered,
        };
        if self.is_due { self.remaining_due() } else { Owed::NOTHING }
    }

    fn owed_for_completion(&mut self, completion: &Completion) -> Owed {
        self.tally = UsageTally {
            chunks: completion.tokens(),
            bytes: completion.content_bytes as u64,
            usage: completion.usage,
        };
        self.is_due = true;
        self.remaining_due()
    }

    /// Tokens of prompt and completion.
    fn units(&self) -> u64 {
        if self.charged.is_zero() && !self.is_due {
            return 0;
        }
        self.prompt_tokens().saturating_add(self.completion_tokens())
    }

    /// The price of one unit is zero: prices are per million tokens and stand in the metadata.
    fn entry_details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails {
        let (prompt, completion) =
            if units == 0 { (0, 0) } else { (self.prompt_tokens(), self.completion_tokens()) };
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(request.request_id.clone()),
            service: request.model.clone(),
            units,
            unit_price: Money::ZERO,
            meta: request.entry_meta(json!({
                "key": self.key,
                "end": end,
                "promptTokens": prompt,
                "completionTokens": completion,
                "reported": self.tally.usage.is_some(),
                "pricePerMillionInput": self.tariff.input.to_dollars(),
                "pricePerMillionOutput": self.tariff.output.to_dollars(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config;
    use crate::id::{HoldId, RequestId, Timestamp};
    use crate::meter::ServedHolds;
    use crate::services::chat::{Catalog, ChatRequest, EntityCounts, RequestLimits, UpstreamDelivery};

    fn chunk(billable: bool) -> Chunk {
        let content_bytes = if billable { 6 } else { 0 };
        Chunk {
            data: Bytes::new(),
            billable,
            content_bytes,
            usage: None,
            usage_only: false,
            finished: Vec::new(),
            held_back: None,
        }
    }

    fn request() -> MeteredRequest {
        MeteredRequest {
            hold: ServedHolds::default().serve(HoldId::new(Timestamp::from_millis(0))),
            request_id: RequestId::from_client("r").expect("an id"),
            model: "small".into(),
            wants_usage: false,
            replaced: EntityCounts::default(),
            delivery: UpstreamDelivery::default(),
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

    #[test]
    fn attack_30_a_charge_of_unknown_outcome_is_not_made_again_when_the_hold_is_captured() {
        let catalog = Catalog::new(&[config::ModelConfig {
            id: "small".into(),
            price_per_million_output: Money::from_micros(1_000_000),
            ..config::ModelConfig::default()
        }]);
        let body = r#"{"model":"small","messages":[{"role":"user","content":"hi"}]}"#;
        let chat = ChatRequest::parse(body, &catalog, RequestLimits::default()).expect("valid");
        for (end, owed) in [
            (StreamEnd::Complete, Owed::AtMost(Money::from_micros(3))),
            (StreamEnd::LedgerUnavailable, Owed::NOTHING),
        ] {
            let mut source = PrepaidSource::new(PrepaidTerms {
                tariff: chat.model().tariff(),
                prompt: chat.prompt(),
                max_tokens: 10,
                is_shortened: false,
                limit: None,
                key: "key".into(),
                key_ended: CancellationToken::new(),
            });
            source.tally = UsageTally { chunks: 3, bytes: 18, usage: None };
            assert_eq!(source.owed_at_end(&request(), &end), owed);
        }
    }

    #[test]
    fn a_chunk_is_a_token_unless_it_is_shorter_or_much_longer() {
        for (chunks, bytes, tokens) in [(0, 0, 0), (1, 1, 1), (10, 60, 10), (100, 100, 34), (2, 800, 100)] {
            assert_eq!(UsageTally { chunks, bytes, usage: None }.tokens(), tokens, "{chunks} {bytes}");
        }
    }
}
