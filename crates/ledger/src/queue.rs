//! Queue of commands, whose commits are shared.
//!
//! One thread per process takes all commands that wait, up to a bound, executes them as one batch, and replies to
//! everybody after the commit. While one commit is being made the next batch gathers, so the busier the program, the
//! more each commit carries. Batches are executed by the [`writer`](super::writer).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::batch::{Batch, CommandResult, Results};
use super::durability::{Durability, Reply, Unconfirmed};
use super::holds::{Capture, Charge, HoldRequest, OpenOutcome, Owed};
use super::verbs::not_negative;
use super::writer::Writer;
use super::{ChargeOutcome, CloseOutcome, LedgerError, sweep};
use farebox_db::Db;
use farebox_db::writer_connection::WriterConnection;
use farebox_types::id::EntryId;

/// Most commands of one batch: bounds how long a commit keeps others waiting.
const LARGEST_BATCH: usize = 1024;
/// Shortest time between the beginnings of two batches, unless [`FULL_ENOUGH`] commands wait. Most of what a batch
/// costs does not depend on its size: pages that are written again, the sync, changes of threads. A command that comes
/// alone does not wait.
const BATCH_INTERVAL: Duration = Duration::from_micros(500);
/// Commands that are worth the cost of a batch.
const FULL_ENOUGH: usize = 64;
/// Commands that may wait for the next batch before further ones wait to be queued.
const QUEUE_LENGTH: usize = 4 * LARGEST_BATCH;

/// Command that waits for its commit.
enum Command {
    Capture(Capture, Reply<CloseOutcome>),
    Open(HoldRequest, Reply<OpenOutcome>),
    Charge(Charge, Reply<ChargeOutcome>),
}

/// Counts of what the batch writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BatchStats {
    /// Batches, failed ones included.
    pub batches: u64,
    /// Charges in them.
    pub charges: u64,
    /// Openings and captures of holds in them.
    pub holds: u64,
    /// Most commands of one batch.
    pub largest: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    charges: AtomicU64,
    holds: AtomicU64,
    largest: AtomicU64,
}

/// Sender of commands. The writer ends with the last of its handles, after it has replied to every queued command.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    queue: mpsc::Sender<Command>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) async fn charge(&self, charge: Charge) -> Result<ChargeOutcome, LedgerError> {
        not_negative(charge.amount.min(charge.ahead))?;
        self.send(|reply| Command::Charge(charge, reply)).await
    }

    pub(super) async fn capture(&self, capture: Capture) -> Result<CloseOutcome, LedgerError> {
        not_negative(capture.owed.amount())?;
        self.send(|reply| Command::Capture(capture, reply)).await
    }

    pub(super) async fn open(&self, opening: HoldRequest) -> Result<OpenOutcome, LedgerError> {
        not_negative(opening.estimate.wanted.min(opening.estimate.least))?;
        self.send(|reply| Command::Open(opening, reply)).await
    }

    async fn send<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, LedgerError> {
        let (reply, replied) = oneshot::channel();
        self.queue.send(command(reply)).await.map_err(|_| LedgerError::Stopped)?;
        replied.await.map_err(|_| LedgerError::Stopped)?
    }

    pub(super) fn stats(&self) -> BatchStats {
        BatchStats {
            batches: self.counters.batches.load(Ordering::Relaxed),
            charges: self.counters.charges.load(Ordering::Relaxed),
            holds: self.counters.holds.load(Ordering::Relaxed),
            largest: self.counters.largest.load(Ordering::Relaxed),
        }
    }
}

/// Starts the batch writer on a thread of its own: among the streams that it wakes it would wait, between any two
/// statements, until hundreds of them have had their turn.
pub(super) fn start(db: &Db, patience: Duration) -> Handle {
    let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
    let counters = Arc::new(Counters::default());
    let handle = Handle { queue, counters: Arc::clone(&counters) };
    let connection = WriterConnection::new(db.clone());
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let run = run(connection, patience, waiting, counters);
        runtime.expect("the system has what a runtime needs").block_on(run);
    };
    spawn("ledger", work);
    handle
}

/// Starts a thread. If it panics the process ends: a program that can no longer charge must be started again, and after
/// a failed assertion about money nothing more may be written.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let work = move || {
        if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            std::process::abort();
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts threads");
}

