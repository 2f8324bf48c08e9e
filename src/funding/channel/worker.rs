//! Settling and closing unasked, and finishing what a crash left open.

use std::time::Duration;

use super::state::{Channel, ChannelRefusal, DueAction, Phase, due};
use super::{ChannelError, Channels, store};
use crate::db::{Db, DbError};
use crate::funding::{StoreError, worker_lease};
use crate::id::Timestamp;

/// How often the worker looks.
const EVERY: Duration = Duration::from_secs(2);
/// How old its knowledge of a channel may get, in milliseconds: well below the
/// 15 minutes that a payer must wait after asking to close.
const CHECK_AFTER_MS: i64 = 10_000;
/// Channels looked at in one go.
const BATCH: i64 = 200;

/// How long an instance may be silent before another takes over, in milliseconds.
const LEASE_MS: i64 = 30_000;
/// The lease of whoever works.
const LEASE: &str = "channels";

/// Lets this instance work at once. Only for who knows that no other is there:
/// a server that is often killed would otherwise wait for its dead self, and
/// seldom come to settle.
///
/// # Errors
/// When the database cannot be written.
pub async fn release(db: &Db) -> Result<(), DbError> {
    worker_lease::release(db, LEASE).await
}

/// Leaves the work to other instances, at the end.
pub async fn leave(channels: &Channels) {
    if let Err(error) = worker_lease::give_back(&channels.db, LEASE, &channels.worker).await {
        tracing::warn!(%error, "the lease of the channels' worker runs on");
    }
}

/// Runs until the task is aborted. Of several instances one works at a time.
pub async fn run(channels: Channels) {
    loop {
        let now = Timestamp::now();
        let until = now.checked_add_millis(LEASE_MS).unwrap_or(now);
        let worked = match worker_lease::lease(&channels.db, LEASE, &channels.worker, now, until).await {
            Ok(true) => pass(&channels, now).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = worked {
            tracing::warn!(%error, "channels cannot be looked at");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Looks once at every channel that is due for it.
///
/// # Errors
/// When the channels cannot be read.
pub async fn pass(channels: &Channels, now: Timestamp) -> Result<(), StoreError> {
    let before = now.checked_sub_millis(CHECK_AFTER_MS).unwrap_or(now);
    for channel in store::unchecked(&channels.db, before, BATCH).await? {
        match channels.look(&channel, now).await {
            Ok(()) | Err(ChannelError::Pending) => {}
            Err(error) => tracing::warn!(channel = %channel.id, %error, "channel"),
        }
    }
    Ok(())
}

impl Channels {
    async fn look(&self, channel: &Channel, now: Timestamp) -> Result<(), ChannelError> {
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

    /// Asks the chain how a channel stands, and takes note of it.
    pub(super) async fn refresh(&self, channel: &Channel, now: Timestamp) -> Result<Channel, ChannelError> {
        let state = self.chain.channel(self.terms.escrow, channel.id).await.map_err(|error| {
            tracing::warn!(%error, "channel state");
            ChannelError::Unavailable("the chain")
        })?;
        let known = u64::try_from(channel.active_at.seconds()).unwrap_or(0);
        if channel.pending.is_none() && state.is_gone_since(known) {
            tracing::warn!(channel = %channel.id, spent = %channel.spent, settled = %channel.settled,
                "channel ended on the chain without us");
            self.gone(channel, now).await?;
        } else {
            let asked = i64::try_from(state.close_requested_at).unwrap_or(i64::MAX);
            self.observe(channel, state.deposit, state.settled, asked, now).await?;
        }
        self.find(channel.id).await?.ok_or_else(|| ChannelRefusal::Unknown.into())
    }
}
