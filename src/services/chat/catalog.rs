//! Catalog of the models that are sold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::tariff::Tariff;
use crate::config;
use crate::money::Money;

/// Smallest similarity of an id that is suggested for a mistyped one, 0 to 1.
const MIN_SIMILARITY: f64 = 0.75;

/// A model that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name that clients use.
    pub id: String,
    pub description: String,
    /// Price of one billable chunk.
    pub price_per_chunk: Money,
    /// Prices of its tokens.
    pub tariff: Tariff,
    /// Prices of what is counted apart, as they are published.
    pub prices: config::ItemPrices,
    /// Tokenizer that counts where the upstream reports no usage.
    pub tokenizer: config::Tokenizer,
    /// Field that limits the length of an answer where the client sets none.
    pub length_field: config::LengthField,
    /// Service tier that is asked of the upstream.
    pub service_tier: Option<String>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens of the longest answer.
    pub max_output_tokens: u64,
    /// Request fields that are passed on besides the usual ones.
    pub passed_fields: Vec<String>,
}

impl Model {
    /// Returns the chunks that a prompt of `tokens` costs on a channel: its price by the token in whole chunks, rounded
    /// down.
    #[must_use]
    pub fn prompt_units(&self, tokens: u64) -> u64 {
        let (input, chunk) = (self.tariff.input.micros(), self.price_per_chunk.micros());
        let cost = u128::try_from(input).unwrap_or(0).saturating_mul(u128::from(tokens));
        let per_unit = u128::try_from(chunk).unwrap_or(0).saturating_mul(1_000_000);
        cost.checked_div(per_unit).map_or(0, |units| u64::try_from(units).unwrap_or(u64::MAX))
    }
}

/// Models that are sold, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: Vec<Arc<Model>>,
    by_id: HashMap<String, usize>,
}

impl Catalog {
    /// Creates the catalog of a checked configuration.
    #[must_use]
    pub fn new(models: &[config::ModelConfig]) -> Self {
        let models: Vec<_> = models.iter().map(|model| Arc::new(Model::from(model))).collect();
        let by_id = models.iter().enumerate().map(|(index, model)| (model.id.clone(), index)).collect();
        Self { models, by_id }
    }

    /// Returns the model with exactly this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Model>> {
        self.by_id.get(id).map(|&index| &self.models[index])
    }

    /// Returns the id that a mistyped one most likely means.
    #[must_use]
    pub fn nearest(&self, id: &str) -> Option<&str> {
        // The comparison takes quadratic time: ids of models are shorter than this.
        let id: String = id.chars().take(128).collect();
        self.models
            .iter()
            .map(|model| (strsim::jaro_winkler(&id, &model.id), model.id.as_str()))
            .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id)
    }

    /// Returns all models, in the order of the configuration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Model>> {
        self.models.iter()
    }

    /// Returns true if no model is sold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Returns the public part of the models: no upstreams, no keys.
    #[must_use]
    pub fn view(&self) -> Vec<ModelView> {
        self.models.iter().map(|model| ModelView::from(&**model)).collect()
    }
}

impl From<&config::ModelConfig> for Model {
    fn from(model: &config::ModelConfig) -> Self {
        Self {
            id: model.id.clone(),
            description: model.description.clone(),
            price_per_chunk: model.price_per_chunk,
            tariff: Tariff::of(model),
            prices: model.prices,
            tokenizer: model.tokenizer,
            length_field: model.length_field,
            service_tier: model.service_tier.clone(),
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
            passed_fields: model.passed_fields.clone(),
        }
    }
}

/// A model and its prices, as published. Prices are in dollars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Model)]
#[serde(rename_all = "camelCase")]
pub struct ModelView {
    #[schema(example = "small")]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Price of one chunk of a streamed answer.
    #[schema(example = "0.0001")]
    pub price_per_chunk: String,
    /// Price of a million tokens of the prompt. On a channel it is charged in whole chunks, rounded down.
    #[schema(example = "0.20")]
    pub price_per_million_input_tokens: String,
    #[schema(example = "0.80")]
    pub price_per_million_output_tokens: String,
    /// Prices of what is counted apart: a million tokens of a kind, and `request`. With prepaid credits.
    #[schema(example = json!({"cachedInput": "0.02"}))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub item_prices: BTreeMap<&'static str, String>,
    /// Tokens of prompt and answer together.
    #[schema(example = 128_000)]
    pub context_length: u64,
    /// Tokens of the longest answer.
    #[schema(example = 16_384)]
    pub max_output_tokens: u64,
}

impl From<&Model> for ModelView {
    fn from(model: &Model) -> Self {
        Self {
            id: model.id.clone(),
            description: model.description.clone(),
            price_per_chunk: model.price_per_chunk.to_dollars(),
            price_per_million_input_tokens: model.tariff.input.to_dollars(),
            price_per_million_output_tokens: model.tariff.output.to_dollars(),
            item_prices: model.prices.named().map(|(name, price)| (name, price.to_dollars())).collect(),
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let model = |id: &str| config::ModelConfig {
            id: id.into(),
            upstreams: vec!["hidden".into()],
            price_per_chunk: Money::from_micros(100),
            ..config::ModelConfig::default()
        };
        Catalog::new(&[model("llama-small"), model("llama-large")])
    }

    #[test]
    fn a_mistyped_model_has_a_suggestion() {
        let catalog = catalog();
        assert!(catalog.get("llama-small").is_some() && catalog.get("llama").is_none());
        assert_eq!(catalog.nearest("lama-large"), Some("llama-large"));
        assert_eq!(catalog.nearest("zzz"), None);
        assert_eq!(catalog.nearest(&"z".repeat(1 << 20)), None);
        assert_eq!(Catalog::default().nearest("a"), None);
    }

    #[test]
    fn the_view_shows_prices_and_no_upstreams() {
        let view = serde_json::to_value(catalog().view()).expect("JSON");
        assert_eq!(view[0]["pricePerChunk"], "0.0001");
        assert!(!view.to_string().contains("hidden"));
    }
}
