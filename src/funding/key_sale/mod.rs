//! Purchases from the key sale's contract become credit and API keys.
//!
//! The contract's logs are read in order behind a durable cursor, up to the
//! newest block with `confirmations` blocks after it. Each purchase is one
//! database transaction: the cursor moves past it, its owner is credited, its
//! key is stored. So a crash at any moment leaves the cursor where the credits
//! are, and the credit's source is unique: a purchase that is read again,
//! because a cursor was lost, two instances race or the chain was reorganised,
//! changes nothing.
//!
//! A node's answers are verified. Logs must be in their receipts, and at the
//! newest confirmed block the contract's count of purchases must equal the
//! number read; if not, the cursor is rewound to where they last agreed. So a
//! node that is behind, or one of several that are, cannot hide a purchase for
//! good.
//!
//! Credit is final. If the chain drops a purchase that had more than
//! `confirmations` blocks after it, its credit stays, the counts differ once,
//! and the metric of rewinds shows it.

#![expect(
    clippy::disallowed_methods,
    reason = "each round begins at its own moment, and an instance names itself once"
)]

mod store;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use tokio::sync::OnceCell;

use super::{StoreError, income, worker_lease};
use crate::chain::key_sale::{Sale, SaleKey, SaleTerms};
use crate::chain::{Chain, ChainError};
use crate::config::Config;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::keys::{self, BoughtKey, KeysError, SecretHash};
use crate::ledger::{Credited, LedgerError};

pub use store::ChainCursor;

/// Interval between two reads of the chain.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Milliseconds after which another instance takes over from one that does not renew its lease.
const LEASE_MS: i64 = 10_000;
/// Name of the lease of the instance that reads.
const LEASE: &str = "key_sale";

/// Reader of one contract.
#[derive(Debug, Clone)]
pub struct KeySales {
    db: Db,
    chain: Chain,
    contract: Address,
    /// Name of the cursor.
    cursor_name: String,
    /// Name of this instance, for the lease.
    instance: String,
    payee: Address,
    /// Tokens that are accepted as a dollar each.
    accepted: Vec<Address>,
    confirmations: u64,
    max_blocks: u64,
    /// Number of blocks in one query, from one to `max_blocks`: halved when a node refuses.
    span: Arc<AtomicU64>,
    terms: Arc<OnceCell<SaleTerms>>,
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
    /// Another instance has moved the cursor.
    Overtaken,
}

/// Reason the contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SaleError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("key_sale.address: the contract {0}")]
    Contract(String),
    #[error(
        "the key sale's contract counted {counted} purchases up to block {block}, and {seen} were read; \
         they are read again from the last block at which both agreed"
    )]
    Incomplete { block: u64, counted: u64, seen: u64 },
}

impl From<DbError> for SaleError {
    fn from(error: DbError) -> Self {
        Self::Keys(error.into())
    }
}

impl SaleError {
    /// Returns true if it lasts until an operator acts.
    fn needs_operator(&self) -> bool {
        match self {
            Self::Contract(_) | Self::Incomplete { .. } => true,
            Self::Chain(error) => matches!(error, ChainError::WrongChain { .. }),
            Self::Keys(_) | Self::Store(_) => false,
        }
    }
}

/// Ends the lease of any instance, so that this one can read at once. Only for a process that knows that
/// it is alone.
///
/// # Errors
/// If the database cannot be written.
pub async fn revoke_lease(db: &Db) -> Result<(), DbError> {
    worker_lease::revoke(db, LEASE).await
}

