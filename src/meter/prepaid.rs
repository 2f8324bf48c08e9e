//! Paying from an account by the token: what is charged while an answer streams
//! is at least what it will turn out to be, and its reported usage settles it.
//!
//! A request cannot be charged less than before, so until usage is known a chunk
//! counts as a token or less, and the prompt as the least it can be. The hold
//! covers the rest meanwhile.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::source::{FundingSource, MeteredRequest, StreamContext};
use super::stream::StreamEnd;
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, Ledger, Owed};
use crate::money::Money;
use crate::services::chat::{Chunk, Completion, PromptSize, Tariff, Usage};

/// What an account pays with.
pub struct PrepaidSource {
    tariff: Tariff,
    prompt: PromptSize,
    /// Completion tokens that are charged at the most.
    most: u64,
    /// Whether that is less than the request allows, for want of money.
    shortened: bool,
    /// The public id of the key.
    key: String,
    /// Cancelled when the key ends.
    ended: CancellationToken,
    tally: UsageTally,
    charged: Money,
    /// Whether an answer, were it an empty one, is there to be paid for.
    is_due: bool,
}

/// What an account buys.
#[derive(Debug, Clone)]
pub struct PrepaidTerms {
    pub tariff: Tariff,
    pub prompt: PromptSize,
    /// Completion tokens that were set aside for.
    pub most_tokens: u64,
    /// Whether that is less than the request allows, for want of money.
    pub shortened: bool,
    /// The public id of the key.
    pub key: String,
    /// Cancelled when the key ends.
    pub ended: CancellationToken,
}

/// What there is to pay for so far.
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

    /// A chunk is a token, unless chunks are shorter than tokens are.
    fn counted(&self) -> u64 {
        self.chunks.min(self.bytes / 3 + 1)
    }

    /// Completion tokens, at least: as counted, or more where chunks are much
    /// longer than a token is.
    fn tokens(&self) -> u64 {
        let reported = self.usage.map_or(0, |usage| usage.completion_tokens);
        self.counted().max(self.bytes / 8).max(reported)
    }
}

impl PrepaidSource {
    #[must_use]
    pub fn new(request: PrepaidTerms) -> Self {
        let PrepaidTerms { tariff, prompt, most_tokens: most, shortened, key, ended } = request;
        let (tally, charged) = (UsageTally::default(), Money::ZERO);
        Self { tariff, prompt, most, shortened, key, ended, tally, charged, is_due: false }
    }

    /// Prompt tokens as reported, where that is possible, else as estimated.
    fn prompt_tokens(&self) -> u64 {
        let reported = self.tally.usage.map(|usage| usage.prompt_tokens);
        reported.filter(|tokens| *tokens <= self.prompt.most()).unwrap_or(self.prompt.likely())
    }

    fn completion_tokens(&self) -> u64 {
        self.tally.tokens().min(self.most)
    }

    /// What is owed for `prompt` and `completion` tokens beyond what was charged.
    fn due(&self, prompt: u64, completion: u64) -> Option<Money> {
        let owed = self.tariff.cost(prompt, completion)?.checked_sub(self.charged)?;
        Some(owed.max(Money::ZERO))
    }

    async fn charge(
        &mut self,
        ledger: &Ledger,
        request: &MeteredRequest,
        due: Money,
    ) -> Result<Option<Money>, StreamEnd> {
        if due.is_zero() {
            return Ok(None);
        }
        match ledger.charge(&request.hold, due).await {
            Ok(ChargeOutcome::Charged { total }) => {
                self.charged = total;
                Ok(None)
            }
            Ok(ChargeOutcome::Short { by }) => Ok(Some(by)),
            Ok(ChargeOutcome::Closed) => Err(StreamEnd::Superseded),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be charged");
                Err(StreamEnd::Ledger)
            }
        }
    }

    /// What reported usage says is due beyond what was charged.
    fn rest(&self) -> Owed {
        let due = self.due(self.prompt_tokens(), self.completion_tokens());
        due.map_or_else(
            || {
                tracing::error!(key = self.key, "what an answer costs is beyond what can be recorded");
                Owed::NOTHING
            },
            Owed::AtMost,
        )
    }
}

