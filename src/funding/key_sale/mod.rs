//! What the key sale's contract sold becomes credit, and its keys become known.
//!
//! The contract's logs are read in order behind a durable cursor, as far as
//! `confirmations` blocks stand on them. Each purchase is one transaction: the
//! cursor moves past it, its owner is credited, its key is noted. So a crash at
//! any moment leaves the cursor where the credits are, and the credit's source
//! is unique: a purchase that is read again, because a cursor was lost, two
//! instances race or the chain was reorganised, changes nothing.
//!
//! What a node says is not taken at its word. Logs have to be in their
//! receipts, and at the newest block that counts the contract must have counted
//! as many purchases as were read; if not, the cursor goes back to where it
//! had. So a node that is behind, or one of several that are, cannot make a
//! purchase be passed over for good.
//!
//! Credit is final. Should the chain take back a purchase that more than
//! `confirmations` blocks stood on, its credit stays, the counts differ once,
//! and the metric of rewinds says so.

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

/// How often the chain is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long an instance may be silent before another takes over, in milliseconds.
const LEASE_MS: i64 = 10_000;
/// The lease of whoever reads.
const LEASE: &str = "key_sale";

/// Follows one contract.
#[derive(Debug, Clone)]
pub struct KeySales {
    db: Db,
    chain: Chain,
    contract: Address,
    /// The cursor's.
    name: String,
    /// This instance's, for the lease.
    owner: String,
    payee: Address,
    /// Tokens that are worth a dollar to us.
    accepted: Vec<Address>,
    confirmations: u64,
    most_blocks: u64,
    /// How many blocks are asked for at once: fewer after a node refused.
    span: Arc<AtomicU64>,
    terms: Arc<OnceCell<SaleTerms>>,
    /// Why nothing is read at the moment, if someone has to see to it.
    problem: Arc<Mutex<Option<String>>>,
}

/// What a look at the chain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassOutcome {
    /// Everything that counts is read.
    UpToDate,
    /// There is more.
    More,
    /// Another instance moved the cursor meanwhile.
    Overtaken,
}

/// Why the contract could not be read.
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
        "the key sale counted {counted} purchases up to block {block}, and {seen} were read; reading again"
    )]
    Incomplete { block: u64, counted: u64, seen: u64 },
}

impl From<DbError> for SaleError {
    fn from(error: DbError) -> Self {
        Self::Keys(error.into())
    }
}

impl SaleError {
    /// Whether it needs an operator and not only patience.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Contract(_) | Self::Incomplete { .. } => true,
            Self::Chain(error) => matches!(error, ChainError::WrongChain { .. }),
            Self::Keys(_) | Self::Store(_) => false,
        }
    }
}

/// Lets this instance read at once. Only for who knows that no other is there.
///
/// # Errors
/// When the database cannot be written.
pub async fn release(db: &Db) -> Result<(), DbError> {
    worker_lease::release(db, LEASE).await
}

