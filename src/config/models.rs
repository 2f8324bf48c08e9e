//! Models that are sold, and the servers they come from.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret};
use crate::money::Money;

/// An OpenAI-compatible server, one `[[upstreams]]` entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Name by which `models` refer to it. Never shown to clients.
    pub name: String,
    /// URL of its API, with the version: `https://api.example.com/v1`.
    pub base_url: String,
    /// Key that is sent as a Bearer token, or `env:NAME` for the value of an environment variable.
    pub api_key: Option<Secret>,
    /// File with the key, in place of `api_key`.
    pub api_key_file: Option<PathBuf>,
    /// URL of the proxy to it; `None` for none.
    pub proxy: Option<Secret>,
    /// Timeout of opening a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Timeout of the first piece of a streamed answer, in milliseconds.
    pub first_token_timeout_ms: u64,
    /// Longest silence between two pieces, in milliseconds. Comments are pieces too.
    pub idle_timeout_ms: u64,
    /// Timeout of an answer that is not streamed, in milliseconds; then the next upstream is tried.
    pub whole_timeout_ms: u64,
    /// Timeout of a whole answer, streamed or not, in milliseconds.
    pub total_timeout_ms: u64,
}

/// A model as clients see it, one `[[models]]` entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Name that clients ask for.
    pub id: String,
    pub description: String,
    /// Upstreams that it comes from, in order of preference.
    pub upstreams: Vec<Source>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SourceForm")]
pub struct Source {
    pub name: String,
    /// Id of the model at the upstream, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Form in which a [`Source`] is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write an upstream's name, or { name = \"…\", model = \"…\" }")]
enum SourceForm {
    Name(String),
    Full { name: String, model: Option<String> },
}

impl From<SourceForm> for Source {
    fn from(form: SourceForm) -> Self {
        match form {
            SourceForm::Name(name) => Self { name, model: None },
            SourceForm::Full { name, model } => Self { name, model },
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            base_url: String::new(),
            api_key: None,
            api_key_file: None,
            proxy: None,
            connect_timeout_ms: 5_000,
            first_token_timeout_ms: 60_000,
            idle_timeout_ms: 120_000,
            whole_timeout_ms: 600_000,
            total_timeout_ms: 1_800_000,
        }
    }
}

/// Reads the keys of upstreams that are elsewhere than in the configuration.
///
/// # Errors
/// A variable or a file that is not there, and two places for one key.
pub(super) fn resolve_keys(
    upstreams: &mut [UpstreamConfig],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for (index, upstream) in upstreams.iter_mut().enumerate() {
        let bad =
            |field: &str, why: String| Err(ConfigError::invalid(&format!("upstreams[{index}].{field}"), why));
        if let Some(path) = upstream.api_key_file.take() {
            if upstream.api_key.is_some() {
                return bad("api_key_file", "give the key here or in api_key, not in both".into());
            }
            match std::fs::read_to_string(&path) {
                Ok(text) if text.trim().is_empty() => {
                    return bad("api_key_file", format!("{} is empty", path.display()));
                }
                Ok(text) => upstream.api_key = Some(Secret::from(text.trim())),
                Err(error) => {
                    return bad("api_key_file", format!("{} cannot be read: {error}", path.display()));
                }
            }
            continue;
        }
        let name = upstream.api_key.as_ref().and_then(|key| key.expose().strip_prefix("env:"));
        if let Some(name) = name.map(str::to_owned) {
            match variable(&name).filter(|value| !value.is_empty()) {
                Some(value) => upstream.api_key = Some(Secret::from(value)),
                None => return bad("api_key", format!("the environment variable {name} is not set")),
            }
        }
    }
    Ok(())
}

/// Largest number that every JSON reader keeps exact.
const MAX_TOKENS: u64 = 1 << 53;

/// Checks the entries, each on its own and against each other.
pub(super) fn validate(upstreams: &[UpstreamConfig], models: &[ModelConfig]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let bad = |field: &str, reason: &str| {
            Err(ConfigError::invalid(&format!("upstreams[{index}].{field}"), reason.to_owned()))
        };
        if upstream.name.is_empty() {
            return bad("name", "is empty; name the upstream, so that models can refer to it");
        }
        if !names.insert(upstream.name.as_str()) {
            return bad("name", &format!("\"{}\" is taken by an earlier upstream", upstream.name));
        }
        if let Err(why) = check_base_url(&upstream.base_url) {
            return bad("base_url", why);
        }
        if upstream.api_key.as_ref().is_some_and(|key| !is_header_text(key.expose())) {
            return bad("api_key", "must be visible ASCII characters");
        }
        for (field, limit) in [
            ("connect_timeout_ms", upstream.connect_timeout_ms),
            ("first_token_timeout_ms", upstream.first_token_timeout_ms),
            ("idle_timeout_ms", upstream.idle_timeout_ms),
            ("whole_timeout_ms", upstream.whole_timeout_ms),
            ("total_timeout_ms", upstream.total_timeout_ms),
        ] {
            if limit == 0 {
                return bad(field, "cannot be zero; set a time limit in milliseconds");
            }
        }
    }
    let mut ids = HashSet::new();
    for (index, model) in models.iter().enumerate() {
        if !ids.insert(model.id.as_str()) {
            return Err(ConfigError::invalid(
                &format!("models[{index}].id"),
                format!("\"{}\" is sold by an earlier entry", model.id),
            ));
        }
        check_model(index, model, &names)?;
    }
    Ok(())
}

