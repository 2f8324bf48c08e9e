//! Authentication of wallets: one signed message allows one action, once.
//!
//! Two forms of message say the same four things (action, key id, nonce, time):
//!
//! * the product's own line, [`message`]:
//!   `Pryv API key mgmt | action=create | keyId= | nonce=<uuid> | ts=<ISO 8601> | host=<host> | body=<SHA-256>`, of
//!   which host and body are optional;
//! * Sign-In with Ethereum (EIP-4361), [`siwe`], whose statement is the head of that line:
//!   `Pryv API key mgmt; action=create; keyId=`.
//!
//! A third form, [`sign_in`], is written by this server and begins a browser session.
//!
//! [`verify`] checks, in this order: the message is well formed and for this server, it is for this action and
//! this key, it is fresh, the wallet signed it. Cheap checks come first, and only signatures
//! of other than plain keys cost a question to the chain. The nonce is consumed later, by
//! [`nonces`], in the database transaction of the action that the message authorises.

pub mod message;
pub mod nonces;
pub mod sign_in;
pub mod signature;
pub mod siwe;
mod verify;

use std::fmt;

use alloy::primitives::Address;

use crate::config::Config;
use crate::id::{AccountId, Timestamp};

pub use message::ParsedMessage;
pub use siwe::SiweDraft;
pub use verify::{RequestedAction, SignedTerms, WalletAuthFields, verify};

/// Longest message that is read, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Action that a wallet can sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WalletAction {
    Create,
    List,
    Revoke,
    Rotate,
    Update,
    Balance,
    Ledger,
    Checkout,
    /// Let an OAuth client use the account within limits. Its message names them in its statement and by its `Request ID`.
    Connect,
    /// Begin a browser session.
    SignIn,
}

impl WalletAction {
    /// All actions.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::List,
        Self::Revoke,
        Self::Rotate,
        Self::Update,
        Self::Balance,
        Self::Ledger,
        Self::Checkout,
        Self::Connect,
        Self::SignIn,
    ];

    /// Returns true if the action makes something that can spend the account's money, or begins a payment in its name.
    #[must_use]
    pub const fn gives_authority(self) -> bool {
        match self {
            Self::Create | Self::Rotate | Self::Update | Self::Checkout | Self::Connect | Self::SignIn => {
                true
            }
            Self::List | Self::Revoke | Self::Balance | Self::Ledger => false,
        }
    }

    /// Returns the name in a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Revoke => "revoke",
            Self::Rotate => "rotate",
            Self::Update => "update",
            Self::Balance => "balance",
            Self::Ledger => "ledger",
            Self::Checkout => "checkout",
            Self::Connect => "connect",
            Self::SignIn => "sign-in",
        }
    }
}

