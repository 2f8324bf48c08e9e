//! Vouchers share their commits.
//!
//! One task per process takes every voucher that is waiting, up to a bound,
//! decides on locked channels in the order they came, keeps the highest of each
//! channel, credits what they add in the same transaction, and answers
//! everybody after the commit. While one commit is being synced the next batch
//! gathers.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::state::{Channel, ChannelRefusal, Phase, VoucherEffect};
use super::{ChannelError, TxFailure, store};
use crate::db::{Db, Tx};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, SignedVoucher};

/// The most vouchers in one transaction: bounds how long a commit keeps others waiting.
const LARGEST_BATCH: usize = 256;
/// Vouchers that may wait for the next batch before further ones wait to be queued.
const QUEUE: usize = 4 * LARGEST_BATCH;

/// How old our knowledge of a channel may be when it is used, in milliseconds.
/// The worker keeps it much younger while it runs.
const STALE_MS: i64 = 60_000;

/// A voucher whose signature is good.
#[derive(Debug, Clone)]
pub(super) struct VerifiedVoucher {
    pub voucher: SignedVoucher,
    pub now: Timestamp,
    /// Accept it on old knowledge: the chain has just been asked, or opened the channel.
    pub is_fresh: bool,
}

/// What became of a voucher.
#[derive(Debug)]
pub(super) enum VoucherOutcome {
    /// It counts; the channel as it is now.
    VoucherEffect(Box<Channel>),
    ChannelRefusal(ChannelRefusal),
    /// The chain must be asked first. After a sleep it may know better: a payer
    /// may have asked to close, or be gone with its deposit.
    Stale(Box<Channel>),
}

struct QueuedVoucher {
    presented: VerifiedVoucher,
    answer: oneshot::Sender<Result<VoucherOutcome, ChannelError>>,
}

/// The way in. The task behind it ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct VoucherQueue {
    queue: mpsc::Sender<QueuedVoucher>,
}

impl VoucherQueue {
    /// Starts the task on the current runtime. `step` is the least that a
    /// voucher must add.
    pub(super) fn start(db: Db, step: Money) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(db, step, waiting));
        Self { queue }
    }

    /// Answers when the voucher is durable, or refused.
    pub(super) async fn take(&self, presented: VerifiedVoucher) -> Result<VoucherOutcome, ChannelError> {
        let stopped = || ChannelError::Unavailable("the channel records");
        let (answer, answered) = oneshot::channel();
        self.queue.send(QueuedVoucher { presented, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn run(db: Db, step: Money, mut queue: mpsc::Receiver<QueuedVoucher>) {
    let mut batch = Vec::with_capacity(LARGEST_BATCH);
    while queue.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        let presented: Vec<VerifiedVoucher> = batch.iter().map(|waiting| waiting.presented.clone()).collect();
        let outcomes = match accept(&db, step, &presented).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            // One that cannot be kept must not take the others with it.
            Err(_) if presented.len() > 1 => each(&db, step, &presented).await,
            Err(failure) => vec![Err(failure.into())],
        };
        for (waiting, outcome) in batch.drain(..).zip(outcomes) {
            // Nobody waits for it any more; the voucher counts all the same.
            let _ = waiting.answer.send(outcome);
        }
    }
}

async fn each(
    db: &Db,
    step: Money,
    presented: &[VerifiedVoucher],
) -> Vec<Result<VoucherOutcome, ChannelError>> {
    let mut outcomes = Vec::with_capacity(presented.len());
    for one in presented {
        let outcome = accept(db, step, std::slice::from_ref(one)).await;
        outcomes.push(match outcome.map(|mut outcomes| outcomes.pop()) {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Err(ChannelError::Unavailable("the channel records")),
            Err(failure) => Err(failure.into()),
        });
    }
    outcomes
}

/// Decides on vouchers, and keeps and credits what they add.
async fn accept(
    db: &Db,
    step: Money,
    presented: &[VerifiedVoucher],
) -> Result<Vec<VoucherOutcome>, TxFailure> {
    db.transaction(|mut tx| async move {
        let ids = presented.iter().map(|one| one.voucher.channel);
        let mut channels = store::lock_all(&mut tx, ids.collect()).await?;
        let mut added = BTreeMap::new();
        let outcomes = presented.iter().map(|one| decide(one, step, &mut channels, &mut added)).collect();
        if let Some(one) = presented.last().filter(|_| !added.is_empty()) {
            keep(&mut tx, &channels, &added, one.now).await?;
        }
        Ok((tx, outcomes))
    })
    .await
}

/// Decides on one, after those before it. What it adds is noted in `added`.
fn decide(
    one: &VerifiedVoucher,
    step: Money,
    channels: &mut BTreeMap<ChannelId, Channel>,
    added: &mut BTreeMap<ChannelId, Money>,
) -> VoucherOutcome {
    let Some(channel) = channels.get_mut(&one.voucher.channel) else {
        return VoucherOutcome::ChannelRefusal(ChannelRefusal::Unknown);
    };
    let age = one.now.checked_millis_since(channel.checked_at).unwrap_or(i64::MAX);
    if !one.is_fresh && channel.phase == Phase::Open && channel.pending.is_none() && age > STALE_MS {
        return VoucherOutcome::Stale(Box::new(channel.clone()));
    }
    match channel.accept(one.voucher.amount, step) {
        Ok(VoucherEffect::More(more)) => {
            let sum = added.entry(channel.id).or_insert(Money::ZERO);
            // Within a deposit, which fits.
            *sum = sum.checked_add(more).unwrap_or(*sum);
            channel.voucher = Some(one.voucher.clone());
        }
        Ok(VoucherEffect::Again) => {}
        Err(refused) => return VoucherOutcome::ChannelRefusal(refused),
    }
    VoucherOutcome::VoucherEffect(Box::new(channel.clone()))
}

/// Keeps the highest voucher of each channel and credits what was added. A
/// voucher for nothing adds nothing and is kept.
async fn keep(
    tx: &mut Tx,
    channels: &BTreeMap<ChannelId, Channel>,
    added: &BTreeMap<ChannelId, Money>,
    now: Timestamp,
) -> Result<(), TxFailure> {
    let kept: Vec<&Channel> = added.keys().filter_map(|id| channels.get(id)).collect();
    store::keep_vouchers(tx, &kept, now).await?;
    let mut credits: Vec<(AccountId, Money, SourceRef)> = Vec::with_capacity(kept.len());
    for channel in kept {
        if let Some(more) = added.get(&channel.id).filter(|more| more.is_positive()) {
            credits.push((store::account(channel.id), *more, source(channel)?));
        }
    }
    ledger::credit_all(tx, &credits, now).await?;
    Ok(())
}

/// Each amount of a channel is credited once.
fn source(channel: &Channel) -> Result<SourceRef, LedgerError> {
    let text = format!("voucher:{}:{}", channel.id, channel.accepted().micros());
    SourceRef::parse(&text).map_err(|_| LedgerError::Corrupt(format!("voucher of {}", channel.id)))
}
