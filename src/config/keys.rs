//! API keys and their limits.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// API keys of the prepaid API (`/v1`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// Prefix of the text of every key.
    pub prefix: String,
    /// Requests a minute of a key that has no limit of its own.
    pub default_rpm: u32,
    /// Tokens a minute, of prompts and answers together, of a key that has no limit of its own.
    pub default_tpm: u32,
    /// Largest limits that an owner can give a key.
    pub max_rpm: u32,
    pub max_tpm: u32,
    /// Requests a minute without a valid key, for one address.
    pub anonymous_rpm: u32,
    /// Signed requests a minute (keys and billing), for one wallet and for one address.
    pub management_rpm: u32,
    /// Least top-up that a 402 offers, in dollars; larger ones are multiples of it.
    pub top_up: Money,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            prefix: "pryv_".into(),
            default_rpm: 600,
            default_tpm: 1_000_000,
            max_rpm: 6_000,
            max_tpm: 10_000_000,
            anonymous_rpm: 60,
            management_rpm: 120,
            top_up: Money::from_micros(5_000_000),
        }
    }
}

/// Checks that a prefix can be used.
///
/// # Errors
/// The form that it must have.
pub(super) fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (2..=32).contains(&prefix.len()) && prefix.bytes().all(plain) {
        Ok(())
    } else {
        Err("write 2 to 32 characters of A-Z, a-z, 0-9, _ and -, such as \"pryv_\"")
    }
}
