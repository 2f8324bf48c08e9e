//! Models that are sold, and the servers they come from.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{ConfigError, UpstreamConfig, UpstreamKind, upstreams};
use crate::money::Money;

/// A model as clients see it, one `[[models]]` entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Name that clients ask for.
    pub id: String,
    pub description: String,
    /// Upstreams that it comes from: groups in order of preference.
    pub upstreams: Vec<SourceGroup>,
    /// Price of one chunk of a paid stream, in dollars.
    pub price_per_chunk: Money,
    /// Price of a million tokens of prompts, in dollars.
    pub price_per_million_input: Money,
    /// Price of a million tokens of answers, in dollars.
    pub price_per_million_output: Money,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens of the longest answer.
    pub max_output_tokens: u64,
    /// Prices of what is counted apart.
    pub prices: ItemPrices,
    /// Tokenizer that counts where the upstream reports no usage.
    pub tokenizer: Tokenizer,
    /// Field that limits the length of an answer where the client sets none and the balance affords less.
    pub length_field: LengthField,
    /// Service tier that is asked of the upstream, such as `flex`; `None` for its default.
    pub service_tier: Option<String>,
    /// Request fields that are passed on besides OpenAI's and the common ones of sampling.
    pub passed_fields: Vec<String>,
}

/// Prices of what is counted apart, in dollars: a million tokens of a kind, and a request. Kinds without one cost what
/// other tokens of prompts or answers cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemPrices {
    /// Prompt tokens that the upstream read from its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// Prompt tokens that the upstream wrote to its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Money>,
    /// Prompt tokens that are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Money>,
    /// Prompt tokens that are images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_input: Option<Money>,
    /// Completion tokens that are reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Money>,
    /// Completion tokens that are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Money>,
    /// Completion tokens that are images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_output: Option<Money>,
    /// A request, besides its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Money>,
}

impl ItemPrices {
    /// Returns the prices that are set, by the name of their item in answers.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Money)> {
        let all = [
            ("cachedInput", self.cached_input),
            ("cacheWrite", self.cache_write),
            ("audioInput", self.audio_input),
            ("imageInput", self.image_input),
            ("reasoning", self.reasoning),
            ("audioOutput", self.audio_output),
            ("imageOutput", self.image_output),
            ("request", self.request),
        ];
        all.into_iter().filter_map(|(name, price)| Some((name, price?)))
    }
}

/// Field by which a model takes the largest number of completion tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthField {
    #[default]
    MaxTokens,
    /// OpenAI's newer one, which its models that reason demand.
    MaxCompletionTokens,
}

impl LengthField {
    /// Returns its name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Tokenizer of a model, by the name that `tiktoken` gives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokenizer {
    /// The densest in common use: no other one counts many tokens fewer.
    #[default]
    O200kBase,
    Cl100kBase,
}

/// An upstream of a model, and the name the model has there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SourceForm")]
pub struct Source {
    pub name: String,
    /// Id of the model at the upstream, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Share of the requests among the upstreams of its group; `None` for 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// Upstreams of a model that share its requests by their weights. Each is asked before those of the next group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "GroupForm")]
pub struct SourceGroup(pub Vec<Source>);

/// Form in which a [`Source`] is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum SourceForm {
    Name(String),
    Full { name: String, model: Option<String>, weight: Option<u32> },
}

/// Form in which a [`SourceGroup`] is written.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "write an upstream's name, or { name = \"…\", model = \"…\" }, or a list of those that share requests, \
                 each with its weight: { name = \"…\", weight = 3 }"
)]
enum GroupForm {
    One(Source),
    Several(Vec<Source>),
}

impl From<SourceForm> for Source {
    fn from(form: SourceForm) -> Self {
        match form {
            SourceForm::Name(name) => Self { name, ..Self::default() },
            SourceForm::Full { name, model, weight } => Self { name, model, weight },
        }
    }
}

