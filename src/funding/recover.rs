//! Payments that a crash, an unreachable node or a lost reply left open.
//!
//! A payment in `broadcast` that no instance works on is reconciled with the
//! chain: mined means settled (its answer waits), reverted or expired means
//! failed. Nothing is sent again from here: a client that wants the answer sends
//! its request again, and one that does not is not charged.

#![expect(clippy::disallowed_methods, reason = "each round begins at its own moment")]

use std::time::Duration;

use alloy::primitives::B256;

use super::charge::Charges;
use super::method::TransferStatus;
use super::payment_lease;
use super::settle::OpenPayment;
use super::store::StoreError;
use crate::chain::Chain;
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::{Payment, PaymentState, RedeemError};

/// Interval between two rounds.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most payments of one round.
const BATCH: i64 = 100;
/// Milliseconds after its last valid moment for which a transaction is still
/// looked up: more than the clocks of server and validators differ by.
pub(super) const CLOCK_MARGIN_MS: i64 = 60_000;
/// Milliseconds for which a payment that cannot be reconciled is left alone.
const POSTPONED_MS: i64 = 60_000;
/// Milliseconds for which a transaction without a last valid moment is looked up.
const OPEN_ENDED_MS: i64 = 24 * 3_600_000;

/// Returns the last moment at which the transfer of an open payment is valid.
pub(super) fn last_moment(payment: &Payment) -> Timestamp {
    let open_end = || payment.updated_at.checked_add_millis(OPEN_ENDED_MS).unwrap_or(payment.updated_at);
    match &payment.state {
        PaymentState::Broadcast { transfer, .. } => transfer.valid_before.unwrap_or_else(open_end),
        PaymentState::Claimed
        | PaymentState::Settled(_)
        | PaymentState::Delivered(_)
        | PaymentState::Failed { .. } => open_end(),
    }
}

/// Returns true if a transaction whose last valid moment was `last` is in no
/// block and never will be, both by our clock and by the chain's answer; false
/// while the chain is unreachable.
pub(super) async fn has_expired(chain: &Chain, hash: B256, last: Timestamp, now: Timestamp) -> bool {
    if last.checked_add_millis(CLOCK_MARGIN_MS).is_none_or(|end| end >= now) {
        return false;
    }
    let last = u64::try_from(last.seconds()).unwrap_or(0);
    chain.never_included(hash, last).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the chain is unreachable: it is not known if a transaction has expired");
        false
    })
}

/// Runs until the task is aborted.
pub async fn run(charges: Charges, retention: Duration) {
    loop {
        let now = Timestamp::now();
        if let Err(error) = reconcile_open(&charges, now).await {
            tracing::warn!(%error, "open payments cannot be read");
        }
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        if let Some(before) = now.checked_sub_millis(retention) {
            if let Err(error) = end_claims(&charges, before, now).await {
                tracing::warn!(%error, "claims that nobody came back for cannot be ended");
            }
            if let Err(error) = charges.payments().expire(before).await {
                tracing::warn!(%error, "old answers cannot be deleted");
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Reconciles every open payment that no instance works on with its network;
/// returns the number that were settled or failed. A payment that cannot be
/// read, or whose round fails, keeps no other from its own.
///
/// # Errors
/// If the table cannot be read.
pub async fn reconcile_open(charges: &Charges, now: Timestamp) -> Result<usize, StoreError> {
    let mut ended = 0;
    for id in charges.payments().abandoned(&charges.networks(), now, BATCH).await? {
        // Whatever comes of it: a payment whose outcome stays open must not be the first again.
        charges.payments().checked(&id, now).await?;
        match reconcile_one(charges, &id, now).await {
            Ok(has_ended) => ended += usize::from(has_ended),
            Err(error) => {
                tracing::error!(payment = id, %error, "an open payment cannot be reconciled");
                // Behind those that can, until somebody has looked at it.
                let later = now.checked_add_millis(POSTPONED_MS).unwrap_or(now);
                charges.payments().postpone(&id, later).await?;
            }
        }
    }
    Ok(ended)
}

/// Ends claims of pushed payments from before `before` that nobody has come back for, and credits what was paid;
/// returns their number.
///
/// # Errors
/// If the table cannot be read.
pub async fn end_claims(charges: &Charges, before: Timestamp, now: Timestamp) -> Result<usize, StoreError> {
    let mut ended = 0;
    for id in charges.payments().abandoned_pushes(before, now, BATCH).await? {
        charges.payments().checked(&id, now).await?;
        let Some(claim) = charges.payments().find(&id).await? else { continue };
        let lease = payment_lease::until(now);
        if !charges.payments().take_over(&claim, claim.idempotency_key.as_deref(), lease).await? {
            continue;
        }
        match charges.holding(&id, lease, charges.end_claim(&claim, now)).await {
            Ok(has_ended) => ended += usize::from(has_ended),
            Err(error) => tracing::error!(payment = id, %error, "a claim cannot be ended"),
        }
        charges.payments().release(&id).await?;
    }
    Ok(ended)
}

async fn reconcile_one(charges: &Charges, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let Some(payment) = charges.payments().find(id).await? else { return Ok(false) };
    let lease = payment_lease::until(now);
    if !charges.payments().take_over(&payment, payment.idempotency_key.as_deref(), lease).await? {
        return Ok(false);
    }
    let ended = charges.holding(id, lease, reconcile(charges, &payment, now)).await?;
    charges.payments().release(id).await?;
    Ok(ended)
}

async fn reconcile(charges: &Charges, payment: &Payment, now: Timestamp) -> Result<bool, StoreError> {
    let Some(open) = OpenPayment::read(charges, payment)? else { return Ok(false) };
    let (settlement, reference) = (open.settlement(), &open.transfer.reference);
    match settlement.method.status(reference, settlement.due).await {
        TransferStatus::Missing => {
            let is_dead = settlement.method.is_dead(reference, last_moment(payment), now).await;
            if is_dead { charges.fail(&payment.id, Some(Money::ZERO), now).await } else { Ok(false) }
        }
        TransferStatus::Unknown => Ok(false),
        status => {
            let ended: Result<_, RedeemError<std::convert::Infallible>> =
                charges.conclude(&settlement, status).await;
            tracing::info!(payment = payment.id, settled = ended.is_ok(), "open payment reconciled");
            Ok(!matches!(ended, Err(RedeemError::Pending | RedeemError::Unavailable(_))))
        }
    }
}
