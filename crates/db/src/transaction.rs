//! Transactions that run again when the engine asked for it, or was away before anything was done.

use std::time::{Duration, Instant};

use super::{Db, DbError, Engine, Tx, TxError, is_conflict, pauses, wait};

/// Time for which a transaction waits for a server that is away, as during a failover.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between attempts meanwhile.
const OUTAGE_PAUSE: Duration = Duration::from_millis(200);

impl Db {
    /// Runs `work` in one transaction. Work that gives the transaction back has it committed;
    /// work that fails drops it, which undoes everything. When the engine sacrificed the
    /// transaction to another one, `work` runs again from its beginning, so it must have no effect
    /// outside the transaction.
    ///
    /// ```no_run
    /// # async fn example(db: &farebox_db::Db) -> Result<(), farebox_db::DbError> {
    /// db.transaction(|mut tx| async move {
    ///     sqlx::query("UPDATE keys SET revoked = 1").execute(tx.conn()).await?;
    ///     Ok((tx, ()))
    /// })
    /// .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the error of `work`, or that of opening or committing the transaction. After a failed commit the
    /// outcome is unknown unless [`DbError::is_conflict`].
    pub async fn transaction<T, E, F, W>(&self, mut work: F) -> Result<T, E>
    where
        E: TxError,
        F: FnMut(Tx) -> W,
        W: Future<Output = Result<(Tx, T), E>>,
    {
        // The closure is handed the transaction itself, not a borrow of it: futures that borrow
        // from an async closure are not recognised as `Send`, which every handler needs.
        let (mut pauses, deadline) = (pauses(), Instant::now() + OUTAGE_PATIENCE);
        loop {
            match self.attempt(&mut work).await {
                Ok(done) => return Ok(done),
                Err(AttemptError::Unchanged(error) | AttemptError::AtCommit(error))
                    if is_conflict(&error) =>
                {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    wait(pause).await;
                }
                Err(AttemptError::Unchanged(error)) if self.is_away(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(OUTAGE_PAUSE).await;
                }
                Err(AttemptError::Unchanged(error) | AttemptError::AtCommit(error)) => return Err(error),
            }
        }
    }

    /// True if the error says that the server is away and may be back soon.
    fn is_away(&self, error: &impl TxError) -> bool {
        self.engine == Engine::Postgres && error.db().is_some_and(DbError::is_outage)
    }

    async fn attempt<T, E, F, W>(&self, work: &mut F) -> Result<T, AttemptError<E>>
    where
        E: TxError,
        F: FnMut(Tx) -> W,
        W: Future<Output = Result<(Tx, T), E>>,
    {
        let begun = self.begin().await.map_err(|error| AttemptError::Unchanged(error.into()))?;
        let (tx, done) = work(begun).await.map_err(AttemptError::Unchanged)?;
        tx.commit().await.map_err(|error| AttemptError::AtCommit(error.into()))?;
        Ok(done)
    }
}

/// Error of an attempt at a transaction, and when it came.
pub(super) enum AttemptError<E> {
    /// Before it was being committed: nothing was done.
    Unchanged(E),
    /// While it was being committed.
    AtCommit(E),
}
