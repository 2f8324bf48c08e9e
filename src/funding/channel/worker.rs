//! Worker that settles and closes channels by policy, and finishes what a crash left open.

#![expect(clippy::disallowed_methods, reason = "each round of the worker begins at its own moment")]

use std::time::Duration;

use super::state::{Channel, ChannelRefusal, DueAction, Phase, due};
use super::{ChannelError, Channels, store};
use crate::db::{Db, DbError};
use crate::funding::{StoreError, worker_lease};
use crate::id::Timestamp;

/// Interval between two rounds.
const INTERVAL: Duration = Duration::from_secs(2);
/// Age in milliseconds at which a channel's state is read from the chain again: well below the
/// 15 minutes that a payer must wait after asking to close.
const CHECK_AFTER_MS: i64 = 10_000;
/// The most channels of one round.
const BATCH: i64 = 200;

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
    loop {
        let now = Timestamp::now();
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        let checked = match worker_lease::acquire(&channels.db, LEASE, &channels.instance, now, until).await {
            Ok(true) => check_due(&channels, now).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = checked {
            tracing::warn!(%error, "channels cannot be read");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Checks every channel whose state is due to be read from the chain again, once.
///
/// # Errors
/// If the channels cannot be read.
pub async fn check_due(channels: &Channels, now: Timestamp) -> Result<(), StoreError> {
    let before = now.checked_sub_millis(CHECK_AFTER_MS).unwrap_or(now);
    for channel in store::unchecked(&channels.db, before, BATCH).await? {
        match channels.check(&channel, now).await {
            Ok(()) | Err(ChannelError::Pending) => {}
            Err(error) => tracing::warn!(channel = %channel.id, %error, "a channel cannot be checked"),
        }
    }
    Ok(())
}

impl Channels {
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
            DueAction::Nothing => Ok(()),
            DueAction::Settle => self.settle(&channel, now).await,
            DueAction::Close => self.close_now(channel.id, now).await,
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
