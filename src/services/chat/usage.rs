//! Usage that an upstream reports: read in all the forms that servers write it in, and used only if it is possible.

use serde_json::{Map, Value, json};

use crate::money::Money;

/// Tokens of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, all kinds together.
    pub prompt_tokens: u64,
    /// Tokens of the answer, all kinds together.
    pub completion_tokens: u64,
    /// Prompt tokens that were read from a cache.
    pub cached_tokens: u64,
    /// Prompt tokens that were written to a cache.
    pub cache_write_tokens: u64,
    /// Prompt tokens that were sound.
    pub audio_input_tokens: u64,
    /// Prompt tokens that were images.
    pub image_input_tokens: u64,
    /// Completion tokens that were reasoning.
    pub reasoning_tokens: u64,
    /// Completion tokens that were sound.
    pub audio_output_tokens: u64,
    /// Completion tokens that were images.
    pub image_output_tokens: u64,
    /// True if a part of it was counted here, because the upstream did not report it.
    pub is_estimated: bool,
}

/// Largest usage that a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageBounds {
    pub prompt_tokens: u64,
    /// Completion tokens, all choices together.
    pub completion_tokens: u64,
}

/// Error of usage that is impossible: negative, fractional, contradictory, or larger than
/// the request allows. Nothing is charged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reported usage is impossible")]
pub struct ImpossibleUsage;

/// Places of each number, the most usual first: OpenAI's, then those of other servers.
const PROMPT: [&str; 2] = ["/prompt_tokens", "/input_tokens"];
const COMPLETION: [&str; 2] = ["/completion_tokens", "/output_tokens"];
const CACHED: [&str; 6] = [
    "/prompt_tokens_details/cached_tokens",
    "/input_tokens_details/cached_tokens",
    // DeepSeek.
    "/prompt_cache_hit_tokens",
    // Anthropic.
    "/cache_read_input_tokens",
    // Moonshot.
    "/cached_tokens",
    "/num_cached_tokens",
];
const CACHE_WRITE: [&str; 4] = [
    // OpenRouter.
    "/prompt_tokens_details/cache_write_tokens",
    // Alibaba.
    "/prompt_tokens_details/cache_creation_input_tokens",
    "/prompt_tokens_details/cache_creation_tokens",
    // Anthropic.
    "/cache_creation_input_tokens",
];
const REASONING: [&str; 3] = [
    "/completion_tokens_details/reasoning_tokens",
    "/output_tokens_details/reasoning_tokens",
    // Perplexity.
    "/reasoning_tokens",
];
const AUDIO_INPUT: [&str; 1] = ["/prompt_tokens_details/audio_tokens"];
const IMAGE_INPUT: [&str; 1] = ["/prompt_tokens_details/image_tokens"];
const AUDIO_OUTPUT: [&str; 1] = ["/completion_tokens_details/audio_tokens"];
const IMAGE_OUTPUT: [&str; 1] = ["/completion_tokens_details/image_tokens"];

/// Returns the first of the numbers that is there.
fn number(value: &Value, places: &[&str]) -> Result<Option<u64>, ImpossibleUsage> {
    let found = places.iter().filter_map(|place| value.pointer(place)).find(|found| !found.is_null());
    found.map(|number| number.as_u64().ok_or(ImpossibleUsage)).transpose()
}

