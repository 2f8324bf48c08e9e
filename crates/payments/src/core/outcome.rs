//! Outcomes of a presented credential: an answer with its receipt, or what the payer should do next.

use farebox_types::money::Money;

use super::{ChallengeError, Receipt};

/// A paid answer, ready to leave.
#[derive(Debug)]
pub struct Delivery {
    /// The payment, to be marked once the answer left.
    pub payment: String,
    pub answer: String,
    pub receipt: Receipt,
}

/// Reason that there is no answer. Nothing was lost: what was paid stays paid and can
/// be completed by sending the same request with the same credential.
#[derive(Debug)]
pub enum RedeemError<E> {
    /// The challenge is not good for this request. A new one may be paid.
    Challenge(ChallengeError),
    /// The challenge has expired; nothing was paid with it.
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
    /// A transfer may have happened and its outcome is open: send the same request again.
    Pending,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The network or the database, which is named, is unreachable. Nothing was taken for this request.
    Unavailable(&'static str),
    /// The work failed; nothing was taken.
    Work(WorkError<E>),
    /// The payment was made and buys nothing, for the reason within. It is credit of the paying wallet now, of
    /// `amount` together.
    Credited { because: Box<Self>, wallet: String, amount: Money },
}

/// Failure of the work for a paid request.
#[derive(Debug)]
pub struct WorkError<E> {
    pub error: E,
    /// True if the same request can never succeed.
    pub is_final: bool,
}
