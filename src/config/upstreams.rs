//! Servers that models come from.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret, UpstreamKind};

/// Server that offers OpenAI's API, one `[[upstreams]]` entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Name by which `models` refer to it. Never shown to clients.
    pub name: String,
    /// Kind of server: its paths, its headers, and the request fields that it takes.
    pub kind: UpstreamKind,
    /// URL at which its API begins: `https://api.example.com/v1`. Empty for the one of its kind.
    pub base_url: String,
    /// Version of the API, where every URL needs one.
    pub api_version: Option<String>,
    /// Key, or `env:NAME` for the value of an environment variable.
    pub api_key: Option<Secret>,
    /// Several keys, each as in `api_key`, which take turns.
    pub api_keys: Vec<Secret>,
    /// File with the keys, one a line, in place of both.
    pub api_key_file: Option<PathBuf>,
    /// Headers of every request, besides those of its kind.
    pub headers: BTreeMap<String, Secret>,
    /// URL of the proxy to it; `None` for none.
    pub proxy: Option<Secret>,
    /// Largest number of times that a request is sent to it again after a failure that has cost nothing.
    pub retries: u32,
    /// Timeout of opening a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Timeout of the first piece of a streamed answer, in milliseconds.
    pub first_token_timeout_ms: u64,
    /// Longest silence between two pieces, in milliseconds. Comments are pieces too.
    pub idle_timeout_ms: u64,
    /// Timeout of an answer that is not streamed, in milliseconds; then the next upstream is tried.
    pub whole_timeout_ms: u64,
    /// Timeout of a request, in milliseconds: from its arrival to the end of its answer, other upstreams included.
    pub total_timeout_ms: u64,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: UpstreamKind::default(),
            base_url: String::new(),
            api_version: None,
            api_key: None,
            api_keys: Vec::new(),
            api_key_file: None,
            headers: BTreeMap::new(),
            proxy: None,
            retries: 2,
            connect_timeout_ms: 5_000,
            first_token_timeout_ms: 60_000,
            idle_timeout_ms: 120_000,
            whole_timeout_ms: 600_000,
            total_timeout_ms: 1_800_000,
        }
    }
}

impl UpstreamConfig {
    /// Returns its keys.
    pub fn keys(&self) -> impl Iterator<Item = &Secret> {
        self.api_key.iter().chain(&self.api_keys)
    }

    /// Returns the headers of every request: its kind's, and those that are set for it.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_set = |name: &str| self.headers.keys().any(|set| set.eq_ignore_ascii_case(name));
        let of_kind = self.kind.profile().headers.iter().copied().filter(move |(name, _)| !is_set(name));
        of_kind.chain(self.headers.iter().map(|(name, value)| (name.as_str(), value.expose())))
    }

    /// Returns the URL of one of its paths, in which `{model}` stands for `model`.
    #[must_use]
    pub fn url(&self, path: &str, model: &str) -> String {
        let base = Some(self.base_url.as_str()).filter(|url| !url.is_empty());
        let base = base.or(self.kind.profile().base_url).unwrap_or_default();
        let path = path.replace("{model}", model);
        match &self.api_version {
            Some(version) => format!("{base}{path}?api-version={version}"),
            None => format!("{base}{path}"),
        }
    }
}

/// Reads the keys of upstreams that are elsewhere than in the configuration.
///
/// # Errors
/// A variable or a file that is not there, and two places for keys.
pub(super) fn resolve_keys(
    upstreams: &mut [UpstreamConfig],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for (index, upstream) in upstreams.iter_mut().enumerate() {
        let bad =
            |field: &str, why: String| ConfigError::invalid(&format!("upstreams[{index}].{field}"), why);
        let file = upstream.api_key_file.take();
        let places = [upstream.api_key.is_some(), !upstream.api_keys.is_empty(), file.is_some()];
        if places.into_iter().filter(|is_used| *is_used).count() > 1 {
            let field = if file.is_some() { "api_key_file" } else { "api_keys" };
            return Err(bad(
                field,
                "give the keys in one of api_key, api_keys and api_key_file, not in both".into(),
            ));
        }
        if let Some(path) = file {
            upstream.api_keys = keys_of_file(&path).map_err(|why| bad("api_key_file", why))?;
        }
        let resolve = |key: &mut Secret, field: &str| {
            let Some(name) = key.expose().strip_prefix("env:") else { return Ok(()) };
            let value = variable(name).filter(|value| !value.is_empty());
            let value =
                value.ok_or_else(|| bad(field, format!("the environment variable {name} is not set")))?;
            *key = Secret::from(value);
            Ok(())
        };
        upstream.api_key.iter_mut().try_for_each(|key| resolve(key, "api_key"))?;
        upstream.api_keys.iter_mut().try_for_each(|key| resolve(key, "api_keys"))?;
    }
    Ok(())
}

/// Returns the keys in a file, one a line.
fn keys_of_file(path: &Path) -> Result<Vec<Secret>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Secret> = lines.map(Secret::from).collect();
    if keys.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(keys) }
}