impl From<GroupForm> for SourceGroup {
    fn from(form: GroupForm) -> Self {
        match form {
            GroupForm::One(source) => source.into(),
            GroupForm::Several(sources) => Self(sources),
        }
    }
}

impl From<Source> for SourceGroup {
    fn from(source: Source) -> Self {
        Self(vec![source])
    }
}

impl From<&str> for SourceGroup {
    fn from(name: &str) -> Self {
        Source { name: name.to_owned(), ..Source::default() }.into()
    }
}

impl ModelConfig {
    /// Returns its upstreams, in the order in which they are written.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.upstreams.iter().flat_map(|group| &group.0)
    }
}

/// Largest number that every JSON reader keeps exact.
const MAX_TOKENS: u64 = 1 << 53;

/// Largest weight of an upstream.
const MAX_WEIGHT: u32 = 1000;

/// Checks the entries, each on its own and against each other.
pub(super) fn validate(upstreams: &[UpstreamConfig], models: &[ModelConfig]) -> Result<(), ConfigError> {
    upstreams::validate(upstreams)?;
    let kinds = upstreams.iter().map(|upstream| (upstream.name.as_str(), upstream.kind)).collect();
    let mut ids = HashSet::new();
    for (index, model) in models.iter().enumerate() {
        if !ids.insert(model.id.as_str()) {
            return Err(ConfigError::invalid(
                &format!("models[{index}].id"),
                format!("\"{}\" is sold by an earlier entry", model.id),
            ));
        }
        check_model(index, model, &kinds)?;
    }
    Ok(())
}

fn check_model(
    index: usize,
    model: &ModelConfig,
    upstreams: &HashMap<&str, UpstreamKind>,
) -> Result<(), ConfigError> {
    let bad = |field: &str, why: String| Err(ConfigError::invalid(&format!("models[{index}].{field}"), why));
    if !is_model_id(&model.id) {
        return bad("id", "write 1 to 128 letters, digits, and - _ . : / @".into());
    }
    if model.sources().next().is_none() || model.upstreams.iter().any(|group| group.0.is_empty()) {
        return bad("upstreams", "name at least one of [[upstreams]]".into());
    }
    if model.upstreams.iter().any(|group| group.0.len() == 1 && group.0[0].weight.is_some()) {
        return bad(
            "upstreams",
            "a weight counts among upstreams that share requests; write them as a list within the list"
                .into(),
        );
    }
    for source in model.sources() {
        if let Err(why) = check_source(source, &model.id, upstreams) {
            return bad("upstreams", why);
        }
    }
    for (field, price) in [
        ("price_per_chunk", model.price_per_chunk),
        ("price_per_million_output", model.price_per_million_output),
    ] {
        if !price.is_positive() {
            return bad(field, "set a price above zero, in dollars, such as \"0.0001\"".into());
        }
    }
    if model.price_per_million_input.micros() < 0 {
        return bad("price_per_million_input", "a price cannot be negative".into());
    }
    if let Some((name, _)) = model.prices.named().find(|(_, price)| price.micros() < 0) {
        return bad("prices", format!("a price cannot be negative: {name}"));
    }
    if model.service_tier.as_ref().is_some_and(String::is_empty) {
        return bad("service_tier", "cannot be empty; leave it out for the upstream's default".into());
    }
    if model.context_length == 0 || model.context_length > MAX_TOKENS {
        return bad("context_length", "set the number of tokens that the model can hold".into());
    }
    if model.max_output_tokens == 0 || model.max_output_tokens > model.context_length {
        return bad("max_output_tokens", "set a number from 1 to context_length".into());
    }
    Ok(())
}

