//! Ledger: balances of accounts, and the holds, charges and entries that change them.
//!
//! ```text
//! available = credited - spent - held
//! ```
//!
//! | verb       | what it does                                                                    |
//! |------------|---------------------------------------------------------------------------------|
//! | [`credit`] | raises `credited`, once per source                                              |
//! | [`hold`]   | opens a hold and sets an estimate aside for it                                  |
//! | [`charge`] | raises what a hold was charged, drawing on its reserve first, then on `available`|
//! | [`close`]  | posts one entry for the hold and frees the rest of its reserve                  |
//! | `balance`  | reads                                                                           |
//!
//! [`spend`] is `hold`, `charge` and `close` in one, for requests with a known price.
//!
//! Invariants:
//! * `available` is derived, never stored, and never negative: the check is part of the `UPDATE`
//!   and a `CHECK` of the table stands behind it;
//! * credits are `credited`, entries plus the charges on open holds are `spent`, what open holds
//!   have not used of their reserve is `held`;
//! * the row of an account divides the same money otherwise: entries are `posted`, and `held` is
//!   the sum that open holds [claim](account::Hold::claim), the greater of reserve and charges. So a
//!   charge within the reserve is a change of its hold alone. [`audit`] recomputes all of it;
//! * entries are added up as [`usage`] in the transaction that posts them;
//! * accounts are locked before holds, each in the order of their ids, so that verbs never deadlock
//!   among each other. A charge within the reserve needs the lock of its hold only. The batch writer
//!   locks only what it changes, when it does;
//! * a result is sent after its commit. Too little money is an outcome ([`HoldOutcome::Short`]); an
//!   error means that nothing is known or nothing was done, and never that money is missing.
//!
//! The functions on [`Tx`](farebox_db::Tx) take part in a caller's transaction; the methods of
//! [`Ledger`] run their own. The commands of every request ([`Ledger::open`], [`Ledger::charge`],
//! [`Ledger::capture`]) go through one writer per process, whose commits many of them share:
//!
//! ```text
//! queue ── batch ──> writer ── rows ──> decide ── statements ──> database
//!   ^                  |  row_cache, sql   |  working_set, account (pure)
//!   └── durability <── results             └─ changes
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod account;
pub mod audit;
mod batch;
pub mod budget;
mod changes;
mod decide;
mod durability;
mod error;
pub mod holds;
mod idempotency;
mod locked;
mod queue;
mod reads;
mod row_cache;
mod sql;
pub mod statement;
pub mod sweep;
pub mod usage;
mod verbs;
mod working_set;
mod writer;

use std::time::Duration;

pub use account::{Account, Balance, LARGEST};
pub use budget::{Budget, BudgetUse, LimitedBy, SpendingLimit};
pub use error::LedgerError;
pub use holds::{Capture, Estimate, HoldRequest, OpenOutcome, Owed};
pub use idempotency::{IdempotencyStatus, idempotency_status};
pub use queue::BatchStats;
pub use reads::{OpenHold, has_available, has_open_hold, is_known, is_open, open_holds, spent_of};
pub use statement::{Credit, Entry, EntryDetails, EntryKind, Filter, Page, StatementCursor};
pub use usage::{Day, UsageGrouping, UsageOutcome, UsageQuery, UsageRow, UsageSums};
pub use verbs::{charge, close, credit, credit_all, credited_by, extend, hold, lock, spend};

use farebox_db::Db;
use farebox_types::id::{AccountId, EntryId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox_types::money::Money;

/// Outcome of a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credited {
    /// Credited now.
    Applied,
    /// Credited before, exactly so; nothing changed.
    Replayed,
}

/// Outcome of a request for a hold: see [`hold`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldOutcome {
    /// New hold, open.
    Opened(HoldId),
    /// Hold that this request key has already, open or closed; nothing changed.
    Existing(HoldId),
    /// The account has too little available; nothing changed.
    Short {
        /// Amount by which it is too little.
        by: Money,
    },
}

/// Outcome of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// Charged, and durable.
    Charged {
        /// Sum that the hold was charged, this charge included.
        total: Money,
    },
    /// The account has too little available; nothing changed.
    Short {
        /// Amount by which it is too little.
        by: Money,
    },
    /// The hold is closed; nothing changed.
    Closed,
}

/// Outcome of closing a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOutcome {
    /// The entry is posted.
    Closed {
        /// Entry of the hold.
        entry: Entry,
        /// Amount that the hold had set aside and not used.
        released: Money,
    },
    /// The hold was closed before; nothing changed.
    AlreadyClosed {
        /// Entry posted then.
        entry: Entry,
    },
    /// The account has less available than is owed [exactly](Owed::Exactly); the hold is still open.
    Short {
        /// Amount by which it is too little.
        by: Money,
    },
}