async fn run(
    connection: WriterConnection,
    patience: Duration,
    mut queue: mpsc::Receiver<Command>,
    counters: Arc<Counters>,
) {
    let durability = Durability::start(&connection, |work| spawn("ledger-sync", work));
    let mut writer = Writer::new(connection, patience);
    let mut waiting = Vec::with_capacity(LARGEST_BATCH);
    let mut began: Option<Instant> = None;
    while queue.recv_many(&mut waiting, LARGEST_BATCH).await > 0 {
        let early = began.and_then(|began| BATCH_INTERVAL.checked_sub(began.elapsed()));
        if let Some(early) = early.filter(|_| waiting.len() < FULL_ENOUGH) {
            // The thread has nothing else to do, and the runtime's own timers count in milliseconds.
            std::thread::sleep(early);
            let room = LARGEST_BATCH - waiting.len();
            waiting.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
        }
        began = Some(Instant::now());
        let round = Round::of(waiting.drain(..));
        if round.batch.len() == 0 {
            continue;
        }
        counters.count(&round.batch);
        let results = writer.execute(&round.batch).await;
        let mut left = round.reply(results, &durability);
        let deferred = Round::of(left.deferred.drain(..));
        if deferred.batch.len() > 0 {
            let results = writer.execute_locked(&deferred.batch).await;
            left.unwanted.extend(deferred.reply(results, &durability).unwanted);
        }
        if !left.unwanted.is_empty() {
            let unwanted = Batch { captures: left.unwanted, ..Batch::default() };
            writer.execute_locked(&unwanted).await;
        }
    }
}

impl Counters {
    fn count(&self, batch: &Batch) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.charges.fetch_add(batch.charges.len() as u64, Ordering::Relaxed);
        self.holds.fetch_add((batch.captures.len() + batch.openings.len()) as u64, Ordering::Relaxed);
        self.largest.fetch_max(batch.len() as u64, Ordering::Relaxed);
    }
}

/// Batch, and who waits for its results, in the order of its commands.
#[derive(Default)]
struct Round {
    batch: Batch,
    captures: Vec<Reply<CloseOutcome>>,
    openings: Vec<Reply<OpenOutcome>>,
    charges: Vec<Reply<ChargeOutcome>>,
}

/// Work that a batch leaves.
#[derive(Default)]
struct Left {
    /// Commands that have no result yet.
    deferred: Vec<Command>,
    /// Captures of new holds that nobody waits for any more.
    unwanted: Vec<Capture>,
}

impl Round {
    /// Gathers commands. A charge or an opening for which nobody waits any more is left out; a capture is not: its
    /// request has ended.
    fn of(commands: impl Iterator<Item = Command>) -> Self {
        let mut round = Self::default();
        for command in commands {
            match command {
                Command::Charge(_, reply) if reply.is_closed() => {}
                Command::Open(_, reply) if reply.is_closed() => {}
                Command::Charge(charge, reply) => {
                    round.batch.charges.push(charge);
                    round.charges.push(reply);
                }
                Command::Open(opening, reply) => {
                    round.batch.openings.push(opening);
                    round.openings.push(reply);
                }
                Command::Capture(capture, reply) => {
                    round.batch.captures.push(capture);
                    round.captures.push(reply);
                }
            }
        }
        round
    }

    /// Replies to openings at once. On SQLite they are only visible then, which is enough: a crash that undoes them ends
    /// their requests too. Replies to charges and captures when they are durable.
    fn reply(self, results: Results, durability: &Durability) -> Left {
        results.assert_complete(&self.batch, false);
        let mut left = Left::default();
        let openings = self.batch.openings.into_iter().zip(self.openings).zip(results.openings);
        for ((opening, reply), result) in openings {
            let Some(result) = result else {
                left.deferred.push(Command::Open(opening, reply));
                continue;
            };
            // An error here means that nobody waits any more.
            if let Err(Ok(OpenOutcome::Open { hold, .. })) = reply.send(result) {
                left.unwanted.push(Capture {
                    hold,
                    entry: EntryId::new(opening.now),
                    owed: Owed::NOTHING,
                    details: sweep::details(),
                    now: opening.now,
                });
            }
        }
        let Left { deferred, .. } = &mut left;
        let captures = pair(self.batch.captures, self.captures, results.captures, |command, reply| {
            deferred.push(Command::Capture(command, reply));
        });
        let charges = pair(self.batch.charges, self.charges, results.charges, |command, reply| {
            deferred.push(Command::Charge(command, reply));
        });
        durability.confirm(Unconfirmed { captures, charges });
        left
    }
}

/// Pairs replies with results, and defers commands that have none.
fn pair<C, T>(
    commands: Vec<C>,
    replies: Vec<Reply<T>>,
    results: Vec<CommandResult<T>>,
    mut defer: impl FnMut(C, Reply<T>),
) -> Vec<(Reply<T>, Result<T, LedgerError>)> {
    let mut paired = Vec::with_capacity(results.len());
    for ((command, reply), result) in commands.into_iter().zip(replies).zip(results) {
        match result {
            Some(result) => paired.push((reply, result)),
            None => defer(command, reply),
        }
    }
    paired
}
