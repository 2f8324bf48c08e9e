//! Messages that wallets sign to manage what they own.

use serde::{Deserialize, Serialize};

/// Validity of signed messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletAuthConfig {
    /// Oldest age of a message, in seconds.
    pub message_ttl_seconds: u32,
    /// Most that the signer's clock may be ahead of the server's, in seconds.
    pub clock_skew_seconds: u32,
}

impl Default for WalletAuthConfig {
    fn default() -> Self {
        Self { message_ttl_seconds: 300, clock_skew_seconds: 30 }
    }
}
