//! Merging the sources: file, then environment, then flags.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::{Table, Value};

use super::Config;

/// Why a configuration was refused. Messages say which key and what to write,
/// and never repeat a value of a secret key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not valid TOML: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{origin}: unknown key \"{key}\"{}", hint(.nearest.as_deref()))]
    Unknown { origin: String, key: String, nearest: Option<String> },
    #[error("{key}: {why}")]
    Invalid { key: String, why: String },
}

impl ConfigError {
    pub(super) fn invalid(key: &str, why: impl Into<String>) -> Self {
        Self::Invalid { key: key.to_owned(), why: why.into() }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "; see farebox.example.toml for every key".to_owned(),
        |name| format!("; did you mean \"{name}\"?"),
    )
}

/// What the process was given.
#[derive(Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with `FAREBOX_` are looked at.
    pub env: Vec<(String, String)>,
    /// Flags as `section.key` and a value.
    pub flags: Vec<(String, String)>,
}

/// Names that begin with `FAREBOX_` and are not configuration keys.
const OTHER_ENV: [&str; 2] = ["FAREBOX_CONFIG", "FAREBOX_ANVIL"];
/// Used by the test-suite.
const TEST_ENV: &str = "FAREBOX_TEST_";

/// Reads, merges and checks the configuration.
///
/// # Errors
/// See [`ConfigError`]; nothing is started with a configuration that has one.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let known = known_keys();
    let mut table = match &sources.file {
        Some(path) => read_file(path, &known)?,
        None => Table::new(),
    };
    for (name, value) in &sources.env {
        if let Some(key) = env_key(name, &known)? {
            insert(&mut table, &key, value);
        }
    }
    for (key, value) in &sources.flags {
        check_known("command line", key, &known)?;
        insert(&mut table, key, value);
    }
    let config = typed(table)?;
    config.validate()?;
    Ok(config)
}

fn read_file(path: &Path, known: &[String]) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table: Table = toml::from_str(&text).map_err(|e| ConfigError::Syntax {
        path: path.to_owned(),
        // The message alone: toml's Display quotes the line, which may hold a secret.
        message: format!("{}{}", e.message(), line_of(&text, e.span())),
    })?;
    for (section, value) in &table {
        let origin = path.display().to_string();
        let Value::Table(keys) = value else {
            check_known(&origin, section, known)?;
            continue;
        };
        if keys.is_empty() {
            check_section(&origin, section, known)?;
        }
        for key in keys.keys() {
            check_known(&origin, &format!("{section}.{key}"), known)?;
        }
    }
    Ok(table)
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    span.map_or_else(String::new, |s| {
        let line = text[..s.start.min(text.len())].matches('\n').count() + 1;
        format!(" (line {line})")
    })
}

/// Deserialises section by section, so that an error names its section.
fn typed(table: Table) -> Result<Config, ConfigError> {
    let sections: Vec<(String, Value)> = table.into_iter().collect();
    for (section, value) in &sections {
        let Value::Table(keys) = value else { continue };
        for (key, value) in keys {
            let mut one = Table::new();
            one.insert(key.clone(), value.clone());
            let mut root = Table::new();
            root.insert(section.clone(), Value::Table(one));
            root.try_into::<Config>()
                .map_err(|e| ConfigError::invalid(&format!("{section}.{key}"), describe(key, &e)))?;
        }
    }
    let table: Table = sections.into_iter().collect();
    table.try_into().map_err(|e| ConfigError::invalid("configuration", e.message()))
}

/// serde's own words, unless they could quote a secret.
fn describe(key: &str, error: &toml::de::Error) -> String {
    if SECRET_KEYS.contains(&key) {
        "is not valid (its value is not shown)".to_owned()
    } else {
        error.message().trim().to_owned()
    }
}

const SECRET_KEYS: [&str; 5] = ["url", "secret", "previous_secret", "rpc_url", "private_key"];

/// `section.key` of every key, read off the types: the list cannot drift.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(Json::Object(sections)) = serde_json::to_value(Config::default()) {
        for (section, value) in sections {
            if let Json::Object(fields) = value {
                keys.extend(fields.keys().map(|field| format!("{section}.{field}")));
            }
        }
    }
    keys
}

fn check_known(origin: &str, key: &str, known: &[String]) -> Result<(), ConfigError> {
    if known.iter().any(|k| k == key) {
        return Ok(());
    }
    Err(ConfigError::Unknown {
        origin: origin.to_owned(),
        key: key.to_owned(),
        nearest: nearest(key, known.iter().map(String::as_str)),
    })
}

fn check_section(origin: &str, section: &str, known: &[String]) -> Result<(), ConfigError> {
    let sections: Vec<&str> = known.iter().filter_map(|k| k.split('.').next()).collect();
    if sections.contains(&section) {
        return Ok(());
    }
    Err(ConfigError::Unknown {
        origin: origin.to_owned(),
        key: section.to_owned(),
        nearest: nearest(section, sections.into_iter()),
    })
}

