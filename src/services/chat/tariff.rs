//! Tariff of a model's tokens, and estimates of a prompt's length before the model has counted it.

use serde_json::{Map, Value};

use crate::money::Money;

/// Smallest number of tokens of an image or a file: those of a small image.
const MIN_PART_TOKENS: u64 = 85;
/// Estimated number of tokens of an image or a file.
const TYPICAL_PART_TOKENS: u64 = 800;
/// Largest number of tokens that a model's template adds for each message.
const MAX_MESSAGE_OVERHEAD: u64 = 64;
/// Largest number of tokens that a model's template adds once.
const MAX_TEMPLATE_TOKENS: u64 = 2048;

/// Types of the parts of a message that are not text.
const MEDIA_PARTS: [&str; 4] = ["image_url", "input_audio", "file", "video_url"];

/// Prices of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    pub input: Money,
    pub output: Money,
}

impl Tariff {
    /// Returns the price of tokens, with the sum rounded up to a millionth of a dollar;
    /// `None` if it is out of range.
    #[must_use]
    pub fn cost(&self, prompt: u64, completion: u64) -> Option<Money> {
        let product =
            |price: Money, tokens: u64| u128::try_from(price.micros()).ok()?.checked_mul(u128::from(tokens));
        let sum = product(self.input, prompt)?.checked_add(product(self.output, completion)?)?;
        i64::try_from(sum.div_ceil(1_000_000)).ok().map(Money::from_micros)
    }

    /// Returns the number of completion tokens that `money` pays for beside the prompt,
    /// `max` at the most; zero if it does not pay for the prompt.
    #[must_use]
    pub fn affordable_tokens(&self, money: Money, prompt: u64, max: u64) -> u64 {
        if self.cost(prompt, max).is_some_and(|cost| cost <= money) {
            return max;
        }
        let Some(prompt_cost) = self.cost(prompt, 0).filter(|cost| *cost <= money) else { return 0 };
        let left = money.checked_sub(prompt_cost).map_or(0, |left| i128::from(left.micros()));
        let tokens = (left * 1_000_000).checked_div(i128::from(self.output.micros())).unwrap_or(0);
        u64::try_from(tokens).unwrap_or(0).min(max)
    }
}

/// Length of a prompt in tokens, as far as it is known before the model has counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    min: u64,
    estimate: u64,
    max: u64,
    /// True if the prompt may fit into the model's context.
    may_fit: bool,
}

impl PromptSize {
    /// Estimates the length of a request's prompt for a model with this context, in tokens.
    pub(super) fn of(body: &Map<String, Value>, context: u64) -> Self {
        let mut scan = TextScan::default();
        let messages = body.get("messages").and_then(Value::as_array).map_or(0, |list| list.len() as u64);
        scan.add(body.get("messages").unwrap_or(&Value::Null));
        for name in ["tools", "functions", "response_format"] {
            scan.bytes += body.get(name).map_or(0, |tools| tools.to_string().len() as u64);
        }
        let text = scan.bytes;
        let max = if scan.media_parts > 0 {
            context
        } else {
            // No tokenizer in use makes more than one token of a byte.
            text.saturating_add(messages.saturating_mul(MAX_MESSAGE_OVERHEAD))
                .saturating_add(MAX_TEMPLATE_TOKENS)
        };
        let within = |tokens: u64| tokens.min(context);
        let min = text / 8 + MIN_PART_TOKENS.saturating_mul(scan.media_parts);
        let typical_parts = TYPICAL_PART_TOKENS.saturating_mul(scan.media_parts);
        Self {
            may_fit: min <= context,
            min: within(min),
            estimate: within(text / 4 + messages.saturating_mul(4) + typical_parts),
            max: within(max),
        }
    }

    /// Returns a lower bound of its tokens.
    #[must_use]
    pub fn min_tokens(&self) -> u64 {
        self.min
    }

    /// Returns false if it cannot fit into the model's context.
    pub(super) fn may_fit(&self) -> bool {
        self.may_fit
    }

    /// Returns an estimate of its tokens.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.estimate
    }

    /// Returns an upper bound of its tokens: an upstream that reports more is not believed.
    #[must_use]
    pub fn max_tokens(&self) -> u64 {
        self.max
    }
}

/// Amounts of text and media in a prompt.
#[derive(Default)]
struct TextScan {
    /// Bytes of text.
    bytes: u64,
    /// Number of images, sounds, videos and files.
    media_parts: u64,
}

impl TextScan {
    /// Adds the text and media of a value.
    fn add(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => self.bytes = self.bytes.saturating_add(text.len() as u64),
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(members) => {
                let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
                if MEDIA_PARTS.contains(&kind) {
                    self.media_parts += 1;
                    return;
                }
                let text = members.iter().filter(|(name, _)| !["role", "type"].contains(&name.as_str()));
                text.for_each(|(_, value)| self.add(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    const TARIFF: Tariff = Tariff { input: Money::from_micros(200_000), output: Money::from_micros(800_000) };

    #[test]
    fn tokens_cost_less_than_a_millionth_and_are_rounded_once() {
        assert_eq!(TARIFF.cost(0, 0), Some(money(0)));
        assert_eq!(TARIFF.cost(1, 0), Some(money(1)));
        assert_eq!(TARIFF.cost(5, 0), Some(money(1)));
        assert_eq!(TARIFF.cost(1, 1), Some(money(1)));
        assert_eq!(TARIFF.cost(1_000_000, 1_000_000), Some(money(1_000_000)));
        assert_eq!(Tariff { input: money(i64::MAX), ..TARIFF }.cost(u64::MAX, 1), None);
    }

    #[test]
    fn what_is_affordable_is_covered_and_no_token_more_is() {
        for (micros, prompt) in [(0, 0), (1, 0), (7, 10), (100, 100), (100, 10_000), (5_000, 3)] {
            let tokens = TARIFF.affordable_tokens(money(micros), prompt, 1_000);
            let covered = |tokens| TARIFF.cost(prompt, tokens).is_some_and(|cost| cost <= money(micros));
            assert!(tokens == 0 || covered(tokens), "{micros} {prompt}: {tokens}");
            // Rounding the prompt by itself can cost a token or two.
            assert!(tokens == 1_000 || !covered(tokens + 3), "{micros} {prompt}: {tokens}");
        }
        let free = Tariff { input: money(0), output: money(0) };
        assert_eq!(free.affordable_tokens(money(0), 10, 50), 50);
    }

    #[test]
    fn images_are_not_counted_by_their_bytes() {
        let size = |messages: Value| {
            let body = json!({ "messages": messages });
            PromptSize::of(body.as_object().expect("an object"), 10_000)
        };
        let text = size(json!([{"role": "user", "content": "x".repeat(400)}]));
        assert_eq!((text.min, text.estimate, text.max), (50, 104, 2_512));
        let data = format!("data:image/png;base64,{}", "A".repeat(1 << 20));
        let image =
            size(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}]));
        assert_eq!((image.min, image.estimate, image.max), (85, 804, 10_000));
        assert_eq!(size(json!([{"role": "user", "content": "x".repeat(1 << 20)}])).estimate, 10_000);
    }
}
