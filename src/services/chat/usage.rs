//! Usage that an upstream reports: read in all the forms that servers write it in, and used only if it is possible.

use serde_json::{Map, Number, Value, json};

use crate::money::Money;

/// Tokens of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt: PromptUsage,
    pub completion: CompletionUsage,
    /// True if a part of it was counted here, because the upstream did not report it.
    pub is_estimated: bool,
}

/// Tokens of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptUsage {
    /// All kinds together.
    pub tokens: u64,
    /// Those that were read from a cache.
    pub cached: u64,
    /// Those that were written to a cache.
    pub cache_write: u64,
    /// Those that were sound.
    pub audio: u64,
    /// Those that were images.
    pub image: u64,
}

/// Tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompletionUsage {
    /// All kinds together.
    pub tokens: u64,
    /// Those that were reasoning.
    pub reasoning: u64,
    /// Those that were sound.
    pub audio: u64,
    /// Those that were images.
    pub image: u64,
}

/// Usage as an upstream reports it. A side that it leaves out, or that is impossible, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportedUsage {
    pub prompt: Option<PromptUsage>,
    pub completion: Option<CompletionUsage>,
}

/// Largest usage that a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageBounds {
    pub prompt_tokens: u64,
    /// Completion tokens, all choices together.
    pub completion_tokens: u64,
}

/// Error of usage that is no usage: negative, fractional, or without any number.
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
/// Anthropic's own names: what its cache has is beside the prompt.
const ANTHROPIC_PROMPT: &str = "/input_tokens";
const ANTHROPIC_CACHE: [&str; 2] = ["/cache_read_input_tokens", "/cache_creation_input_tokens"];
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

/// Returns the largest of the numbers that are there: servers fill one place and leave another at zero.
fn largest(value: &Value, places: &[&str]) -> Result<u64, ImpossibleUsage> {
    let found = places.iter().filter_map(|place| value.pointer(place)).filter(|found| !found.is_null());
    found
        .map(|number| number.as_u64().ok_or(ImpossibleUsage))
        .try_fold(0, |most, number| Ok(most.max(number?)))
}

impl ReportedUsage {
    /// Reads a `usage` member, as large as it may be. A prompt of no tokens is none: servers write zeros until they
    /// have counted.
    ///
    /// # Errors
    /// [`ImpossibleUsage`].
    pub fn parse(value: &Value) -> Result<Self, ImpossibleUsage> {
        let (prompt, completion) = (number(value, &PROMPT)?, number(value, &COMPLETION)?);
        if prompt.is_none() && completion.is_none() {
            return Err(ImpossibleUsage);
        }
        let has_prompt = prompt.is_some_and(|tokens| tokens > 0);
        let prompt = PromptUsage {
            tokens: prompt.unwrap_or_default(),
            cached: largest(value, &CACHED)?,
            cache_write: largest(value, &CACHE_WRITE)?,
            audio: largest(value, &AUDIO_INPUT)?,
            image: largest(value, &IMAGE_INPUT)?,
        };
        let has_completion = completion.is_some();
        let completion = CompletionUsage {
            tokens: completion.unwrap_or_default(),
            reasoning: largest(value, &REASONING)?,
            audio: largest(value, &AUDIO_OUTPUT)?,
            image: largest(value, &IMAGE_OUTPUT)?,
        };
        let total = value.get("total_tokens").and_then(Value::as_u64);
        let is_beside = ANTHROPIC_CACHE.iter().any(|place| value.pointer(place).is_some_and(Value::is_u64))
            && value.pointer(ANTHROPIC_PROMPT).is_some_and(Value::is_u64)
            && !value.get("prompt_tokens").is_some_and(Value::is_u64);
        let (prompt, completion) =
            with_parts_beside(prompt, completion, total, is_beside).ok_or(ImpossibleUsage)?;
        Ok(Self {
            prompt: Some(prompt).filter(|_| has_prompt),
            completion: Some(completion).filter(|_| has_completion),
        })
    }