impl CloseOutcome {
    /// Returns the entry of the hold, whoever closed it; `None` if it is still open.
    #[must_use]
    pub const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Closed { entry, .. } | Self::AlreadyClosed { entry } => Some(entry),
            Self::Short { .. } => None,
        }
    }
}

/// Outcome of a payment at once: see [`spend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpendOutcome {
    /// Charged and posted now.
    Spent(Entry),
    /// Entry under which this request key was charged before; nothing changed.
    Replayed(Entry),
    /// The account has too little available; nothing changed.
    Short {
        /// Amount by which it is too little.
        by: Money,
    },
}

/// Ledger of a database. Clones share the batch writer, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct Ledger {
    db: Db,
    writer: queue::Handle,
}

impl Ledger {
    /// Opens the ledger and starts its batch writer, on a thread of its own. A database that is away is an error at
    /// once.
    #[must_use]
    pub fn start(db: Db) -> Self {
        Self::with_patience(db, Duration::ZERO)
    }

    /// Opens the ledger as [`start`](Self::start) does. Charges, captures and openings wait for as long as `patience`
    /// for a database that is away, as during a failover.
    #[must_use]
    pub fn with_patience(db: Db, patience: Duration) -> Self {
        let writer = queue::start(&db, patience);
        Self { db, writer }
    }

    /// Returns the database underneath, to combine a verb with other work in one transaction.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// Credits an account in a transaction of its own: see [`credit`].
    ///
    /// # Errors
    /// Those of [`credit`].
    pub async fn credit(
        &self,
        account: &AccountId,
        amount: Money,
        source: &SourceRef,
        now: Timestamp,
    ) -> Result<Credited, LedgerError> {
        self.db
            .transaction(|mut tx| async move {
                let done = credit(&mut tx, account, amount, source, now).await?;
                Ok((tx, done))
            })
            .await
    }

    /// Opens a hold in a transaction of its own: see [`hold`].
    ///
    /// # Errors
    /// Those of [`hold`].
    pub async fn hold(
        &self,
        account: &AccountId,
        request_key: &RequestKey,
        estimate: Money,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<HoldOutcome, LedgerError> {
        self.db
            .transaction(|mut tx| async move {
                let done = hold(&mut tx, account, request_key, estimate, now, expires_at).await?;
                Ok((tx, done))
            })
            .await
    }

    /// Raises what a hold was charged by `amount`, which may be zero. Replies when the charge is
    /// durable: what was paid for may be delivered then.
    ///
    /// A hold is charged by one instance, the one that serves its request.
    ///
    /// A caller that stops waiting (drops the future) may have charged or not; closing the hold tells. A caller that must
    /// know runs this to its end in a task of its own.
    ///
    /// # Errors
    /// The hold is unknown, the amount negative, or the database fails. After a database error the charge may have
    /// happened or not; closing the hold tells.
    pub async fn charge(&self, hold: &HoldId, amount: Money) -> Result<ChargeOutcome, LedgerError> {
        self.charge_ahead(hold, amount, Money::ZERO).await
    }

    /// Charges a hold, as [`charge`](Self::charge) does. If that goes beyond what the hold has set aside, sets `ahead`
    /// aside for what comes next, or as much of it as is available: for holds that cannot know at their beginning what
    /// they will come to. Charges within what is set aside are the fast ones.
    ///
    /// # Errors
    /// Those of [`charge`](Self::charge).
    pub async fn charge_ahead(
        &self,
        hold: &HoldId,
        amount: Money,
        ahead: Money,
    ) -> Result<ChargeOutcome, LedgerError> {
        self.writer.charge(holds::Charge { hold: hold.clone(), amount, ahead, reached: None }).await
    }

    /// Opens a hold for a request, for as much of the estimate as is available. Shares its commit with others. A request
    /// that comes again under the id of its hold gets that hold.
    ///
    /// A caller that stops waiting has no hold: one that was opened for it meanwhile is closed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open(&self, opening: HoldRequest) -> Result<OpenOutcome, LedgerError> {
        self.writer.open(opening).await
    }

    /// Charges the amount still owed for a hold, and closes it. Shares its commit with others. It is done also if the
    /// caller stops waiting.
    ///
    /// # Errors
    /// [`LedgerError::UnknownHold`], [`LedgerError::Details`], or the database fails.
    pub async fn capture(&self, capture: Capture) -> Result<CloseOutcome, LedgerError> {
        self.writer.capture(capture).await
    }