fn check_source(source: &Source, id: &str, upstreams: &HashMap<&str, UpstreamKind>) -> Result<(), String> {
    let Some(kind) = upstreams.get(source.name.as_str()) else {
        let near = super::load::nearest(&source.name, upstreams.keys().copied());
        let hint = near.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"));
        return Err(format!("there is no upstream \"{}\"{hint}", source.name));
    };
    if source.model.as_ref().is_some_and(String::is_empty) {
        return Err("an upstream's model cannot be empty; leave it out".into());
    }
    if source.weight.is_some_and(|weight| weight == 0 || weight > MAX_WEIGHT) {
        return Err(format!("a weight must be from 1 to {MAX_WEIGHT}"));
    }
    let model = source.model.as_deref().unwrap_or(id);
    let is_segment = model.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if kind.profile().chat_path.contains("{model}") && !is_segment {
        return Err(format!(
            "\"{model}\" cannot be a deployment of \"{}\": name it as model = \"…\", with letters, digits and - _ .",
            source.name
        ));
    }
    Ok(())
}

fn is_model_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str) -> UpstreamConfig {
        UpstreamConfig {
            name: name.into(),
            base_url: "http://127.0.0.1:9000/v1".into(),
            ..UpstreamConfig::default()
        }
    }

    /// A group of an upstream twice, with these weights.
    fn shared(weights: [u32; 2]) -> SourceGroup {
        let source = |weight| Source { name: "local".into(), model: None, weight: Some(weight) };
        SourceGroup(weights.map(source).into())
    }

    fn deployment(name: &str) -> SourceGroup {
        Source { name: "azure".into(), model: Some(name.into()), weight: None }.into()
    }

    fn model(id: &str) -> ModelConfig {
        ModelConfig {
            id: id.into(),
            upstreams: vec!["local".into()],
            price_per_chunk: Money::from_micros(100),
            price_per_million_output: Money::from_micros(100),
            context_length: 1000,
            max_output_tokens: 100,
            ..ModelConfig::default()
        }
    }

    #[test]
    fn entries_are_checked_against_each_other() {
        let azure = UpstreamConfig {
            kind: UpstreamKind::Azure,
            api_version: Some("2024-10-21".into()),
            ..upstream("azure")
        };
        let upstreams = [upstream("local"), azure];
        validate(&upstreams, &[model("a"), model("b")]).expect("valid");
        for groups in [vec![shared([1, 1000])], vec![deployment("gpt-4o.east_1")]] {
            validate(&upstreams, &[ModelConfig { upstreams: groups, ..model("a") }]).expect("valid");
        }
        let change = |with: fn(&mut ModelConfig)| {
            let mut changed = model("b");
            with(&mut changed);
            changed
        };
        for (changed, expected) in [
            (change(|m| m.id = "a".into()), "models[1].id: \"a\" is sold by an earlier entry"),
            (change(|m| m.id = "a b".into()), "models[1].id: write"),
            (change(|m| m.upstreams.clear()), "models[1].upstreams: name at least one"),
            (change(|m| m.upstreams[0] = "locl".into()), "did you mean \"local\"?"),
            (change(|m| m.upstreams[0].0.clear()), "models[1].upstreams: name at least one"),
            (change(|m| m.upstreams[0].0[0].weight = Some(2)), "write them as a list within the list"),
            (change(|m| m.upstreams = vec![shared([1, 0])]), "a weight must be from 1 to 1000"),
            (change(|m| m.upstreams = vec![shared([1, 1001])]), "a weight must be from 1 to 1000"),
            (change(|m| m.upstreams[0] = deployment("a/b")), "\"a/b\" cannot be a deployment of \"azure\""),
            (
                change(|m| m.price_per_chunk = Money::ZERO),
                "models[1].price_per_chunk: set a price above zero",
            ),
            (change(|m| m.price_per_million_input = Money::from_micros(-1)), "cannot be negative"),
            (change(|m| m.prices.cache_write = Some(Money::from_micros(-1))), "negative: cacheWrite"),
            (change(|m| m.service_tier = Some(String::new())), "cannot be empty"),
            (change(|m| m.price_per_million_output = Money::ZERO), "models[1].price_per_million_output"),
            (change(|m| m.context_length = 0), "models[1].context_length"),
            (change(|m| m.max_output_tokens = 1001), "models[1].max_output_tokens"),
        ] {
            let error = validate(&upstreams, &[model("a"), changed]).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
