//! Background workers of the server. Each runs until the process stops.

#![expect(clippy::disallowed_methods, reason = "each round of a worker begins at its own moment")]

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser_sessions::BrowserSessions;
use crate::chain::Chain;
use crate::config::Secret;
use crate::db::{Db, Engine, notify, wal};
use crate::funding::card::Cards;
use crate::funding::channel::{Channels, worker};
use crate::funding::key_sale::SaleReader;
use crate::funding::{Charges, FeeAccount, KeySales, Payee, key_sale, recover};
use crate::id::Timestamp;
use crate::keys::{self, Keys, Rates};
use crate::ledger::{Ledger, sweep};
use crate::mcp_files::McpFiles;
use crate::meter::{ChannelNotifier, ServedHolds, served};
use crate::oauth::Oauth;
use crate::payments::methods::tempo::session::ChannelId;
use crate::wallet_auth::nonces;

/// Interval between sweeps of expired holds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Holds that one sweep closes at the most.
const SWEEP_BATCH: u32 = 500;
/// Interval between attempts to meet debts.
const DEBT_INTERVAL: Duration = Duration::from_secs(10);
/// Interval between checkpoints. Short, so that each copies little of the database's log.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two removals of expired files of tools.
const FILES_INTERVAL: Duration = Duration::from_mins(1);
/// Interval between removals of old nonces.
const NONCE_INTERVAL: Duration = Duration::from_mins(10);
/// Interval between looks at the accounts that pay network fees, and at those that are paid.
const WATCH_INTERVAL: Duration = Duration::from_secs(15);
/// Interval between writes of the last use of keys.
const LAST_USE_INTERVAL: Duration = Duration::from_secs(10);
/// PostgreSQL channel on which instances tell each other of payment channels.
const NOTIFY_CHANNEL: &str = "farebox_channels";

/// Parts of the program that the workers use.
pub struct WorkerContext {
    pub db: Db,
    pub database_url: Secret,
    pub ledger: Ledger,
    pub served: ServedHolds,
    pub charges: Charges,
    /// Time for which answers can be fetched again.
    pub answer_retention: Duration,
    pub cards: Cards,
    pub keys: Keys,
    pub oauth: Oauth,
    pub browser_sessions: BrowserSessions,
    pub rates: Rates,
    /// Payment channels, where chat is sold from them.
    pub channels: Option<ChannelWork>,
    pub key_sales: KeySales,
    pub payees: Vec<Payee>,
    pub chain: Chain,
    /// Accounts whose balances are watched.
    pub fee_accounts: Vec<FeeAccount>,
}

/// Parts that the workers of payment channels use.
pub struct ChannelWork {
    pub channels: Channels,
    pub notifier: ChannelNotifier,
    /// Channels that something happened to in this instance.
    pub notifications: mpsc::Receiver<ChannelId>,
}

/// Workers that run, and the token that stops them.
#[derive(Debug)]
pub struct Workers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Workers {
    /// Runs no workers yet. `tasks` tracks them, beside other work that must not be cut off.
    #[must_use]
    pub fn new(tasks: TaskTracker) -> Self {
        Self { tasks, stop: CancellationToken::new() }
    }

    /// Starts all workers; each ends with [`Self::shutdown`].
    pub fn start(&self, context: WorkerContext) {
        let WorkerContext { db, ledger, charges, answer_retention, cards, keys, oauth, rates, .. } = context;
        self.run(async move { recover::run(charges, answer_retention).await });
        let served = context.served;
        self.run({
            let ledger = ledger.clone();
            async move { extend_holds(&ledger, &served).await }
        });
        self.run(async move { sweep_holds(&ledger).await });
        self.run(async move { collect_debts(&cards).await });
        self.run({
            let keys = keys.clone();
            async move { end_inactive_keys(&keys).await }
        });
        let ended_keys = keys.clone();
        self.run(async move { record_last_use(&keys, &rates).await });
        if let Some(ChannelWork { channels, notifier, notifications }) = context.channels {
            self.run(async move { worker::run(channels).await });
            let (db, url) = (db.clone(), context.database_url);
            self.run(async move { relay_notifications(&db, &url, &notifier, notifications).await });
        }
        if db.engine == Engine::Sqlite {
            let db = db.clone();
            self.run(async move { checkpoint(&db).await });
        }
        self.run({
            let (db, keys, sessions) = (db.clone(), ended_keys, context.browser_sessions);
            async move { forget_ended(&db, &keys, &oauth, &sessions).await }
        });
        let files = McpFiles::new(db.clone());
        self.run(async move { forget_files(&files).await });
        for reader in context.key_sales.readers().iter().cloned() {
            self.run(key_sale::reader::run(reader));
        }
        let (chain, accounts) = (context.chain, context.fee_accounts);
        let followed = context.key_sales.readers().iter().map(SaleReader::contract).collect();
        self.run(key_sale::buyers::run(db, chain.clone(), followed));
        let payees = context.payees;
        self.run({
            let chain = chain.clone();
            async move { watch_receive_policies(&chain, &payees).await }
        });
        self.run(async move { watch_fee_balances(&chain, &accounts).await });
    }