    /// Returns the sides that the request can have had.
    #[must_use]
    pub fn within(self, bounds: UsageBounds) -> Self {
        Self {
            prompt: self.prompt.filter(|prompt| prompt.tokens <= bounds.prompt_tokens),
            completion: self.completion.filter(|completion| completion.tokens <= bounds.completion_tokens),
        }
    }

    /// Returns this later report, with what an earlier one says besides.
    #[must_use]
    pub fn after(self, earlier: Self) -> Self {
        Self { prompt: self.prompt.or(earlier.prompt), completion: self.completion.or(earlier.completion) }
    }
}

/// Adds the parts that a server counts beside its two sums: cached tokens that are not in the prompt (Claude behind
/// converters), reasoning that is not in the completion (xAI), or in the total alone (Gemini). The total tells which, and
/// without one the least that is possible. `None` if a sum is beyond the largest number.
fn with_parts_beside(
    prompt: PromptUsage,
    completion: CompletionUsage,
    total: Option<u64>,
    is_cached_beside: bool,
) -> Option<(PromptUsage, CompletionUsage)> {
    let cached = prompt.cached.checked_add(prompt.cache_write)?;
    let with_cached = prompt.tokens.checked_add(cached)?;
    let with_reasoning = completion.tokens.checked_add(completion.reasoning)?;
    let prompts = if is_cached_beside { [with_cached, prompt.tokens] } else { [prompt.tokens, with_cached] };
    let possible: Vec<(u64, u64)> = prompts
        .into_iter()
        .flat_map(|prompt| [completion.tokens, with_reasoning].map(|completion| (prompt, completion)))
        .filter(|(prompt, answer)| cached <= *prompt && completion.reasoning <= *answer)
        .collect();
    let agrees = |(prompt, completion): &&(u64, u64)| prompt.checked_add(*completion) == total;
    let sums = possible.iter().find(agrees).or(possible.first()).copied()?;
    let (prompt, completion) =
        (PromptUsage { tokens: sums.0, ..prompt }, CompletionUsage { tokens: sums.1, ..completion });
    let thoughts = total.and_then(|total| total.checked_sub(sums.0)?.checked_sub(sums.1)).unwrap_or_default();
    // Only the whole report of a server says so, which has a prompt.
    if completion.reasoning == 0 && prompt.tokens > 0 && thoughts > 0 {
        let tokens = completion.tokens.checked_add(thoughts)?;
        return Some((prompt, CompletionUsage { tokens, reasoning: thoughts, ..completion }));
    }
    Some((prompt, completion))
}

impl CompletionUsage {
    /// Returns the usage of an answer that was cut to `tokens`.
    pub(super) fn cut_to(self, tokens: u64) -> Self {
        Self { tokens: self.tokens.min(tokens), ..self }
    }
}

/// Returns an amount as a number of dollars, as other gateways write it.
#[must_use]
pub fn dollars(amount: Money) -> Number {
    amount.to_dollars().parse().unwrap_or_else(|_| Number::from(0))
}

impl Usage {
    /// Returns the usage of a prompt and an answer that are text.
    #[must_use]
    pub fn of_text(prompt: u64, completion: u64) -> Self {
        Self {
            prompt: PromptUsage { tokens: prompt, ..PromptUsage::default() },
            completion: CompletionUsage { tokens: completion, ..CompletionUsage::default() },
            is_estimated: false,
        }
    }

