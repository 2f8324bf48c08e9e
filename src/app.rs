//! The running program: every part, built once and wired by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser_sessions::BrowserSessions;
use crate::browser_sessions::event_streams::EventStreams;
use crate::chain::{Chain, ChainError};
use crate::config::{Config, ConfigError};
use crate::db::{Db, DbError, Engine, LockError, SqliteLock};
use crate::dependencies::DependencyCache;
use crate::fetch::Fetcher;
use crate::funding::card::Cards;
use crate::funding::channel::worker;
use crate::funding::{Charges, FeeAccount, KeySales, Payee, Payments, Sponsor, StoreError};
use crate::id::{AccountId, Timestamp};
use crate::keys::{KeyId, Keys, Rates};
use crate::ledger::{self, Ledger, LedgerError};
use crate::limits::{Buckets, Rate};
use crate::mcp_files::McpFiles;
use crate::meter::{ChannelNotifier, ServedHolds, served};
use crate::oauth::Oauth;
use crate::offers::Offers;
use crate::offers::sessions::Sessions;
use crate::payments::Issuer;
use crate::permits::MemoryPermits;
use crate::services::chat::Models;
use crate::services::pii::Examiner;
use crate::services::preview;
use crate::wallet_auth::MessageRules;
use crate::wallet_auth::sign_in::SignIn;
use crate::workers::{ChannelWork, WorkerContext, Workers};
use farebox_pii as pii;

/// Bodies that take longer than usual and are waited for at once.
const MAX_SLOW_BODIES: usize = 1024;

/// Times in a minute that the call of one payment can be made.
const PAID_CALL_RPM: u32 = 10;

/// Everything a request can need.
pub struct App {
    pub config: Config,
    pub db: Db,
    pub ledger: Ledger,
    /// Holds of the requests that this instance serves.
    pub served: ServedHolds,
    pub keys: Keys,
    pub rates: Rates,
    /// Limiter of requests without a valid key, by address.
    pub unauthenticated_limiter: Buckets<IpAddr>,
    /// Limiters of signed management requests, by address and by wallet.
    pub management_by_address: Buckets<IpAddr>,
    pub management_by_wallet: Buckets<AccountId>,
    /// Limiter of payments that fail, by address.
    pub failed_payments: Buckets<IpAddr>,
    /// Limiter of calls that were paid by themselves, by payment: one that ends uncharged can be made again.
    pub paid_calls: Buckets<KeyId>,
    /// Limiter of OAuth clients that register, by address.
    pub registrations: Buckets<IpAddr>,
    pub chain: Chain,
    pub issuer: Issuer,
    pub charges: Charges,
    /// Credits paid by card.
    pub cards: Cards,
    /// Authorization server of the MCP server.
    pub oauth: Oauth,
    /// Sign-ins of people in browsers, and the messages that begin them.
    pub browser_sessions: BrowserSessions,
    pub sign_in: SignIn,
    /// Limiter of requests by browser sessions, by wallet.
    pub session_limiter: Buckets<AccountId>,
    /// Rules for the messages that wallets sign.
    pub message_rules: MessageRules,
    pub offers: Offers,
    pub sponsor: Option<Sponsor>,
    /// Models that answer chat requests.
    pub models: Models,
    /// Streamed chat, where it is offered.
    pub sessions: Option<Arc<Sessions>>,
    /// Purchases on the chain, where a contract sells.
    pub key_sales: KeySales,
    pub payees: Vec<Payee>,
    /// Examines text and files for personal data.
    pub examiner: Examiner,
    /// Models that a preview may choose from.
    pub previews: pii::AvailableModels,
    /// Memory that request bodies share.
    pub large_bodies: MemoryPermits,
    /// Permits of bodies that take long to arrive.
    pub slow_bodies: Semaphore,
    /// Reads the attachments of chat requests.
    pub fetcher: Fetcher,
    /// Files of the MCP server's tools.
    pub mcp_files: McpFiles,
    /// Limiter of attachments that are read, by account.
    pub attachment_limiter: Buckets<AccountId>,
    pub metrics: PrometheusHandle,
    /// Open streams of account events.
    pub event_streams: EventStreams,
    /// Cancelled when the process is to stop.
    pub stopping: CancellationToken,
    /// Last known state of the database and the chain, for `/readyz`.
    pub dependencies: DependencyCache,
    /// Work that must not be cut off: waited for at shutdown.
    pub tasks: TaskTracker,
    workers: Workers,
    /// Held while this process owns its SQLite database.
    _lock: Option<SqliteLock>,
}