impl fmt::Display for WalletAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason a signed message is refused. The texts are for the caller and repeat nothing that was
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A field of the request is not there.
    #[error("send walletAddress, message and signature as strings; `{0}` is missing")]
    Missing(&'static str),
    /// The message is for another action.
    #[error("the message was signed for another action; this request needs action={0}")]
    ActionMismatch(WalletAction),
    /// The message is about another key, or about one where none is meant.
    #[error("the message names another keyId than this request; sign a message with the request's keyId")]
    KeyIdMismatch,
    /// The nonce was used.
    #[error("this nonce was used before; sign a new message with a new nonce")]
    Replay,
    /// The message is malformed, or was signed for another server, chain or wallet.
    #[error("{0}")]
    Message(&'static str),
    /// The message is too old, or from the future.
    #[error("{0}")]
    Timestamp(&'static str),
    /// The signature is not this wallet's over this message.
    #[error("{0}")]
    Signature(&'static str),
    /// The chain, which decides about this kind of signature, is unreachable.
    #[error("only the chain can check this kind of signature, and it is unreachable; send the request again")]
    ChainUnreachable,
    /// Too many signatures that cost a question to the chain; seconds to wait.
    #[error("too many signatures that the chain must check came from this address; try again in {0} s")]
    RateLimited(u32),
}

/// Rules for every message, whoever signs it.
#[derive(Debug, Clone)]
pub struct MessageRules {
    /// `Pryv API key mgmt`, with the product's name.
    title: String,
    /// Origins of this server: the API's first, then the dashboard's where it has one of its own.
    origins: Vec<MessageOrigin>,
    chain_id: u64,
    /// True if a message must name this server.
    require_host: bool,
    /// True if a message must name the request's other parameters.
    require_body: bool,
    /// Oldest age of a message, in milliseconds.
    ttl: i64,
    /// Most that the signer's clock may be ahead of the server's, in milliseconds.
    skew: i64,
}

impl MessageRules {
    /// Makes the rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut origins = vec![MessageOrigin::new(&config.server.public_url)];
        if let Some(url) = config.dashboard.public_url.as_deref().filter(|url| **url != origins[0].origin) {
            origins.push(MessageOrigin::new(url));
        }
        let millis = |seconds: u32| i64::from(seconds).saturating_mul(1000);
        Self {
            title: format!("{} API key mgmt", config.product.name),
            origins,
            chain_id: config.chain.chain_id,
            require_host: config.wallet_auth.require_host,
            require_body: config.wallet_auth.require_body,
            ttl: millis(config.wallet_auth.message_ttl_seconds),
            skew: millis(config.wallet_auth.clock_skew_seconds),
        }
    }

    /// Returns the API's origin.
    fn api(&self) -> &MessageOrigin {
        &self.origins[0]
    }

    /// Checks that a message of that time is fresh.
    fn check_time(&self, issued: Timestamp, now: Timestamp) -> Result<(), AuthError> {
        let age = now.checked_millis_since(issued).unwrap_or(i64::MAX);
        if age > self.ttl {
            return Err(AuthError::Timestamp("the message is too old; sign a new one with the current time"));
        }
        if age < -self.skew {
            return Err(AuthError::Timestamp("the message is from the future; check the signer's clock"));
        }
        Ok(())
    }

    /// Returns the time until which a message of that time could be shown again.
    fn valid_until(&self, issued: Timestamp) -> Timestamp {
        issued.checked_add_millis(self.ttl.saturating_add(self.skew)).unwrap_or(issued)
    }
}

/// Origin that messages are signed for.
#[derive(Debug, Clone)]
struct MessageOrigin {
    /// `https://api.example.com`.
    origin: String,
    /// `api.example.com`, with a port if the origin has one.
    host: String,
}

impl MessageOrigin {
    fn new(url: &str) -> Self {
        // Clients leave a scheme's usual port out, as URLs do.
        let (host, usual) = match url.split_once("://") {
            Some(("https", host)) => (host, ":443"),
            Some((_, host)) => (host, ":80"),
            None => ("", ""),
        };
        Self { origin: url.to_owned(), host: host.strip_suffix(usual).unwrap_or(host).to_owned() }
    }
}

/// A message that a wallet signed. Only [`verify`] and [`sign_in::verify`] make one. Its nonce is not consumed yet, so it
/// authorises nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedMessage {
    wallet: Address,
    account: AccountId,
    message: ParsedMessage,
    valid_until: Timestamp,
}

impl VerifiedMessage {
    /// Returns the wallet that signed.
    #[must_use]
    pub const fn wallet(&self) -> Address {
        self.wallet
    }

    /// Returns the wallet's account on the ledger.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Returns the action that was signed for.
    #[must_use]
    pub const fn action(&self) -> WalletAction {
        self.message.action
    }

    /// Returns the key that the message is about.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.message.key_id.as_deref()
    }

    /// Returns the nonce, in its one spelling.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.message.nonce
    }

    /// Returns the time of signing, as the signer gives it.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.message.issued_at
    }
}