fn check_model(index: usize, model: &ModelConfig, upstreams: &HashSet<&str>) -> Result<(), ConfigError> {
    let bad = |field: &str, why: String| Err(ConfigError::invalid(&format!("models[{index}].{field}"), why));
    if !is_model_id(&model.id) {
        return bad("id", "write 1 to 128 letters, digits, and - _ . : / @".into());
    }
    if model.upstreams.is_empty() {
        return bad("upstreams", "name at least one of [[upstreams]]".into());
    }
    for source in &model.upstreams {
        if !upstreams.contains(source.name.as_str()) {
            let near = super::load::nearest(&source.name, upstreams.iter().copied());
            let hint = near.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"));
            return bad("upstreams", format!("there is no upstream \"{}\"{hint}", source.name));
        }
        if source.model.as_ref().is_some_and(String::is_empty) {
            return bad("upstreams", "an upstream's model cannot be empty; leave it out".into());
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

fn check_base_url(url: &str) -> Result<(), &'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or("write it as https://api.example.com/v1")?;
    if !is_header_text(rest) || rest.starts_with('/') {
        return Err("write it as https://api.example.com/v1");
    }
    if rest.ends_with('/') {
        return Err("leave out the slash at the end");
    }
    if rest.contains(['@', '?', '#', '\\']) {
        return Err("write host and path only; the key belongs into api_key");
    }
    Ok(())
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
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

    fn model(id: &str) -> ModelConfig {
        ModelConfig {
            id: id.into(),
            upstreams: vec![Source { name: "local".into(), model: None }],
            price_per_chunk: Money::from_micros(100),
            price_per_million_output: Money::from_micros(100),
            context_length: 1000,
            max_output_tokens: 100,
            ..ModelConfig::default()
        }
    }

    #[test]
    fn entries_are_checked_against_each_other() {
        let upstreams = [upstream("local")];
        validate(&upstreams, &[model("a"), model("b")]).expect("valid");
        let change = |with: fn(&mut ModelConfig)| {
            let mut changed = model("b");
            with(&mut changed);
            changed
        };
        for (changed, expected) in [
            (change(|m| m.id = "a".into()), "models[1].id: \"a\" is sold by an earlier entry"),
            (change(|m| m.id = "a b".into()), "models[1].id: write"),
            (change(|m| m.upstreams.clear()), "models[1].upstreams: name at least one"),
            (change(|m| m.upstreams[0].name = "locl".into()), "did you mean \"local\"?"),
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

    #[test]
    fn upstreams_are_checked() {
        let change = |with: fn(&mut UpstreamConfig)| {
            let mut changed = upstream("b");
            with(&mut changed);
            changed
        };
        for (changed, expected) in [
            (change(|u| u.name = "a".into()), "upstreams[1].name: \"a\" is taken"),
            (change(|u| u.name.clear()), "upstreams[1].name"),
            (change(|u| u.base_url = "127.0.0.1:9000".into()), "https://api.example.com/v1"),
            (change(|u| u.base_url.push('/')), "slash at the end"),
            (change(|u| u.base_url = "https://key@host/v1".into()), "api_key"),
            (change(|u| u.api_key = Some("with space".into())), "upstreams[1].api_key"),
            (change(|u| u.idle_timeout_ms = 0), "upstreams[1].idle_timeout_ms"),
        ] {
            let error = validate(&[upstream("a"), changed], &[]).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
