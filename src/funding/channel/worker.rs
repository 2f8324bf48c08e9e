//! Worker that settles and closes channels by policy, and finishes what a crash left open.

#![expect(clippy::disallowed_methods, reason = "each round of the worker begins at its own moment")]

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::policy::{DueAction, due, must_wait};
use super::state::{Channel, ChannelRefusal, Phase};
use super::{ChannelError, Channels, store};
use crate::db::{Db, DbError};
use crate::funding::{StoreError, worker_lease};
use crate::id::Timestamp;
use crate::payments::methods::tempo::session::ChannelId;

/// Interval between two rounds.
const INTERVAL: Duration = Duration::from_secs(2);
/// Age in milliseconds at which a channel's state is read from the chain again: well below the
/// 15 minutes that a payer must wait after asking to close.
const CHECK_AFTER_MS: i64 = 10_000;
/// Age in milliseconds for channels that a request runs on, which must end when the payer asks to close.
const CHECK_URGENT_AFTER_MS: i64 = 1_000;
/// The most channels of one round; it goes on where the round before ended.
const BATCH: i64 = 200;
/// The most channels of one round that cannot wait for their turn.
const URGENT_BATCH: i64 = 1_000;
/// Channels that are checked at once: each waits for the node.
const CONCURRENT_CHECKS: usize = 16;

/// Milliseconds after which another instance takes over from one that does not renew its lease.
const LEASE_MS: i64 = 30_000;
/// Name of the lease of the instance that works.
const LEASE: &str = "channels";

/// Ends the lease of any instance, so that this one can work at once. Only for a process that knows that
/// it is alone: a server that is often killed would otherwise wait for the lease of its previous process,
/// and seldom come to settle.
///
/// # Errors
/// If the database cannot be written.
pub async fn revoke_lease(db: &Db) -> Result<(), DbError> {
    worker_lease::revoke(db, LEASE).await
}

/// Ends this instance's lease when it stops, so that another can work at once.
pub async fn release_lease(channels: &Channels) {
    if let Err(error) = worker_lease::release(&channels.db, LEASE, &channels.instance).await {
        tracing::warn!(%error, "the lease of the channels' worker cannot be released; it ends by itself");
    }
}

/// Runs until the task is aborted. Of several instances one works at a time.
pub async fn run(channels: Channels) {
    let mut rounds = Rounds::default();
    loop {
        let now = Timestamp::now();
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        let checked = match worker_lease::acquire(&channels.db, LEASE, &channels.instance, now, until).await {
            Ok(true) => rounds.check_due(&channels, now).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = checked {
            tracing::warn!(%error, "channels cannot be read");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Rounds over all channels, a part each time: no channel keeps others from their turn, whatever becomes of it.
#[derive(Debug, Default)]
pub struct Rounds {
    /// Last channel of the round before; `None` to begin with the first.
    last: Option<ChannelId>,
}

impl Rounds {
    /// Checks the channels that cannot wait, and the next of those whose state is due to be read from
    /// the chain again.
    ///
    /// # Errors
    /// If the channels cannot be read.
    pub async fn check_due(&mut self, channels: &Channels, now: Timestamp) -> Result<(), StoreError> {
        let urgent = store::urgent(&channels.db, CHECK_URGENT_AFTER_MS, now, URGENT_BATCH).await?;
        channels.check_all(urgent, now).await;
        let due = store::unchecked(&channels.db, CHECK_AFTER_MS, now, self.last, BATCH).await?;
        let is_full = i64::try_from(due.len()).is_ok_and(|found| found == BATCH);
        self.last = due.last().map(|channel| channel.id).filter(|_| is_full);
        channels.check_all(due, now).await;
        Ok(())
    }
}

impl Channels {
    async fn check_all(&self, channels: Vec<Channel>, now: Timestamp) {
        let check = async |channel: Channel| match self.check(&channel, now).await {
            Ok(()) | Err(ChannelError::Pending) => {}
            Err(error) => tracing::warn!(channel = %channel.id, %error, "a channel cannot be checked"),
        };
        stream::iter(channels).for_each_concurrent(CONCURRENT_CHECKS, check).await;
    }

    /// Reconciles a channel's pending transaction, or settles or closes the channel if that is due.
    async fn check(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
        if let Some(pending) = &channel.pending {
            return self.reconcile(channel, pending, now).await;
        }
        if channel.phase != Phase::Open {
            return Ok(());
        }
        let channel = self.refresh(channel, now).await?;
        match due(&channel, &self.policy, now) {
            _ if must_wait(&channel, now) => Ok(()),
            DueAction::Nothing => Ok(()),
            DueAction::Settle => self.settle_if_due(&channel, now).await,
            DueAction::Close => self.close_if_due(&channel, now).await,
        }
    }

    /// Reads a channel's state from the chain and records it.
    pub(super) async fn refresh(&self, channel: &Channel, now: Timestamp) -> Result<Channel, ChannelError> {
        let state = self.chain.channel(self.terms.escrow, channel.id).await.map_err(|error| {
            tracing::warn!(%error, "a channel's state cannot be read from the chain");
            ChannelError::Unavailable("the chain")
        })?;
        let known = u64::try_from(channel.active_at.seconds()).unwrap_or(0);
        if channel.pending.is_none() && state.is_closed_since(known) {
            tracing::warn!(channel = %channel.id, spent = %channel.spent, settled = %channel.settled,
                "a channel was closed externally");
            self.record_external_close(channel, now).await?;
        } else {
            let close_requested_at = i64::try_from(state.close_requested_at).unwrap_or(i64::MAX);
            self.observe(channel, state.deposit, state.settled, close_requested_at, now).await?;
        }
        self.find(channel.id).await?.ok_or_else(|| ChannelRefusal::Unknown.into())
    }
}
