//! Tariff of a model: the price of each kind of token, and of a request.

use serde_json::{Value, json};

use super::usage::Usage;
use crate::config;
use crate::money::Money;

/// Prices of a million tokens of each kind, and of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    pub input: Money,
    pub cached_input: Money,
    pub cache_write: Money,
    pub audio_input: Money,
    pub image_input: Money,
    pub output: Money,
    pub reasoning: Money,
    pub audio_output: Money,
    pub image_output: Money,
    pub request: Money,
}

/// Item of a bill: tokens of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BilledItem {
    /// Name of the kind, as the catalog has it.
    pub item: &'static str,
    pub tokens: u64,
    pub price_per_million: Money,
}

impl Tariff {
    /// Returns the tariff of a model that is sold. A kind without a price of its own costs what others do.
    #[must_use]
    pub fn of(model: &config::ModelConfig) -> Self {
        let (input, output, prices) =
            (model.price_per_million_input, model.price_per_million_output, model.prices);
        Self {
            input,
            cached_input: prices.cached_input.unwrap_or(input),
            cache_write: prices.cache_write.unwrap_or(input),
            audio_input: prices.audio_input.unwrap_or(input),
            image_input: prices.image_input.unwrap_or(input),
            output,
            reasoning: prices.reasoning.unwrap_or(output),
            audio_output: prices.audio_output.unwrap_or(output),
            image_output: prices.image_output.unwrap_or(output),
            request: prices.request.unwrap_or_default(),
        }
    }

    /// Returns the tariff that prices tokens of unknown kind at the most: those of a prompt with or without media, and of
    /// an answer.
    #[must_use]
    pub fn at_most(self, has_media_input: bool, has_media_output: bool) -> Self {
        let media = |has: bool, prices: [Money; 2]| prices.into_iter().filter(move |_| has);
        let input = self.input.max(self.cache_write).max(self.cached_input);
        let input = media(has_media_input, [self.audio_input, self.image_input]).fold(input, Money::max);
        let output = self.output.max(self.reasoning);
        let output = media(has_media_output, [self.audio_output, self.image_output]).fold(output, Money::max);
        Self { input, output, ..self }
    }

    /// Returns the tariff that prices tokens of unknown kind at the least.
    #[must_use]
    pub fn at_least(self) -> Self {
        let input = [self.cached_input, self.cache_write, self.audio_input, self.image_input];
        let output = [self.reasoning, self.audio_output, self.image_output];
        let least = |own: Money, others: &[Money]| others.iter().copied().fold(own, Money::min);
        Self { input: least(self.input, &input), output: least(self.output, &output), ..self }
    }

