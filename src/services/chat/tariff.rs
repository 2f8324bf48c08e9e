//! What tokens cost, and how many a prompt has before a model has counted them.

use serde_json::{Map, Value};

use crate::money::Money;

/// Tokens that a picture or a file may be billable, for lack of better knowledge:
/// the least (a small picture), and a usual one.
const PART_LEAST: u64 = 85;
const PART_LIKELY: u64 = 800;
/// What a model's template can add to a prompt, per message and altogether.
const MESSAGE_MOST: u64 = 64;
const TEMPLATE_MOST: u64 = 2048;

/// Parts of a message that are not text.
const PARTS: [&str; 4] = ["image_url", "input_audio", "file", "video_url"];

/// Prices of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    pub input: Money,
    pub output: Money,
}

impl Tariff {
    /// What so many tokens cost, rounded up to a millionth of a dollar once.
    /// `None` when it does not fit.
    #[must_use]
    pub fn cost(&self, prompt: u64, completion: u64) -> Option<Money> {
        let of =
            |price: Money, tokens: u64| u128::try_from(price.micros()).ok()?.checked_mul(u128::from(tokens));
        let sum = of(self.input, prompt)?.checked_add(of(self.output, completion)?)?;
        i64::try_from(sum.div_ceil(1_000_000)).ok().map(Money::from_micros)
    }

    /// How many completion tokens `money` pays for beside the prompt, up to
    /// `most`; zero when it does not pay for the prompt.
    #[must_use]
    pub fn affordable(&self, money: Money, prompt: u64, most: u64) -> u64 {
        if self.cost(prompt, most).is_some_and(|cost| cost <= money) {
            return most;
        }
        let Some(for_prompt) = self.cost(prompt, 0).filter(|cost| *cost <= money) else { return 0 };
        let left = money.checked_sub(for_prompt).map_or(0, |left| i128::from(left.micros()));
        let tokens = (left * 1_000_000).checked_div(i128::from(self.output.micros())).unwrap_or(0);
        u64::try_from(tokens).unwrap_or(0).min(most)
    }
}

/// How long a prompt is, as far as that can be told without the model's own
/// way of counting. All in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    least: u64,
    likely: u64,
    most: u64,
    /// Whether the context may hold it.
    fits: bool,
}

impl PromptSize {
    /// Of a request's body, for a model with this context.
    pub(super) fn of(body: &Map<String, Value>, context: u64) -> Self {
        let mut seen = TextScan::default();
        let messages = body.get("messages").and_then(Value::as_array).map_or(0, |list| list.len() as u64);
        seen.read(body.get("messages").unwrap_or(&Value::Null));
        for name in ["tools", "functions", "response_format"] {
            seen.bytes += body.get(name).map_or(0, |tools| tools.to_string().len() as u64);
        }
        let text = seen.bytes;
        let most = if seen.parts > 0 {
            context
        } else {
            // No tokenizer in use makes more than one token of a byte.
            text.saturating_add(messages.saturating_mul(MESSAGE_MOST)).saturating_add(TEMPLATE_MOST)
        };
        let within = |tokens: u64| tokens.min(context);
        let least = text / 8 + PART_LEAST.saturating_mul(seen.parts);
        Self {
            fits: least <= context,
            least: within(least),
            likely: within(text / 4 + messages.saturating_mul(4) + PART_LIKELY.saturating_mul(seen.parts)),
            most: within(most),
        }
    }

    /// It is hardly ever less.
    #[must_use]
    pub fn least(&self) -> u64 {
        self.least
    }

    /// Whether the model's context may hold it. Where it says no, it cannot.
    pub(super) fn fits(&self) -> bool {
        self.fits
    }

    /// A good guess.
    #[must_use]
    pub fn likely(&self) -> u64 {
        self.likely
    }

    /// It cannot be more: a model that says so is not believed.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }
}

#[derive(Default)]
struct TextScan {
    /// Of text.
    bytes: u64,
    /// Pictures, sounds and files.
    parts: u64,
}

impl TextScan {
    fn read(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => self.bytes = self.bytes.saturating_add(text.len() as u64),
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Object(members) => {
                let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
                if PARTS.contains(&kind) {
                    self.parts += 1;
                    return;
                }
                let text = members.iter().filter(|(name, _)| !["role", "type"].contains(&name.as_str()));
                text.for_each(|(_, value)| self.read(value));
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
            let tokens = TARIFF.affordable(money(micros), prompt, 1_000);
            let covered = |tokens| TARIFF.cost(prompt, tokens).is_some_and(|cost| cost <= money(micros));
            assert!(tokens == 0 || covered(tokens), "{micros} {prompt}: {tokens}");
            // Rounding the prompt by itself can cost a token or two.
            assert!(tokens == 1_000 || !covered(tokens + 3), "{micros} {prompt}: {tokens}");
        }
        let free = Tariff { input: money(0), output: money(0) };
        assert_eq!(free.affordable(money(0), 10, 50), 50);
    }

    #[test]
    fn pictures_are_not_counted_by_their_bytes() {
        let size = |messages: Value| {
            let body = json!({ "messages": messages });
            PromptSize::of(body.as_object().expect("an object"), 10_000)
        };
        let text = size(json!([{"role": "user", "content": "x".repeat(400)}]));
        assert_eq!((text.least, text.likely, text.most), (50, 104, 2_512));
        let data = format!("data:image/png;base64,{}", "A".repeat(1 << 20));
        let picture =
            size(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]}]));
        assert_eq!((picture.least, picture.likely, picture.most), (85, 804, 10_000));
        assert_eq!(size(json!([{"role": "user", "content": "x".repeat(1 << 20)}])).likely, 10_000);
    }
}
