//! Writes batches.
//!
//! Most are one statement to PostgreSQL, without locks: what fits is worked out from what the writer
//! [remembers](super::memory), and written only if the rows are as that says. Where they are not, and
//! for requests that need a look at more than accounts and holds, rows are locked first.

use std::collections::BTreeSet;

use super::decide::{Decided, decide};
use super::idempotency::IdempotencyStatus;
use super::memory::Memory;
use super::orders::{Orders, Outcomes};
use super::working_set::WorkingSet;
use super::{LedgerError, sql};
use farebox_db::writer_connection::{Unwritten, WriterConnection, WriterTransaction};
use farebox_db::{DbError, TxError};

/// Why a batch was given up.
enum Abandoned {
    /// A statement was refused. Nothing changed.
    Refused(LedgerError),
    /// The transaction could not be begun or committed; in the second case it may have been.
    Unknown(DbError),
}

impl From<DbError> for Abandoned {
    fn from(error: DbError) -> Self {
        Self::Unknown(error)
    }
}

impl TxError for Abandoned {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Refused(error) => error.db(),
            Self::Unknown(error) => Some(error),
        }
    }
}

/// Does what is asked for.
pub(super) struct Writer {
    own: WriterConnection,
    memory: Memory,
}

impl Writer {
    pub(super) fn new(own: WriterConnection) -> Self {
        Self { own, memory: Memory::default() }
    }

    /// Does all of it in one transaction. When that is refused, each by itself: one that the database
    /// will not have must not fail the others.
    pub(super) async fn carry_out(&mut self, orders: &Orders) -> Outcomes {
        let mut attempt = self.attempt(orders).await;
        if let Err(Abandoned::Refused(error)) = &attempt
            && error.db().is_some_and(|error| !error.is_conflict())
        {
            // The connection may have been lost.
            tracing::warn!(%error, jobs = orders.len(), "a batch broke off; trying again");
            attempt = self.locked(orders).await;
        }
        let error = match attempt {
            Ok(outcomes) => return outcomes,
            Err(Abandoned::Refused(error)) if orders.len() > 1 && is_an_answer(&error) => {
                tracing::error!(%error, jobs = orders.len(), "a batch was refused; trying one by one");
                return self.one_by_one(orders).await;
            }
            Err(Abandoned::Refused(error)) => error,
            Err(Abandoned::Unknown(error)) => error.into(),
        };
        tracing::error!(%error, jobs = orders.len(), "a batch failed");
        Outcomes {
            charges: orders.charges.iter().map(|_| Err(error.clone())).collect(),
            captures: orders.captures.iter().map(|_| Err(error.clone())).collect(),
            openings: orders.openings.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn one_by_one(&mut self, orders: &Orders) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for single in orders.singles() {
            let one = Box::pin(self.carry_out(&single)).await;
            outcomes.charges.extend(one.charges);
            outcomes.captures.extend(one.captures);
            outcomes.openings.extend(one.openings);
        }
        outcomes
    }

    async fn attempt(&mut self, orders: &Orders) -> Result<Outcomes, Abandoned> {
        match self.unlocked(orders).await? {
            Some(outcomes) => Ok(outcomes),
            None => self.locked(orders).await,
        }
    }

    /// Reads what is not remembered, decides, and writes what is expected of the rows along with what
    /// they change to. Nothing when that is not so, or it takes more to decide.
    async fn unlocked(&mut self, orders: &Orders) -> Result<Option<Outcomes>, Abandoned> {
        let Some(requests) = orders.new_requests() else { return Ok(None) };
        let known = self.memory.take(orders);
        let mut books = self.read(orders, known).await?;
        let mut decided = decide(orders, &requests, &mut books).map_err(Abandoned::Refused)?;
        if !decided.grudging.is_empty() {
            // There may be more by now: nobody is refused from memory.
            let rest = books.found_without(&decided.grudging);
            books = self.read(orders, rest).await?;
            decided = decide(orders, &requests, &mut books).map_err(Abandoned::Refused)?;
        }
        let Decided { outcomes, closed_before, writes, opened, .. } = decided;
        if !closed_before.is_empty() || orders.opens_accounts(&books) {
            return Ok(None);
        }
        match self.own.write(&writes).await {
            Ok(()) => {}
            Err(Unwritten::Unexpected) => return Ok(None),
            Err(Unwritten::Refused(error)) => return Err(Abandoned::Refused(error.into())),
            Err(Unwritten::Unreachable(error)) => return Err(Abandoned::Unknown(error)),
            Err(Unwritten::Unknown(error)) if error.is_conflict() => return Err(Abandoned::Unknown(error)),
            Err(Unwritten::Unknown(error)) => {
                tracing::warn!(%error, jobs = orders.len(), "a batch has no answer; looking whether it was written");
                match self.unless_written(orders, &requests, &outcomes, &books).await {
                    Ok(None) => {}
                    Ok(done) => return Ok(done),
                    Err(failed) => {
                        // Nor are they tried one by one: all of it may have been written.
                        let why = failed.db().map(ToString::to_string);
                        tracing::error!(why, "a batch cannot be looked up");
                        return Err(Abandoned::Unknown(error));
                    }
                }
            }
        }
        books.tabs.extend(opened);
        self.memory.keep(books);
        Ok(Some(outcomes))
    }

    /// Does in a transaction with locks what may have been written already. Nothing if it was.
    async fn unless_written(
        &mut self,
        orders: &Orders,
        requests: &[IdempotencyStatus],
        outcomes: &Outcomes,
        books: &WorkingSet,
    ) -> Result<Option<Outcomes>, Abandoned> {
        let mut tries = 0;
        loop {
            tries += 1;
            let done = self.own.transaction(async |tx| {
                if orders.are_written(outcomes, books, tx).await.map_err(Abandoned::Refused)? {
                    return Ok(None);
                }
                orders.execute(Some(requests), tx).await.map(Some).map_err(Abandoned::Refused)
            });
            match done.await {
                // It may have come to its end meanwhile.
                Err(Abandoned::Refused(_)) if tries == 1 => {}
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some((outcomes, books))) => {
                    self.memory.keep(books);
                    return Ok(Some(outcomes));
                }
            }
        }
    }