    /// Returns the items of a bill; all tokens are in one of them.
    #[must_use]
    pub fn items(&self, usage: &Usage) -> Vec<BilledItem> {
        let prompt = [
            ("cachedInput", usage.prompt.cached, self.cached_input),
            ("cacheWrite", usage.prompt.cache_write, self.cache_write),
            ("audioInput", usage.prompt.audio, self.audio_input),
            ("imageInput", usage.prompt.image, self.image_input),
            ("input", u64::MAX, self.input),
        ];
        let completion = [
            ("reasoning", usage.completion.reasoning, self.reasoning),
            ("audioOutput", usage.completion.audio, self.audio_output),
            ("imageOutput", usage.completion.image, self.image_output),
            ("output", u64::MAX, self.output),
        ];
        let mut items = Vec::new();
        let mut divide = |kinds: &[(&'static str, u64, Money)], mut left: u64| {
            for (item, tokens, price_per_million) in kinds {
                let tokens = left.min(*tokens);
                left -= tokens;
                if tokens > 0 {
                    items.push(BilledItem { item, tokens, price_per_million: *price_per_million });
                }
            }
        };
        divide(&prompt, usage.prompt.tokens);
        divide(&completion, usage.completion.tokens);
        items
    }

    /// Returns the price of a request with this usage: the sum of its items, rounded up once to a millionth of a dollar,
    /// and the price of a request. `None` if it is out of range.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        let product = |item: BilledItem| {
            u128::try_from(item.price_per_million.micros()).ok()?.checked_mul(u128::from(item.tokens))
        };
        let add = |sum: u128, item| sum.checked_add(product(item)?);
        let sum = self.items(usage).into_iter().try_fold(0, add)?;
        i64::try_from(sum.div_ceil(1_000_000)).ok().map(Money::from_micros)?.checked_add(self.request)
    }

    /// Returns the price of a prompt and an answer that are text; `None` if it is out of range.
    #[must_use]
    pub fn text_cost(&self, prompt: u64, completion: u64) -> Option<Money> {
        self.cost(&Usage::of_text(prompt, completion))
    }

    /// Returns the number of completion tokens that `money` pays for beside the prompt,
    /// `max` at the most; zero if it does not pay for the prompt.
    #[must_use]
    pub fn affordable_tokens(&self, money: Money, prompt: u64, max: u64) -> u64 {
        if self.text_cost(prompt, max).is_some_and(|cost| cost <= money) {
            return max;
        }
        let Some(prompt_cost) = self.text_cost(prompt, 0).filter(|cost| *cost <= money) else { return 0 };
        let left = money.checked_sub(prompt_cost).map_or(0, |left| i128::from(left.micros()));
        let tokens = (left * 1_000_000).checked_div(i128::from(self.output.micros())).unwrap_or(0);
        u64::try_from(tokens).unwrap_or(0).min(max)
    }

    /// Returns the items as an entry keeps them, with which its amount can be computed again.
    #[must_use]
    pub fn items_json(&self, usage: &Usage) -> Value {
        let item = |BilledItem { item, tokens, price_per_million }| json!({"item": item, "tokens": tokens, "pricePerMillion": price_per_million.to_dollars()});
        let request = Some(self.request).filter(|price| price.is_positive());
        let request = request.map(|price| json!({"item": "request", "price": price.to_dollars()}));
        self.items(usage).into_iter().map(item).chain(request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::chat::usage::{CompletionUsage, PromptUsage};

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn tariff(input: i64, output: i64, prices: config::ItemPrices) -> Tariff {
        Tariff::of(&config::ModelConfig {
            price_per_million_input: money(input),
            price_per_million_output: money(output),
            prices,
            ..config::ModelConfig::default()
        })
    }

    fn text() -> Tariff {
        tariff(200_000, 800_000, config::ItemPrices::default())
    }

    #[test]
    fn tokens_cost_less_than_a_millionth_and_are_rounded_once() {
        assert_eq!(text().text_cost(0, 0), Some(money(0)));
        assert_eq!(text().text_cost(1, 0), Some(money(1)));
        assert_eq!(text().text_cost(5, 0), Some(money(1)));
        assert_eq!(text().text_cost(1, 1), Some(money(1)));
        assert_eq!(text().text_cost(1_000_000, 1_000_000), Some(money(1_000_000)));
        assert_eq!(Tariff { input: money(i64::MAX), ..text() }.text_cost(u64::MAX, 1), None);
    }

    #[test]
    fn what_is_affordable_is_covered_and_no_token_more_is() {
        for (micros, prompt) in [(0, 0), (1, 0), (7, 10), (100, 100), (100, 10_000), (5_000, 3)] {
            let tokens = text().affordable_tokens(money(micros), prompt, 1_000);
            let covered = |tokens| text().text_cost(prompt, tokens).is_some_and(|cost| cost <= money(micros));
            assert!(tokens == 0 || covered(tokens), "{micros} {prompt}: {tokens}");
            // Rounding the prompt by itself can cost a token or two.
            assert!(tokens == 1_000 || !covered(tokens + 3), "{micros} {prompt}: {tokens}");
        }
        let free = Tariff { input: money(0), output: money(0), ..text() };
        assert_eq!(free.affordable_tokens(money(0), 10, 50), 50);
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let prices = config::ItemPrices {
            cached_input: Some(money(1_000_000)),
            cache_write: Some(money(3_000_000)),
            audio_input: Some(money(5_000_000)),
            image_input: None,
            reasoning: Some(money(7_000_000)),
            audio_output: None,
            image_output: Some(money(11_000_000)),
            request: Some(money(400)),
        };
        let tariff = tariff(2_000_000, 4_000_000, prices);
        let usage = Usage {
            prompt: PromptUsage { tokens: 100, cached: 40, cache_write: 10, audio: 5, image: 5 },
            completion: CompletionUsage { tokens: 50, reasoning: 20, audio: 3, image: 2 },
            is_estimated: false,
        };
        let sums = [40, 3 * 10, 5 * 5, 2 * 5, 2 * 40, 7 * 20, 4 * 3, 11 * 2, 4 * 25];
        assert_eq!(tariff.cost(&usage), Some(money(sums.iter().sum::<i64>() + 400)));
        let tokens: u64 = tariff.items(&usage).iter().map(|item| item.tokens).sum();
        assert_eq!(tokens, usage.total_tokens());
        assert_eq!(
            tariff.items_json(&usage)[0],
            json!({"item": "cachedInput", "tokens": 40, "pricePerMillion": "1.00"})
        );
        assert_eq!(tariff.items_json(&usage)[9], json!({"item": "request", "price": "0.0004"}));
        // Parts that are more than the whole do not make it more.
        let doubled = PromptUsage { tokens: 100, cached: 100, audio: 100, ..PromptUsage::default() };
        let doubled = Usage { prompt: doubled, ..Usage::default() };
        assert_eq!(tariff.items(&doubled).iter().map(|item| item.tokens).sum::<u64>(), 100);
        let most = tariff.at_most(true, true);
        assert_eq!((most.input, most.output), (money(5_000_000), money(11_000_000)));
        assert_eq!(tariff.at_most(false, false).input, money(3_000_000));
        let least = tariff.at_least();
        assert_eq!(
            (least.input, least.output, least.request),
            (money(1_000_000), money(4_000_000), money(400))
        );
    }
}
