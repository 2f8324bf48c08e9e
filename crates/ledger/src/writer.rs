//! Executes batches, in one of two ways.
//!
//! 1. Optimistic: decides from cached rows, and writes with one statement that says how it expects the rows to be.
//!    Nearly every command goes this way, and none waits for a lock.
//! 2. [Locked](super::locked): locks the rows, reads them, decides and writes. For batches whose rows were not as
//!    expected, for commands that cached rows do not grant in full, and for batches whose answer was lost: there each
//!    command recognises what it did.

use std::collections::BTreeSet;

use super::LedgerError;
use super::batch::{Batch, Results};
use super::decide::decide;
use super::row_cache::RowCache;
use super::working_set::WorkingSet;
use super::{locked, sql};
use farebox_db::writer_connection::{WriteError, WriterConnection};

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

    async fn locked(&mut self, batch: &Batch) -> Result<Results, LedgerError> {
        let mut written = self.connection.transaction(async |tx| locked::execute(batch, tx).await).await;
        if let Err(LedgerError::Corrupt(_)) = written {
            // New holds have no row to lock: a lost write of them may have ended in between.
            written = self.connection.transaction(async |tx| locked::execute(batch, tx).await).await;
        }
        Ok(self.written(written?))
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

fn failed(batch: &Batch, error: &LedgerError) -> Results {
    tracing::error!(%error, commands = batch.len(), "a batch failed");
    batch.failed(error)
}
