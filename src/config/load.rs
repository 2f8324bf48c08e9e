//! Merges the sources: file, then environment, then flags.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::{Table, Value};

use super::{Config, ModelConfig, Source, UpstreamConfig};

/// Reason a configuration was refused. Messages say which key and what to write,
/// and never repeat a value of a secret key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not valid TOML: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{origin}: unknown key \"{key}\"{}", hint(.nearest.as_deref()))]
    Unknown { origin: String, key: String, nearest: Option<String> },
    #[error("{origin}: {key}: [[{section}]] is a list, which only the configuration file can hold")]
    FileOnly { origin: String, key: String, section: &'static str },
    #[error("{key}: {why}")]
    Invalid { key: String, why: String },
}

impl ConfigError {
    /// Makes the error of a system without TLS roots, on which no upstream is reachable.
    #[must_use]
    pub fn tls_roots() -> Self {
        Self::invalid("upstreams", "the system's TLS roots cannot be loaded; install CA certificates")
    }

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

/// Sources of a process's configuration.
#[derive(Default)]
pub struct Sources {
    /// Path of `--config`.
    pub file: Option<PathBuf>,
    /// Variables of the environment. Names that begin with `FAREBOX_` are keys; others are read where a key names them.
    pub env: Vec<(String, String)>,
    /// Flags as `section.key` and a value.
    pub flags: Vec<(String, String)>,
}

/// Names that begin with `FAREBOX_` and are not configuration keys.
const OTHER_ENV: [&str; 2] = ["FAREBOX_CONFIG", "FAREBOX_ANVIL"];
/// Prefix of variables of the tests.
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
        refuse_list("command line", key, "", '.')?;
        check_known("command line", key, &known)?;
        insert(&mut table, key, value);
    }
    let mut config = typed(table)?;
    let variable =
        |name: &str| sources.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    super::upstreams::resolve_keys(&mut config.upstreams, variable)?;
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
        if let Some((list, _)) = list_keys().into_iter().find(|(name, _)| name == section) {
            let Value::Array(entries) = value else {
                return Err(ConfigError::invalid(list, format!("begin each entry with [[{list}]]")));
            };
            check_entries(&origin, list, list, entries)?;
            continue;
        }
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
        match value {
            Value::Table(keys) => {
                for (key, value) in keys {
                    try_one(section, Value::Table(Table::from_iter([(key.clone(), value.clone())])))
                        .map_err(|e| ConfigError::invalid(&format!("{section}.{key}"), describe(key, &e)))?;
                }
            }
            Value::Array(entries) => typed_entries(section, entries)?,
            _ => {}
        }
    }
    let table: Table = sections.into_iter().collect();
    table.try_into().map_err(|e| ConfigError::invalid("configuration", e.message()))
}

fn typed_entries(section: &str, entries: &[Value]) -> Result<(), ConfigError> {
    for (index, entry) in entries.iter().enumerate() {
        let Value::Table(keys) = entry else { continue };
        for (key, value) in keys {
            let one = Value::Table(Table::from_iter([(key.clone(), value.clone())]));
            try_one(section, Value::Array(vec![one]))
                .map_err(|e| ConfigError::invalid(&format!("{section}[{index}].{key}"), describe(key, &e)))?;
        }
    }
    Ok(())
}

fn try_one(section: &str, value: Value) -> Result<(), toml::de::Error> {
    Table::from_iter([(section.to_owned(), value)]).try_into::<Config>().map(|_| ())
}

/// Returns serde's own message, unless it could quote a secret.
fn describe(key: &str, error: &toml::de::Error) -> String {
    if key.contains("secret") || SECRET_KEYS.contains(&key) {
        "is not valid (its value is not shown)".to_owned()
    } else {
        error.message().trim().to_owned()
    }
}

/// Keys, beside those with `secret` in their name, whose values are secret.
const SECRET_KEYS: [&str; 6] = ["url", "rpc_url", "private_key", "api_key", "api_keys", "headers"];