/// Largest number of keys of an upstream, and of times that a request is sent to it again.
const MAX_KEYS: usize = 100;
const MAX_RETRIES: u32 = 5;
/// Headers that the program sets itself.
const OWN_HEADERS: [&str; 11] = [
    "accept",
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-api-key",
];

/// Checks the entries, each on its own and against each other.
pub(super) fn validate(upstreams: &[UpstreamConfig]) -> Result<(), ConfigError> {
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
        let profile = upstream.kind.profile();
        if !(upstream.base_url.is_empty() && profile.base_url.is_some())
            && let Err(why) = check_base_url(&upstream.base_url)
        {
            return bad("base_url", why);
        }
        if profile.chat_path.starts_with("/openai/") && upstream.base_url.ends_with("/openai") {
            return bad("base_url", "leave out /openai at the end; it is added");
        }
        match &upstream.api_version {
            None if profile.needs_api_version => {
                return bad("api_version", "is missing; this kind needs one, such as \"2024-10-21\"");
            }
            Some(_) if !profile.needs_api_version => {
                return bad("api_version", "is not used by this kind; leave it out");
            }
            Some(version) if !is_version(version) => {
                return bad("api_version", "write letters, digits, - and . as in \"2024-10-21\"");
            }
            _ => {}
        }
        check_keys(upstream).or_else(|(field, why)| bad(field, why))?;
        if let Some(name) = upstream.headers.keys().find(|name| !is_header_name(name)) {
            return bad("headers", &format!("\"{name}\" is not a header that can be set"));
        }
        if upstream.headers.values().any(|value| !is_header_value(value.expose())) {
            return bad("headers", "values must be visible ASCII characters and spaces");
        }
        if upstream.retries > MAX_RETRIES {
            return bad("retries", &format!("must be {MAX_RETRIES} or less; clients try again too"));
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
    Ok(())
}

fn check_keys(upstream: &UpstreamConfig) -> Result<(), (&'static str, &'static str)> {
    let field = if upstream.api_keys.is_empty() { "api_key" } else { "api_keys" };
    let mut known = HashSet::new();
    for key in upstream.keys() {
        if !is_header_text(key.expose()) {
            return Err((field, "must be visible ASCII characters"));
        }
        if !known.insert(key.expose()) {
            return Err((field, "has a key twice"));
        }
    }
    if known.len() > MAX_KEYS { Err((field, "has more than 100 keys")) } else { Ok(()) }
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

fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn is_header_name(name: &str) -> bool {
    let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_token && !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

fn is_version(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
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
            (change(|u| u.base_url.clear()), "https://api.example.com/v1"),
            (change(|u| u.base_url.push('/')), "slash at the end"),
            (change(|u| u.base_url = "https://key@host/v1".into()), "api_key"),
            (change(|u| u.api_key = Some("with space".into())), "upstreams[1].api_key"),
            (change(|u| u.api_keys = vec!["a".into(), "a".into()]), "upstreams[1].api_keys: has a key twice"),
            (change(|u| u.kind = UpstreamKind::Azure), "upstreams[1].api_version: is missing"),
            (change(|u| u.api_version = Some("1".into())), "api_version: is not used by this kind"),
            (
                change(|u| {
                    u.kind = UpstreamKind::Azure;
                    u.api_version = Some("2024-10-21&x=1".into());
                }),
                "api_version: write letters",
            ),
            (
                change(|u| {
                    u.kind = UpstreamKind::Azure;
                    u.api_version = Some("2024-10-21".into());
                    u.base_url = "https://a.openai.azure.com/openai".into();
                }),
                "leave out /openai",
            ),
            (
                change(|u| drop(u.headers.insert("Authorization".into(), "x".into()))),
                "\"Authorization\" is not a header",
            ),
            (
                change(|u| drop(u.headers.insert("X-Title".into(), "a\r\nb: c".into()))),
                "headers: values must",
            ),
            (change(|u| u.retries = 6), "upstreams[1].retries: must be 5 or less"),
            (change(|u| u.idle_timeout_ms = 0), "upstreams[1].idle_timeout_ms"),
        ] {
            let error = validate(&[upstream("a"), changed]).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        let ollama = UpstreamConfig { base_url: String::new(), kind: UpstreamKind::Ollama, ..upstream("c") };
        validate(std::slice::from_ref(&ollama)).expect("the kind has a URL");
        assert_eq!(ollama.url("/models", ""), "http://127.0.0.1:11434/v1/models");
        let mut anthropic = UpstreamConfig { kind: UpstreamKind::Anthropic, ..upstream("d") };
        assert_eq!(anthropic.all_headers().collect::<Vec<_>>(), [("anthropic-version", "2023-06-01")]);
        anthropic.headers.insert("Anthropic-Version".into(), "2027-01-01".into());
        assert_eq!(anthropic.all_headers().collect::<Vec<_>>(), [("Anthropic-Version", "2027-01-01")]);
    }
}
