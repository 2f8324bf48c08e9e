//! Kinds of servers that models come from: a table of the differences between OpenAI's API and the servers that offer
//! it. A new kind is a row, and a test against a double of it (`tests/upstream`).

use serde::{Deserialize, Serialize};

use super::LengthField;

/// Kind of an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKind {
    /// OpenAI, and every server that offers its API as it is.
    #[default]
    Openai,
    /// Azure OpenAI by deployments.
    Azure,
    Ollama,
    Vllm,
    Openrouter,
    /// Anthropic's endpoint for clients of OpenAI.
    Anthropic,
    /// Google's endpoint for clients of OpenAI.
    Gemini,
}

/// Differences of a kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindProfile {
    /// URL at which its API begins; `None` where the operator must name it.
    pub base_url: Option<&'static str>,
    /// Path of chat completions; `{model}` stands for the name of the model there.
    pub chat_path: &'static str,
    /// Header that carries the key; `None` for `Authorization: Bearer`.
    pub key_header: Option<&'static str>,
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// True if every URL needs `api-version`.
    pub needs_api_version: bool,
    /// Request fields that it is sent; `None` for all, if it ignores those that it does not know. Fields that only tune
    /// an answer, and that it would refuse, are left out: one request can be served by each upstream of a model.
    pub fields: Option<&'static [&'static str]>,
    /// The field by which it limits an answer, if it takes only one.
    pub length_field: Option<LengthField>,
    /// True if it reports usage on the request of a field of its own.
    pub asks_for_usage: bool,
    /// Its list of models.
    pub list: ListedModels,
}

/// List of the models of a kind of server, which `farebox doctor` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedModels {
    pub path: &'static str,
    /// Header that carries the key, as in [`KindProfile::key_header`].
    pub key_header: Option<&'static str>,
    /// Path that only a valid key opens, where the list is public.
    pub key_path: Option<&'static str>,
    /// Statuses by which it refuses a key.
    pub key_refusals: &'static [u16],
    /// Text before the names in it, which requests may leave out.
    pub prefix: &'static str,
    /// Text after the names in it, which requests may leave out.
    pub suffix: &'static str,
    /// True if requests may add `:variant` to a name.
    pub has_variants: bool,
    /// True if it has what could be deployed, not the deployments that are asked.
    pub is_of_deployments: bool,
}

/// Fields of OpenAI's chat completions ("Create chat completion").
pub const OPENAI_FIELDS: [&str; 33] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// Fields that Google's endpoint documents, and those without which an answer would be another one: it refuses a request
/// with a field that it does not know, and then says which.
const GEMINI_FIELDS: [&str; 21] = [
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "model",
    "n",
    "reasoning_effort",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
];

const OPENAI: KindProfile = KindProfile {
    base_url: None,
    chat_path: "/chat/completions",
    key_header: None,
    headers: &[],
    needs_api_version: false,
    fields: None,
    length_field: None,
    asks_for_usage: false,
    list: ListedModels {
        path: "/models",
        key_header: None,
        key_path: None,
        key_refusals: &[401, 403],
        prefix: "",
        suffix: "",
        has_variants: false,
        is_of_deployments: false,
    },
};

const AZURE: KindProfile = KindProfile {
    chat_path: "/openai/deployments/{model}/chat/completions",
    key_header: Some("api-key"),
    needs_api_version: true,
    fields: Some(&OPENAI_FIELDS),
    list: ListedModels {
        path: "/openai/models",
        key_header: Some("api-key"),
        is_of_deployments: true,
        ..OPENAI.list
    },
    ..OPENAI
};

const OLLAMA: KindProfile = KindProfile {
    base_url: Some("http://127.0.0.1:11434/v1"),
    // The newer field is ignored, and the answer then has no limit.
    length_field: Some(LengthField::MaxTokens),
    list: ListedModels { suffix: ":latest", ..OPENAI.list },
    ..OPENAI
};

const VLLM: KindProfile = KindProfile { base_url: Some("http://127.0.0.1:8000/v1"), ..OPENAI };

const OPENROUTER: KindProfile = KindProfile {
    base_url: Some("https://openrouter.ai/api/v1"),
    asks_for_usage: true,
    list: ListedModels { key_path: Some("/key"), has_variants: true, ..OPENAI.list },
    ..OPENAI
};

const ANTHROPIC: KindProfile = KindProfile {
    base_url: Some("https://api.anthropic.com/v1"),
    headers: &[("anthropic-version", "2023-06-01")],
    // Its list is of its own API, and has twenty names a page unless it is asked for more.
    list: ListedModels { path: "/models?limit=1000", key_header: Some("x-api-key"), ..OPENAI.list },
    ..OPENAI
};

const GEMINI: KindProfile = KindProfile {
    base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
    fields: Some(&GEMINI_FIELDS),
    list: ListedModels { key_refusals: &[400, 401, 403], prefix: "models/", ..OPENAI.list },
    ..OPENAI
};

impl UpstreamKind {
    /// Returns its row of the table.
    #[must_use]
    pub const fn profile(self) -> &'static KindProfile {
        match self {
            Self::Openai => &OPENAI,
            Self::Azure => &AZURE,
            Self::Ollama => &OLLAMA,
            Self::Vllm => &VLLM,
            Self::Openrouter => &OPENROUTER,
            Self::Anthropic => &ANTHROPIC,
            Self::Gemini => &GEMINI,
        }
    }
}

impl KindProfile {
    /// Returns true if it may be sent a field.
    #[must_use]
    pub fn takes(&self, field: &str) -> bool {
        self.fields.is_none_or(|fields| fields.contains(&field))
    }
}

impl ListedModels {
    /// Returns true if requests for `model` mean the model that it lists as `listed`.
    #[must_use]
    pub fn names(&self, listed: &str, model: &str) -> bool {
        let listed = listed.strip_prefix(self.prefix).unwrap_or(listed);
        let model = model.strip_prefix(self.prefix).unwrap_or(model);
        let is_short = !self.suffix.is_empty() && listed.strip_suffix(self.suffix) == Some(model);
        let base = model.split_once(':').map_or(model, |(base, _)| base);
        listed == model || is_short || (self.has_variants && listed == base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_under_the_names_that_requests_use() {
        for (kind, listed, model, expected) in [
            (UpstreamKind::Openai, "gpt-4o", "gpt-4o", true),
            (UpstreamKind::Openai, "llama3:latest", "llama3", false),
            (UpstreamKind::Openai, "a", "a:free", false),
            (UpstreamKind::Ollama, "llama3:latest", "llama3", true),
            (UpstreamKind::Ollama, "llama3:latest", "llama3:latest", true),
            (UpstreamKind::Ollama, "llama3:8b", "llama3", false),
            (UpstreamKind::Openrouter, "vendor/a", "vendor/a:nitro", true),
            (UpstreamKind::Openrouter, "vendor/a:free", "vendor/a:free", true),
            (UpstreamKind::Openrouter, "vendor/a:free", "vendor/a", false),
            (UpstreamKind::Gemini, "models/gemini-2.5-flash", "gemini-2.5-flash", true),
            (UpstreamKind::Gemini, "models/gemini-2.5-flash", "models/gemini-2.5-flash", true),
            (UpstreamKind::Gemini, "models/gemini-2.5-flash", "gemini-2.5", false),
        ] {
            assert_eq!(kind.profile().list.names(listed, model), expected, "{kind:?} {listed} {model}");
        }
    }
}
