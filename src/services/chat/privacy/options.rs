//! What a request says about the personal data in it.

use serde_json::{Map, Value};

use super::super::refusal::ChatError;
use crate::config::PrivacyMode;
use farebox_pii::{AvailableModels, FileOptions, RecognitionModel, Selection};

/// The fields of the public API, with their aliases.
const MODE: [&str; 2] = ["privacyMode", "privacy_mode"];
const SELECTION: [&str; 4] = ["piiEntities", "pii_entities", "piiConfig", "pii_config"];
const SKIP: [&str; 4] = ["skip_pii_redaction", "skipPiiRedaction", "no_pii_redaction", "noPiiRedaction"];

/// The models that may stand in front of a prompt: those that take no time.
fn offer() -> AvailableModels {
    AvailableModels::built_in(RecognitionModel::Fast)
}

/// What a request wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct PrivacyOptions {
    asked: RequestedPrivacy,
    /// What counts as personal data, where the request says so.
    pub(super) selection: Option<Selection>,
    /// What is looked for in images and PDFs.
    pub(super) files: FileOptions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RequestedPrivacy {
    /// Whatever the server does.
    #[default]
    Nothing,
    /// Protection, of the server's kind if it has one.
    Protection,
    Mode(PrivacyMode),
}

impl PrivacyOptions {
    /// The names of all fields.
    pub(in super::super) fn names() -> impl Iterator<Item = &'static str> {
        MODE.into_iter().chain(SELECTION).chain(SKIP)
    }

    /// Takes the fields out of a request.
    ///
    /// # Errors
    /// Whatever cannot be honoured, and contradictions: guessing wrong would send personal data.
    pub(in super::super) fn take(body: &mut Map<String, Value>) -> Result<Self, ChatError> {
        let fields: Map<String, Value> = Self::names()
            .filter_map(|name| body.shift_remove_entry(name))
            .filter(|(_, v)| !v.is_null())
            .collect();
        let mode = one_of(&fields, &MODE)?;
        let skip = one_of(&fields, &SKIP)?;
        let asked_mode = mode.map(|(name, value)| read_mode(name, value)).transpose()?;
        let asked_skip = skip.map(|(name, value)| read_skip(name, value)).transpose()?;
        let selects = SELECTION.iter().any(|name| fields.contains_key(*name));
        let selection = selects.then(|| Selection::from_request(&fields, &offer())).transpose()?;
        let files = FileOptions::from_request(&fields)?;
        let asked = match (asked_skip, asked_mode) {
            (Some(true), None | Some(PrivacyMode::Off)) => RequestedPrivacy::Mode(PrivacyMode::Off),
            (Some(skip), Some(mode)) if skip != (mode == PrivacyMode::Off) => {
                let (mode, skip) = (mode_name(mode), skip_name(skip));
                return Err(ChatError::refused(
                    MODE[0],
                    &format!("{mode} contradicts {skip}; send one of them"),
                ));
            }
            (_, Some(mode)) => RequestedPrivacy::Mode(mode),
            (Some(_), None) => RequestedPrivacy::Protection,
            (None, None) if selects => RequestedPrivacy::Protection,
            (None, None) => RequestedPrivacy::Nothing,
        };
        Ok(Self { asked, selection, files })
    }

    /// What happens on a server with this default.
    pub(super) fn mode(&self, default: PrivacyMode) -> PrivacyMode {
        match self.asked {
            RequestedPrivacy::Mode(mode) => mode,
            RequestedPrivacy::Protection if default == PrivacyMode::Off => PrivacyMode::Placeholder,
            RequestedPrivacy::Protection | RequestedPrivacy::Nothing => default,
        }
    }
}

/// The one of several spellings that a request uses.
fn one_of<'f>(
    fields: &'f Map<String, Value>,
    names: &[&'static str],
) -> Result<Option<(&'static str, &'f Value)>, ChatError> {
    let mut given = names.iter().filter_map(|name| Some((*name, fields.get(*name)?)));
    let first = given.next();
    match (first, given.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(ChatError::refused(second, &format!("is the same as `{first}`; send one of them")))
        }
        _ => Ok(first),
    }
}

/// Words of other gateways for the same are understood too.
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
        _ => return Err(ChatError::refused(name, "must be `off`, `placeholder`, `redact` or `block`")),
    })
}

fn read_skip(name: &str, value: &Value) -> Result<bool, ChatError> {
    value.as_bool().ok_or_else(|| ChatError::refused(name, "must be true or false"))
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
    fn what_is_asked_and_what_is_done() {
        // On a server that does nothing by itself, one that redacts, and one that refuses.
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
    fn what_cannot_be_honoured_is_refused_by_name() {
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
