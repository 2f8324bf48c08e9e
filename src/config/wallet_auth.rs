//! Messages that wallets sign to manage what they own.

use serde::{Deserialize, Serialize};

/// Signed messages: how long they count, and what they must name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletAuthConfig {
    /// Oldest age of a message, in seconds.
    pub message_ttl_seconds: u32,
    /// Most that the signer's clock may be ahead of the server's, in seconds.
    pub clock_skew_seconds: u32,
    /// Refuses messages that name no server: `host=` in the line, or Sign-In with Ethereum.
    pub require_host: bool,
    /// Refuses messages that do not name the request's other parameters by their hash: `body=`.
    pub require_body: bool,
}

impl Default for WalletAuthConfig {
    fn default() -> Self {
        Self { message_ttl_seconds: 300, clock_skew_seconds: 30, require_host: false, require_body: false }
    }
}
