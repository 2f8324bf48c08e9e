//! Reader of one contract.
//!
//! A node's answers are verified. Logs must be in their receipts, and at the
//! newest confirmed block the contract's count of purchases must equal the
//! number read; if not, the cursor is rewound to where they last agreed. So a
//! node that is behind, or one of several that are, cannot hide a purchase for
//! good.

#![expect(
    clippy::disallowed_methods,
    reason = "each round begins at its own moment, and an instance names itself once"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use tokio::sync::OnceCell;

use super::credit::Crediting;
use super::store::{self, ChainCursor};
use super::{SaleError, StoreError};
use crate::chain::key_sale::logs::{SaleLog, TransactionLogs};
use crate::chain::key_sale::{SaleTerms, SaleVersion};
use crate::chain::{Chain, ChainError};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::funding::worker_lease;
use crate::id::Timestamp;

/// Interval between two reads of the chain.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Milliseconds after which another instance takes over from one that does not renew its lease.
const LEASE_MS: i64 = 10_000;
/// Milliseconds after which a reader at work renews its lease.
const RENEW_AFTER_MS: i64 = 3_000;
/// Most purchases of one database transaction: few enough that the first are credited soon.
const CREDITED_AT_ONCE: usize = 50;

/// Reader of one contract.
#[derive(Debug, Clone)]
pub struct SaleReader {
    db: Db,
    chain: Chain,
    contract: Address,
    /// Name of the cursor, and of the lease of the instance that reads.
    name: String,
    /// Name of this instance, for the lease.
    instance: String,
    /// Accounts of this server that a contract may pay; the first is told to the operator.
    payees: Vec<Address>,
    /// Tokens that are accepted as a dollar each.
    accepted: Vec<Address>,
    confirmations: u64,
    max_blocks: u64,
    /// Number of blocks in one query, from one to `max_blocks`: halved when a node refuses.
    span: Arc<AtomicU64>,
    terms: Arc<OnceCell<SaleTerms>>,
    /// True if the contract may have been followed when purchases' sources did not name it.
    may_be_earlier: Arc<OnceCell<bool>>,
    /// True once an event was read that may say that the contract is closed.
    may_be_closed: Arc<AtomicBool>,
    /// Reason nothing is read now, if it needs an operator.
    warning: Arc<Mutex<Option<String>>>,
}

/// Outcome of one read of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Every confirmed block is read.
    UpToDate,
    /// More confirmed blocks are to be read.
    More,
    /// Another instance has moved the cursor, or has the lease.
    Overtaken,
    /// Every purchase is read, and the contract is closed: there are no more.
    Closed,
}

