//! Charges, and the opening and closing of tabs, share their commits.
//!
//! One thread per process takes everything that is waiting, up to a bound, works out what fits in
//! the order it came, adds that up per tab and account, writes it in one transaction, and answers
//! everybody after the commit. While one commit is being made the next batch gathers, so the busier
//! the program, the more each commit carries.
//!
//! Most batches are one statement to PostgreSQL, without locks: what fits is worked out from what the
//! writer [remembers](super::memory), and written only if the rows are as that says. Where they are
//! not, and for requests that need a look at more than accounts and tabs, rows are locked first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::books::{Books, Charge};
use super::confirm::{Answer, Charged, Confirming};
use super::decide::{Decided, decide};
use super::memory::Memory;
use super::orders::{Orders, Outcomes};
use super::repeat::Known;
use super::tabs::{Opened, Opening, Owed, Settling};
use super::verbs::not_negative;
use super::{ChargeOutcome, CloseOutcome, LedgerError, sql, sweep};
use crate::db::own::{Own, OwnTx, Unwritten};
use crate::db::{Db, DbError, TxError};

/// The most that one transaction does: bounds how long a commit keeps others waiting.
const LARGEST_BATCH: usize = 1024;
/// Batches begin no closer together than this, unless [`PLENTY`] waits. Most of what a batch costs
/// does not depend on its size: pages that are written again, the sync, the changes of threads. Who
/// comes alone does not wait.
const PACE: Duration = Duration::from_micros(500);
/// Enough for a batch to be worth its cost.
const PLENTY: usize = 64;
/// How much may wait for the next batch before more waits to be queued.
const QUEUE: usize = 4 * LARGEST_BATCH;

/// What waits for its commit.
enum Job {
    Charge(Charge, Answer<ChargeOutcome>),
    Settle(Settling, Answer<CloseOutcome>),
    Open(Opening, Answer<Opened>),
}

/// What the batch writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BatchStats {
    /// Transactions, failed ones included.
    pub batches: u64,
    /// Charges in them.
    pub charges: u64,
    /// Tabs that were to be opened or closed in them.
    pub tabs: u64,
    /// The most of all these in one of them.
    pub largest: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    charges: AtomicU64,
    tabs: AtomicU64,
    largest: AtomicU64,
}

/// The way to the batch writer. The writer ends with the last of its handles, after it has
/// answered everything that was queued.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    queue: mpsc::Sender<Job>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) async fn charge(&self, charge: Charge) -> Result<ChargeOutcome, LedgerError> {
        not_negative(charge.amount.min(charge.ahead))?;
        self.ask(|answer| Job::Charge(charge, answer)).await
    }

    pub(super) async fn settle(&self, settling: Settling) -> Result<CloseOutcome, LedgerError> {
        not_negative(settling.owed.amount())?;
        self.ask(|answer| Job::Settle(settling, answer)).await
    }

    pub(super) async fn open(&self, opening: Opening) -> Result<Opened, LedgerError> {
        not_negative(opening.estimate.wanted.min(opening.estimate.least))?;
        self.ask(|answer| Job::Open(opening, answer)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(job(answer)).await.map_err(|_| LedgerError::Stopped)?;
        answered.await.map_err(|_| LedgerError::Stopped)?
    }

    pub(super) fn stats(&self) -> BatchStats {
        BatchStats {
            batches: self.counters.batches.load(Ordering::Relaxed),
            charges: self.counters.charges.load(Ordering::Relaxed),
            tabs: self.counters.tabs.load(Ordering::Relaxed),
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
    let own = Own::new(db.clone());
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the system has what a runtime needs").block_on(run(own, waiting, counters));
    };
    thread("ledger", work);
    handle
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts threads");
}

async fn run(own: Own, mut queue: mpsc::Receiver<Job>, counters: Arc<Counters>) {
    let confirming = Confirming::start(&own, |work| thread("ledger-sync", work));
    let mut writer = Writer { own, memory: Memory::default() };
    let mut waiting = Vec::with_capacity(LARGEST_BATCH);
    let mut began: Option<Instant> = None;
    while queue.recv_many(&mut waiting, LARGEST_BATCH).await > 0 {
        let early = began.and_then(|began| PACE.checked_sub(began.elapsed()));
        if let Some(early) = early.filter(|_| waiting.len() < PLENTY) {
            // The thread has nothing else to do, and the runtime's own timers count in milliseconds.
            std::thread::sleep(early);
            let room = LARGEST_BATCH - waiting.len();
            waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        }
        began = Some(Instant::now());
        for Batch { orders, answers } in sorted(waiting.drain(..)) {
            if orders.len() == 0 {
                continue;
            }
            counters.count(&orders);
            let outcomes = writer.carry_out(&orders).await;
            let (unwanted, charged) = answers.send(&orders, outcomes);
            confirming.send(charged);
            if unwanted.len() > 0 {
                writer.carry_out(&unwanted).await;
            }
        }
    }
}

impl Counters {
    fn count(&self, orders: &Orders) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.charges.fetch_add(orders.charges.len() as u64, Ordering::Relaxed);
        self.tabs.fetch_add((orders.settlings.len() + orders.openings.len()) as u64, Ordering::Relaxed);
        self.largest.fetch_max(orders.len() as u64, Ordering::Relaxed);
    }
}