    /// Closes a hold, sharing its commit with others: see [`close`].
    ///
    /// # Errors
    /// Those of [`close`].
    pub async fn close(
        &self,
        hold: &HoldId,
        details: &EntryDetails,
        now: Timestamp,
    ) -> Result<CloseOutcome, LedgerError> {
        let entry = EntryId::new(now);
        let capture =
            Capture { hold: hold.clone(), entry, owed: Owed::NOTHING, details: details.clone(), now };
        self.capture(capture).await
    }

    /// Charges a known price in a transaction of its own: see [`spend`].
    ///
    /// # Errors
    /// Those of [`spend`].
    pub async fn spend(
        &self,
        account: &AccountId,
        amount: Money,
        request_key: &RequestKey,
        details: &EntryDetails,
        now: Timestamp,
    ) -> Result<SpendOutcome, LedgerError> {
        self.db
            .transaction(|mut tx| async move {
                let done = spend(&mut tx, account, amount, request_key, details, now).await?;
                Ok((tx, done))
            })
            .await
    }

    /// Moves the moment at which holds expire; those that are closed, or that another transaction has at this moment,
    /// stay as they are.
    ///
    /// # Errors
    /// The database fails; some may have been moved.
    pub async fn extend_all(&self, holds: &[HoldId], expires_at: Timestamp) -> Result<(), LedgerError> {
        for some in holds.chunks(500) {
            let moved = self.db.transaction(|mut tx| async move {
                sql::extend_all(&mut tx, some, expires_at).await?;
                Ok::<_, LedgerError>((tx, ()))
            });
            moved.await?;
        }
        Ok(())
    }

    /// Moves the moment at which a hold expires in a transaction of its own: see [`extend`].
    ///
    /// # Errors
    /// Those of [`extend`].
    pub async fn extend(&self, hold: &HoldId, expires_at: Timestamp) -> Result<bool, LedgerError> {
        self.db
            .transaction(|mut tx| async move {
                let done = extend(&mut tx, hold, expires_at).await?;
                Ok((tx, done))
            })
            .await
    }

    /// Returns the balance of an account; one that was never credited has nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn balance(&self, account: &AccountId) -> Result<Balance, LedgerError> {
        let mut connection = self.db.pool.acquire().await?;
        Ok(sql::read_balance(&mut connection, account).await?.unwrap_or_default())
    }

    /// Returns the money used within a budget on an account, claims of open holds included.
    ///
    /// # Errors
    /// The database fails.
    pub async fn budget_use(&self, account: &AccountId, budget: &Budget) -> Result<BudgetUse, LedgerError> {
        let mut tx = self.db.snapshot().await?;
        let used = budget::used(&mut tx, account, budget).await?;
        tx.rollback().await?;
        Ok(used)
    }

    /// Returns the money spent within a budget on each UTC day of a range: see [`budget::days`].
    ///
    /// # Errors
    /// The database fails.
    pub async fn budget_days(
        &self,
        name: &str,
        from: &str,
        to: &str,
    ) -> Result<Vec<(String, Money)>, LedgerError> {
        let mut tx = self.db.snapshot().await?;
        let days = budget::days(&mut tx, name, from, to).await?;
        tx.rollback().await?;
        Ok(days)
    }

    /// Returns the usage of an account.
    ///
    /// # Errors
    /// The database fails.
    pub async fn usage(&self, account: &AccountId, query: &UsageQuery) -> Result<UsageOutcome, LedgerError> {
        let mut tx = self.db.snapshot().await?;
        let found = usage::read(&mut tx, account, query).await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// Returns the credit of a source, if it was this account's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn credit_of(
        &self,
        account: &AccountId,
        source: &SourceRef,
    ) -> Result<Option<Credit>, LedgerError> {
        statement::credit(&self.db, account, source).await
    }

    /// Returns a page of an account's statement, newest lines first: credits, and one entry for each closed hold. `limit`
    /// is taken between 1 and 1000.
    ///
    /// # Errors
    /// The database fails.
    pub async fn entries(
        &self,
        account: &AccountId,
        cursor: Option<&StatementCursor>,
        limit: u32,
    ) -> Result<Page, LedgerError> {
        self.matching(account, &Filter::default(), cursor, limit).await
    }

    /// Returns a page of those lines of an account's statement that match `filter`: see [`entries`](Self::entries).
    ///
    /// # Errors
    /// The database fails.
    pub async fn matching(
        &self,
        account: &AccountId,
        filter: &Filter,
        cursor: Option<&StatementCursor>,
        limit: u32,
    ) -> Result<Page, LedgerError> {
        statement::page(&self.db, account, filter, cursor, limit).await
    }

    /// Returns what the batch writer has done so far, for metrics.
    #[must_use]
    pub fn batch_stats(&self) -> BatchStats {
        self.writer.stats()
    }
}
