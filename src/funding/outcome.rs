//! From stored payments and errors of the parts below to the outcome of a presented credential.

use super::method::MethodError;
use super::store::StoreError;
use crate::payments::core::payment::RefusalReason;
use crate::payments::{Delivery, Payment, PaymentState, RedeemError, http};

impl<E> From<StoreError> for RedeemError<E> {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "payments cannot be read or written");
        Self::Unavailable("the payment records")
    }
}

impl<E> From<MethodError> for RedeemError<E> {
    fn from(error: MethodError) -> Self {
        match error {
            // The driver looks first if an unbound transfer paid for another challenge.
            MethodError::Invalid(detail) | MethodError::Unbound(detail) => Self::Invalid(detail),
            MethodError::Insufficient(detail) => Self::Insufficient(detail),
            // The driver records it first.
            MethodError::HeldBack(_) => refused(RefusalReason::HeldBack),
            MethodError::Expired => Self::Expired,
            MethodError::Pending => Self::Pending,
            MethodError::Unavailable(network) => Self::Unavailable(network),
        }
    }
}

/// The answer of a settled payment.
pub(super) fn deliver<E>(stored: Payment) -> Result<Delivery, RedeemError<E>> {
    if let PaymentState::Settled(settled) | PaymentState::Delivered(settled) = stored.state
        && let Some((answer, receipt)) = settled.answer.zip(http::parse_receipt(&settled.receipt))
    {
        return Ok(Delivery { payment: stored.id, answer, receipt });
    }
    Err(RedeemError::Spent("this payment was settled and its answer is no longer kept".into()))
}

pub(super) fn refused<E>(reason: RefusalReason) -> RedeemError<E> {
    match reason {
        RefusalReason::Expired => RedeemError::Expired,
        RefusalReason::InProgress => RedeemError::InProgress,
        RefusalReason::UsedChallenge => RedeemError::UsedChallenge,
        RefusalReason::Spent => RedeemError::Spent(
            "this credential has been used and its answer was delivered; send an Idempotency-Key \
             with a paid request to be able to fetch its answer again"
                .into(),
        ),
        RefusalReason::HeldBack => RedeemError::Spent(
            "the payment was made, but the recipient's receive policy (TIP-1028) holds it back, so nothing was bought; do \
             not pay again: the operator is told, and credits your wallet once the money is released"
                .into(),
        ),
        RefusalReason::Failed => RedeemError::Invalid(
            "the transaction failed on the chain; nothing was paid, pay a new challenge".into(),
        ),
    }
}

/// True if a credential that was refused so can never buy what its challenge offers.
pub(super) fn is_final<E>(error: &RedeemError<E>) -> bool {
    match error {
        RedeemError::Invalid(_)
        | RedeemError::Insufficient(_)
        | RedeemError::Spent(_)
        | RedeemError::Expired
        | RedeemError::Credited { .. } => true,
        RedeemError::Work(failed) => failed.is_final,
        RedeemError::Challenge(_)
        | RedeemError::UsedChallenge
        | RedeemError::InProgress
        | RedeemError::Pending
        | RedeemError::KeyReused
        | RedeemError::Unavailable(_) => false,
    }
}