    /// Returns the tokens of prompt and completion together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt.tokens.saturating_add(self.completion.tokens)
    }

    /// Returns the `usage` member for clients: tokens, and what the request costs here, without the prices that the
    /// upstream charges its operator.
    #[must_use]
    pub fn to_json(self, cost: Option<Money>) -> Value {
        let details = |always: (&str, u64), others: &[(&str, u64)]| {
            let others = others.iter().filter(|(_, tokens)| *tokens > 0);
            let named = std::iter::once(&always).chain(others);
            named.map(|(name, tokens)| ((*name).to_owned(), json!(tokens))).collect::<Map<_, _>>()
        };
        let Self { prompt, completion, is_estimated } = self;
        let mut json = json!({
            "prompt_tokens": prompt.tokens,
            "completion_tokens": completion.tokens,
            "total_tokens": self.total_tokens(),
            "prompt_tokens_details": details(
                ("cached_tokens", prompt.cached),
                &[
                    ("cache_write_tokens", prompt.cache_write),
                    ("audio_tokens", prompt.audio),
                    ("image_tokens", prompt.image),
                ],
            ),
            "completion_tokens_details": details(
                ("reasoning_tokens", completion.reasoning),
                &[("audio_tokens", completion.audio), ("image_tokens", completion.image)],
            ),
        });
        if let Some(cost) = cost {
            json["cost"] = dollars(cost).into();
        }
        if is_estimated {
            json["estimated"] = true.into();
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: UsageBounds = UsageBounds { prompt_tokens: 1000, completion_tokens: 100 };

    /// Tokens of prompt and completion that are read and possible.
    fn read(value: &Value) -> Result<(Option<u64>, Option<u64>), ImpossibleUsage> {
        let reported = ReportedUsage::parse(value)?.within(BOUNDS);
        Ok((
            reported.prompt.map(|prompt| prompt.tokens),
            reported.completion.map(|completion| completion.tokens),
        ))
    }

    #[test]
    fn possible_usage_is_read() {
        let value = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": -5, "cost": 0.1,
            "prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 3}});
        let reported = ReportedUsage::parse(&value).expect("possible").within(BOUNDS);
        let (prompt, completion) =
            (reported.prompt.expect("a prompt"), reported.completion.expect("an answer"));
        assert_eq!((prompt.cached, completion.reasoning), (7, 3));
        let usage = Usage { prompt, completion, is_estimated: false };
        let json = usage.to_json(None);
        assert_eq!(json["total_tokens"], 1100);
        assert!(json.get("cost").is_none() && json.get("estimated").is_none());
        assert_eq!(usage.to_json(Some(Money::from_micros(1_230)))["cost"].to_string(), "0.00123");
    }

    #[test]
    fn attack_21_impossible_usage_is_refused() {
        for value in [
            json!({}),
            json!([]),
            json!("many"),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": 1.5}),
            json!({"prompt_tokens": 1, "completion_tokens": 1e300}),
            json!({"prompt_tokens": 1, "completion_tokens": "5"}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": u64::MAX}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -2}}),
        ] {
            assert_eq!(read(&value), Err(ImpossibleUsage), "{value}");
        }
    }

    /// One side that cannot be does not take the other with it.
    #[test]
    fn attack_21_each_side_is_judged_by_itself() {
        for (value, expected) in [
            (json!({"prompt_tokens": 1}), (Some(1), None)),
            (json!({"output_tokens": 9}), (None, Some(9))),
            (json!({"output_tokens": 9, "cache_read_input_tokens": 90}), (None, Some(9))),
            (
                json!({"input_tokens": 10, "output_tokens": 9, "cache_read_input_tokens": 8}),
                (Some(18), Some(9)),
            ),
            (
                json!({"prompt_tokens": 100, "input_tokens": 100, "cache_read_input_tokens": 90, "completion_tokens": 5}),
                (Some(100), Some(5)),
            ),
            (json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}), (None, Some(0))),
            (json!({"prompt_tokens": 0, "completion_tokens": 50, "total_tokens": 80}), (None, Some(50))),
            (json!({"prompt_tokens": 1, "completion_tokens": 101}), (Some(1), None)),
            (json!({"prompt_tokens": 1001, "completion_tokens": 1}), (None, Some(1))),
            (json!({"prompt_tokens": 1, "completion_tokens": u64::MAX}), (Some(1), None)),
            (
                json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1000}}),
                (None, Some(1)),
            ),
            (
                json!({"prompt_tokens": 1, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 94}}),
                (Some(1), None),
            ),
        ] {
            assert_eq!(read(&value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn a_later_report_completes_an_earlier_one() {
        let [first, second] = [
            json!({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 3}),
            json!({"output_tokens": 7}),
        ]
        .map(|value| ReportedUsage::parse(&value).expect("possible"));
        let both = second.after(first);
        assert_eq!((both.prompt, both.completion), (first.prompt, second.completion));
        assert_eq!(first.after(second), first);
    }
}
