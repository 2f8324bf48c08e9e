//! Request fields that this server reads itself: they never reach an upstream.

use serde_json::{Map, Value};

use super::chat_error::ChatError;
use super::privacy;

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

/// Takes this server's fields out of a request, and the routing fields that change nothing.
///
/// # Errors
/// [`ChatError`] for a field with an unsupported value, a misspelt field (ignoring it
/// would send personal data), and a routing field.
pub(super) fn take(body: &mut Map<String, Value>) -> Result<privacy::PrivacyOptions, ChatError> {
    let privacy = privacy::PrivacyOptions::take(body)?;
    for (name, value) in body.iter() {
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
    }
    body.retain(|name, _| !ROUTING_FIELDS.contains(&name.as_str()));
    Ok(privacy)
}

/// Returns true if a routing field with this value changes nothing. An empty object is
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
    fn unsupported_fields_are_refused_by_name() {
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
