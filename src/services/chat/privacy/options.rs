//! Privacy options of a request.

use serde_json::{Map, Value};

use super::super::chat_error::ChatError;
use crate::config::PrivacyMode;
use farebox_pii::{AvailableModels, FileOptions, RecognitionModel, Selection};

/// Names of the field that sets the mode.
const MODE_FIELDS: [&str; 2] = ["privacyMode", "privacy_mode"];
/// Names of the fields that select entities and configure their detection.
const SELECTION_FIELDS: [&str; 4] = ["piiEntities", "pii_entities", "piiConfig", "pii_config"];
/// Names of the field that turns protection off.
const SKIP_FIELDS: [&str; 4] =
    ["skip_pii_redaction", "skipPiiRedaction", "no_pii_redaction", "noPiiRedaction"];

/// Returns the models that may examine prompts: those that are fast.
fn offer() -> AvailableModels {
    AvailableModels::built_in(RecognitionModel::Fast)
}

/// Privacy options of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct PrivacyOptions {
    requested: RequestedPrivacy,
    /// Entities that count as personal data; `None` for the server's selection.
    pub(super) selection: Option<Selection>,
    /// Settings for images and PDFs.
    pub(super) files: FileOptions,
}

/// Mode that a request sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RequestedPrivacy {
    /// No mode: the server's default applies.
    #[default]
    ServerDefault,
    /// Any mode that protects: the server's default if it does.
    Protection,
    /// This mode.
    Mode(PrivacyMode),
}

impl PrivacyOptions {
    /// Returns the names of all fields.
    pub(in super::super) fn names() -> impl Iterator<Item = &'static str> {
        MODE_FIELDS.into_iter().chain(SELECTION_FIELDS).chain(SKIP_FIELDS)
    }

    /// Takes the options out of a request.
    ///
    /// # Errors
    /// [`ChatError`] of options that are invalid or contradict each other: a wrong guess would send personal data.
    pub(in super::super) fn take(body: &mut Map<String, Value>) -> Result<Self, ChatError> {
        let fields: Map<String, Value> = Self::names()
            .filter_map(|name| body.shift_remove_entry(name))
            .filter(|(_, v)| !v.is_null())
            .collect();
        let mode = single(&fields, &MODE_FIELDS)?;
        let skip = single(&fields, &SKIP_FIELDS)?;
        let requested_mode = mode.map(|(name, value)| read_mode(name, value)).transpose()?;
        let requested_skip = skip.map(|(name, value)| read_skip(name, value)).transpose()?;
        let selects = SELECTION_FIELDS.iter().any(|name| fields.contains_key(*name));
        let selection = selects.then(|| Selection::from_request(&fields, &offer())).transpose()?;
        let files = FileOptions::from_request(&fields)?;
        let requested = match (requested_skip, requested_mode) {
            (Some(true), None | Some(PrivacyMode::Off)) => RequestedPrivacy::Mode(PrivacyMode::Off),
            (Some(skip), Some(mode)) if skip != (mode == PrivacyMode::Off) => {
                let (mode, skip) = (mode_name(mode), skip_name(skip));
                return Err(ChatError::invalid(
                    MODE_FIELDS[0],
                    &format!("{mode} contradicts {skip}; send one of them"),
                ));
            }
            (_, Some(mode)) => RequestedPrivacy::Mode(mode),
            (Some(_), None) => RequestedPrivacy::Protection,
            (None, None) if selects => RequestedPrivacy::Protection,
            (None, None) => RequestedPrivacy::ServerDefault,
        };
        Ok(Self { requested, selection, files })
    }

    /// Returns the mode that applies on a server with this default.
    pub(super) fn mode(&self, default: PrivacyMode) -> PrivacyMode {
        match self.requested {
            RequestedPrivacy::Mode(mode) => mode,
            RequestedPrivacy::Protection if default == PrivacyMode::Off => PrivacyMode::Placeholder,
            RequestedPrivacy::Protection | RequestedPrivacy::ServerDefault => default,
        }
    }
}

/// Returns the field that a request sets among several names of the same option.
fn single<'f>(
    fields: &'f Map<String, Value>,
    names: &[&'static str],
) -> Result<Option<(&'static str, &'f Value)>, ChatError> {
    let mut given = names.iter().filter_map(|name| Some((*name, fields.get(*name)?)));
    let first = given.next();
    match (first, given.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(ChatError::invalid(second, &format!("is the same as `{first}`; send one of them")))
        }
        _ => Ok(first),
    }
}

