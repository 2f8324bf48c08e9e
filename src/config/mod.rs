//! Configuration: one TOML file, environment and flags, parsed once into types.
//!
//! Every key is documented in `farebox.example.toml`. Sources are merged by
//! [`load`] (file < environment < flags), unknown keys are refused with the
//! nearest valid name, and [`Config::validate`] checks the rules that hold between
//! fields. After start-up nothing reads a file or the environment again.

mod billing;
mod dashboard;
mod fetch;
mod key_sale;
mod keys;
mod load;
mod mcp;
mod models;
mod pii;
mod privacy;
mod sessions;
mod upstream_kind;
mod upstreams;
mod wallet_auth;
mod warnings;

use std::net::SocketAddr;

use alloy::primitives::{Address, address};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::money::Money;

pub use billing::{BillingConfig, Pack, is_whole_cents};
pub use dashboard::DashboardConfig;
pub use farebox_payments::methods::tempo::SubmissionMode;
pub use farebox_types::secret::Secret;
pub use fetch::{FetchConfig, IpNetwork};
pub use key_sale::KeySaleConfig;
pub use keys::KeysConfig;
pub use load::{ConfigError, Sources, load};
pub use mcp::{McpConfig, PinnedClient};
pub use models::{ItemPrices, LengthField, ModelConfig, Source, SourceGroup, Tokenizer};
pub use pii::PiiConfig;
pub use privacy::{PrivacyConfig, PrivacyMode};
pub use sessions::SessionsConfig;
pub use upstream_kind::{KindProfile, OPENAI_FIELDS, UpstreamKind};
pub use upstreams::UpstreamConfig;
pub use wallet_auth::WalletAuthConfig;
pub use warnings::warnings;

/// The whole configuration of a server process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub product: ProductConfig,
    pub payments: PaymentsConfig,
    pub chain: ChainConfig,
    pub sponsor: SponsorConfig,
    pub sessions: SessionsConfig,
    pub wallet_auth: WalletAuthConfig,
    pub billing: BillingConfig,
    pub keys: KeysConfig,
    pub key_sale: KeySaleConfig,
    pub pii: PiiConfig,
    pub privacy: PrivacyConfig,
    pub fetch: FetchConfig,
    pub mcp: McpConfig,
    pub dashboard: DashboardConfig,
    pub log: LogConfig,
    /// Servers that models come from.
    pub upstreams: Vec<UpstreamConfig>,
    /// Models that are sold; none by default.
    pub models: Vec<ModelConfig>,
}

/// The HTTP listener and its limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address of the operator's own listener, for `/metrics`, `/healthz` and `/readyz`: one that clients cannot reach.
    pub admin_listen: SocketAddr,
    /// Origin that clients use, without a trailing slash. The payment realm and
    /// every published link derive from it, never from a request's Host header.
    pub public_url: String,
    /// Largest accepted request body, in bytes.
    pub body_limit_bytes: usize,
    /// Largest accepted body that may hold images and PDFs (previews and chat), in bytes.
    pub file_body_limit_bytes: usize,
    /// Memory that request bodies may take together, in bytes, not counting the first 16 KiB of each; further ones are
    /// answered with 503.
    pub large_bodies_bytes: usize,
    /// Largest accepted request head (all headers together), in bytes.
    pub header_limit_bytes: usize,
    /// Time a client has to send its headers, in milliseconds.
    pub header_timeout_ms: u64,
    /// Time a client has to send its body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Time for which a connection may stay open without a request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Time a client has to take a piece of its answer, in milliseconds.
    pub write_timeout_ms: u64,
    /// Connections served at once, as far as the limit of open files leaves room for them. Further ones are answered
    /// `/healthz` and `/readyz` alone.
    pub max_connections: usize,
    /// Connections of one address, or of one /64 network of IPv6; `trusted_proxies` may have more.
    pub max_connections_per_address: usize,
    /// Networks of the proxies in front of this server: only theirs `X-Forwarded-For` is read.
    pub trusted_proxies: Vec<IpNet>,
    /// Time open requests have to finish after a stop signal, in seconds.
    pub drain_seconds: u64,
}

/// Database of the ledger and of everything else that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite://path` (created when missing) or `postgres://…`.
    pub url: Secret,
    /// Connections in the pool.
    pub max_connections: u32,
}

/// Names shown to people.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProductConfig {
    pub name: String,
    pub description: String,
    /// Page on which people find documentation; published in the discovery document.
    pub homepage: Option<String>,
    /// Contact address published in the discovery document.
    pub contact: Option<String>,
}