    /// Completes what is `known` of the rows that `orders` are about.
    async fn read(&mut self, orders: &Orders, mut known: WorkingSet) -> Result<WorkingSet, Abandoned> {
        let tabs: BTreeSet<_> = orders.tabs().filter(|hold| !known.tabs.contains_key(hold)).collect();
        let accounts: BTreeSet<_> =
            orders.accounts().filter(|account| !known.accounts.contains_key(account)).collect();
        if !(tabs.is_empty() && accounts.is_empty()) {
            let read = async |tx: &mut WriterTransaction<'_>| {
                sql::read(tx, &accounts, &tabs).await.map_err(Abandoned::Refused)
            };
            let read = self.own.read(read).await?;
            known.accounts.extend(read.accounts);
            known.tabs.extend(read.tabs);
        }
        Ok(known)
    }

    /// The same with rows locked before anything is decided.
    async fn locked(&mut self, orders: &Orders) -> Result<Outcomes, Abandoned> {
        let done =
            self.own.transaction(async |tx| orders.execute(None, tx).await.map_err(Abandoned::Refused));
        let (outcomes, books) = done.await?;
        self.memory.keep(books);
        Ok(outcomes)
    }
}

/// Whether the database is there and said no to what it was asked, so that something else may be
/// accepted. A conflict was waited for often enough already.
fn is_an_answer(error: &LedgerError) -> bool {
    match error.db() {
        Some(error) => error.is_refusal() && !error.is_conflict() && !error.is_trouble(),
        None => true,
    }
}