/// Runs until the task is aborted, or the contract is closed and read. Of several instances one reads at a time.
pub async fn run(reader: SaleReader) {
    loop {
        let now = Timestamp::now();
        let outcome = match reader.acquire_lease(now).await {
            Ok(true) => reader.read_next(now).await,
            Ok(false) => Ok(ReadOutcome::UpToDate),
            Err(error) => Err(error.into()),
        };
        reader.set_warning(&outcome);
        match outcome {
            Ok(ReadOutcome::Closed) => {
                tracing::info!(contract = %reader.contract, "the key sale is closed, and all its purchases are read");
                return reader.release_lease().await;
            }
            Ok(ReadOutcome::More) => {}
            Ok(ReadOutcome::UpToDate | ReadOutcome::Overtaken) | Err(_) => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}

impl SaleReader {
    pub(super) fn new(contract: Address, config: &Config, db: &Db, chain: &Chain) -> Self {
        let tokens = std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied());
        let payee = config.key_sale.payee.unwrap_or(config.payments.recipient);
        Self {
            db: db.clone(),
            chain: chain.clone(),
            contract,
            name: format!("key_sale:{}:{contract:#x}", config.chain.chain_id),
            instance: uuid::Uuid::new_v4().to_string(),
            payees: std::iter::once(payee).chain(config.key_sale.other_payees.iter().copied()).collect(),
            accepted: tokens.collect(),
            confirmations: config.key_sale.confirmations,
            max_blocks: config.key_sale.blocks_per_query,
            span: Arc::new(AtomicU64::new(config.key_sale.blocks_per_query)),
            terms: Arc::default(),
            may_be_earlier: Arc::default(),
            may_be_closed: Arc::new(AtomicBool::new(true)),
            warning: Arc::default(),
        }
    }

    /// Returns the contract's address.
    #[must_use]
    pub const fn contract(&self) -> Address {
        self.contract
    }

    /// Returns the contract's version, once its terms have been read.
    #[must_use]
    pub fn version(&self) -> Option<SaleVersion> {
        self.terms.get().map(|terms| terms.version)
    }

    /// Returns the name of the cursor and of the lease.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    async fn acquire_lease(&self, now: Timestamp) -> Result<bool, DbError> {
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        worker_lease::acquire(&self.db, &self.name, &self.instance, now, until).await
    }

    pub(super) async fn release_lease(&self) {
        if let Err(error) = worker_lease::release(&self.db, &self.name, &self.instance).await {
            tracing::warn!(%error, "the key sale's lease cannot be released; it ends by itself");
        }
    }

    /// Returns the position up to which the contract has been read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn cursor(&self) -> Result<Option<ChainCursor>, StoreError> {
        store::find(&self.db, &self.name).await
    }

    /// Returns the reason purchases are not credited now, for the operator.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_warning(&self, outcome: &Result<ReadOutcome, SaleError>) {
        let warning = outcome.as_ref().err().filter(|error| error.needs_operator()).map(ToString::to_string);
        if let Err(error) = outcome {
            tracing::warn!(contract = %self.contract, %error, "the key sale cannot be read");
        }
        *self.warning.lock().unwrap_or_else(PoisonError::into_inner) = warning;
    }

    /// Reads the next confirmed blocks and credits their purchases.
    ///
    /// # Errors
    /// If not all of them could be read. Purchases read until then are credited.
    pub async fn read_next(&self, now: Timestamp) -> Result<ReadOutcome, SaleError> {
        // Each time: the node at one address can come to serve another chain.
        self.chain.check().await?;
        let terms = self.terms().await?;
        let cursor = store::cursor(&self.db, &self.name, terms.first_block, now).await?;
        let newest = self.chain.height().await?;
        let safe = newest.checked_sub(self.confirmations);
        self.record_metrics(&cursor, safe);
        let Some(safe) = safe.filter(|safe| *safe >= cursor.next_block) else {
            return Ok(ReadOutcome::UpToDate);
        };
        let span = self.span.load(Ordering::Relaxed);
        let to = safe.min(cursor.next_block.saturating_add(span - 1));
        let listed = match self.chain.sale_logs(self.contract, cursor.next_block, to).await {
            Ok(listed) => listed,
            // Nodes limit how much one answer may hold, each in its own way.
            Err(ChainError::Refused { .. } | ChainError::Timeout { .. }) if span > 1 => {
                self.span.store(span / 2, Ordering::Relaxed);
                return Ok(ReadOutcome::More);
            }
            Err(error) => return Err(error.into()),
        };
        self.span.store(span.saturating_mul(2).min(self.max_blocks), Ordering::Relaxed);
        match self.credit_all(cursor, &listed, terms, now).await? {
            Some(cursor) => self.conclude(cursor, to, safe, terms, now).await,
            None => Ok(ReadOutcome::Overtaken),
        }
    }

    /// Credits what was listed, one transaction of the chain after the other; returns the cursor behind it, or `None`
    /// when another instance reads.
    async fn credit_all(
        &self,
        mut cursor: ChainCursor,
        listed: &[TransactionLogs],
        terms: &SaleTerms,
        now: Timestamp,
    ) -> Result<Option<ChainCursor>, SaleError> {
        let may_be_earlier = terms.version == SaleVersion::V1 && self.may_be_earlier().await?;
        let (block, log) = (cursor.next_block, cursor.next_log);
        let mut renewed = now;
        for transaction in listed.iter().filter(|transaction| transaction.block >= block) {
            let logs = self.chain.sales(self.contract, terms, transaction).await?;
            let unread = |found: &&SaleLog| (found.block, found.log_index) >= (block, log);
            let logs: Vec<&SaleLog> = logs.iter().filter(unread).collect();
            for logs in logs.chunks(CREDITED_AT_ONCE) {
                let now = Timestamp::now();
                if now.checked_millis_since(renewed).is_none_or(|age| age > RENEW_AFTER_MS) {
                    if !self.acquire_lease(now).await? {
                        return Ok(None);
                    }
                    renewed = now;
                }
                if logs.iter().any(|log| log.sale.is_none()) {
                    metrics::counter!("farebox_key_sale_other_logs_total").increment(1);
                    self.may_be_closed.store(true, Ordering::Relaxed);
                }
                let crediting = Crediting {
                    db: &self.db,
                    cursor_name: &self.name,
                    contract: self.contract,
                    version: terms.version,
                    may_be_earlier,
                };
                let Some(next) = crediting.credit(cursor, logs, now).await? else { return Ok(None) };
                cursor = next;
            }
        }
        Ok(Some(cursor))
    }

    /// Returns true unless other contracts are known to have been followed at the time, and this one is not.
    async fn may_be_earlier(&self) -> Result<bool, StoreError> {
        let read = || async {
            let known = store::contracts_before(&self.db, self.chain.chain_id()).await?;
            Ok(known.is_empty() || known.contains(&self.contract))
        };
        self.may_be_earlier.get_or_try_init(read).await.copied()
    }

    /// Moves the cursor behind block `to`. At the newest confirmed block, `safe`, what was read is compared with what
    /// the contract counted.
    async fn conclude(
        &self,
        cursor: ChainCursor,
        to: u64,
        safe: u64,
        terms: &SaleTerms,
        now: Timestamp,
    ) -> Result<ReadOutcome, SaleError> {
        let end = cursor.past_block(to);
        if to < safe {
            let moved = self.move_to(&cursor, &end, now).await?;
            return Ok(if moved { ReadOutcome::More } else { ReadOutcome::Overtaken });
        }
        // Only here: of older blocks a node may not know the state any more.
        let counted = self.chain.sale_count(self.contract, safe).await?;
        if counted != cursor.seen {
            metrics::counter!("farebox_key_sale_rewinds_total").increment(1);
            self.move_to(&cursor, &cursor.rewound(), now).await?;
            let contract = self.contract;
            return Err(SaleError::Incomplete { contract, block: safe, counted, seen: cursor.seen });
        }
        if !self.move_to(&cursor, &end.proven(), now).await? {
            return Ok(ReadOutcome::Overtaken);
        }
        if terms.version == SaleVersion::V2 && self.may_be_closed.load(Ordering::Relaxed) {
            if self.chain.sale_is_closed(self.contract, safe).await? {
                return Ok(ReadOutcome::Closed);
            }
            self.may_be_closed.store(false, Ordering::Relaxed);
        }
        Ok(ReadOutcome::UpToDate)
    }

    async fn move_to(&self, from: &ChainCursor, to: &ChainCursor, now: Timestamp) -> Result<bool, DbError> {
        self.db
            .transaction(|mut tx| async move {
                let moved = store::advance(&mut tx, &self.name, from, to, now).await?;
                Ok((tx, moved))
            })
            .await
    }

    /// Returns the contract's terms after comparing them with the configuration.
    async fn terms(&self) -> Result<&SaleTerms, SaleError> {
        self.terms
            .get_or_try_init(|| async {
                let refused = |reason: String| Err(SaleError::Contract { contract: self.contract, reason });
                let terms = match self.chain.sale_terms(self.contract).await {
                    Err(ChainError::InvalidAnswer { .. }) => {
                        return refused(
                            "does not exist on this chain, or its code is not that of a key sale of farebox".into(),
                        );
                    }
                    terms => terms?,
                };
                if !self.accepted.contains(&terms.token) {
                    return refused(format!(
                        "sells for {:#x}; add that token to chain.also_accepted if it is worth a dollar",
                        terms.token
                    ));
                }
                if !self.payees.contains(&terms.payee) {
                    return refused(format!(
                        "pays {:#x} and not {:#x}; set key_sale.payee to the first if that is right, or add it to \
                         key_sale.other_payees",
                        terms.payee, self.payees[0]
                    ));
                }
                tracing::info!(contract = %self.contract, version = ?terms.version, packs = ?terms.packs, "key sale");
                Ok(terms)
            })
            .await
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges for people")]
    fn record_metrics(&self, cursor: &ChainCursor, safe: Option<u64>) {
        let contract = format!("{:#x}", self.contract);
        metrics::gauge!("farebox_key_sale_cursor_block", "contract" => contract.clone())
            .set(cursor.next_block as f64);
        let lag = safe.map_or(0, |safe| (safe.saturating_add(1)).saturating_sub(cursor.next_block));
        metrics::gauge!("farebox_key_sale_lag_blocks", "contract" => contract).set(lag as f64);
    }
}