/// Reads a mode; values that other gateways use for the modes are accepted too.
fn read_mode(name: &str, value: &Value) -> Result<PrivacyMode, ChatError> {
    let word = match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::String(word) => word.trim().to_ascii_lowercase(),
        _ => String::from("?"),
    };
    Ok(match word.as_str() {
        "" | "off" | "none" | "false" => PrivacyMode::Off,
        "placeholder" | "on" | "true" | "strict" | "auto" => PrivacyMode::Placeholder,
        "redact" => PrivacyMode::Redact,
        "block" => PrivacyMode::Block,
        _ => return Err(ChatError::invalid(name, "must be `off`, `placeholder`, `redact` or `block`")),
    })
}

fn read_skip(name: &str, value: &Value) -> Result<bool, ChatError> {
    value.as_bool().ok_or_else(|| ChatError::invalid(name, "must be true or false"))
}

fn mode_name(mode: PrivacyMode) -> &'static str {
    match mode {
        PrivacyMode::Off => "`off`",
        PrivacyMode::Placeholder => "`placeholder`",
        PrivacyMode::Redact => "`redact`",
        PrivacyMode::Block => "`block`",
    }
}

fn skip_name(skip: bool) -> &'static str {
    if skip { "`skip_pii_redaction` true" } else { "`skip_pii_redaction` false" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use PrivacyMode::{Block, Off, Placeholder, Redact};

    fn options(body: &Value) -> Result<PrivacyOptions, String> {
        let mut body = body.as_object().expect("an object").clone();
        let options = PrivacyOptions::take(&mut body).map_err(|error| error.to_string())?;
        assert!(body.is_empty(), "all is taken out");
        Ok(options)
    }

    #[test]
    fn requested_modes_and_defaults_combine() {
        // On servers with the defaults off, redact and block.
        for (body, done) in [
            (json!({}), [Off, Redact, Block]),
            (json!({"privacyMode": null, "skip_pii_redaction": null}), [Off, Redact, Block]),
            (json!({"privacyMode": false}), [Off, Off, Off]),
            (json!({"privacy_mode": "NONE"}), [Off, Off, Off]),
            (json!({"privacyMode": true}), [Placeholder; 3]),
            (json!({"privacyMode": "strict"}), [Placeholder; 3]),
            (json!({"privacyMode": "auto", "skipPiiRedaction": false}), [Placeholder; 3]),
            (json!({"privacyMode": "redact"}), [Redact; 3]),
            (json!({"privacyMode": "block", "piiEntities": ["US_SSN"]}), [Block; 3]),
            (json!({"piiEntities": ["US_SSN"]}), [Placeholder, Redact, Block]),
            (json!({"pii_config": {}}), [Placeholder, Redact, Block]),
            (json!({"no_pii_redaction": false}), [Placeholder, Redact, Block]),
            (json!({"noPiiRedaction": true}), [Off; 3]),
            (json!({"skip_pii_redaction": true, "privacyMode": "off"}), [Off; 3]),
            (json!({"skip_pii_redaction": true, "pii_entities": ["US_SSN"]}), [Off; 3]),
            (json!({"privacyMode": "off", "pii_entities": ["US_SSN"]}), [Off; 3]),
        ] {
            let options = options(&body).expect("understood");
            assert_eq!([Off, Redact, Block].map(|default| options.mode(default)), done, "{body}");
        }
    }

    #[test]
    fn invalid_options_are_refused_by_name() {
        for (body, expected) in [
            (json!({"privacyMode": "stict secret"}), "`privacyMode` must be `off`, `placeholder`"),
            (json!({"privacy_mode": 1}), "`privacy_mode` must be"),
            (
                json!({"privacyMode": "on", "privacy_mode": "on"}),
                "`privacy_mode` is the same as `privacyMode`",
            ),
            (json!({"no_pii_redaction": "secret"}), "`no_pii_redaction` must be true or false"),
            (json!({"noPiiRedaction": true, "skip_pii_redaction": true}), "`noPiiRedaction` is the same as"),
            (
                json!({"privacyMode": "block", "skipPiiRedaction": true}),
                "`block` contradicts `skip_pii_redaction` true",
            ),
            (
                json!({"privacyMode": "off", "skipPiiRedaction": false}),
                "`off` contradicts `skip_pii_redaction` false",
            ),
            (json!({"piiEntities": ["EMIAL"]}), "did you mean `EMAIL`?"),
            (json!({"piiEntities": []}), "selects nothing"),
            (json!({"pii_config": {"a": "secret"}}), "`a` is not a setting"),
            (json!({"pii_config": {}, "piiConfig": {}}), "are the same setting"),
            (json!({"skip_pii_redaction": true, "pii_config": 5}), "`pii_config` must be an object"),
        ] {
            let error = options(&body).expect_err("refused");
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
