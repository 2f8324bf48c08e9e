//! Charges share their commits.
//!
//! One thread per process takes every charge that is waiting, up to a bound, works out which fit in
//! the order they came, adds those up per tab and account, writes the sums in one transaction,
//! and answers everybody after the commit. While one commit is being synced the next batch
//! gathers, so the busier the program, the more charges each sync carries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::account::{Books, Fold, Verdict};
use super::{ChargeOutcome, LedgerError, fits, sql};
use crate::db::rows::{self, Column};
use crate::db::{Db, Tx};
use crate::id::HoldId;
use crate::money::Money;

/// The most charges in one transaction: bounds how long a commit keeps others waiting.
const LARGEST_BATCH: usize = 1024;
/// How many charges may wait for the next batch before further ones wait to be queued.
const QUEUE: usize = 4 * LARGEST_BATCH;

type Answer = Result<ChargeOutcome, LedgerError>;

/// A charge that waits for its commit.
struct Waiting {
    hold: HoldId,
    amount: Money,
    answer: oneshot::Sender<Answer>,
}

/// What the batch writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BatchStats {
    /// Transactions, failed ones included.
    pub batches: u64,
    /// Charges in them.
    pub charges: u64,
    /// The most charges in one of them.
    pub largest: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    charges: AtomicU64,
    largest: AtomicU64,
}

/// The way to the batch writer. The writer ends with the last of its handles, after it has
/// answered everything that was queued.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    queue: mpsc::Sender<Waiting>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) async fn charge(&self, hold: &HoldId, amount: Money) -> Answer {
        if amount < Money::ZERO {
            return Err(LedgerError::Amount(amount));
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { hold: hold.clone(), amount, answer };
        self.queue.send(waiting).await.map_err(|_| LedgerError::Stopped)?;
        answered.await.map_err(|_| LedgerError::Stopped)?
    }

    pub(super) fn stats(&self) -> BatchStats {
        BatchStats {
            batches: self.counters.batches.load(Ordering::Relaxed),
            charges: self.counters.charges.load(Ordering::Relaxed),
            largest: self.counters.largest.load(Ordering::Relaxed),
        }
    }
}

/// Starts the batch writer on a thread of its own: among the streams that it wakes it would wait,
/// between any two statements, until hundreds of them have had their turn.
pub(super) fn start(db: &Db) -> Handle {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let counters = Arc::new(Counters::default());
    let handle = Handle { queue, counters: Arc::clone(&counters) };
    let db = db.apart();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has what a runtime needs").block_on(run(db, waiting, counters));
    };
    std::thread::Builder::new().name("ledger".to_owned()).spawn(work).expect("the system starts threads");
    handle
}

async fn run(db: Db, mut queue: mpsc::Receiver<Waiting>, counters: Arc<Counters>) {
    let mut batch = Vec::with_capacity(LARGEST_BATCH);
    while queue.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        // Whoever stopped waiting before the transaction began was never charged.
        batch.retain(|waiting| !waiting.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.charges.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.largest.fetch_max(batch.len() as u64, Ordering::Relaxed);

        let charges: Vec<_> = batch.iter().map(|w| (w.hold.clone(), w.amount)).collect();
        let result = commit(&db, &charges).await;
        if let Err(error) = &result {
            tracing::error!(%error, charges = charges.len(), "a batch of charges failed");
        }
        for (waiting, answer) in batch.drain(..).zip(answers(&charges, &result)) {
            // An error here means that nobody waits any more; the tab knows what it was charged.
            let _ = waiting.answer.send(answer);
        }
    }
}

async fn commit(db: &Db, charges: &[(HoldId, Money)]) -> Result<Vec<Verdict>, LedgerError> {
    if let Some(verdicts) = fits::charge(db, charges).await? {
        return Ok(verdicts);
    }
    db.transaction(|mut tx| async move {
        let verdicts = charge(&mut tx, charges).await?;
        Ok((tx, verdicts))
    })
    .await
}

