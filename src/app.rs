//! The running program: every part, built once and wired by hand.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chain::{Chain, ChainError};
use crate::config::{Config, ConfigError};
use crate::db::{Db, DbError, Engine, notify, wal};
use crate::fetch::Fetcher;
use crate::funding::card::Cards;
use crate::funding::channel::worker;
use crate::funding::{Charges, FeeAccount, KeySales, Payments, Sponsor, StoreError, key_sale, recover};
use crate::http::discovery::Documents;
use crate::http::room;
use crate::id::{AccountId, Timestamp};
use crate::keys::{self, Keys, Rates};
use crate::ledger::{Ledger, sweep};
use crate::limits::{Buckets, Rate};
use crate::meter::ChannelNotifier;
use crate::money::Money;
use crate::payments::Issuer;
use crate::payments::Offer;
use crate::payments::methods::tempo::ChargeTerms;
use crate::payments::methods::tempo::session::ChannelId;
use crate::services::chat::Models;
use crate::services::pii::Examiner;
use crate::services::preview;
use crate::sessions::Sessions;
use crate::wallet_auth::{MessageRules, nonces};
use farebox_pii as pii;

/// How often abandoned holds are looked for, and how many are closed in one go.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const SWEEP_BATCH: u32 = 500;
/// Often enough that what is copied of the database's log at a time stays little.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// How often old nonces are forgotten.
const NONCES_EVERY: Duration = Duration::from_mins(10);
/// How often the balances that pay network fees are read.
const FEES_EVERY: Duration = Duration::from_secs(15);

/// How often the last use of keys is written down.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Everything a request can need.
pub struct App {
    pub config: Config,
    pub db: Db,
    pub ledger: Ledger,
    pub keys: Keys,
    pub rates: Rates,
    /// Requests without a valid key, by address.
    pub unauthenticated_limiter: Buckets<IpAddr>,
    pub chain: Chain,
    pub issuer: Issuer,
    pub charges: Charges,
    /// Credits paid by card.
    pub cards: Cards,
    /// What messages that wallets sign must say.
    pub message_rules: MessageRules,
    pub offers: Offers,
    pub sponsor: Option<Sponsor>,
    /// What answers chat requests.
    pub models: Models,
    /// Streamed chat, where it is offered.
    pub sessions: Option<Arc<Sessions>>,
    /// Purchases on the chain, where a contract sells.
    pub key_sales: Option<KeySales>,
    /// What finds personal data.
    pub examiner: Examiner,
    /// The models that a preview may choose from.
    pub previews: pii::AvailableModels,
    /// What large bodies of requests may take of memory.
    pub large_bodies: Arc<Semaphore>,
    /// Reads what chat requests attach.
    pub fetcher: Fetcher,
    /// How much an account has read.
    pub readings: Buckets<AccountId>,
    pub documents: Documents,
    pub metrics: PrometheusHandle,
    /// Work that must not be cut off: waited for at shutdown.
    pub tasks: TaskTracker,
    stop: CancellationToken,
    /// Held while this process owns its SQLite database.
    _lock: Option<File>,
}

/// What each route asks for.
pub struct Offers {
    /// `POST /mpp/pii/preview`.
    pub preview: Arc<[Offer]>,
    /// The same with `?feePayer=true`: the server pays the network fee.
    pub preview_sponsored: Option<Arc<[Offer]>>,
    /// `GET /mpp/account`: free, but the wallet must prove itself.
    pub account: Arc<[Offer]>,
    /// `POST /mpp/credits` and `POST /mpp/keys`, by pack.
    pub packs: HashMap<String, Arc<[Offer]>>,
    terms: ChargeTerms,
    currencies: Vec<Address>,
}

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("database.url: {0}")]
    Database(#[from] DbError),
    #[error(transparent)]
    Payments(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("{path} is in use by another farebox process; only PostgreSQL can be shared")]
    InUse { path: String },
    #[error("cannot lock {path}: {source}")]
    Lock { path: String, source: std::io::Error },
}

