//! The MCP server and the authorization server in front of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, host_of};

/// MCP server, and the OAuth clients that may ask wallets for access to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McpConfig {
    /// Origin of the MCP server; `server.public_url` unless set. Tokens are for `/mcp` there.
    pub public_url: Option<String>,
    /// True if a client may be known by the document that it publishes under its `client_id`. Needs `fetch.enabled`.
    pub fetch_clients: bool,
    /// Clients whose documents this server knows without fetching them, by their `client_id`.
    pub clients: BTreeMap<String, PinnedClient>,
    /// Schemes of applications that a client may be redirected to, besides https and loopback.
    pub redirect_schemes: Vec<String>,
    /// Origins whose pages may use the MCP endpoints, besides the server's own: `https://app.example.com:443`, or
    /// `http://localhost:*` for any port. Programs send no origin, and need not be here.
    pub allowed_origins: Vec<String>,
    /// Clients that one address may register in a minute.
    pub registration_rpm: u32,
    /// Tokens that one grant may be given in a minute.
    pub token_rpm: u32,
}

/// Document of a client in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedClient {
    /// Name shown to people.
    pub name: String,
    pub redirect_uris: Vec<String>,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            fetch_clients: true,
            clients: BTreeMap::new(),
            redirect_schemes: ["cursor", "vscode", "vscode-insiders"].map(str::to_owned).into(),
            allowed_origins: Vec::new(),
            registration_rpm: 20,
            token_rpm: 10,
        }
    }
}

/// Schemes that must not be redirected to: browsers run them, or read files.
const FORBIDDEN_SCHEMES: [&str; 12] = [
    "http",
    "https",
    "javascript",
    "data",
    "vbscript",
    "file",
    "blob",
    "about",
    "filesystem",
    "view-source",
    "ws",
    "wss",
];

impl McpConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key: &str, reason: String| Err(ConfigError::invalid(key, reason));
        if let Some(url) = &self.public_url
            && (url.ends_with('/') || host_of(url).is_none())
        {
            let reason =
                format!("\"{url}\" is not an origin; write it as https://mcp.example.com, without a path");
            return bad("mcp.public_url", reason);
        }
        for scheme in &self.redirect_schemes {
            let plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-' || b == b'+';
            let fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
                && scheme.bytes().all(plain)
                && !FORBIDDEN_SCHEMES.contains(&scheme.as_str());
            if !fits {
                let reason = format!(
                    "\"{scheme}\" is not the scheme of an application, such as \"cursor\", in lower case"
                );
                return bad("mcp.redirect_schemes", reason);
            }
        }
        for client_id in self.clients.keys() {
            if !client_id.starts_with("https://") {
                let reason = "is no client_id; write the https URL of the client's metadata document".into();
                return bad(&format!("mcp.clients.\"{client_id}\""), reason);
            }
        }
        Ok(())
    }
}

impl Config {
    /// Returns the origin of the MCP server.
    #[must_use]
    pub fn mcp_url(&self) -> &str {
        self.mcp.public_url.as_deref().unwrap_or(&self.server.public_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        McpConfig::default().validate().expect("valid");
        let mcp = McpConfig::default;
        let pinned = PinnedClient { name: "x".into(), redirect_uris: Vec::new() };
        for (wrong, key) in [
            (McpConfig { public_url: Some("https://mcp.example.com/".into()), ..mcp() }, "mcp.public_url"),
            (McpConfig { public_url: Some("mcp.example.com".into()), ..mcp() }, "mcp.public_url"),
            (McpConfig { redirect_schemes: vec!["javascript".into()], ..mcp() }, "mcp.redirect_schemes"),
            (McpConfig { redirect_schemes: vec!["Cursor".into()], ..mcp() }, "mcp.redirect_schemes"),
            (McpConfig { redirect_schemes: vec!["https".into()], ..mcp() }, "mcp.redirect_schemes"),
            (McpConfig { clients: [("http://x/y".into(), pinned)].into(), ..mcp() }, "mcp.clients"),
        ] {
            let error = wrong.validate().expect_err("refused").to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
