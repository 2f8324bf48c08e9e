//! Executes batches, in one of two ways.
//!
//! 1. Optimistic: decides from cached rows, and writes with one statement that says how it expects the rows to be.
//!    Nearly every command goes this way, and none waits for a lock.
//! 2. [Locked](super::locked): locks the rows, reads them, decides and writes. For batches whose rows were not as
//!    expected, for commands that cached rows do not grant in full, and for batches whose answer was lost: there each
//!    command recognises what it did.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::LedgerError;
use super::batch::{Batch, Results};
use super::decide::decide;
use super::row_cache::RowCache;
use super::working_set::WorkingSet;
use super::{locked, sql};
use farebox_db::TxError as _;
use farebox_db::writer_connection::{WriteError, WriterConnection, WriterTransaction};

/// Writer of all batches of this process.
pub(super) struct Writer {
    connection: WriterConnection,
    cache: RowCache,
}

impl Writer {
    pub(super) fn new(connection: WriterConnection) -> Self {
        Self { connection, cache: RowCache::default() }
    }

    /// Executes a batch. Commands without a result are deferred: they want [`execute_locked`](Self::execute_locked).
    pub(super) async fn execute(&mut self, batch: &Batch) -> Results {
        self.optimistic(batch).await.unwrap_or_else(|error| failed(batch, &error))
    }

    /// Executes a batch with its rows locked. Every command has a result.
    pub(super) async fn execute_locked(&mut self, batch: &Batch) -> Results {
        self.locked(batch).await.unwrap_or_else(|error| failed(batch, &error))
    }

    async fn optimistic(&mut self, batch: &Batch) -> Result<Results, LedgerError> {
        let rows = self.read(batch).await?;
        let decision = decide(batch, rows);
        match self.connection.write(&decision.writes).await {
            Ok(()) => Ok(self.written(decision.into_written())),
            Err(WriteError::Conflict) => self.locked(batch).await,
            Err(WriteError::Rejected(error)) => Err(error.into()),
            Err(WriteError::Unknown(error)) => {
                tracing::warn!(%error, commands = batch.len(), "a batch has no answer; executing it again");
                // If this fails too, all of it may have been written the first time.
                self.locked(&batch.again(&decision.results)).await.map_err(|_| error.into())
            }
        }
    }

    /// A batch that contradicts stored rows is taken apart, so that each command fails, or not, on its own.
    async fn locked(&mut self, batch: &Batch) -> Result<Results, LedgerError> {
        match self.locked_at_once(batch).await {
            Err(LedgerError::Corrupt(error)) if batch.len() > 1 => {
                tracing::error!(
                    error,
                    commands = batch.len(),
                    "a batch failed; executing its commands one by one"
                );
                let mut all = Results::default();
                for single in batch.commands() {
                    let results = self.locked_at_once(&single).await;
                    all.append(results.unwrap_or_else(|error| failed(&single, &error)));
                }
                Ok(all)
            }
            results => results,
        }
    }

    async fn locked_at_once(&mut self, batch: &Batch) -> Result<Results, LedgerError> {
        match self.attempt_locked(batch).await {
            Ok(results) => Ok(results),
            Err(LockedError::Unchanged(LedgerError::Corrupt(_))) => {
                // New holds have no row to lock: a lost write of them may have ended in between.
                self.attempt_locked(batch).await.map_err(LockedError::into_inner)
            }
            Err(LockedError::Unchanged(error)) => Err(error),
            Err(LockedError::Unknown { error, results }) => {
                tracing::warn!(%error, commands = batch.len(), "a batch has no answer; executing it again");
                // If this fails too, all of it may have been written the first time.
                self.attempt_locked(&batch.again(&results)).await.map_err(|_| error)
            }
        }
    }

    async fn attempt_locked(&mut self, batch: &Batch) -> Result<Results, LockedError> {
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
            Err(error) => Err(match unanswered.take() {
                Some(results) if !is_refused(&error) => LockedError::Unknown { error, results },
                _ => LockedError::Unchanged(error),
            }),
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

/// Error of a batch whose rows were to be locked.
enum LockedError {
    /// Nothing changed.
    Unchanged(LedgerError),
    /// The commit has no answer: it may have made these results true.
    Unknown { error: LedgerError, results: Results },
}

impl LockedError {
    fn into_inner(self) -> LedgerError {
        let (Self::Unchanged(error) | Self::Unknown { error, .. }) = self;
        error
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