impl App {
    /// Opens the database, brings its schema up to date and starts the workers.
    /// The chain need not answer yet: `/readyz` says whether it does.
    ///
    /// # Errors
    /// Why the program cannot start, in a sentence for its operator.
    pub async fn start(config: Config, metrics: PrometheusHandle) -> Result<Arc<Self>, StartError> {
        let lock = lock_sqlite(config.database.url.expose())?;
        let db = Db::connect(config.database.url.expose(), config.database.max_connections).await?;
        db.migrate().await?;
        let payments = Payments::new(db.clone());
        if db.engine == Engine::Sqlite {
            // The lock proves that whoever held these leases is gone.
            payments.release_all().await?;
            worker::revoke_lease(&db).await?;
            key_sale::revoke_lease(&db).await?;
        }
        let chain = Chain::new(&config.chain)?;
        let sponsor = Sponsor::new(&config.sponsor)?;
        let issuer = Issuer::new(
            config.realm(),
            &config.payments.secret,
            config.payments.previous_secret.as_ref(),
            config.payments.challenge_ttl_seconds,
        );
        let offers = Offers::new(&config, sponsor.is_some());
        let examiner = Examiner::load(&config.pii)?;
        let models = Models::new(&config, examiner.clone()).map_err(|_| ConfigError::tls_roots())?;
        let fetcher = Fetcher::new(&config.fetch).map_err(|_| ConfigError::tls_roots())?;
        let (notifier, notifications) = ChannelNotifier::new();
        let sessions =
            Sessions::new(&config, &models, &db, &chain, sponsor.as_ref(), notifier)?.map(Arc::new);
        let app = Arc::new(Self {
            ledger: Ledger::start(db.clone()),
            keys: Keys::new(db.clone(), &config.keys.prefix),
            rates: Rates::new(db.clone(), config.keys.default_rpm, config.keys.default_tpm),
            unauthenticated_limiter: Buckets::new(Rate::per_minute(config.keys.anonymous_rpm)),
            charges: Charges::new(&config, payments, chain.clone(), issuer.clone(), sponsor.clone()),
            cards: Cards::new(&config.billing, &config.server.public_url, &config.product.name, db.clone())?,
            message_rules: MessageRules::new(&config),
            documents: Documents::new(&config, &offers, sessions.as_deref()),
            previews: examiner.engine().available_models(pii::RecognitionModel::Fast),
            examiner,
            large_bodies: room(config.server.large_bodies_bytes),
            fetcher,
            readings: Buckets::new(Rate::per_minute(config.fetch.per_minute)),
            key_sales: KeySales::new(&config, &db, &chain),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            _lock: lock,
            config,
            db,
            chain,
            issuer,
            offers,
            sponsor,
            models,
            sessions,
            metrics,
        });
        app.work(notifications);
        Ok(app)
    }

    /// Starts the background workers; each ends with [`App::shutdown`].
    fn work(self: &Arc<Self>, notifications: mpsc::Receiver<ChannelId>) {
        let hours = self.config.payments.answer_retention_hours;
        let retention = Duration::from_secs(hours.saturating_mul(3600));
        let charges = self.charges.clone();
        self.until_stopped(async move { recover::run(charges, retention).await });
        let ledger = self.ledger.clone();
        self.until_stopped(async move { sweep_holds(ledger).await });
        let cards = self.cards.clone();
        self.until_stopped(async move { collect_debts(cards).await });
        let keys = self.keys.clone();
        self.until_stopped(async move { watch_keys(keys).await });
        let (keys, rates) = (self.keys.clone(), self.rates.clone());
        self.until_stopped(async move { note_use(keys, rates).await });
        if let Some(sessions) = &self.sessions {
            let channels = sessions.channels.clone();
            self.until_stopped(async move { worker::run(channels).await });
            let (notifier, db, url) =
                (sessions.notifier.clone(), self.db.clone(), self.config.database.url.clone());
            self.until_stopped(async move {
                relay_notifications(&db, url.expose(), &notifier, notifications).await;
            });
        }
        if self.db.engine == Engine::Sqlite {
            let db = self.db.clone();
            self.until_stopped(async move { checkpoint(db).await });
        }
        let db = self.db.clone();
        self.until_stopped(async move { forget_nonces(&db).await });
        if let Some(sales) = self.key_sales.clone() {
            self.until_stopped(async move { key_sale::run(sales).await });
        }
        let (chain, accounts) = (self.chain.clone(), self.fee_accounts());
        self.until_stopped(async move { watch_fees(chain, accounts).await });
    }

    /// The accounts of ours that pay network fees.
    #[must_use]
    pub fn fee_accounts(&self) -> Vec<FeeAccount> {
        let sponsor = self.sponsor.iter().map(|sponsor| sponsor.account().clone());
        let operator = self.sessions.iter().map(|sessions| sessions.channels.fee_account().clone());
        sponsor.chain(operator).collect()
    }

    /// What a preview may ask for.
    #[must_use]
    pub fn preview_terms(&self) -> preview::PreviewLimits<'_> {
        preview::PreviewLimits { text_bytes: self.config.pii.max_text_bytes, offer: &self.previews }
    }

    fn until_stopped(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Stops the workers and waits for payments under way.
    pub async fn shutdown(&self, wait: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(wait, self.tasks.wait()).await.is_err() {
            tracing::warn!("work was still open; it is finished at the next start");
        }
        if let Err(error) = self.keys.flush().await {
            tracing::warn!(%error, "the last use of keys is not noted");
        }
        if let Some(sales) = &self.key_sales {
            sales.release_lease().await;
        }
        if let Some(sessions) = &self.sessions {
            worker::release_lease(&sessions.channels).await;
        }
        self.db.close().await;
    }
}

