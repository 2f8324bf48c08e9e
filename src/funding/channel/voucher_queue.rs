//! Vouchers share their commits.
//!
//! One task per process takes the vouchers that wait, up to a limit, decides on
//! them in their order on locked channels, stores the highest of each channel,
//! credits their additions in the same transaction, and answers all after the
//! commit. While one commit is being synced the next batch gathers.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::state::{Channel, ChannelRefusal, Phase, VoucherEffect};
use super::{ChannelError, TxFailure, store};
use crate::db::{Db, Tx};
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, SignedVoucher};

/// The most vouchers in one transaction: bounds the time that a commit keeps others waiting.
const MAX_BATCH: usize = 256;
/// The most vouchers that wait for the next batch before further ones wait to be queued.
const MAX_QUEUED: usize = 4 * MAX_BATCH;

/// Age in milliseconds beyond which a channel's recorded state is read from the chain again before it
/// is used. The worker keeps it much younger while it runs.
const STALE_MS: i64 = 60_000;

/// A voucher whose signature is good.
#[derive(Debug, Clone)]
pub(super) struct VerifiedVoucher {
    pub voucher: SignedVoucher,
    pub now: Timestamp,
    /// True if the channel's state was read from the chain for this voucher.
    pub is_fresh: bool,
}

/// Outcome of a voucher.
#[derive(Debug)]
pub(super) enum VoucherOutcome {
    /// Accepted; the channel afterwards.
    Accepted(Box<Channel>),
    Refused(ChannelRefusal),
    /// Not decided: the channel's state must be read from the chain first. Since it was last read, the payer
    /// may have asked to close, or have withdrawn its deposit.
    Stale(Box<Channel>),
}

struct QueuedVoucher {
    voucher: VerifiedVoucher,
    reply: oneshot::Sender<Result<VoucherOutcome, ChannelError>>,
}

/// Queue of the vouchers that wait for the task, which ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct VoucherQueue {
    queue: mpsc::Sender<QueuedVoucher>,
}

impl VoucherQueue {
    /// Starts the task on the current runtime. `min_delta` is the least amount that a
    /// voucher must add.
    pub(super) fn start(db: Db, min_delta: Money) -> Self {
        let (queue, queued) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(run(db, min_delta, queued));
        Self { queue }
    }

    /// Submits a voucher; returns when it is durable or refused.
    pub(super) async fn submit(&self, voucher: VerifiedVoucher) -> Result<VoucherOutcome, ChannelError> {
        let stopped = || ChannelError::Unavailable("the channel database");
        let (reply, replied) = oneshot::channel();
        self.queue.send(QueuedVoucher { voucher, reply }).await.map_err(|_| stopped())?;
        replied.await.map_err(|_| stopped())?
    }
}

async fn run(db: Db, min_delta: Money, mut queue: mpsc::Receiver<QueuedVoucher>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let vouchers: Vec<VerifiedVoucher> = batch.iter().map(|queued| queued.voucher.clone()).collect();
        let outcomes = match accept(&db, min_delta, &vouchers).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            // One that cannot be stored must not fail the others.
            Err(_) if vouchers.len() > 1 => accept_one_by_one(&db, min_delta, &vouchers).await,
            Err(failure) => vec![Err(failure.into())],
        };
        for (queued, outcome) in batch.drain(..).zip(outcomes) {
            // A caller that stopped waiting has its voucher accepted all the same.
            let _ = queued.reply.send(outcome);
        }
    }
}

async fn accept_one_by_one(
    db: &Db,
    min_delta: Money,
    vouchers: &[VerifiedVoucher],
) -> Vec<Result<VoucherOutcome, ChannelError>> {
    let mut outcomes = Vec::with_capacity(vouchers.len());
    for voucher in vouchers {
        let outcome = accept(db, min_delta, std::slice::from_ref(voucher)).await;
        outcomes.push(match outcome.map(|mut outcomes| outcomes.pop()) {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => Err(ChannelError::Unavailable("the channel database")),
            Err(failure) => Err(failure.into()),
        });
    }
    outcomes
}

/// Decides on vouchers, stores those that are accepted, and credits their additions.
async fn accept(
    db: &Db,
    min_delta: Money,
    vouchers: &[VerifiedVoucher],
) -> Result<Vec<VoucherOutcome>, TxFailure> {
    db.transaction(|mut tx| async move {
        let ids = vouchers.iter().map(|one| one.voucher.channel);
        let mut channels = store::lock_all(&mut tx, ids.collect()).await?;
        let mut added = BTreeMap::new();
        let outcomes = vouchers.iter().map(|one| decide(one, min_delta, &mut channels, &mut added)).collect();
        if let Some(last) = vouchers.last().filter(|_| !added.is_empty()) {
            store_accepted(&mut tx, &channels, &added, last.now).await?;
        }
        Ok((tx, outcomes))
    })
    .await
}

/// Decides on a voucher after those before it; `added` sums the additions of each channel.
fn decide(
    one: &VerifiedVoucher,
    min_delta: Money,
    channels: &mut BTreeMap<ChannelId, Channel>,
    added: &mut BTreeMap<ChannelId, Money>,
) -> VoucherOutcome {
    let Some(channel) = channels.get_mut(&one.voucher.channel) else {
        return VoucherOutcome::Refused(ChannelRefusal::Unknown);
    };
    let age = one.now.checked_millis_since(channel.checked_at).unwrap_or(i64::MAX);
    if !one.is_fresh && channel.phase == Phase::Open && channel.pending.is_none() && age > STALE_MS {
        return VoucherOutcome::Stale(Box::new(channel.clone()));
    }
    match channel.accept(one.voucher.amount, min_delta) {
        Ok(VoucherEffect::Adds(more)) => {
            let sum = added.entry(channel.id).or_insert(Money::ZERO);
            // Within a deposit, which fits.
            *sum = sum.checked_add(more).unwrap_or(*sum);
            channel.voucher = Some(one.voucher.clone());
        }
        Ok(VoucherEffect::AddsNothing) => {}
        Err(refusal) => return VoucherOutcome::Refused(refusal),
    }
    VoucherOutcome::Accepted(Box::new(channel.clone()))
}

/// Stores the highest voucher of each channel and credits the additions. A first
/// voucher for nothing adds nothing and is stored.
async fn store_accepted(
    tx: &mut Tx,
    channels: &BTreeMap<ChannelId, Channel>,
    added: &BTreeMap<ChannelId, Money>,
    now: Timestamp,
) -> Result<(), TxFailure> {
    let accepted: Vec<&Channel> = added.keys().filter_map(|id| channels.get(id)).collect();
    store::store_vouchers(tx, &accepted, now).await?;
    let mut credits: Vec<(AccountId, Money, SourceRef)> = Vec::with_capacity(accepted.len());
    for channel in accepted {
        if let Some(more) = added.get(&channel.id).filter(|more| more.is_positive()) {
            credits.push((store::account(channel.id), *more, source(channel)?));
        }
    }
    ledger::credit_all(tx, &credits, now).await?;
    Ok(())
}

/// Returns the source of a voucher's credit: each cumulative amount of a channel is credited once.
fn source(channel: &Channel) -> Result<SourceRef, LedgerError> {
    let text = format!("voucher:{}:{}", channel.id, channel.accepted().micros());
    SourceRef::parse(&text).map_err(|_| LedgerError::Corrupt(format!("voucher of {}", channel.id)))
}