/// Payment scheme: challenges, and the retention of answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsConfig {
    /// Secret that binds challenges; at least 32 bytes.
    pub secret: Secret,
    /// Secret before the last rotation: still verifies, never signs.
    pub previous_secret: Option<Secret>,
    /// Time for which a charge challenge can be paid, in seconds.
    pub challenge_ttl_seconds: u64,
    /// Account that receives payments.
    pub recipient: Address,
    /// Ways in which a charge may be submitted.
    pub modes: Vec<SubmissionMode>,
    /// Time for which the answer to a request with an `Idempotency-Key` can be
    /// fetched again, in hours.
    pub answer_retention_hours: u64,
    /// Payments that may fail in a minute, for one address.
    pub failed_rpm: u32,
}

/// Tempo node, and the token that prices are paid in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChainConfig {
    pub rpc_url: Secret,
    /// URL of the proxy to the node; `None` for none.
    pub proxy: Option<Secret>,
    pub chain_id: u64,
    /// TIP-20 token that charges are paid in (six decimals).
    pub currency: Address,
    /// Name of the token, shown to people.
    pub currency_name: String,
    /// Further TIP-20 dollar tokens that are accepted, at one to one.
    pub also_accepted: Vec<Address>,
    /// Timeout of one RPC call, in milliseconds.
    pub request_timeout_ms: u64,
    /// Time for which a request waits for its transaction before it is answered
    /// "pending, send the same request again", in milliseconds.
    pub confirm_timeout_ms: u64,
}

/// Fee sponsorship: the server pays the network fee of a customer's charge.
/// On when `private_key` is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SponsorConfig {
    /// Key of the account that pays fees, 0x and 64 hex digits.
    pub private_key: Option<Secret>,
    /// TIP-20 token that fees are paid in.
    pub fee_token: Address,
    /// Gas limit that a sponsored transaction may ask for.
    pub max_gas: u64,
    /// Highest fee of one transaction.
    pub max_fee: Money,
    /// Sponsored transactions whose outcome is open, over all payers.
    pub max_in_flight: u32,
    /// Sponsored transactions of one payer whose outcome is open.
    pub max_in_flight_per_payer: u32,
    /// Sum of the highest fees of all sponsored transactions of a UTC day.
    pub daily_budget: Money,
    /// Sum of the highest fees of one payer's sponsored transactions of a UTC day.
    pub daily_budget_per_payer: Money,
}

/// Logging.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `farebox=debug`.
    pub filter: String,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8402)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8403)),
            public_url: "http://127.0.0.1:8402".into(),
            body_limit_bytes: 1 << 20,
            file_body_limit_bytes: 20 << 20,
            large_bodies_bytes: 256 << 20,
            header_limit_bytes: 192 << 10,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            write_timeout_ms: 60_000,
            max_connections: 4096,
            max_connections_per_address: 512,
            trusted_proxies: Vec::new(),
            drain_seconds: 20,
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: Secret::from("sqlite://farebox.db"), max_connections: 8 }
    }
}

impl Default for ProductConfig {
    fn default() -> Self {
        Self {
            name: "Pryv".into(),
            description: "Private AI API calls, paid per request or with prepaid credits.".into(),
            homepage: None,
            contact: None,
        }
    }
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        Self {
            secret: Secret::default(),
            previous_secret: None,
            challenge_ttl_seconds: 300,
            recipient: Address::ZERO,
            modes: vec![SubmissionMode::Pull, SubmissionMode::Push],
            answer_retention_hours: 24,
            failed_rpm: 60,
        }
    }
}

/// pathUSD, Tempo's first stablecoin (TIP-20 factory address 0).
pub const PATH_USD: Address = address!("20c0000000000000000000000000000000000000");

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            rpc_url: Secret::from("http://127.0.0.1:8545"),
            proxy: None,
            chain_id: 4217,
            currency: PATH_USD,
            currency_name: "pathUSD".into(),
            also_accepted: Vec::new(),
            request_timeout_ms: 5_000,
            confirm_timeout_ms: 15_000,
        }
    }
}