/// Runs until the task is aborted. Of several instances one reads at a time.
pub async fn run(sales: KeySales) {
    loop {
        let now = Timestamp::now();
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        let passed = match worker_lease::lease(&sales.db, LEASE, &sales.owner, now, until).await {
            Ok(true) => sales.pass(now).await,
            Ok(false) => Ok(PassOutcome::UpToDate),
            Err(error) => Err(error.into()),
        };
        sales.note(&passed);
        if !matches!(passed, Ok(PassOutcome::More)) {
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl KeySales {
    /// The configured contract's follower; `None` when there is none.
    #[must_use]
    pub fn new(config: &Config, db: &Db, chain: &Chain) -> Option<Self> {
        let contract = config.key_sale.address?;
        let tokens = std::iter::once(config.chain.currency).chain(config.chain.also_accepted.iter().copied());
        Some(Self {
            db: db.clone(),
            chain: chain.clone(),
            contract,
            name: format!("key_sale:{}:{contract:#x}", config.chain.chain_id),
            owner: uuid::Uuid::new_v4().to_string(),
            payee: config.key_sale.payee.unwrap_or(config.payments.recipient),
            accepted: tokens.collect(),
            confirmations: config.key_sale.confirmations,
            most_blocks: config.key_sale.blocks_per_query,
            span: Arc::new(AtomicU64::new(config.key_sale.blocks_per_query)),
            terms: Arc::default(),
            problem: Arc::default(),
        })
    }

    /// Leaves the reading to other instances, at the end.
    pub async fn leave(&self) {
        if let Err(error) = worker_lease::give_back(&self.db, LEASE, &self.owner).await {
            tracing::warn!(%error, "the key sale's lease runs on");
        }
    }

    /// How far the contract has been read.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cursor(&self) -> Result<Option<ChainCursor>, StoreError> {
        store::find(&self.db, &self.name).await
    }

    /// Why purchases are not credited at the moment, for the operator.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, passed: &Result<PassOutcome, SaleError>) {
        let problem = passed.as_ref().err().filter(|error| error.is_lasting()).map(ToString::to_string);
        if let Err(error) = passed {
            tracing::warn!(%error, "the key sale cannot be read");
        }
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Reads the next blocks that count.
    ///
    /// # Errors
    /// Why not all of them could be read. What was read is credited.
    pub async fn pass(&self, now: Timestamp) -> Result<PassOutcome, SaleError> {
        // Asked each time: what answers at one address can come to serve another chain.
        self.chain.check().await?;
        let first = self.terms().await?.first_block;
        let cursor = store::cursor(&self.db, &self.name, first, now).await?;
        let newest = self.chain.height().await?;
        let safe = newest.checked_sub(self.confirmations);
        measure(&cursor, safe);
        let Some(safe) = safe.filter(|safe| *safe >= cursor.next_block) else {
            return Ok(PassOutcome::UpToDate);
        };
        let span = self.span.load(Ordering::Relaxed);
        let to = safe.min(cursor.next_block.saturating_add(span - 1));
        let sales = match self.chain.sales(self.contract, cursor.next_block, to).await {
            Ok(sales) => sales,
            // Nodes limit how much one answer may hold, each in its own way.
            Err(ChainError::Refused { .. } | ChainError::Timeout { .. }) if span > 1 => {
                self.span.store(span / 2, Ordering::Relaxed);
                return Ok(PassOutcome::More);
            }
            Err(error) => return Err(error.into()),
        };
        self.span.store(span.saturating_mul(2).min(self.most_blocks), Ordering::Relaxed);
        self.take(cursor, &sales, to, safe, now).await
    }

    /// What was sold up to block `to`, with everything up to `safe` within reach.
    async fn take(
        &self,
        mut cursor: ChainCursor,
        sales: &[Sale],
        to: u64,
        safe: u64,
        now: Timestamp,
    ) -> Result<PassOutcome, SaleError> {
        let (block, log) = (cursor.next_block, cursor.next_log);
        for sale in sales.iter().filter(|sale| (sale.block, sale.log) >= (block, log)) {
            let next = cursor.past(sale.block, sale.log);
            if !self.credit(&cursor, &next, sale, now).await? {
                return Ok(PassOutcome::Overtaken);
            }
            cursor = next;
        }
        let end = cursor.past_block(to);
        if to < safe {
            return Ok(if self.move_to(&cursor, &end, now).await? {
                PassOutcome::More
            } else {
                PassOutcome::Overtaken
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
        Ok(if moved { PassOutcome::UpToDate } else { PassOutcome::Overtaken })
    }

    /// One purchase; `false` when the cursor is somewhere else.
    async fn credit(
        &self,
        from: &ChainCursor,
        to: &ChainCursor,
        sale: &Sale,
        now: Timestamp,
    ) -> Result<bool, SaleError> {
        let owner = &format!("{:#x}", sale.owner);
        let account = &AccountId::wallet(owner).expect("an address is 0x and 40 hex digits");
        // Not the log's place in its block, which it loses when the chain is reorganised.
        let source = &SourceRef::parse(&format!("log:{:#x}:{}", sale.transaction, sale.ordinal))
            .expect("digits and colons are a source");
        let credited = self
            .db
            .transaction(|mut tx| async move {
                if !store::advance(&mut tx, &self.name, from, to, now).await? {
                    return Ok::<_, KeysError>((tx, None));
                }
                let credited = income::credit(&mut tx, account, sale.amount, source, now).await?;
                if let Some(key) = &sale.key {
                    activate(&mut tx, key, owner, source, now).await?;
                }
                Ok((tx, Some(credited)))
            })
            .await;
        match credited {
            Ok(None) => Ok(false),
            Ok(Some(credited)) => {
                if credited == Credited::Applied {
                    tracing::info!(%source, owner, amount = %sale.amount, key = sale.key.is_some(), "sold");
                    metrics::counter!("farebox_key_sale_credited_total").increment(1);
                }
                Ok(true)
            }
            // It will be refused for ever. Later purchases must not wait for that.
            Err(KeysError::Ledger(
                error @ (LedgerError::Overflow | LedgerError::Amount(_) | LedgerError::CreditConflict(_)),
            )) => {
                tracing::error!(%source, owner, amount = %sale.amount, %error, "sold and not credited");
                metrics::counter!("farebox_key_sale_uncredited_total").increment(1);
                let why = &error.to_string();
                let moved = self.db.transaction(|mut tx| async move {
                    let moved = store::advance(&mut tx, &self.name, from, to, now).await?;
                    if moved {
                        store::refuse(&mut tx, source, owner, sale.amount, why, now).await?;
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
                let moved = store::advance(&mut tx, &self.name, from, to, now).await?;
                Ok((tx, moved))
            })
            .await
    }

    /// The contract's terms, once they are known to be ours.
    async fn terms(&self) -> Result<&SaleTerms, SaleError> {
        self.terms
            .get_or_try_init(|| async {
                let terms = match self.chain.sale_terms(self.contract).await {
                    Err(ChainError::Nonsense { .. }) => {
                        return Err(SaleError::Contract("is not there, or no key sale".into()));
                    }
                    terms => terms?,
                };
                if !self.accepted.contains(&terms.token) {
                    let token = terms.token;
                    return Err(SaleError::Contract(format!(
                        "sells for {token:#x}, which is neither chain.currency nor in chain.also_accepted"
                    )));
                }
                if terms.payee != self.payee {
                    return Err(SaleError::Contract(format!(
                        "pays {:#x}, and not {:#x}; set key_sale.payee if that is right",
                        terms.payee, self.payee
                    )));
                }
                tracing::info!(contract = %self.contract, packs = ?terms.packs, "key sale");
                Ok(terms)
            })
            .await
    }
}

/// Makes a bought key work. Where another key has its id there is the credit without the key; for
/// that, somebody has to have found a collision.
async fn activate(
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
fn measure(cursor: &ChainCursor, safe: Option<u64>) {
    metrics::gauge!("farebox_key_sale_cursor_block").set(cursor.next_block as f64);
    let lag = safe.map_or(0, |safe| (safe.saturating_add(1)).saturating_sub(cursor.next_block));
    metrics::gauge!("farebox_key_sale_lag_blocks").set(lag as f64);
}