/// Reason the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("database.url: {0}")]
    Database(#[from] DbError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Payments(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl App {
    /// Opens the database, brings its schema up to date and starts the workers.
    /// The chain need not answer yet: `/readyz` says whether it does.
    ///
    /// # Errors
    /// [`StartError`], in a sentence for the operator.
    #[expect(
        clippy::disallowed_methods,
        reason = "what the last process left open ends at the moment of the start"
    )]
    pub async fn start(config: Config, metrics: PrometheusHandle) -> Result<Arc<Self>, StartError> {
        let lock = SqliteLock::acquire(config.database.url.expose())?;
        let db = Db::connect(config.database.url.expose(), config.database.max_connections).await?;
        db.migrate().await?;
        let payments = Payments::new(db.clone());
        if db.engine == Engine::Sqlite {
            // The lock proves that whoever held these leases is gone.
            payments.release_all().await?;
            worker::revoke_lease(&db).await?;
        }
        let chain = Chain::new(&config.chain)?;
        let key_sales = KeySales::new(&config, &db, &chain);
        if db.engine == Engine::Sqlite {
            key_sales.revoke_leases(&db).await?;
        }
        let sponsor = Sponsor::new(&config.sponsor)?;
        let issuer = Issuer::new(
            config.realm(),
            &config.payments.secret,
            config.payments.previous_secret.as_ref(),
            config.payments.challenge_ttl_seconds,
        );
        let examiner = Examiner::load(&config.pii)?;
        let models = Models::new(&config, examiner.clone()).map_err(|_| ConfigError::tls_roots())?;
        let fetcher = Fetcher::new(&config.fetch).map_err(|_| ConfigError::tls_roots())?;
        let (notifier, notifications) = ChannelNotifier::new();
        let sessions =
            Sessions::new(&config, &models, &db, &chain, sponsor.as_ref(), notifier)?.map(Arc::new);
        let tasks = TaskTracker::new();
        let ledger = Ledger::with_patience(db.clone(), served::OUTAGE_PATIENCE);
        if db.engine == Engine::Sqlite {
            // Whoever held money for its requests is gone as well. A channel's own next request ends what it left.
            let closed = ledger::sweep::sweep_all(&ledger, "wallet:", Timestamp::now()).await?;
            if closed > 0 {
                tracing::info!(
                    closed,
                    "requests that the last process left open are closed at what was delivered"
                );
            }
        }
        let keys = Keys::new(db.clone(), &config.keys.prefix);
        let oauth = Oauth::new(&config, db.clone(), keys.clone(), fetcher.clone())?;
        let app = Arc::new(Self {
            ledger,
            served: ServedHolds::default(),
            keys,
            oauth,
            rates: Rates::new(db.clone(), config.keys.default_rpm, config.keys.default_tpm),
            unauthenticated_limiter: Buckets::new(Rate::per_minute(config.keys.anonymous_rpm)),
            management_by_address: Buckets::new(Rate::per_minute(config.keys.management_rpm)),
            management_by_wallet: Buckets::new(Rate::per_minute(config.keys.management_rpm)),
            registrations: Buckets::new(Rate::per_minute(config.mcp.registration_rpm)),
            paid_calls: Buckets::new(Rate::per_minute(PAID_CALL_RPM)),
            failed_payments: Buckets::new(Rate::per_minute(config.payments.failed_rpm)),
            charges: Charges::new(&config, payments, chain.clone(), issuer.clone(), sponsor.clone()),
            cards: Cards::new(&config.billing, &config.server.public_url, &config.product.name, db.clone())?,
            browser_sessions: BrowserSessions::new(&config, db.clone()),
            sign_in: SignIn::new(&config),
            session_limiter: Buckets::new(Rate::per_minute(config.dashboard.session_rpm)),
            message_rules: MessageRules::new(&config),
            offers: Offers::new(&config, sponsor.is_some()),
            previews: examiner.engine().available_models(pii::RecognitionModel::Fast),
            examiner,
            large_bodies: MemoryPermits::new(config.server.large_bodies_bytes),
            slow_bodies: Semaphore::new(MAX_SLOW_BODIES),
            fetcher,
            mcp_files: McpFiles::new(db.clone()),
            attachment_limiter: Buckets::new(Rate::per_minute(config.fetch.per_minute)),
            key_sales,
            payees: payees(&config),
            workers: Workers::new(tasks.clone()),
            tasks,
            _lock: lock,
            config,
            db,
            chain,
            issuer,
            sponsor,
            models,
            sessions,
            metrics,
            event_streams: EventStreams::default(),
            stopping: CancellationToken::new(),
            dependencies: DependencyCache::default(),
        });
        let channels = app.sessions.as_ref().map(|sessions| ChannelWork {
            channels: sessions.channels.clone(),
            notifier: sessions.notifier.clone(),
            notifications,
        });
        app.workers.start(app.worker_context(channels));
        Ok(app)
    }

    fn worker_context(&self, channels: Option<ChannelWork>) -> WorkerContext {
        let hours = self.config.payments.answer_retention_hours;
        WorkerContext {
            db: self.db.clone(),
            database_url: self.config.database.url.clone(),
            ledger: self.ledger.clone(),
            served: self.served.clone(),
            charges: self.charges.clone(),
            answer_retention: Duration::from_secs(hours.saturating_mul(3600)),
            cards: self.cards.clone(),
            keys: self.keys.clone(),
            oauth: self.oauth.clone(),
            browser_sessions: self.browser_sessions.clone(),
            rates: self.rates.clone(),
            channels,
            key_sales: self.key_sales.clone(),
            payees: self.payees.clone(),
            chain: self.chain.clone(),
            fee_accounts: self.fee_accounts(),
        }
    }

    /// Accounts of this server that pay network fees.
    #[must_use]
    pub fn fee_accounts(&self) -> Vec<FeeAccount> {
        let sponsor = self.sponsor.iter().map(|sponsor| sponsor.account().clone());
        let operator = self.sessions.iter().map(|sessions| sessions.channels.fee_account().clone());
        sponsor.chain(operator).collect()
    }

    /// True for the address of a proxy in front of this server.
    #[must_use]
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.config.server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Limits of a preview.
    #[must_use]
    pub fn preview_terms(&self) -> preview::PreviewLimits<'_> {
        preview::PreviewLimits { text_bytes: self.config.pii.max_text_bytes, offer: &self.previews }
    }

    /// Stops the workers and waits for payments under way, no longer than `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        self.workers.shutdown(limit).await;
        if let Err(error) = self.keys.flush().await {
            tracing::warn!(%error, "the last use of keys is not recorded");
        }
        self.key_sales.release_leases().await;
        if let Some(sessions) = &self.sessions {
            worker::release_lease(&sessions.channels).await;
        }
        self.db.close().await;
    }
}

/// Returns the accounts that a configuration is paid at.
fn payees(config: &Config) -> Vec<Payee> {
    let tokens: Vec<_> =
        std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied()).collect();
    let sale = &config.key_sale;
    let mut addresses = vec![config.payments.recipient];
    if !sale.contracts().is_empty() {
        addresses.extend(sale.payee.iter().chain(&sale.other_payees));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| Payee::new(address, tokens.clone(), config.sessions.escrow)).collect()
}
