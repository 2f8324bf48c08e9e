//! What comes of a presented credential: an answer, or what the payer should do next.

use mpp::protocol::traits::{ErrorCode, VerificationError};

use super::payment::{Payment, Why};
use super::store::StoreError;
use crate::ledger::LedgerError;
use crate::mpp::Refusal;

/// A paid answer, ready to leave.
#[derive(Debug)]
pub struct Delivery {
    /// The payment, to be marked once the answer left.
    pub payment: String,
    pub answer: String,
    /// The value of the `Payment-Receipt` header.
    pub receipt: String,
}

/// Why there is no answer. Nothing was lost: what was paid stays paid and can
/// be completed by sending the same request with the same credential.
#[derive(Debug)]
pub enum Denied<E> {
    /// The challenge is not good for this request. A new one may be paid.
    Challenge(Refusal),
    /// The challenge's time is over, nothing was paid with it.
    Expired,
    /// The challenge was used with another credential.
    UsedChallenge,
    /// The payment is not what was asked for, or cannot be made. Nothing was
    /// taken. The text is for the payer.
    Invalid(String),
    /// The payer's balance does not cover the amount. Nothing was taken.
    Insufficient(String),
    /// The payment has been used, or can never buy this. Asking for another
    /// would charge twice.
    Spent(String),
    /// Another request works on the same credential.
    InProgress,
    /// A transaction is out and its outcome open: send the same request again.
    Pending,
    /// The idempotency key was used for another request.
    KeyReused,
    /// Chain or database cannot be asked. Nothing was taken for this request.
    Unavailable(&'static str),
    /// The work failed; nothing was taken.
    Work(E),
}

impl<E> From<StoreError> for Denied<E> {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "payments cannot be read or written");
        Self::Unavailable("the payment records")
    }
}

impl<E> From<LedgerError> for Denied<E> {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger cannot be written");
        Self::Unavailable("the ledger")
    }
}

pub(super) fn deliver<E>(stored: Payment) -> Result<Delivery, Denied<E>> {
    match (stored.answer, stored.receipt) {
        (Some(answer), Some(receipt)) => Ok(Delivery { payment: stored.id, answer, receipt }),
        _ => Err(Denied::Spent("this payment was settled and its answer is no longer kept".into())),
    }
}

pub(super) fn refused<E>(why: Why) -> Denied<E> {
    match why {
        Why::Expired => Denied::Expired,
        Why::InProgress => Denied::InProgress,
        Why::UsedChallenge => Denied::UsedChallenge,
        Why::Spent => Denied::Spent(
            "this credential has been used and its answer was delivered; send an Idempotency-Key \
             with a paid request to be able to fetch its answer again"
                .into(),
        ),
        Why::Failed => Denied::Invalid(
            "the transaction failed on the chain; nothing was paid, pay a new challenge".into(),
        ),
    }
}

pub(super) fn invalid<E>(error: &VerificationError) -> Denied<E> {
    if error.retryable {
        return Denied::Unavailable("the chain");
    }
    match error.code {
        Some(ErrorCode::NetworkError | ErrorCode::Internal | ErrorCode::ChainIdMismatch) => {
            tracing::error!(code = ?error.code, "payment cannot be verified");
            Denied::Unavailable("the chain")
        }
        Some(ErrorCode::CredentialReplayed) => Denied::Spent(error.message.clone()),
        Some(ErrorCode::Expired) => Denied::Expired,
        _ => Denied::Invalid(error.message.clone()),
    }
}
