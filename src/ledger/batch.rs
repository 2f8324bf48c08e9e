//! Charges, and the opening and closing of tabs, share their commits.
//!
//! One thread per process takes everything that is waiting, up to a bound, works out what fits in
//! the order it came, adds that up per tab and account, writes the sums in one transaction, and
//! answers everybody after the commit. While one commit is being made the next batch gathers, so
//! the busier the program, the more each commit carries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::books::{Books, Charge, Verdict};
use super::confirm::{Answer, Charged, Confirming};
use super::tabs::{self, Opened, Opening, Owed, Settling};
use super::verbs::not_negative;
use super::{ChargeOutcome, CloseOutcome, LedgerError, sql, sweep, within};
use crate::db::own::{Commit, Own};
use crate::db::statements::Statements;
use crate::db::writes::Writes;
use crate::db::{Db, DbError, TxError};
use crate::id::HoldId;

/// The most that one transaction does: bounds how long a commit keeps others waiting.
const LARGEST_BATCH: usize = 1024;
/// Batches begin no closer together than this, unless [`PLENTY`] waits. Most of what a batch costs
/// does not depend on its size: pages that are written again, the sync, the changes of threads. Who
/// comes alone does not wait.
const PACE: Duration = Duration::from_micros(500);
/// Enough for a batch to be worth its cost.
const PLENTY: usize = 64;
/// After so long without a job nothing is kept ready for the next.
const REST: Duration = Duration::from_millis(50);
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

async fn run(mut own: Own, mut queue: mpsc::Receiver<Job>, counters: Arc<Counters>) {
    let confirming = Confirming::start(&own, |work| thread("ledger-sync", work));
    let mut waiting = Vec::with_capacity(LARGEST_BATCH);
    let mut began: Option<Instant> = None;
    while receive(&mut queue, &mut waiting, &mut own).await > 0 {
        let early = began.and_then(|began| PACE.checked_sub(began.elapsed()));
        if let Some(early) = early.filter(|_| waiting.len() < PLENTY) {
            // The thread has nothing else to do, and the runtime's own timers count in milliseconds.
            std::thread::sleep(early);
            let room = LARGEST_BATCH - waiting.len();
            waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        }
        began = Some(Instant::now());
        let (batch, answers) = Batch::of(waiting.drain(..));
        if batch.len() == 0 {
            continue;
        }
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.charges.fetch_add(batch.charges.len() as u64, Ordering::Relaxed);
        counters.tabs.fetch_add((batch.settlings.len() + batch.openings.len()) as u64, Ordering::Relaxed);
        counters.largest.fetch_max(batch.len() as u64, Ordering::Relaxed);
        let done = batch.commit(&mut own).await;
        let (unwanted, charged) = answers.send(&batch, done);
        confirming.send(charged);
        if unwanted.len() > 0 {
            unwanted.commit(&mut own).await;
        }
    }
}

/// Waits for jobs; nothing comes when everybody is gone.
async fn receive(queue: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>, own: &mut Own) -> usize {
    if let Ok(received) = tokio::time::timeout(REST, queue.recv_many(waiting, LARGEST_BATCH)).await {
        return received;
    }
    own.rest().await;
    queue.recv_many(waiting, LARGEST_BATCH).await
}

/// What one transaction does.
#[derive(Default)]
struct Batch {
    charges: Vec<Charge>,
    /// What the charges may draw on.
    reach: Reach,
    settlings: Vec<Settling>,
    openings: Vec<Opening>,
}

/// What charges may draw on.
#[derive(Debug, Clone, Copy, Default)]
enum Reach {
    /// What their tabs have set aside.
    #[default]
    Tab,
    /// What is available on the account, too.
    Account,
}

/// What became of it, in the same order.
#[derive(Default)]
struct Done {
    charges: Vec<Result<Verdict, LedgerError>>,
    settlings: Vec<Result<CloseOutcome, LedgerError>>,
    openings: Vec<Result<Opened, LedgerError>>,
}

/// Who waits for it, in the same order.
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
    fn send(self, batch: &Batch, done: Done) -> (Batch, Charged) {
        let mut unwanted = Batch::default();
        for ((answer, done), opening) in self.openings.into_iter().zip(done.openings).zip(&batch.openings) {
            // An error here means that nobody waits any more.
            if let Err(Ok(Opened::Open { hold, .. })) = answer.send(done) {
                let details = sweep::details();
                unwanted.settlings.push(Settling { hold, owed: Owed::NOTHING, details, now: opening.now });
            }
        }
        let verdicts = done.charges.into_iter().zip(&batch.charges);
        let outcomes = verdicts.map(|(done, charge)| done.and_then(|verdict| outcome(verdict, &charge.hold)));
        let charges = self.charges.into_iter().zip(outcomes).collect();
        let settlings = self.settlings.into_iter().zip(done.settlings).collect();
        (unwanted, Charged { charges, settlings })
    }
}

/// Why a transaction was given up.
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

impl Batch {
    fn of(jobs: impl Iterator<Item = Job>) -> (Self, Answers) {
        let (mut batch, mut answers) = (Self::default(), Answers::default());
        for job in jobs {
            match job {
                // Whoever stopped waiting before the transaction began is not charged.
                Job::Charge(charge, answer) if !answer.is_closed() => {
                    batch.charges.push(charge);
                    answers.charges.push(answer);
                }
                Job::Open(opening, answer) if !answer.is_closed() => {
                    batch.openings.push(opening);
                    answers.openings.push(answer);
                }
                Job::Charge(..) | Job::Open(..) => {}
                Job::Settle(settling, answer) => {
                    batch.settlings.push(settling);
                    answers.settlings.push(answer);
                }
            }
        }
        (batch, answers)
    }