impl Usage {
    /// Returns the usage of a prompt and an answer that are text.
    #[must_use]
    pub fn of_text(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens, ..Self::default() }
    }

    /// Reads a `usage` member; `null` is no usage.
    ///
    /// # Errors
    /// [`ImpossibleUsage`].
    pub fn parse(value: &Value, bounds: UsageBounds) -> Result<Option<Self>, ImpossibleUsage> {
        if value.is_null() {
            return Ok(None);
        }
        let count = |places: &[&str]| number(value, places).map(Option::unwrap_or_default);
        let usage = Self {
            prompt_tokens: number(value, &PROMPT)?.ok_or(ImpossibleUsage)?,
            completion_tokens: number(value, &COMPLETION)?.ok_or(ImpossibleUsage)?,
            cached_tokens: count(&CACHED)?,
            cache_write_tokens: count(&CACHE_WRITE)?,
            audio_input_tokens: count(&AUDIO_INPUT)?,
            image_input_tokens: count(&IMAGE_INPUT)?,
            reasoning_tokens: count(&REASONING)?,
            audio_output_tokens: count(&AUDIO_OUTPUT)?,
            image_output_tokens: count(&IMAGE_OUTPUT)?,
            is_estimated: false,
        };
        let total = value.get("total_tokens").and_then(Value::as_u64);
        let usage = usage.with_parts_beside(total, bounds).ok_or(ImpossibleUsage)?;
        if usage.prompt_tokens > bounds.prompt_tokens || usage.completion_tokens > bounds.completion_tokens {
            return Err(ImpossibleUsage);
        }
        Ok(Some(usage))
    }

    /// Adds the parts that this server counts beside its two sums: cached tokens that are not in the prompt (Claude
    /// behind converters), reasoning that is not in the completion (xAI), or in the total alone (Gemini). `None` if a sum
    /// is beyond the largest number.
    fn with_parts_beside(self, total: Option<u64>, bounds: UsageBounds) -> Option<Self> {
        let cached = self.cached_tokens.checked_add(self.cache_write_tokens)?;
        let with_cached = self.prompt_tokens.checked_add(cached)?;
        let with_reasoning = self.completion_tokens.checked_add(self.reasoning_tokens)?;
        let possible: Vec<(u64, u64)> = [self.prompt_tokens, with_cached]
            .into_iter()
            .flat_map(|prompt| {
                [self.completion_tokens, with_reasoning].map(|completion| (prompt, completion))
            })
            .filter(|(prompt, completion)| cached <= *prompt && self.reasoning_tokens <= *completion)
            .collect();
        let agrees = |(prompt, completion): &&(u64, u64)| prompt.checked_add(*completion) == total;
        if let Some(&(prompt_tokens, completion_tokens)) = possible.iter().find(agrees) {
            return Some(Self { prompt_tokens, completion_tokens, ..self });
        }
        let (prompt_tokens, completion_tokens) = *possible.first()?;
        let rest = total.and_then(|total| total.checked_sub(prompt_tokens)).unwrap_or_default();
        let is_thought = rest > completion_tokens && rest <= bounds.completion_tokens;
        if self.reasoning_tokens == 0 && is_thought {
            let reasoning_tokens = rest - completion_tokens;
            return Some(Self { prompt_tokens, completion_tokens: rest, reasoning_tokens, ..self });
        }
        Some(Self { prompt_tokens, completion_tokens, ..self })
    }

    /// Returns this later report, with the prompt of an earlier one if it has none.
    #[must_use]
    pub fn after(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if self.prompt_tokens == 0 => Self {
                completion_tokens: self.completion_tokens,
                reasoning_tokens: self.reasoning_tokens,
                audio_output_tokens: self.audio_output_tokens,
                image_output_tokens: self.image_output_tokens,
                ..earlier
            },
            _ => self,
        }
    }

    /// Returns the tokens of prompt and completion together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Returns the `usage` member for clients: tokens, and what the request costs here, without the prices that the
    /// upstream charges its operator.
    #[must_use]
    pub fn to_json(self, cost: Option<Money>) -> Value {
        let mut json = Map::new();
        json.insert("prompt_tokens".into(), self.prompt_tokens.into());
        json.insert("completion_tokens".into(), self.completion_tokens.into());
        json.insert("total_tokens".into(), self.total_tokens().into());
        let details = |always: (&str, u64), others: &[(&str, u64)]| {
            let others = others.iter().filter(|(_, tokens)| *tokens > 0);
            std::iter::once(&always)
                .chain(others)
                .map(|(name, tokens)| ((*name).to_owned(), json!(tokens)))
                .collect()
        };
        let prompt: Map<_, _> = details(
            ("cached_tokens", self.cached_tokens),
            &[
                ("cache_write_tokens", self.cache_write_tokens),
                ("audio_tokens", self.audio_input_tokens),
                ("image_tokens", self.image_input_tokens),
            ],
        );
        let completion: Map<_, _> = details(
            ("reasoning_tokens", self.reasoning_tokens),
            &[("audio_tokens", self.audio_output_tokens), ("image_tokens", self.image_output_tokens)],
        );
        json.insert("prompt_tokens_details".into(), prompt.into());
        json.insert("completion_tokens_details".into(), completion.into());
        if let Some(cost) = cost {
            // As other gateways write it: a number, in dollars.
            json.insert("cost".into(), serde_json::from_str(&cost.to_dollars()).unwrap_or_default());
        }
        if self.is_estimated {
            json.insert("estimated".into(), true.into());
        }
        Value::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: UsageBounds = UsageBounds { prompt_tokens: 1000, completion_tokens: 100 };

    #[test]
    fn possible_usage_is_read() {
        let value = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": -5, "cost": 0.1,
            "prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 3}});
        let usage = Usage::parse(&value, BOUNDS).expect("possible").expect("present");
        assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (7, 3));
        let json = usage.to_json(None);
        assert_eq!(json["total_tokens"], 1100);
        assert!(json.get("cost").is_none() && json.get("estimated").is_none());
        assert_eq!(usage.to_json(Some(Money::from_micros(1_230)))["cost"].to_string(), "0.00123");
        assert_eq!(Usage::parse(&Value::Null, BOUNDS), Ok(None));
    }

    #[test]
    fn attack_21_impossible_usage_is_refused() {
        for value in [
            json!({}),
            json!([]),
            json!("many"),
            json!({"prompt_tokens": 1}),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": 1.5}),
            json!({"prompt_tokens": 1, "completion_tokens": 1e300}),
            json!({"prompt_tokens": 1, "completion_tokens": "5"}),
            json!({"prompt_tokens": 1, "completion_tokens": 101}),
            json!({"prompt_tokens": 1001, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": u64::MAX}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1000}}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": u64::MAX}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 100}}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -2}}),
        ] {
            assert_eq!(Usage::parse(&value, BOUNDS), Err(ImpossibleUsage), "{value}");
        }
    }

    #[test]
    fn a_report_without_a_prompt_keeps_the_earlier_one() {
        let first = Usage { cached_tokens: 3, ..Usage::of_text(9, 1) };
        assert_eq!(Usage::of_text(0, 7).after(Some(first)), Usage { completion_tokens: 7, ..first });
        assert_eq!(Usage::of_text(8, 7).after(Some(first)), Usage::of_text(8, 7));
        assert_eq!(Usage::of_text(0, 7).after(None), Usage::of_text(0, 7));
    }
}