impl Default for SponsorConfig {
    fn default() -> Self {
        Self {
            private_key: None,
            fee_token: PATH_USD,
            max_gas: 2_000_000,
            max_fee: Money::from_micros(50_000),
            max_in_flight: 64,
            max_in_flight_per_payer: 2,
            daily_budget: Money::from_micros(10_000_000),
            daily_budget_per_payer: Money::from_micros(500_000),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

impl Config {
    /// Checks the rules that hold between fields.
    ///
    /// # Errors
    /// The first rule that is broken, naming the key and what to write.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key: &str, reason: String| Err(ConfigError::invalid(key, reason));
        let url = &self.server.public_url;
        if url.ends_with('/') || host_of(url).is_none() {
            return bad(
                "server.public_url",
                format!("\"{url}\" is not an origin; write it as https://api.example.com, without a path"),
            );
        }
        for (key, secret) in [
            ("payments.secret", Some(&self.payments.secret)),
            ("payments.previous_secret", self.payments.previous_secret.as_ref()),
        ] {
            if let Some(secret) = secret
                && secret.expose().len() < MIN_SECRET_BYTES
            {
                return bad(
                    key,
                    format!(
                        "must be at least {MIN_SECRET_BYTES} bytes; make one with `openssl rand -base64 32`"
                    ),
                );
            }
        }
        if self.payments.secret.expose().starts_with("change-me") {
            return bad(
                "payments.secret",
                "is the example's, which everybody knows; make one with `openssl rand -base64 32`".into(),
            );
        }
        // What begins so is nobody's account: precompiles, and the example's placeholder.
        if self.payments.recipient.0[..18].iter().all(|byte| *byte == 0) {
            return bad(
                "payments.recipient",
                "set the 0x address that receives payments; nobody has the key of this one".into(),
            );
        }
        if self.payments.modes.is_empty() {
            return bad("payments.modes", "name at least one of \"pull\" and \"push\"".into());
        }
        for (key, money) in [
            ("pii.preview_price", self.pii.preview_price),
            ("sessions.settle_above", self.sessions.settle_above),
            ("sessions.min_voucher_delta", self.sessions.min_voucher_delta),
            ("sessions.low_fee_balance", self.sessions.low_fee_balance),
            ("sponsor.max_fee", self.sponsor.max_fee),
            ("sponsor.daily_budget", self.sponsor.daily_budget),
            ("sponsor.daily_budget_per_payer", self.sponsor.daily_budget_per_payer),
        ] {
            if money < Money::ZERO {
                return bad(key, "cannot be negative; write dollars such as \"0.05\"".into());
            }
        }
        self.pii.validate(self.server.body_limit_bytes)?;
        if self.server.file_body_limit_bytes < self.server.body_limit_bytes {
            return bad("server.file_body_limit_bytes", "cannot be less than server.body_limit_bytes".into());
        }
        if self.server.large_bodies_bytes < self.server.file_body_limit_bytes {
            return bad(
                "server.large_bodies_bytes",
                "cannot be less than server.file_body_limit_bytes".into(),
            );
        }
        if self.product.name.contains(['|', ';', '=', '\n']) {
            return bad(
                "product.name",
                "cannot have | ; = and line breaks, because wallets sign it in messages; leave them out"
                    .into(),
            );
        }
        let proxies = self.upstreams.iter().enumerate();
        let proxies = proxies.map(|(index, upstream)| (format!("upstreams[{index}].proxy"), &upstream.proxy));
        let proxies = proxies.chain([
            ("chain.proxy".to_owned(), &self.chain.proxy),
            ("billing.proxy".to_owned(), &self.billing.proxy),
        ]);
        for (key, proxy) in proxies {
            if proxy.as_ref().is_some_and(|proxy| reqwest::Proxy::all(proxy.expose()).is_err()) {
                return bad(&key, "must be the URL of a proxy, such as http://127.0.0.1:3128".into());
            }
        }
        self.billing.validate()?;
        if let Err(reason) = keys::check_prefix(&self.keys.prefix) {
            return bad("keys.prefix", reason.into());
        }
        if !self.keys.top_up.is_positive() {
            return bad("keys.top_up", "must be more than zero dollars".into());
        }
        self.validate_rates()?;
        key_sale::validate(&self.key_sale)?;
        fetch::validate(&self.fetch)?;
        self.mcp.validate()?;
        self.dashboard.validate()?;
        models::validate(&self.upstreams, &self.models)
    }

    fn validate_rates(&self) -> Result<(), ConfigError> {
        let rates = [
            ("keys.default_rpm", self.keys.default_rpm),
            ("keys.default_tpm", self.keys.default_tpm),
            ("keys.anonymous_rpm", self.keys.anonymous_rpm),
            ("keys.management_rpm", self.keys.management_rpm),
            ("payments.failed_rpm", self.payments.failed_rpm),
            ("mcp.registration_rpm", self.mcp.registration_rpm),
            ("mcp.token_rpm", self.mcp.token_rpm),
        ];
        match rates.into_iter().find(|(_, rate)| *rate == 0) {
            Some((key, _)) => Err(ConfigError::invalid(key, "must be at least 1")),
            None => Ok(()),
        }
    }

    /// Returns the protection space of challenges: the host name of `server.public_url`,
    /// without its port, which is what clients compare it with.
    #[must_use]
    pub fn realm(&self) -> &str {
        let host = host_of(&self.server.public_url).unwrap_or_default();
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        }
    }
}

/// Shortest secret of challenges. RFC 2104 advises a key no shorter than the hash, and so do the SDKs.
const MIN_SECRET_BYTES: usize = 32;

/// Returns `host[:port]` of an http(s) origin, or `None` when it is anything else.
fn host_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    plain.then_some(host)
}
