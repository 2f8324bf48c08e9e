//! Request fields that are ours, not the model's: they never reach an upstream.

use serde_json::{Map, Value};

use super::privacy;
use super::refusal::ChatError;

/// Fields by which gateways let a request choose another model, server, key or
/// price class than the one that is paid for.
const STEERING: [&str; 16] = [
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

/// Takes the extensions out of a request.
///
/// # Errors
/// An extension that asks for what is not available, a misspelt one (which would
/// send unredacted text), and a field that steers the upstream.
pub(super) fn take(body: &mut Map<String, Value>) -> Result<privacy::PrivacyOptions, ChatError> {
    let privacy = privacy::PrivacyOptions::take(body)?;
    for (name, value) in body.iter() {
        if STEERING.contains(&name.as_str()) && !is_default(value) {
            return Err(ChatError::refused(
                name,
                "is not available: what answers is chosen by `model` alone; leave it out",
            ));
        }
        let plain: String = name.chars().filter(char::is_ascii_alphabetic).take(64).collect();
        let plain = plain.to_lowercase();
        if plain.contains("pii") || plain.starts_with("privacy") {
            let near = privacy::PrivacyOptions::names()
                .max_by(|a, b| strsim::jaro_winkler(a, &plain).total_cmp(&strsim::jaro_winkler(b, &plain)));
            return Err(ChatError::refused(
                &plain,
                &format!("is not a field of this API; did you mean `{}`?", near.unwrap_or_default()),
            ));
        }
    }
    body.retain(|name, _| !STEERING.contains(&name.as_str()));
    Ok(privacy)
}

/// What a steering field holds when it steers nowhere. An empty object does not
/// count: `web_search_options` searches with one.
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
        take(&mut body).map(|_| body).map_err(|error| error.to_string())
    }

    #[test]
    fn extensions_never_reach_an_upstream() {
        let body = json!({"a": 1, "privacyMode": "off", "pii_config": {}, "b": 2,
            "skip_pii_redaction": true, "noPiiRedaction": null, "privacy_mode": null, "service_tier": "auto", "c": {"privacyMode": 1}});
        let left = taken(&body).expect("nothing asked for");
        assert_eq!(Value::Object(left), json!({"a": 1, "b": 2, "c": {"privacyMode": 1}}));
    }

    #[test]
    fn what_is_not_available_is_refused_by_name() {
        for (body, expected) in [
            (json!({"privacyMode": "strict secret"}), "`privacyMode` must be"),
            (json!({"web_search_options": {}}), "`web_search_options` is not available"),
            (json!({"pii_entites": ["SECRET"]}), "did you mean `pii_entities`?"),
            (json!({"PIIConfig": {"a": "secret"}}), "did you mean `pii"),
            (json!({"models": ["secret/large"]}), "`models` is not available"),
            (json!({"api_base": "http://secret"}), "`api_base` is not available"),
            (json!({"service_tier": "priority"}), "`service_tier` is not available"),
        ] {
            let error = taken(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.to_lowercase().contains("secret"), "{error}");
        }
    }
}