impl Offers {
    fn new(config: &Config, sponsored: bool) -> Self {
        let terms = ChargeTerms {
            recipient: config.payments.recipient,
            chain_id: config.chain.chain_id,
            modes: config.payments.modes.clone(),
        };
        let price = config.pii.preview_price;
        let currencies: Vec<Address> = std::iter::once(config.chain.currency)
            .chain(config.chain.also_accepted.iter().copied())
            .collect();
        let each = |amount, sponsored, description: &str| -> Arc<[Offer]> {
            let offer = |token: &Address| terms.offer(*token, amount, sponsored, description);
            currencies.iter().map(offer).collect()
        };
        let packs = config.billing.packs.iter().map(|pack| {
            let description = format!("{} of credits", pack.credits);
            (pack.id.clone(), each(pack.price, false, &description))
        });
        Self {
            packs: packs.collect(),
            preview: each(price, false, "One PII preview"),
            preview_sponsored: (sponsored && price.is_positive())
                .then(|| each(price, true, "One PII preview, network fee included")),
            // A proof moves no money: one offer is enough.
            account: [terms.offer(
                config.chain.currency,
                Money::ZERO,
                false,
                "Proof of the wallet whose account is shown",
            )]
            .into(),
            currencies,
            terms,
        }
    }

    /// Paying so much into an account.
    #[must_use]
    pub fn top_up(&self, amount: Money) -> Arc<[Offer]> {
        let words = format!("Add ${} of credits", amount.to_dollars());
        let offer = |token: &Address| self.terms.offer(*token, amount, false, &words);
        self.currencies.iter().map(offer).collect()
    }
}

/// SQLite has one owner. The lock is a file of its own beside the database and
/// vanishes with the process, however that ends.
fn lock_sqlite(url: &str) -> Result<Option<File>, StartError> {
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Ok(None);
    };
    let path = format!("{}.lock", path.split('?').next().unwrap_or(path));
    let failed = |source| StartError::Lock { path: path.clone(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(Path::new(&path)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Closes the holds of requests that a crash cut off.
async fn sweep_holds(ledger: Ledger) {
    loop {
        match sweep::sweep(&ledger, Timestamp::now(), SWEEP_BATCH).await {
            Ok(swept) => tracing::debug!(?swept, "abandoned holds"),
            Err(error) => tracing::warn!(%error, "abandoned holds cannot be swept"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Keeps the database's log short.
async fn checkpoint(db: Db) {
    loop {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
        if let Err(error) = db.checkpoint().await {
            wal::abort_process(&error);
            tracing::warn!(%error, "the database's log cannot be copied into its file");
        }
    }
}

/// Has debts met from what closed holds freed; new credit meets them at once.
async fn collect_debts(cards: Cards) {
    loop {
        if let Err(error) = cards.collect_debts(Timestamp::now()).await {
            tracing::warn!(%error, "debts cannot be met");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Forgets nonces that cannot come back.
async fn forget_nonces(db: &Db) {
    loop {
        if let Err(error) = nonces::forget(db, Timestamp::now()).await {
            tracing::warn!(%error, "old nonces cannot be forgotten");
        }
        tokio::time::sleep(NONCES_EVERY).await;
    }
}

/// Ends what runs with keys that end.
async fn watch_keys(keys: Keys) {
    let mut since = Timestamp::now();
    loop {
        tokio::time::sleep(keys::POLL_INTERVAL).await;
        let now = Timestamp::now();
        match keys.cancel_inactive(since, now).await {
            Ok(()) => since = now,
            Err(error) => tracing::warn!(%error, "ended keys cannot be looked for"),
        }
    }
}

/// Writes down when keys were used, and forgets past minutes.
async fn note_use(keys: Keys, rates: Rates) {
    loop {
        tokio::time::sleep(NOTE_EVERY).await;
        let noted = keys.flush().await.and(rates.delete_expired(Timestamp::now()).await);
        if let Err(error) = noted {
            tracing::warn!(%error, "the use of keys cannot be noted");
        }
    }
}

/// Tells other instances which channels something happened to, and hears it from them.
async fn relay_notifications(
    db: &Db,
    url: &str,
    notifier: &ChannelNotifier,
    notifications: mpsc::Receiver<ChannelId>,
) {
    notify::relay(db, url, "farebox_channels", notifications, |word| {
        if let Ok(channel) = word.parse() {
            notifier.notify_local(channel);
        }
    })
    .await;
}

/// Keeps an eye on the balances that pay network fees. A node that cannot be
/// asked changes nothing: a broadcast would fail and cost nothing.
async fn watch_fees(chain: Chain, accounts: Vec<FeeAccount>) {
    if accounts.is_empty() {
        return;
    }
    loop {
        for account in &accounts {
            match chain.balance(account.token, account.address).await {
                Ok(balance) => account.observe(balance),
                Err(error) => tracing::warn!(%error, role = account.role, "a fee balance cannot be read"),
            }
        }
        tokio::time::sleep(FEES_EVERY).await;
    }
}
