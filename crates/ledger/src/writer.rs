//! Executes batches, in one of two ways.
//!
//! 1. Optimistic: decides from cached rows, and writes with one statement that says how it expects the rows to be.
//!    Nearly every command goes this way, and none waits for a lock.
//! 2. [Locked](super::locked): locks the rows, reads them, decides and writes. For batches whose rows were not as
//!    expected, for commands that cached rows do not grant in full, and for batches whose answer was lost: there each
//!    command recognises what it did.
//!
//! While the database is away, the batch waits for it for as long as the writer has patience, and the next ones gather
//! behind it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::LedgerError;
use super::batch::{Batch, Results};
use super::decide::decide;
use super::row_cache::RowCache;
use super::working_set::WorkingSet;
use super::{locked, sql};
use farebox_db::writer_connection::{WriteError, WriterConnection, WriterTransaction};
use farebox_db::{DbError, TxError as _};

/// Writer of all batches of this process.
pub(super) struct Writer {
    connection: WriterConnection,
    cache: RowCache,
    /// Time for which a batch waits for a database that is away.
    patience: Duration,
}

/// Interval between attempts while the database is away.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

impl Writer {
    pub(super) fn new(connection: WriterConnection, patience: Duration) -> Self {
        Self { connection, cache: RowCache::default(), patience }
    }

    /// Executes a batch. Commands without a result are deferred: they want [`execute_locked`](Self::execute_locked).
    pub(super) async fn execute(&mut self, batch: &Batch) -> Results {
        let first = self.optimistic(batch).await;
        self.complete(batch, first).await
    }

    /// Executes a batch with its rows locked. Every command has a result.
    pub(super) async fn execute_locked(&mut self, batch: &Batch) -> Results {
        let first = self.locked(batch).await;
        self.complete(batch, first).await
    }

    /// Returns the results of an attempt, or of others while the database is away. An attempt that may have been written
    /// is looked for by each of them, with what it would have come to.
    async fn complete(&mut self, batch: &Batch, first: Result<Results, FailedBatch>) -> Results {
        let deadline = Instant::now() + self.patience;
        let (mut attempt, mut unanswered): (_, Option<Results>) = (first, None);
        loop {
            let failure = match attempt {
                Ok(results) => return results,
                Err(failure) => failure,
            };
            let is_outage = failure.error.db().is_some_and(DbError::is_outage);
            if !is_outage || Instant::now() + RETRY_INTERVAL > deadline {
                return failed(batch, &failure.error);
            }
            tracing::warn!(error = %failure.error, commands = batch.len(), "the database is away; a batch waits for it");
            unanswered = match unanswered {
                Some(results) => Some(Results::or(results, failure.unanswered)),
                None => failure.unanswered,
            };
            tokio::time::sleep(RETRY_INTERVAL).await;
            attempt = match &unanswered {
                Some(results) => self.locked(&batch.again(results)).await,
                None => self.locked(batch).await,
            };
        }
    }

    async fn optimistic(&mut self, batch: &Batch) -> Result<Results, FailedBatch> {
        let rows = self.read(batch).await?;
        let decision = decide(batch, rows);
        match self.connection.write(&decision.writes).await {
            Ok(()) => Ok(self.written(decision.into_written())),
            Err(WriteError::Conflict) => self.locked(batch).await,
            Err(WriteError::Rejected(error)) => Err(LedgerError::from(error).into()),
            Err(WriteError::Unknown(error)) => {
                tracing::warn!(%error, commands = batch.len(), "a batch has no answer; executing it again");
                // If this fails too, all of it may have been written the first time.
                let again = self.locked(&batch.again(&decision.results)).await;
                again.map_err(|failure| FailedBatch {
                    error: error.into(),
                    unanswered: Some(decision.results.or(failure.unanswered)),
                })
            }
        }
    }

    /// A batch that contradicts stored rows is taken apart, so that each command fails, or not, on its own.
    async fn locked(&mut self, batch: &Batch) -> Result<Results, FailedBatch> {
        match self.locked_at_once(batch).await {
            Err(FailedBatch { error: LedgerError::Corrupt(error), .. }) if batch.len() > 1 => {
                tracing::error!(
                    error,
                    commands = batch.len(),
                    "a batch failed; executing its commands one by one"
                );
                let mut all = Results::default();
                for single in batch.commands() {
                    let results = self.locked_at_once(&single).await;
                    all.append(results.unwrap_or_else(|failure| failed(&single, &failure.error)));
                }
                Ok(all)
            }
            results => results,
        }
    }

    async fn locked_at_once(&mut self, batch: &Batch) -> Result<Results, FailedBatch> {
        match self.attempt_locked(batch).await {
            // New holds have no row to lock: a lost write of them may have ended in between.
            Err(FailedBatch { error: LedgerError::Corrupt(_), unanswered: None }) => {
                self.attempt_locked(batch).await
            }
            Err(FailedBatch { error, unanswered: Some(results) }) => {
                tracing::warn!(%error, commands = batch.len(), "a batch has no answer; executing it again");
                // If this fails too, all of it may have been written the first time.
                let again = self.attempt_locked(&batch.again(&results)).await;
                again.map_err(|failure| FailedBatch {
                    error,
                    unanswered: Some(results.or(failure.unanswered)),
                })
            }
            attempt => attempt,
        }
    }

    async fn attempt_locked(&mut self, batch: &Batch) -> Result<Results, FailedBatch> {
        // Results of an attempt whose commit was asked for.
        let unanswered = RefCell::new(None);
        let work = async |tx: &mut WriterTransaction<'_>| {
            unanswered.take();
            let (results, rows) = locked::execute(batch, tx).await?;
            unanswered.replace(Some(results.clone()));
            Ok::<_, LedgerError>((results, rows))
        };
        match self.connection.transaction(work).await {
            Ok(written) => Ok(self.written(written)),
            Err(error) => {
                let unanswered = unanswered.take().filter(|_| !is_refused(&error));
                Err(FailedBatch { error, unanswered })
            }
        }
    }

    /// Completes cached rows with those that the batch needs besides.
    async fn read(&mut self, batch: &Batch) -> Result<WorkingSet, LedgerError> {
        let mut rows = self.cache.take(batch);
        let holds: BTreeSet<_> = batch.holds().filter(|hold| !rows.holds.contains_key(hold)).collect();
        let accounts: BTreeSet<_> =
            batch.accounts().filter(|account| !rows.accounts.contains_key(account)).collect();
        if !(holds.is_empty() && accounts.is_empty()) {
            let read = self.connection.read(async |tx| sql::read(tx, &accounts, &holds).await).await?;
            rows.accounts.extend(read.accounts);
            rows.holds.extend(read.holds);
            rows.corrupt.extend(read.corrupt);
        }
        Ok(rows)
    }

    fn written(&mut self, (results, rows): (Results, WorkingSet)) -> Results {
        self.cache.keep(rows);
        results
    }
}

/// Batch that was not executed.
struct FailedBatch {
    error: LedgerError,
    /// Results that it has if its write, whose answer is missing, was made; `None` if nothing changed.
    unanswered: Option<Results>,
}

impl From<LedgerError> for FailedBatch {
    fn from(error: LedgerError) -> Self {
        Self { error, unanswered: None }
    }
}

/// Returns true if a commit with this error did nothing.
fn is_refused(error: &LedgerError) -> bool {
    error.db().is_some_and(|error| error.is_rejection() || error.is_conflict())
}

fn failed(batch: &Batch, error: &LedgerError) -> Results {
    tracing::error!(%error, commands = batch.len(), "a batch failed");
    batch.failed(error)
}
