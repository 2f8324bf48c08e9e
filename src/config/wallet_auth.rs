//! Messages that wallets sign to manage what they own.

use serde::{Deserialize, Serialize};

/// How long a signed message counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletAuthConfig {
    /// How old a message may be, in seconds.
    pub message_ttl_seconds: u32,
    /// How far ahead of ours the signer's clock may be, in seconds.
    pub clock_skew_seconds: u32,
}

impl Default for WalletAuthConfig {
    fn default() -> Self {
        Self { message_ttl_seconds: 300, clock_skew_seconds: 30 }
    }
}
