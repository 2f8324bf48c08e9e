//! Attachments of chat requests that are read from elsewhere: `urls` and `pdfs`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Pages and PDFs that are read for chat, and their limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// True if `urls` and `pdfs` are offered.
    pub enabled: bool,
    /// Attachments of one request.
    pub max_attachments: usize,
    /// Largest body of one attachment, as it is sent and decompressed.
    pub max_bytes: usize,
    /// Longest text of one attachment, in bytes of UTF-8.
    pub max_text_bytes: usize,
    /// Pages of one PDF.
    pub max_pdf_pages: usize,
    /// Timeout of opening a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Timeout of all attachments of one request, in milliseconds.
    pub total_timeout_ms: u64,
    /// Attachments of all requests that are read at once; bounds what they take of memory.
    pub max_at_once: usize,
    /// PDFs that are read at once; each keeps a core busy.
    pub max_pdfs_at_once: usize,
    /// Attachments a minute for one account.
    pub per_minute: u32,
    /// Ports that are fetched from; every port when empty.
    pub ports: Vec<u16>,
    /// Networks that are fetched from although they are not public.
    pub allow_networks: Vec<IpNetwork>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_attachments: 8,
            max_bytes: 8 << 20,
            max_text_bytes: 1 << 20,
            max_pdf_pages: 200,
            connect_timeout_ms: 5_000,
            total_timeout_ms: 15_000,
            max_at_once: 64,
            max_pdfs_at_once: 2,
            per_minute: 60,
            ports: vec![80, 443, 8080, 8443],
            allow_networks: Vec::new(),
        }
    }
}

/// A network, written as `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpNetwork(IpNet);

impl IpNetwork {
    /// Returns true if an address belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for IpNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "write a network as 10.1.0.0/16 or fd00::/8".to_owned())
    }
}

impl TryFrom<String> for IpNetwork {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<IpNetwork> for String {
    fn from(network: IpNetwork) -> Self {
        network.to_string()
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Upper bound of `max_at_once`, more than any machine reads at once: beyond it is a typing error.
const MAX_AT_ONCE: usize = 100_000;

pub(super) fn validate(fetch: &FetchConfig) -> Result<(), ConfigError> {
    let counts = [
        ("max_attachments", fetch.max_attachments),
        ("max_bytes", fetch.max_bytes),
        ("max_text_bytes", fetch.max_text_bytes),
        ("max_pdf_pages", fetch.max_pdf_pages),
        ("max_at_once", fetch.max_at_once),
        ("max_pdfs_at_once", fetch.max_pdfs_at_once),
    ];
    let times = [
        ("connect_timeout_ms", fetch.connect_timeout_ms),
        ("total_timeout_ms", fetch.total_timeout_ms),
        ("per_minute", u64::from(fetch.per_minute)),
    ];
    let counts = counts.map(|(key, value)| (key, value == 0));
    let times = times.map(|(key, value)| (key, value == 0));
    if let Some((key, _)) = counts.into_iter().chain(times).find(|(_, zero)| *zero) {
        let reason = "must be at least 1; set fetch.enabled = false to read nothing";
        return Err(ConfigError::invalid(&format!("fetch.{key}"), reason));
    }
    if usize::try_from(fetch.per_minute).is_ok_and(|per_minute| per_minute < fetch.max_attachments) {
        let reason =
            "cannot be less than fetch.max_attachments: a request with that many would never be served";
        return Err(ConfigError::invalid("fetch.per_minute", reason));
    }
    if fetch.max_at_once < fetch.max_attachments {
        return Err(ConfigError::invalid("fetch.max_at_once", "cannot be less than fetch.max_attachments"));
    }
    if fetch.max_at_once > MAX_AT_ONCE {
        return Err(ConfigError::invalid("fetch.max_at_once", format!("set a number up to {MAX_AT_ONCE}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_with_their_length() {
        let network: IpNetwork = "10.1.0.0/16".parse().expect("a network");
        assert_eq!(network.to_string(), "10.1.0.0/16");
        for (address, inside) in [("10.1.2.3", true), ("10.2.0.1", false), ("::ffff:10.1.2.3", false)] {
            assert_eq!(network.contains(address.parse().expect("an address")), inside, "{address}");
        }
        for wrong in ["10.1.0.0", "10.1.0.0/33", "localhost", ""] {
            assert!(wrong.parse::<IpNetwork>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn wrong_values_name_their_key() {
        validate(&FetchConfig::default()).expect("valid");
        for (wrong, key) in [
            (FetchConfig { max_bytes: 0, ..FetchConfig::default() }, "fetch.max_bytes"),
            (FetchConfig { total_timeout_ms: 0, ..FetchConfig::default() }, "fetch.total_timeout_ms"),
            (FetchConfig { max_at_once: 7, ..FetchConfig::default() }, "fetch.max_at_once"),
            (FetchConfig { max_at_once: usize::MAX, ..FetchConfig::default() }, "fetch.max_at_once"),
            (FetchConfig { per_minute: 0, ..FetchConfig::default() }, "fetch.per_minute"),
            (
                FetchConfig { per_minute: 7, ..FetchConfig::default() },
                "fetch.per_minute: cannot be less than",
            ),
        ] {
            let error = validate(&wrong).expect_err("refused").to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