/// Returns `section.key` of every key, read off the types: the list cannot drift.
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

/// Returns lists of tables and the keys of their entries, also read off the types.
fn list_keys() -> [(&'static str, Vec<String>); 3] {
    let source = Source { name: String::new(), model: Some(String::new()), weight: Some(1) };
    [
        ("upstreams", fields_of(&UpstreamConfig::default())),
        ("models", fields_of(&ModelConfig::default())),
        ("models.upstreams", fields_of(&source)),
    ]
}

fn fields_of(entry: &impl serde::Serialize) -> Vec<String> {
    match serde_json::to_value(entry) {
        Ok(Json::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

/// Refuses unknown keys in the entries of `list`, which is at `place`.
fn check_entries(origin: &str, list: &str, place: &str, entries: &[Value]) -> Result<(), ConfigError> {
    let Some((_, known)) = list_keys().into_iter().find(|(name, _)| *name == list) else {
        return Ok(());
    };
    for (index, entry) in entries.iter().enumerate() {
        // A list within the list has entries of the same kind.
        if let Value::Array(inner) = entry {
            check_entries(origin, list, &format!("{place}[{index}]"), inner)?;
        }
        let Value::Table(keys) = entry else { continue };
        for (key, value) in keys {
            let place = format!("{place}[{index}].{key}");
            if !known.contains(key) {
                return Err(ConfigError::Unknown {
                    origin: origin.to_owned(),
                    key: place,
                    nearest: nearest(key, known.iter().map(String::as_str)),
                });
            }
            if let Value::Array(inner) = value {
                check_entries(origin, &format!("{list}.{key}"), &place, inner)?;
            }
        }
    }
    Ok(())
}

/// Refuses a list that comes from elsewhere than the file.
fn refuse_list(origin: &str, key: &str, prefix: &str, separator: char) -> Result<(), ConfigError> {
    let rest = key.strip_prefix(prefix).unwrap_or(key).to_lowercase();
    for section in ["upstreams", "models"] {
        if rest.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator)) {
            return Err(ConfigError::FileOnly { origin: origin.to_owned(), key: key.to_owned(), section });
        }
    }
    Ok(())
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

/// Returns the key of a variable: `FAREBOX_SERVER_LISTEN` is `server.listen`.
fn env_key(name: &str, known: &[String]) -> Result<Option<String>, ConfigError> {
    if !name.starts_with("FAREBOX_") || OTHER_ENV.contains(&name) || name.starts_with(TEST_ENV) {
        return Ok(None);
    }
    if let Some(key) = known.iter().find(|key| env_name(key) == name) {
        return Ok(Some(key.clone()));
    }
    if is_service_variable(name) {
        return Ok(None);
    }
    refuse_list("environment", name, "FAREBOX_", '_')?;
    let names: Vec<String> = known.iter().map(|k| env_name(k)).collect();
    Err(ConfigError::Unknown {
        origin: "environment".to_owned(),
        key: name.to_owned(),
        nearest: nearest(name, names.iter().map(String::as_str)),
    })
}

/// Returns true for a variable that Kubernetes sets in every container beside a service named `farebox`:
/// `FAREBOX_SERVICE_HOST`, `FAREBOX_SERVICE_PORT_HTTP`, `FAREBOX_PORT_8402_TCP_ADDR`.
fn is_service_variable(name: &str) -> bool {
    let rest = name.strip_prefix("FAREBOX_").unwrap_or_default();
    let is_port = |rest: &str| {
        let mut words = rest.split('_');
        let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        number && words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"))
    };
    rest == "PORT"
        || rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
        || rest.strip_prefix("PORT_").is_some_and(is_port)
}

fn env_name(key: &str) -> String {
    format!("FAREBOX_{}", key.replace('.', "_").to_uppercase())
}

/// Returns the most similar name, if it is similar at all.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
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
mod tests;
