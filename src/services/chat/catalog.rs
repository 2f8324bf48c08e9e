//! The models that are sold.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::tariff::Tariff;
use crate::config;
use crate::money::Money;

/// Least likeness of a name that is suggested for a mistyped one.
const ALIKE: f64 = 0.75;

/// A model that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name clients use.
    pub id: String,
    pub description: String,
    /// What one billable chunk costs.
    pub price_per_chunk: Money,
    /// What a million tokens cost.
    pub price_per_million_input: Money,
    pub price_per_million_output: Money,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens of the longest answer.
    pub max_output_tokens: u64,
}

impl Model {
    /// What its tokens cost.
    #[must_use]
    pub fn tariff(&self) -> Tariff {
        Tariff { input: self.price_per_million_input, output: self.price_per_million_output }
    }
}

/// All models, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: Vec<Arc<Model>>,
    by_id: HashMap<String, usize>,
}

impl Catalog {
    /// The catalog of a checked configuration.
    #[must_use]
    pub fn new(models: &[config::ModelConfig]) -> Self {
        let models: Vec<_> = models.iter().map(|model| Arc::new(Model::from(model))).collect();
        let by_id = models.iter().enumerate().map(|(at, model)| (model.id.clone(), at)).collect();
        Self { models, by_id }
    }

    /// The model with exactly this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Model>> {
        self.by_id.get(id).map(|&at| &self.models[at])
    }

    /// The id that a mistyped one most likely means.
    #[must_use]
    pub fn nearest(&self, id: &str) -> Option<&str> {
        // Comparing costs length times length: an id is never this long.
        let id: String = id.chars().take(128).collect();
        self.models
            .iter()
            .map(|model| (strsim::jaro_winkler(&id, &model.id), model.id.as_str()))
            .filter(|(likeness, _)| *likeness > ALIKE)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id)
    }

    /// All models, in the order of the configuration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Model>> {
        self.models.iter()
    }

    /// Whether nothing is sold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// What clients may know: no upstream, no key.
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
            price_per_million_input: model.price_per_million_input,
            price_per_million_output: model.price_per_million_output,
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
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
    /// For one piece of a streamed answer.
    #[schema(example = "0.0001")]
    pub price_per_chunk: String,
    #[schema(example = "0.20")]
    pub price_per_million_input_tokens: String,
    #[schema(example = "0.80")]
    pub price_per_million_output_tokens: String,
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
            price_per_million_input_tokens: model.price_per_million_input.to_dollars(),
            price_per_million_output_tokens: model.price_per_million_output.to_dollars(),
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
            upstreams: vec![config::Source { name: "hidden".into(), model: Some("hidden".into()) }],
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