/// The part of `chunks` up to its billable chunk number `billable`, and past
/// the last one all of it.
fn part<'a>(chunks: &'a [&'a Chunk], billable: u64) -> &'a [&'a Chunk] {
    let mut left = billable;
    let end = chunks.iter().position(|chunk| {
        let beyond = chunk.billable && left == 0;
        left -= u64::from(chunk.billable && left > 0);
        beyond
    });
    &chunks[..end.unwrap_or(chunks.len())]
}

impl FundingSource for PrepaidSource {
    async fn pay(&mut self, context: &StreamContext, chunks: &[&Chunk]) -> Result<u64, StreamEnd> {
        let mut units = chunks.iter().filter(|chunk| chunk.billable).count() as u64;
        let before = self.tally;
        loop {
            self.tally = before;
            for chunk in part(chunks, units) {
                self.tally.add(chunk);
            }
            // Usage that comes with the stream settles the prompt; until then it is the least.
            let prompt = match self.tally.usage {
                Some(_) => self.prompt_tokens(),
                None => self.prompt.least(),
            };
            let due = self.due(prompt, self.completion_tokens()).ok_or(StreamEnd::Ledger)?;
            let exhausted = self.shortened && self.tally.counted() > self.most;
            if !exhausted {
                match self.charge(&context.ledger, &context.request, due).await {
                    Ok(None) => return Ok(units),
                    Ok(Some(_short)) => {}
                    Err(end) => {
                        self.tally = before;
                        return Err(end);
                    }
                }
            }
            if units == 0 {
                // Nothing to pay for: only usage, whose rest the end charges.
                return Ok(0);
            }
            if units == 1 {
                self.tally = before;
                return Err(StreamEnd::OutOfCredit);
            }
            units /= 2;
        }
    }

    async fn stopped(&mut self) -> StreamEnd {
        self.ended.cancelled().await;
        StreamEnd::KeyEnded
    }

    /// Nothing delivered is nothing owed, unless the model had nothing to say. And when nobody knows
    /// whether the last charge was made, nothing is charged that may have been already.
    fn owed(&mut self, end: &StreamEnd) -> Owed {
        if *end == StreamEnd::Ledger || (self.tally.chunks == 0 && *end != StreamEnd::Complete) {
            return Owed::NOTHING;
        }
        self.is_due = true;
        self.rest()
    }

    fn owed_non_streaming(&mut self, completion: &Completion) -> Owed {
        self.tally = UsageTally {
            chunks: completion.tokens(),
            bytes: completion.content_bytes as u64,
            usage: completion.usage,
        };
        self.is_due = true;
        self.rest()
    }

    /// Tokens of prompt and answer.
    fn units(&self) -> u64 {
        if self.charged.is_zero() && !self.is_due {
            return 0;
        }
        self.prompt_tokens().saturating_add(self.completion_tokens())
    }

    /// Prices are per million tokens, which a price of one unit cannot say.
    fn details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails {
        let (prompt, completion) =
            if units == 0 { (0, 0) } else { (self.prompt_tokens(), self.completion_tokens()) };
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(request.request_id.clone()),
            service: request.model.clone(),
            units,
            unit_price: Money::ZERO,
            meta: request.noted(json!({
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
    use crate::services::chat::{Catalog, ChatRequest, RequestLimits};

    fn chunk(billable: bool) -> Chunk {
        let content_bytes = if billable { 6 } else { 0 };
        Chunk {
            data: Bytes::new(),
            billable,
            content_bytes,
            usage: None,
            usage_only: false,
            finish: false,
            rest: None,
        }
    }

    #[test]
    fn a_part_ends_before_the_next_billable_chunk() {
        let (yes, no) = (chunk(true), chunk(false));
        let chunks = [&no, &yes, &no, &yes, &no];
        for (billable, length) in [(0, 1), (1, 3), (2, 5), (9, 5)] {
            assert_eq!(part(&chunks, billable).len(), length, "{billable}");
        }
    }

    #[test]
    fn attack_30_a_charge_of_unknown_outcome_is_not_made_again_when_the_tab_closes() {
        let catalog = Catalog::new(&[config::ModelConfig {
            id: "small".into(),
            price_per_million_output: Money::from_micros(1_000_000),
            ..config::ModelConfig::default()
        }]);
        let body = r#"{"model":"small","messages":[{"role":"user","content":"hi"}]}"#;
        let chat = ChatRequest::parse(body, &catalog, RequestLimits::default()).expect("valid");
        for (end, owed) in
            [(StreamEnd::Complete, Owed::AtMost(Money::from_micros(3))), (StreamEnd::Ledger, Owed::NOTHING)]
        {
            let mut source = PrepaidSource::new(PrepaidTerms {
                tariff: chat.model().tariff(),
                prompt: chat.prompt(),
                most_tokens: 10,
                shortened: false,
                key: "key".into(),
                ended: CancellationToken::new(),
            });
            source.tally = UsageTally { chunks: 3, bytes: 18, usage: None };
            assert_eq!(source.owed(&end), owed);
        }
    }

    #[test]
    fn a_chunk_is_a_token_unless_it_is_shorter_or_much_longer() {
        for (chunks, bytes, tokens) in [(0, 0, 0), (1, 1, 1), (10, 60, 10), (100, 100, 34), (2, 800, 100)] {
            assert_eq!(UsageTally { chunks, bytes, usage: None }.tokens(), tokens, "{chunks} {bytes}");
        }
    }
}