    /// Runs `work` until it ends or the process stops.
    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Stops the workers and waits for all tracked tasks, no longer than `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!("work was still open; it is finished at the next start");
        }
    }
}

/// Moves on the holds of the requests that this instance serves.
async fn extend_holds(ledger: &Ledger, served: &ServedHolds) {
    loop {
        tokio::time::sleep(served::EXTEND_INTERVAL).await;
        while let Err(error) = served.extend(ledger, Timestamp::now()).await {
            tracing::warn!(%error, "the holds of open requests cannot be moved on");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Closes the holds of requests that a crash cut off.
async fn sweep_holds(ledger: &Ledger) {
    loop {
        match sweep::sweep(ledger, Timestamp::now(), SWEEP_BATCH).await {
            Ok(swept) => tracing::debug!(?swept, "expired holds"),
            Err(error) => tracing::warn!(%error, "expired holds cannot be swept"),
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}

/// Keeps the database's log short.
async fn checkpoint(db: &Db) {
    loop {
        tokio::time::sleep(CHECKPOINT_INTERVAL).await;
        if let Err(error) = db.checkpoint().await {
            wal::abort_process(&error);
            tracing::warn!(%error, "the database's log cannot be copied into its file");
        }
    }
}

/// Has debts met from what closed holds freed; new credit meets them at once.
async fn collect_debts(cards: &Cards) {
    loop {
        if let Err(error) = cards.collect_debts(Timestamp::now()).await {
            tracing::warn!(%error, "debts cannot be met");
        }
        tokio::time::sleep(DEBT_INTERVAL).await;
    }
}

/// Forgets nonces whose messages cannot be shown again, keys that ended long ago, and tokens that expired.
async fn forget_ended(db: &Db, keys: &Keys, oauth: &Oauth, sessions: &BrowserSessions) {
    loop {
        if let Err(error) = sessions.forget_ended(Timestamp::now()).await {
            tracing::warn!(%error, "browser sessions that ended cannot be forgotten");
        }
        if let Err(error) = oauth.forget_ended(Timestamp::now()).await {
            tracing::warn!(%error, "expired tokens cannot be forgotten");
        }
        if let Err(error) = keys.forget_ended(Timestamp::now()).await {
            tracing::warn!(%error, "keys that ended long ago cannot be forgotten");
        }
        if let Err(error) = nonces::forget(db, Timestamp::now()).await {
            tracing::warn!(%error, "old nonces cannot be forgotten");
        }
        tokio::time::sleep(NONCE_INTERVAL).await;
    }
}

/// Forgets files of the MCP server's tools that nobody fetched.
async fn forget_files(files: &McpFiles) {
    loop {
        if let Err(error) = files.forget(Timestamp::now()).await {
            tracing::warn!(%error, "files of tools cannot be forgotten");
        }
        tokio::time::sleep(FILES_INTERVAL).await;
    }
}

/// Ends the requests of keys that were revoked elsewhere or have expired.
async fn end_inactive_keys(keys: &Keys) {
    let mut since = Timestamp::now();
    loop {
        tokio::time::sleep(keys::POLL_INTERVAL).await;
        let now = Timestamp::now();
        match keys.cancel_inactive(since, now).await {
            Ok(()) => since = now,
            Err(error) => tracing::warn!(%error, "revoked and expired keys cannot be looked for"),
        }
    }
}

/// Records when keys were last used, and forgets past minutes of their rates.
async fn record_last_use(keys: &Keys, rates: &Rates) {
    loop {
        tokio::time::sleep(LAST_USE_INTERVAL).await;
        let recorded = keys.flush().await.and(rates.delete_expired(Timestamp::now()).await);
        if let Err(error) = recorded {
            tracing::warn!(%error, "the last use of keys cannot be recorded");
        }
    }
}

/// Sends this instance's channel notifications to the others, and passes on theirs.
async fn relay_notifications(
    db: &Db,
    url: &Secret,
    notifier: &ChannelNotifier,
    notifications: mpsc::Receiver<ChannelId>,
) {
    notify::relay(db, url.expose(), NOTIFY_CHANNEL, notifications, |payload| {
        if let Ok(channel) = payload.parse() {
            notifier.notify_local(channel);
        }
    })
    .await;
}

/// Looks if the server's payees can still be paid.
async fn watch_receive_policies(chain: &Chain, payees: &[Payee]) {
    loop {
        for payee in payees {
            if let Err(error) = payee.observe(chain).await {
                tracing::warn!(%error, payee = %payee.address, "a payee's receive policy cannot be read");
            }
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// Reads the balances that pay network fees. A node that is unreachable changes
/// nothing: a broadcast would fail and cost nothing.
async fn watch_fee_balances(chain: &Chain, accounts: &[FeeAccount]) {
    if accounts.is_empty() {
        return;
    }
    loop {
        for account in accounts {
            match chain.balance(account.token, account.address).await {
                Ok(balance) => account.observe(balance),
                Err(error) => tracing::warn!(%error, role = account.role, "a fee balance cannot be read"),
            }
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}