/// `FAREBOX_SERVER_LISTEN` is `server.listen`.
fn env_key(name: &str, known: &[String]) -> Result<Option<String>, ConfigError> {
    if !name.starts_with("FAREBOX_") || OTHER_ENV.contains(&name) || name.starts_with(TEST_ENV) {
        return Ok(None);
    }
    if let Some(key) = known.iter().find(|key| env_name(key) == name) {
        return Ok(Some(key.clone()));
    }
    let names: Vec<String> = known.iter().map(|k| env_name(k)).collect();
    Err(ConfigError::Unknown {
        origin: "environment".to_owned(),
        key: name.to_owned(),
        nearest: nearest(name, names.iter().map(String::as_str)),
    })
}

fn env_name(key: &str) -> String {
    format!("FAREBOX_{}", key.replace('.', "_").to_uppercase())
}

/// The most similar name, if it is similar at all.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_owned())
}

/// Sets `section.key`. The text is read as TOML where the key is not a string
/// (numbers, lists), and as it stands where it is.
fn insert(table: &mut Table, key: &str, text: &str) {
    let Some((section, field)) = key.split_once('.') else {
        return;
    };
    let entry = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(fields) = entry {
        fields.insert(field.to_owned(), literal(section, field, text));
    }
}

fn literal(section: &str, field: &str, text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v"));
    let default = serde_json::to_value(Config::default()).unwrap_or_default();
    match (&default[section][field], parsed) {
        (Json::Number(_) | Json::Bool(_) | Json::Array(_), Some(value)) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [payments]
        secret = "0123456789abcdef0123456789abcdef"
        recipient = "0x00000000000000000000000000000000000000aa"
    "#;

    fn with(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("farebox.toml");
        std::fs::write(&path, text).expect("written");
        let own =
            |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        load(&Sources { file: Some(path), env: own(env), flags: own(flags) }).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let text = format!("{GOOD}\n[server]\nlisten = \"127.0.0.1:1\"\nbody_limit_bytes = 300000");
        let env = [("FAREBOX_SERVER_LISTEN", "127.0.0.1:2"), ("FAREBOX_PII_PREVIEW_PRICE", "0.10")];
        let config = with(&text, &env, &[("server.listen", "127.0.0.1:3")]).expect("valid");
        assert_eq!(config.server.listen.port(), 3);
        assert_eq!(config.server.body_limit_bytes, 300_000);
        assert_eq!(config.pii.preview_price.micros(), 100_000);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_name() {
        for (text, env, expected) in [
            ("[server]\nlissten = \"x\"", None, "server.listen"),
            ("[serverr]\nlisten = \"x\"", None, "server.listen"),
            ("[paymens]", None, "payments"),
            ("", Some(("FAREBOX_SERVER_LISTN", "x")), "FAREBOX_SERVER_LISTEN"),
        ] {
            let env: Vec<_> = env.into_iter().collect();
            let error = with(&format!("{GOOD}{text}"), &env, &[]).expect_err("refused");
            assert!(error.contains(&format!("did you mean \"{expected}\"?")), "{error}");
        }
    }

    #[test]
    fn bad_values_name_their_key_and_hide_secrets() {
        for (extra, key) in [
            ("[server]\nlisten = \"nowhere\"", "server.listen"),
            ("[pii]\npreview_price = \"-1\"", "pii.preview_price"),
            ("[pii]\npreview_price = 0.05", "pii.preview_price"),
            ("[server]\npublic_url = \"https://a.example/path\"", "server.public_url"),
            ("[payments]\nmodes = [\"sideways\"]", "payments"),
        ] {
            let text =
                if extra.starts_with("[payments]") { extra.to_owned() } else { format!("{GOOD}\n{extra}") };
            let error = with(&text, &[], &[]).expect_err("refused");
            assert!(error.starts_with(key), "{error}");
        }
        let error = with("[payments]\nsecret = \"hunter2hunter2\"", &[], &[]).expect_err("too short");
        assert!(error.contains("at least 32 bytes") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_syntax_error_gives_the_line_and_not_the_text() {
        let error = with("[payments]\nsecret = \"hunter2hunter2hunter2hunter2hunter2\nx", &[], &[])
            .expect_err("refused");
        assert!(error.contains("line 3") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_example_documents_every_key_and_loads() {
        let example = include_str!("../../farebox.example.toml");
        for key in known_keys() {
            let field = key.split('.').nth(1).expect("section.key");
            assert!(
                example.contains(&format!("\n{field} = ")) || example.contains(&format!("\n# {field} = ")),
                "farebox.example.toml does not document {key}"
            );
        }
        with(example, &[], &[]).expect("the example is valid");
    }
}