/// What is asked for, and who waits for it.
#[derive(Default)]
struct Batch {
    orders: Orders,
    answers: Answers,
}

/// Two batches: in the second are the openings that take locks.
fn sorted(jobs: impl Iterator<Item = Job>) -> [Batch; 2] {
    let (mut plain, mut locking) = (Batch::default(), Batch::default());
    for job in jobs {
        match job {
            // Whoever stopped waiting before the transaction began is not charged.
            Job::Charge(charge, answer) if !answer.is_closed() => {
                plain.orders.charges.push(charge);
                plain.answers.charges.push(answer);
            }
            Job::Open(opening, answer) if !answer.is_closed() => {
                let batch = if opening.is_plain() { &mut plain } else { &mut locking };
                batch.orders.openings.push(opening);
                batch.answers.openings.push(answer);
            }
            Job::Charge(..) | Job::Open(..) => {}
            Job::Settle(settling, answer) => {
                plain.orders.settlings.push(settling);
                plain.answers.settlings.push(answer);
            }
        }
    }
    [plain, locking]
}

/// Who waits, in the order of what is asked for.
#[derive(Default)]
struct Answers {
    charges: Vec<Answer<ChargeOutcome>>,
    settlings: Vec<Answer<CloseOutcome>>,
    openings: Vec<Answer<Opened>>,
}

impl Answers {
    /// Answers who wanted tabs: money that is set aside need only be seen by others, and what a crash
    /// undoes of it was not used. Returns the tabs that nobody waits for any more, to be closed, and
    /// the other answers, to be given when what they say is durable.
    fn send(self, orders: &Orders, outcomes: Outcomes) -> (Orders, Charged) {
        let mut unwanted = Orders::default();
        for ((answer, outcome), opening) in
            self.openings.into_iter().zip(outcomes.openings).zip(&orders.openings)
        {
            // An error here means that nobody waits any more.
            if let Err(Ok(Opened::Open { hold, .. })) = answer.send(outcome) {
                let details = sweep::details();
                unwanted.settlings.push(Settling { hold, owed: Owed::NOTHING, details, now: opening.now });
            }
        }
        let charges = self.charges.into_iter().zip(outcomes.charges).collect();
        let settlings = self.settlings.into_iter().zip(outcomes.settlings).collect();
        (unwanted, Charged { charges, settlings })
    }
}

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

/// A batch that was written or was not.
struct Doubtful<'a> {
    orders: &'a Orders,
    requests: &'a [Known],
    outcomes: &'a Outcomes,
    books: &'a Books,
}

/// Does what is asked for.
struct Writer {
    own: Own,
    memory: Memory,
}

impl Writer {
    /// Does all of it in one transaction. When that is refused, each by itself: one that the database
    /// will not have must not fail the others.
    async fn carry_out(&mut self, orders: &Orders) -> Outcomes {
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
            settlings: orders.settlings.iter().map(|_| Err(error.clone())).collect(),
            openings: orders.openings.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn one_by_one(&mut self, orders: &Orders) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for single in orders.singles() {
            let one = Box::pin(self.carry_out(&single)).await;
            outcomes.charges.extend(one.charges);
            outcomes.settlings.extend(one.settlings);
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
                let doubtful = Doubtful { orders, requests: &requests, outcomes: &outcomes, books: &books };
                match self.unless_written(&doubtful).await {
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
    async fn unless_written(&mut self, doubtful: &Doubtful<'_>) -> Result<Option<Outcomes>, Abandoned> {
        let Doubtful { orders, requests, outcomes, books } = *doubtful;
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
    async fn read(&mut self, orders: &Orders, mut known: Books) -> Result<Books, Abandoned> {
        let tabs: BTreeSet<_> = orders.tabs().filter(|hold| !known.tabs.contains_key(hold)).collect();
        let accounts: BTreeSet<_> =
            orders.accounts().filter(|account| !known.accounts.contains_key(account)).collect();
        if !(tabs.is_empty() && accounts.is_empty()) {
            let read =
                async |tx: &mut OwnTx<'_>| sql::read(tx, &accounts, &tabs).await.map_err(Abandoned::Refused);
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