/// One answer per charge: the same error to all, or each its own.
fn answers<'a>(
    charges: &'a [(HoldId, Money)],
    result: &'a Result<Vec<Verdict>, LedgerError>,
) -> impl Iterator<Item = Answer> + 'a {
    charges.iter().enumerate().map(move |(n, (hold, _))| match result {
        Err(error) => Err(error.clone()),
        Ok(verdicts) => answer(verdicts[n], hold),
    })
}

/// What the caller is told.
pub(super) fn answer(verdict: Verdict, hold: &HoldId) -> Answer {
    match verdict {
        Verdict::Outcome(outcome) => Ok(outcome),
        Verdict::Unknown => Err(LedgerError::UnknownHold(hold.clone())),
        Verdict::Overflow => Err(LedgerError::Overflow),
    }
}

/// Charges tabs within a transaction. Which charges fit is decided on locked rows, and decided
/// again by the database when the sums are written.
pub(super) async fn charge(tx: &mut Tx, charges: &[(HoldId, Money)]) -> Result<Vec<Verdict>, LedgerError> {
    let holds: BTreeSet<&HoldId> = charges.iter().map(|(hold, _)| hold).collect();
    let books = lock(tx, &holds).await?;
    let (verdicts, fold) = books.admit(charges);
    write(tx, &fold).await?;
    Ok(verdicts)
}

/// Locks the accounts behind these tabs, in the order of their ids, then reads both.
async fn lock(tx: &mut Tx, holds: &BTreeSet<&HoldId>) -> Result<Books, LedgerError> {
    let given = rows::given(tx.engine(), &[Column::Text("id")], holds.len());
    let lock = tx.engine().for_update();
    let accounts = format!(
        "{given} SELECT id, credited, spent, held FROM accounts
          WHERE id IN (SELECT holds.account FROM given CROSS JOIN holds WHERE holds.id = given.id)
          ORDER BY id{lock}"
    );
    let tabs = format!(
        "{given} SELECT holds.id, account, reserved, charged, state
         FROM given CROSS JOIN holds WHERE holds.id = given.id"
    );
    let ids: Vec<_> = holds.iter().map(|hold| [hold.as_str()]).collect();
    let mut books = Books::default();
    for row in rows::with_rows(accounts, &ids).fetch_all(tx.conn()).await? {
        books.accounts.insert(sql::account_id(&row, "id")?, sql::balance(&row)?);
    }
    for row in rows::with_rows(tabs, &ids).fetch_all(tx.conn()).await? {
        books.tabs.insert(sql::hold_id(&row, "id")?, sql::opened_tab(&row)?);
    }
    Ok(books)
}

/// Writes the sums of a batch.
async fn write(tx: &mut Tx, fold: &Fold) -> Result<(), LedgerError> {
    if fold.tabs.is_empty() {
        return Ok(());
    }
    let columns = [Column::Text("id"), Column::Whole("amount")];
    let given = rows::given(tx.engine(), &columns, fold.tabs.len());
    let raise_tabs = format!(
        "{given} UPDATE holds SET charged = holds.charged + given.amount FROM given
          WHERE holds.id = given.id AND holds.state = 'open'"
    );
    let tabs: Vec<_> = fold.tabs.iter().map(|(hold, amount)| (hold.as_str(), amount.micros())).collect();
    let result = rows::with_rows(raise_tabs, &tabs).execute(tx.conn()).await?;
    sql::must(result.rows_affected(), tabs.len(), "a batch of charges, on tabs,")?;

    let columns = [Column::Text("id"), Column::Whole("spent"), Column::Whole("drawn")];
    let given = rows::given(tx.engine(), &columns, fold.accounts.len());
    let raise_accounts = format!(
        "{given} UPDATE accounts
            SET spent = accounts.spent + given.spent, held = accounts.held - given.drawn FROM given
          WHERE accounts.id = given.id AND accounts.held >= given.drawn
            AND accounts.credited - accounts.spent - accounts.held >= given.spent - given.drawn"
    );
    let sums = fold.accounts.iter();
    let accounts: Vec<_> =
        sums.map(|(account, (spent, drawn))| (account.as_str(), spent.micros(), drawn.micros())).collect();
    let result = rows::with_rows(raise_accounts, &accounts).execute(tx.conn()).await?;
    sql::must(result.rows_affected(), accounts.len(), "a batch of charges, on accounts,")
}
