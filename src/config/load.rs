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
#[derive(Debug, Default)]
pub struct Sources {
    /// Path of `--config`.
    pub file: Option<PathBuf>,
    /// Variables of the environment; only names that begin with `FAREBOX_` are looked at.
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
const SECRET_KEYS: [&str; 4] = ["url", "rpc_url", "private_key", "api_key"];

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
    let source = Source { name: String::new(), model: Some(String::new()) };
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
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [payments]
        secret = "0123456789abcdef0123456789abcdef"
        recipient = "0x52908400098527886e0f7030069857d2e4169ee7"
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

    /// Every container beside a service named `farebox` has these.
    #[test]
    fn attack_46_variables_of_a_service_of_that_name_are_not_ours() {
        for name in [
            "FAREBOX_SERVICE_HOST",
            "FAREBOX_SERVICE_PORT",
            "FAREBOX_SERVICE_PORT_HTTP",
            "FAREBOX_PORT",
            "FAREBOX_PORT_8402_TCP",
            "FAREBOX_PORT_8402_TCP_PROTO",
            "FAREBOX_PORT_8402_UDP_ADDR",
        ] {
            with(GOOD, &[(name, "tcp://10.0.0.1:8402")], &[])
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for name in ["FAREBOX_PORTS", "FAREBOX_PORT_HTTP_TCP", "FAREBOX_SERVICE", "FAREBOX_PORT_8402"] {
            assert!(with(GOOD, &[(name, "x")], &[]).is_err(), "{name}");
        }
    }

    #[test]
    fn attack_46_what_the_example_leaves_to_be_set_must_be_set() {
        let example = include_str!("../../farebox.example.toml");
        let secret = "change-me-change-me-change-me-change-me";
        let recipient = "0x00000000000000000000000000000000000000aa";
        assert!(example.contains(secret) && example.contains(recipient));
        let error = with(example, &[], &[]).expect_err("refused");
        assert!(error.contains("payments.secret") && error.contains("openssl rand"), "{error}");
        let mine = example.replace(secret, "0123456789abcdef0123456789abcdef");
        let error = with(&mine, &[], &[]).expect_err("refused");
        assert!(error.contains("payments.recipient"), "{error}");
        with(&mine.replace(recipient, "0x52908400098527886E0F7030069857D2E4169EE7"), &[], &[])
            .expect("valid");
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

    const MODEL: &str = r#"
        [[upstreams]]
        name = "local"
        base_url = "http://127.0.0.1:9000/v1"
        [[models]]
        id = "small"
        upstreams = ["local", { name = "local", model = "other" }]
        price_per_chunk = "0.0001"
        price_per_million_output = "1"
        context_length = 8192
        max_output_tokens = 1024
    "#;

    #[test]
    fn models_and_upstreams_are_lists_of_the_file() {
        let config = with(&format!("{GOOD}{MODEL}"), &[], &[]).expect("valid");
        assert_eq!(config.models[0].upstreams[1].model.as_deref(), Some("other"));
        assert_eq!(config.models[0].price_per_chunk.micros(), 100);
        assert!(with(GOOD, &[], &[]).expect("valid").models.is_empty());
    }

    #[test]
    fn lists_are_checked_like_sections() {
        for (from, to, expected) in [
            ("base_url =", "base_ulr =", "upstreams[0].base_ulr\"; did you mean \"base_url\"?"),
            ("price_per_chunk", "price_per_chnk", "models[0].price_per_chnk\"; did you mean"),
            (
                "model = \"other\"",
                "modle = \"other\"",
                "models[0].upstreams[1].modle\"; did you mean \"model\"?",
            ),
            ("[\"local\", ", "[5, ", "models[0].upstreams: write an upstream's name, or {"),
            ("\"0.0001\"", "0.0001", "models[0].price_per_chunk: "),
            ("[[models]]", "[models]", "models: begin each entry with [[models]]"),
            (
                "name = \"local\"\n",
                "api_key = 12345\n",
                "upstreams[0].api_key: is not valid (its value is not",
            ),
        ] {
            assert!(MODEL.contains(from), "{from}");
            let text = format!("{GOOD}{}", MODEL.replacen(from, to, 1));
            let error = with(&text, &[], &[]).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
        for (env, flags) in [
            (vec![("FAREBOX_MODELS", "[]")], vec![]),
            (vec![("FAREBOX_UPSTREAMS_NAME", "x")], vec![]),
            (vec![], vec![("models.id", "x")]),
        ] {
            let error = with(GOOD, &env, &flags).expect_err("refused");
            assert!(error.contains("only the configuration file can hold"), "{error}");
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
        let entries = list_keys()
            .into_iter()
            .filter(|(list, _)| !list.contains('.'))
            .flat_map(|(list, keys)| keys.into_iter().map(move |key| format!("{list}.{key}")));
        for key in known_keys().into_iter().chain(entries) {
            let field = key.split('.').nth(1).expect("section.key");
            assert!(
                example.contains(&format!("\n{field} = ")) || example.contains(&format!("\n# {field} = ")),
                "farebox.example.toml does not document {key}"
            );
        }
    }
}
