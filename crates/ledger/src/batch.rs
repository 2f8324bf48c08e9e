//! Charges, and the opening and closing of holds, share their commits.
//!
//! One thread per process takes everything that is waiting, up to a bound, works out what fits in
//! the order it came, adds that up per hold and account, writes it in one transaction, and answers
//! everybody after the commit. While one commit is being made the next batch gathers, so the busier
//! the program, the more each commit carries.
//!
//! How a batch is written is the [`writer`](super::writer)'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::confirm::{Answer, Charged, Confirming};
use super::holds::{Capture, HoldRequest, OpenOutcome, Owed};
use super::orders::{Orders, Outcomes};
use super::verbs::not_negative;
use super::working_set::Charge;
use super::writer::Writer;
use super::{ChargeOutcome, CloseOutcome, LedgerError, sweep};
use farebox_db::Db;
use farebox_db::writer_connection::WriterConnection;

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
    Settle(Capture, Answer<CloseOutcome>),
    Open(HoldRequest, Answer<OpenOutcome>),
}

/// What the batch writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BatchStats {
    /// Transactions, failed ones included.
    pub batches: u64,
    /// Charges in them.
    pub charges: u64,
    /// Holds that were to be opened or closed in them.
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

    pub(super) async fn capture(&self, capture: Capture) -> Result<CloseOutcome, LedgerError> {
        not_negative(capture.owed.amount())?;
        self.ask(|answer| Job::Settle(capture, answer)).await
    }

    pub(super) async fn open(&self, opening: HoldRequest) -> Result<OpenOutcome, LedgerError> {
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
    let own = WriterConnection::new(db.clone());
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

async fn run(own: WriterConnection, mut queue: mpsc::Receiver<Job>, counters: Arc<Counters>) {
    let confirming = Confirming::start(&own, |work| thread("ledger-sync", work));
    let mut writer = Writer::new(own);
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
        self.tabs.fetch_add((orders.captures.len() + orders.openings.len()) as u64, Ordering::Relaxed);
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
            Job::Settle(capture, answer) => {
                plain.orders.captures.push(capture);
                plain.answers.captures.push(answer);
            }
        }
    }
    [plain, locking]
}

/// Who waits, in the order of what is asked for.
#[derive(Default)]
struct Answers {
    charges: Vec<Answer<ChargeOutcome>>,
    captures: Vec<Answer<CloseOutcome>>,
    openings: Vec<Answer<OpenOutcome>>,
}

impl Answers {
    /// Answers who wanted holds: money that is set aside need only be seen by others, and what a crash
    /// undoes of it was not used. Returns the holds that nobody waits for any more, to be closed, and
    /// the other answers, to be given when what they say is durable.
    fn send(self, orders: &Orders, outcomes: Outcomes) -> (Orders, Charged) {
        let mut unwanted = Orders::default();
        for ((answer, outcome), opening) in
            self.openings.into_iter().zip(outcomes.openings).zip(&orders.openings)
        {
            // An error here means that nobody waits any more.
            if let Err(Ok(OpenOutcome::Open { hold, .. })) = answer.send(outcome) {
                let details = sweep::details();
                unwanted.captures.push(Capture { hold, owed: Owed::NOTHING, details, now: opening.now });
            }
        }
        let charges = self.charges.into_iter().zip(outcomes.charges).collect();
        let captures = self.captures.into_iter().zip(outcomes.captures).collect();
        (unwanted, Charged { charges, captures })
    }
}
