//! Wallets sign for what they manage: one message, one action, once.
//!
//! Two forms of message say the same four things (action, key id, nonce, time):
//!
//! * the product's own line, [`message`]:
//!   `Pryv API key mgmt | action=create | keyId= | nonce=<uuid> | ts=<ISO 8601>`;
//! * Sign-In with Ethereum (EIP-4361), [`siwe`], whose statement is the head of that line:
//!   `Pryv API key mgmt; action=create; keyId=`.
//!
//! [`verify`] asks, in this order: is the message well formed and ours, is it for this action and
//! this key, is it fresh, did the wallet sign it. What is cheap comes first, and only signatures
//! that are no plain key's cost a question to the chain. The nonce is consumed later, by
//! [`nonces`], in the database transaction of whatever the message authorises.

pub mod message;
pub mod nonces;
pub mod signature;
pub mod siwe;
mod verify;

use std::fmt;

use alloy::primitives::Address;

use crate::config::Config;
use crate::id::{AccountId, Timestamp};

pub use message::ParsedMessage;
pub use verify::{RequestedAction, WalletAuthFields, verify};

/// Longest message that is read, in bytes.
const LONGEST_MESSAGE: usize = 4096;

/// What a wallet can sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalletAction {
    Create,
    List,
    Revoke,
    Rotate,
    Balance,
    Ledger,
    Checkout,
}

impl WalletAction {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::List, Self::Revoke, Self::Rotate, Self::Balance, Self::Ledger, Self::Checkout];

    /// The name in a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Revoke => "revoke",
            Self::Rotate => "rotate",
            Self::Balance => "balance",
            Self::Ledger => "ledger",
            Self::Checkout => "checkout",
        }
    }
}

impl fmt::Display for WalletAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a wallet's word does not count. The texts are for the caller and repeat nothing that was
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A field of the request is not there.
    #[error("send walletAddress, message and signature as strings; `{0}` is missing")]
    Missing(&'static str),
    /// The message is for something else.
    #[error("the message was signed for another action; this request needs action={0}")]
    WalletAction(WalletAction),
    /// The message is about another key, or about one where none is meant.
    #[error("the message names another keyId than this request")]
    KeyId,
    /// The nonce was used.
    #[error("this nonce was used before; sign a new message with a new nonce")]
    Replay,
    /// The message is malformed, or was signed for another server, chain or wallet.
    #[error("{0}")]
    Message(&'static str),
    /// The message is too old, or from the future.
    #[error("{0}")]
    Time(&'static str),
    /// The signature is not this wallet's over this message.
    #[error("{0}")]
    Signature(&'static str),
    /// The chain, which decides about this kind of signature, could not be asked.
    #[error("the signature needs the chain to be checked, which cannot be asked now; try again")]
    Unverifiable,
    /// Too many signatures that cost a question to the chain; seconds to wait.
    #[error("too many signatures that the chain must check came from this address; try again later")]
    TooOften(u32),
}

/// What every message must say, whoever signs it.
#[derive(Debug, Clone)]
pub struct MessageRules {
    /// `Pryv API key mgmt`, with the product's name.
    title: String,
    /// `https://api.example.com`.
    origin: String,
    /// `api.example.com`, with a port if the origin has one.
    host: String,
    chain_id: u64,
    /// How old a message may be, in milliseconds.
    ttl: i64,
    /// How far ahead of ours the signer's clock may be, in milliseconds.
    skew: i64,
}

impl MessageRules {
    /// The terms of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let origin = config.server.public_url.clone();
        let host = origin.split_once("://").map_or("", |(_, host)| host).to_owned();
        let millis = |seconds: u32| i64::from(seconds).saturating_mul(1000);
        Self {
            title: format!("{} API key mgmt", config.product.name),
            origin,
            host,
            chain_id: config.chain.chain_id,
            ttl: millis(config.wallet_auth.message_ttl_seconds),
            skew: millis(config.wallet_auth.clock_skew_seconds),
        }
    }

    /// Whether a message of that time counts now.
    fn check_time(&self, issued: Timestamp, now: Timestamp) -> Result<(), AuthError> {
        let age = now.checked_millis_since(issued).unwrap_or(i64::MAX);
        if age > self.ttl {
            return Err(AuthError::Time("the message is too old; sign a new one with the current time"));
        }
        if age < -self.skew {
            return Err(AuthError::Time("the message is from the future; check the signer's clock"));
        }
        Ok(())
    }

    /// Until when a message of that time could be shown again.
    fn last_moment(&self, issued: Timestamp) -> Timestamp {
        issued.checked_add_millis(self.ttl.saturating_add(self.skew)).unwrap_or(issued)
    }
}

/// A wallet signed this message. Only [`verify`] makes one. Its nonce is not consumed yet, so it
/// authorises nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedMessage {
    wallet: Address,
    account: AccountId,
    said: ParsedMessage,
    last_moment: Timestamp,
}

impl VerifiedMessage {
    /// Who signed.
    #[must_use]
    pub const fn wallet(&self) -> Address {
        self.wallet
    }

    /// The wallet's account on the ledger.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// What was signed for.
    #[must_use]
    pub const fn action(&self) -> WalletAction {
        self.said.action
    }

    /// The key it is about.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.said.key_id.as_deref()
    }

    /// The nonce, in its one spelling.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.said.nonce
    }

    /// When it was signed, as the signer says.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.said.issued_at
    }
}