    fn len(&self) -> usize {
        self.charges.len() + self.settlings.len() + self.openings.len()
    }

    /// Does all of it, charges that go beyond their tabs last: for those accounts are locked, and
    /// accounts come before tabs.
    async fn commit(&self, own: &mut Own) -> Done {
        let mut done = self.attempt(own).await;
        let beyond = done.charges.iter().enumerate().filter(|(_, done)| matches!(done, Ok(Verdict::Beyond)));
        let beyond: Vec<_> = beyond.map(|(at, _)| at).collect();
        if !beyond.is_empty() {
            let charges = beyond.iter().map(|&at| self.charges[at].clone()).collect();
            let rest = Self { charges, reach: Reach::Account, ..Self::default() };
            for (at, verdict) in beyond.into_iter().zip(rest.attempt(own).await.charges) {
                done.charges[at] = verdict;
            }
        }
        done
    }

    /// Does it in one transaction. When a statement of it is refused, each by itself: one that the
    /// database will not have must not fail the others.
    async fn attempt(&self, own: &mut Own) -> Done {
        let mut attempt = self.transact(own).await;
        if let Err(Abandoned::Refused(error)) = &attempt
            && error.db().is_some_and(|error| !error.is_conflict())
        {
            // The connection may have been lost.
            tracing::warn!(%error, jobs = self.len(), "a batch broke off; trying again");
            attempt = self.transact(own).await;
        }
        let error = match attempt {
            Ok(done) => return done,
            Err(Abandoned::Refused(error)) if self.len() > 1 && is_an_answer(&error) => {
                tracing::error!(%error, jobs = self.len(), "a batch was refused; trying one by one");
                return self.one_by_one(own).await;
            }
            Err(Abandoned::Refused(error)) => error,
            Err(Abandoned::Unknown(error)) => error.into(),
        };
        tracing::error!(%error, jobs = self.len(), "a batch failed");
        Done {
            charges: self.charges.iter().map(|_| Err(error.clone())).collect(),
            settlings: self.settlings.iter().map(|_| Err(error.clone())).collect(),
            openings: self.openings.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn one_by_one(&self, own: &mut Own) -> Done {
        let mut done = Done::default();
        let singles = (self.charges.iter())
            .map(|one| Self { charges: vec![one.clone()], reach: self.reach, ..Self::default() })
            .chain(self.settlings.iter().map(|one| Self { settlings: vec![one.clone()], ..Self::default() }))
            .chain(self.openings.iter().map(|one| Self { openings: vec![one.clone()], ..Self::default() }));
        for single in singles {
            let one = Box::pin(single.attempt(own)).await;
            done.charges.extend(one.charges);
            done.settlings.extend(one.settlings);
            done.openings.extend(one.openings);
        }
        done
    }

    async fn transact(&self, own: &mut Own) -> Result<Done, Abandoned> {
        let is_free = self.charges.is_empty() && self.settlings.is_empty();
        let commit = if is_free { Commit::Visible } else { Commit::Durable };
        own.transaction(commit, async |tx| self.work(tx).await.map_err(Abandoned::Refused)).await
    }

    async fn work(&self, tx: &mut impl Statements) -> Result<Done, LedgerError> {
        let charged = self.charges.iter().map(|charge| &charge.hold).collect();
        let (settlings, openings) = tabs::serve(tx, &self.settlings, &self.openings, &charged).await?;
        let charges = match self.reach {
            Reach::Tab => within::charge(tx, &self.charges).await?,
            Reach::Account => charge(tx, &self.charges).await?,
        };
        let charges = charges.into_iter().map(Ok).collect();
        Ok(Done { charges, settlings, openings })
    }
}

/// Whether the database is there and said no, so that something else may be accepted. A conflict was
/// waited for often enough already.
fn is_an_answer(error: &LedgerError) -> bool {
    match error.db() {
        Some(error) => error.is_refusal() && !error.is_conflict(),
        None => true,
    }
}

/// What the caller is told.
pub(super) fn outcome(verdict: Verdict, hold: &HoldId) -> Result<ChargeOutcome, LedgerError> {
    match verdict {
        Verdict::Outcome(outcome) => Ok(outcome),
        // Nobody looked at the account.
        Verdict::Beyond | Verdict::Unknown => Err(LedgerError::UnknownHold(hold.clone())),
        Verdict::Overflow => Err(LedgerError::Overflow),
    }
}

/// Charges tabs, and their accounts what goes beyond. Which charges fit is decided on locked rows,
/// and decided again by the database when the sums are written.
pub(super) async fn charge(
    tx: &mut impl Statements,
    charges: &[Charge],
) -> Result<Vec<Verdict>, LedgerError> {
    let holds: BTreeSet<&HoldId> = charges.iter().map(|charge| &charge.hold).collect();
    let (accounts, tabs) = sql::lock(tx, std::iter::empty(), &holds, &BTreeSet::new()).await?;
    let books = Books { accounts, tabs, ..Books::default() };
    let (verdicts, fold) = books.admit(charges);
    let mut writes = Writes::default();
    sql::charge_holds(&mut writes, &fold.tabs);
    sql::change_accounts(&mut writes, &fold.accounts);
    sql::write(tx, writes).await?;
    Ok(verdicts)
}