/// Runs until the task is aborted. Of several instances one reads at a time.
pub async fn run(sales: KeySales) {
    loop {
        let now = Timestamp::now();
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        let outcome = match worker_lease::acquire(&sales.db, LEASE, &sales.instance, now, until).await {
            Ok(true) => sales.read_next(now).await,
            Ok(false) => Ok(ReadOutcome::UpToDate),
            Err(error) => Err(error.into()),
        };
        sales.set_warning(&outcome);
        if !matches!(outcome, Ok(ReadOutcome::More)) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl KeySales {
    /// Returns the reader of the configured contract; `None` without one.
    #[must_use]
    pub fn new(config: &Config, db: &Db, chain: &Chain) -> Option<Self> {
        let contract = config.key_sale.address?;
        let tokens = std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied());
        Some(Self {
            db: db.clone(),
            chain: chain.clone(),
            contract,
            cursor_name: format!("key_sale:{}:{contract:#x}", config.chain.chain_id),
            instance: uuid::Uuid::new_v4().to_string(),
            payee: config.key_sale.payee.unwrap_or(config.payments.recipient),
            accepted: tokens.collect(),
            confirmations: config.key_sale.confirmations,
            max_blocks: config.key_sale.blocks_per_query,
            span: Arc::new(AtomicU64::new(config.key_sale.blocks_per_query)),
            terms: Arc::default(),
            warning: Arc::default(),
        })
    }

    /// Ends this instance's lease when it stops, so that another can read at once.
    pub async fn release_lease(&self) {
        if let Err(error) = worker_lease::release(&self.db, LEASE, &self.instance).await {
            tracing::warn!(%error, "the key sale's lease cannot be released; it ends by itself");
        }
    }

    /// Returns the position up to which the contract has been read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn cursor(&self) -> Result<Option<ChainCursor>, StoreError> {
        store::find(&self.db, &self.cursor_name).await
    }

    /// Returns the reason purchases are not credited now, for the operator.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_warning(&self, outcome: &Result<ReadOutcome, SaleError>) {
        let warning = outcome.as_ref().err().filter(|error| error.needs_operator()).map(ToString::to_string);
        if let Err(error) = outcome {
            tracing::warn!(%error, "the key sale cannot be read");
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
        let first = self.terms().await?.first_block;
        let cursor = store::cursor(&self.db, &self.cursor_name, first, now).await?;
        let newest = self.chain.height().await?;
        let safe = newest.checked_sub(self.confirmations);
        record_metrics(&cursor, safe);
        let Some(safe) = safe.filter(|safe| *safe >= cursor.next_block) else {
            return Ok(ReadOutcome::UpToDate);
        };
        let span = self.span.load(Ordering::Relaxed);
        let to = safe.min(cursor.next_block.saturating_add(span - 1));
        let sales = match self.chain.sales(self.contract, cursor.next_block, to).await {
            Ok(sales) => sales,
            // Nodes limit how much one answer may hold, each in its own way.
            Err(ChainError::Refused { .. } | ChainError::Timeout { .. }) if span > 1 => {
                self.span.store(span / 2, Ordering::Relaxed);
                return Ok(ReadOutcome::More);
            }
            Err(error) => return Err(error.into()),
        };
        self.span.store(span.saturating_mul(2).min(self.max_blocks), Ordering::Relaxed);
        self.credit_all(cursor, &sales, to, safe, now).await
    }

    /// Credits the sales up to block `to`; the newest confirmed block is `safe`.
    async fn credit_all(
        &self,
        mut cursor: ChainCursor,
        sales: &[Sale],
        to: u64,
        safe: u64,
        now: Timestamp,
    ) -> Result<ReadOutcome, SaleError> {
        let (block, log) = (cursor.next_block, cursor.next_log);
        for sale in sales.iter().filter(|sale| (sale.block, sale.log_index) >= (block, log)) {
            let next = cursor.past(sale.block, sale.log_index);
            if !self.credit(&cursor, &next, sale, now).await? {
                return Ok(ReadOutcome::Overtaken);
            }
            cursor = next;
        }
        let end = cursor.past_block(to);
        if to < safe {
            return Ok(if self.move_to(&cursor, &end, now).await? {
                ReadOutcome::More
            } else {
                ReadOutcome::Overtaken
            });
        }
        // Only here: of older blocks a node may not know the state any more.
        let counted = self.chain.sale_count(self.contract, safe).await?;
        if counted != cursor.seen {
            metrics::counter!("farebox_key_sale_rewinds_total").increment(1);
            self.move_to(&cursor, &cursor.rewound(), now).await?;
            return Err(SaleError::Incomplete { block: safe, counted, seen: cursor.seen });
        }
        let moved = self.move_to(&cursor, &end.proven(), now).await?;
        Ok(if moved { ReadOutcome::UpToDate } else { ReadOutcome::Overtaken })
    }

    /// Credits one purchase and moves the cursor past it; `false` when another instance has moved it.
    async fn credit(
        &self,
        from: &ChainCursor,
        to: &ChainCursor,
        sale: &Sale,
        now: Timestamp,
    ) -> Result<bool, SaleError> {
        let owner = &format!("{:#x}", sale.owner);
        let account = &AccountId::wallet(owner).expect("an address is 0x and 40 hex digits");
        // Not the log's index in its block, which changes when the chain is reorganised.
        let source = &SourceRef::parse(&format!("log:{:#x}:{}", sale.transaction, sale.ordinal))
            .expect("digits and colons are a source");
        let credited = self
            .db
            .transaction(|mut tx| async move {
                if !store::advance(&mut tx, &self.cursor_name, from, to, now).await? {
                    return Ok::<_, KeysError>((tx, None));
                }
                let credited = income::credit(&mut tx, account, sale.amount, source, now).await?;
                if let Some(key) = &sale.key {
                    store_key(&mut tx, key, owner, source, now).await?;
                }
                Ok((tx, Some(credited)))
            })
            .await;
        match credited {
            Ok(None) => Ok(false),
            Ok(Some(credited)) => {
                if credited == Credited::Applied {
                    tracing::info!(%source, owner, amount = %sale.amount, key = sale.key.is_some(), "purchase credited");
                    metrics::counter!("farebox_key_sale_credited_total").increment(1);
                }
                Ok(true)
            }
            // It will be refused for ever: later purchases must not wait for it.
            Err(KeysError::Ledger(
                error @ (LedgerError::Overflow | LedgerError::Amount(_) | LedgerError::CreditConflict(_)),
            )) => {
                tracing::error!(%source, owner, amount = %sale.amount, %error, "the ledger refused to credit a purchase");
                metrics::counter!("farebox_key_sale_uncredited_total").increment(1);
                let reason = &error.to_string();
                let moved = self.db.transaction(|mut tx| async move {
                    let moved = store::advance(&mut tx, &self.cursor_name, from, to, now).await?;
                    if moved {
                        store::insert_uncredited(&mut tx, source, owner, sale.amount, reason, now).await?;
                    }
                    Ok::<_, DbError>((tx, moved))
                });
                Ok(moved.await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn move_to(&self, from: &ChainCursor, to: &ChainCursor, now: Timestamp) -> Result<bool, DbError> {
        self.db
            .transaction(|mut tx| async move {
                let moved = store::advance(&mut tx, &self.cursor_name, from, to, now).await?;
                Ok((tx, moved))
            })
            .await
    }

    /// Returns the contract's terms after comparing them with the configuration.
    async fn terms(&self) -> Result<&SaleTerms, SaleError> {
        self.terms
            .get_or_try_init(|| async {
                let terms = match self.chain.sale_terms(self.contract).await {
                    Err(ChainError::InvalidAnswer { .. }) => {
                        return Err(SaleError::Contract(
                            "does not exist on this chain, or is no key sale".into(),
                        ));
                    }
                    terms => terms?,
                };
                if !self.accepted.contains(&terms.token) {
                    let token = terms.token;
                    return Err(SaleError::Contract(format!(
                        "sells for {token:#x}; add that token to chain.also_accepted if it is worth a dollar"
                    )));
                }
                if terms.payee != self.payee {
                    return Err(SaleError::Contract(format!(
                        "pays {:#x} and not {:#x}; set key_sale.payee to the first if that is right",
                        terms.payee, self.payee
                    )));
                }
                tracing::info!(contract = %self.contract, packs = ?terms.packs, "key sale");
                Ok(terms)
            })
            .await
    }
}

/// Stores a bought key. If another key has its id, which takes a collision, its owner has the credit
/// without the key.
async fn store_key(
    tx: &mut Tx,
    key: &SaleKey,
    owner: &str,
    source: &SourceRef,
    now: Timestamp,
) -> Result<(), KeysError> {
    let bought = BoughtKey { hash: &SecretHash::from_bytes(key.hash.0), owner, source };
    if !keys::create_bought(tx, &bought, now).await? {
        tracing::error!(%source, owner, "a bought key's id is taken; its owner has the credit and no key");
        metrics::counter!("farebox_key_sale_taken_ids_total").increment(1);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "gauges for people")]
fn record_metrics(cursor: &ChainCursor, safe: Option<u64>) {
    metrics::gauge!("farebox_key_sale_cursor_block").set(cursor.next_block as f64);
    let lag = safe.map_or(0, |safe| (safe.saturating_add(1)).saturating_sub(cursor.next_block));
    metrics::gauge!("farebox_key_sale_lag_blocks").set(lag as f64);
}
