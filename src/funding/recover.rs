//! Finishing what a crash, a dead node or a lost reply left open.
//!
//! A payment in `broadcast` that nobody works on is looked up on the chain:
//! mined means settled (its answer waits), failed or no longer valid means
//! failed. Nothing is sent again from here: whoever wants the answer asks for
//! it, and an agent that is gone is not charged.

use std::time::Duration;

use super::charge::Charges;
use super::lease;
use super::outcome::Denied;
use super::payment::Payment;
use super::settle::OpenPayment;
use super::store::StoreError;
use crate::id::Timestamp;

/// How often open payments are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Payments looked at in one go.
const BATCH: i64 = 100;
/// How long after its last valid moment a transaction is still asked for: no
/// clock of ours and of a validator differ more.
const CLOCK_MARGIN_MS: i64 = 60_000;
/// How long a transaction without a last valid moment is asked for.
const OPEN_ENDED_MS: i64 = 24 * 3_600_000;

/// Whether the transaction of an open payment can never be included any more.
pub(super) fn is_dead(payment: &Payment, now: Timestamp) -> bool {
    match payment.valid_before {
        Some(last) => is_over(last, now),
        None => payment.updated_at.checked_add_millis(OPEN_ENDED_MS).is_some_and(|end| end < now),
    }
}

/// Whether no block can include a transaction any more whose last valid moment
/// was `last`, whatever a validator's clock says.
pub(super) fn is_over(last: Timestamp, now: Timestamp) -> bool {
    last.checked_add_millis(CLOCK_MARGIN_MS).is_some_and(|end| end < now)
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
        let lease = lease::until(now);
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
    let open = OpenPayment::read(payment)?;
    match charges.chain.receipt(open.transaction.hash()).await {
        Ok(Some(receipt)) => {
            let settling = open.settling(payment);
            let ended: Result<_, Denied<std::convert::Infallible>> = charges.mined(&settling, &receipt).await;
            tracing::info!(payment = payment.id, settled = ended.is_ok(), "open payment looked up");
            Ok(!matches!(ended, Err(Denied::Pending | Denied::Unavailable(_))))
        }
        Ok(None) if is_dead(payment, now) => charges.payments().fail(&payment.id, now).await,
        Ok(None) => Ok(false),
        Err(error) => {
            tracing::warn!(%error, "open payment cannot be looked up");
            Ok(false)
        }
    }
}
