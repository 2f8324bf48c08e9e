//! Request fields: those that this server reads itself, which never reach an upstream, and those that may pass.

use serde_json::{Map, Value};

use super::chat_error::ChatError;
use super::privacy;
use crate::config::OPENAI_FIELDS;

/// Fields by which some gateways let a request choose another model, server, key or
/// price class than the one that is paid for.
const ROUTING_FIELDS: [&str; 16] = [
    "models",
    "fallbacks",
    "model_list",
    "route",
    "provider",
    "plugins",
    "transforms",
    "service_tier",
    "web_search_options",
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "custom_llm_provider",
    "user_config",
    "extra_headers",
];

/// Fields that common servers add to OpenAI's about the sampling of an answer and its reasoning. Others steer the server
/// itself, such as its templates, caches and queues.
const COMMON_FIELDS: [&str; 24] = [
    // Sampling.
    "bad_words",
    "dry_allowed_length",
    "dry_base",
    "dry_multiplier",
    "ignore_eos",
    "include_stop_str_in_output",
    "length_penalty",
    "min_p",
    "min_tokens",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "random_seed",
    "repeat_penalty",
    "repetition_penalty",
    "stop_token_ids",
    "top_a",
    "top_k",
    "typical_p",
    // Reasoning and usage.
    "enable_thinking",
    "include_reasoning",
    "reasoning",
    "thinking",
    "usage",
];

/// Longest name of a field that an error repeats, in bytes.
const MAX_REPEATED_NAME: usize = 64;

/// Takes this server's fields out of a request, and other ones that change nothing. `passed` are fields that the
/// operator passes on besides the usual ones.
///
/// # Errors
/// [`ChatError`] for a field with an unsupported value, a misspelt field (ignoring it
/// would send personal data), a routing field, and one that no upstream gets.
pub(super) fn take(
    body: &mut Map<String, Value>,
    passed: &[String],
) -> Result<privacy::PrivacyOptions, ChatError> {
    let privacy = privacy::PrivacyOptions::take(body)?;
    let is_usual = |name: &str| OPENAI_FIELDS.contains(&name) || COMMON_FIELDS.contains(&name);
    let may_pass = |name: &str| is_usual(name) || passed.iter().any(|passed| passed == name);
    for (name, value) in body.iter() {
        if may_pass(name) {
            continue;
        }
        if ROUTING_FIELDS.contains(&name.as_str()) && !is_default(value) {
            return Err(ChatError::invalid(
                name,
                "is not available: only `model` chooses the model that answers; leave this field out",
            ));
        }
        let letters: String = name.chars().filter(char::is_ascii_alphabetic).take(64).collect();
        let letters = letters.to_lowercase();
        if letters.contains("pii") || letters.starts_with("privacy") {
            let similarity = |field: &str| strsim::jaro_winkler(field, &letters);
            let near =
                privacy::PrivacyOptions::names().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
            return Err(ChatError::invalid(
                &letters,
                &format!("is not a field of this API; did you mean `{}`?", near.unwrap_or_default()),
            ));
        }
        if !is_default(value) {
            return Err(ChatError::invalid(
                &repeated(name),
                "is not passed on to models by this server; leave it out",
            ));
        }
    }
    body.retain(|name, _| may_pass(name));
    check_tools(body)?;
    Ok(privacy)
}

/// Returns the name of a field as an error repeats it.
fn repeated(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(MAX_REPEATED_NAME).collect()
}

/// Checks that the client runs the tools: some upstreams search or compute for their own kinds, and charge for it.
fn check_tools(body: &Map<String, Value>) -> Result<(), ChatError> {
    let Some(Value::Array(tools)) = body.get("tools") else { return Ok(()) };
    let is_clients = |tool: &Value| match tool.get("type") {
        Some(Value::String(kind)) => ["function", "custom"].contains(&kind.as_str()),
        _ => true,
    };
    match tools.iter().position(|tool| !is_clients(tool)) {
        Some(index) => Err(ChatError::invalid(
            &format!("tools[{index}].type"),
            "must be \"function\" or \"custom\": tools that the model's server runs are not available",
        )),
        None => Ok(()),
    }
}

/// Returns true if a field that is not passed on, with this value changes nothing. An empty object is
/// not such a value: with one, `web_search_options` searches.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::String(word) => ["auto", "default"].contains(&word.as_str()),
        Value::Bool(true) | Value::Number(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(body: &Value) -> Result<Map<String, Value>, String> {
        let mut body = body.as_object().expect("an object").clone();
        take(&mut body, &["mine".to_owned()]).map(|_| body).map_err(|error| error.to_string())
    }

    #[test]
    fn extensions_never_reach_an_upstream() {
        let body = json!({"seed": 1, "privacyMode": "off", "pii_config": {}, "mine": 2, "x": null,
            "skip_pii_redaction": true, "noPiiRedaction": null, "privacy_mode": null, "service_tier": "auto", "metadata": {"privacyMode": 1}});
        let left = taken(&body).expect("nothing asked for");
        assert_eq!(Value::Object(left), json!({"seed": 1, "mine": 2, "metadata": {"privacyMode": 1}}));
    }

    #[test]
    fn unsupported_fields_are_refused_by_name() {
        for (body, expected) in [
            (json!({"privacyMode": "strict secret"}), "`privacyMode` must be"),
            (json!({"web_search_options": {}}), "`web_search_options` is not available"),
            (json!({"pii_entites": ["SECRET"]}), "did you mean `pii_entities`?"),
            (json!({"PIIConfig": {"a": "secret"}}), "did you mean `pii"),
            (json!({"models": ["secret/large"]}), "`models` is not available"),
            (json!({"api_base": "http://secret"}), "`api_base` is not available"),
            (json!({"service_tier": "priority"}), "`service_tier` is not available"),
            (json!({"kv_transfer_params": {"secret": 1}}), "`kv_transfer_params` is not passed on"),
            (json!({"chat_template": "secret"}), "`chat_template` is not passed on"),
            (json!({"logits_processors": ["secret"]}), "`logits_processors` is not passed on"),
            (json!({"priority": -1}), "`priority` is not passed on"),
            (json!({"a\n\u{1b}b": 1}), "`ab` is not passed on"),
            (json!({"tools": [{"type": "function"}, {"type": "secret"}]}), "`tools[1].type` must be"),
        ] {
            let error = taken(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.to_lowercase().contains("secret"), "{error}");
        }
    }
}
