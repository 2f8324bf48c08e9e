//! Finishing what a crash, a dead node or a lost reply left open.
//!
//! A payment in `broadcast` that nobody works on is looked up on the chain:
//! mined means settled (its answer waits), failed or no longer valid means
//! failed. Nothing is sent again from here: whoever wants the answer asks for
//! it, and an agent that is gone is not charged.

use std::time::Duration;

use alloy::primitives::B256;

use super::charge::Charges;
use super::method::TransferStatus;
use super::payment_lease;
use super::settle::OpenPayment;
use super::store::StoreError;
use crate::chain::Chain;
use crate::id::Timestamp;
use crate::payments::{Payment, PaymentState, RedeemError};

/// How often open payments are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Payments looked at in one go.
const BATCH: i64 = 100;
/// How long after its last valid moment a transaction is still asked for: no
/// clock of ours and of a validator differ more.
const CLOCK_MARGIN_MS: i64 = 60_000;
/// How long a transaction without a last valid moment is asked for.
const OPEN_ENDED_MS: i64 = 24 * 3_600_000;

/// The last moment at which the transfer of an open payment is asked for.
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

/// Whether a transaction whose last valid moment was `last` is in no block and
/// never will be: by our clock, and by the chain's own word. A chain that
/// cannot be asked has not said so.
pub(super) async fn is_dead(chain: &Chain, hash: B256, last: Timestamp, now: Timestamp) -> bool {
    if last.checked_add_millis(CLOCK_MARGIN_MS).is_none_or(|end| end >= now) {
        return false;
    }
    let last = u64::try_from(last.seconds()).unwrap_or(0);
    chain.never_included(hash, last).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether a transaction is dead cannot be found out");
        false
    })
}

/// Runs until the task is aborted.
pub async fn run(charges: Charges, retention: Duration) {
    loop {
        let now = Timestamp::now();
        if let Err(error) = pass(&charges, now).await {
            tracing::warn!(%error, "open payments cannot be looked at");
        }
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        if let Some(before) = now.checked_sub_millis(retention)
            && let Err(error) = charges.payments().expire(before).await
        {
            tracing::warn!(%error, "old answers cannot be dropped");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Looks once at every open payment that nobody works on; returns how many
/// were brought to an end.
///
/// # Errors
/// When the table cannot be read or written.
pub async fn pass(charges: &Charges, now: Timestamp) -> Result<usize, StoreError> {
    let mut ended = 0;
    for payment in charges.payments().abandoned(now, BATCH).await? {
        let lease = payment_lease::until(now);
        if charges.payments().take_over(&payment, payment.idempotency_key.as_deref(), lease).await?
            && charges.holding(&payment.id, lease, look(charges, &payment, now)).await?
        {
            ended += 1;
        }
        charges.payments().release(&payment.id).await?;
    }
    Ok(ended)
}

async fn look(charges: &Charges, payment: &Payment, now: Timestamp) -> Result<bool, StoreError> {
    let open = OpenPayment::read(charges, payment)?;
    let (settlement, reference) = (open.settlement(), &open.transfer.reference);
    match settlement.method.status(reference, settlement.due).await {
        TransferStatus::Missing => {
            let is_dead = settlement.method.is_dead(reference, last_moment(payment), now).await;
            if is_dead { charges.payments().fail(&payment.id, now).await } else { Ok(false) }
        }
        TransferStatus::Unknown => Ok(false),
        status => {
            let ended: Result<_, RedeemError<std::convert::Infallible>> =
                charges.conclude(&settlement, reference, status).await;
            tracing::info!(payment = payment.id, settled = ended.is_ok(), "open payment looked up");
            Ok(!matches!(ended, Err(RedeemError::Pending | RedeemError::Unavailable(_))))
        }
    }
}
