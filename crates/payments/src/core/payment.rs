//! A payment's record, and the decision what to do with a presented credential.

use std::fmt;

use farebox_types::id::{AccountId, IdError, Timestamp};
use farebox_types::money::Money;

use super::{Method, Network, Submission};

/// The party that paid: an account of the ledger that its credit goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer(AccountId);

impl Payer {
    /// A wallet, by its address.
    ///
    /// # Errors
    /// [`IdError`] if the text is not `0x` and 40 hexadecimal digits.
    pub fn wallet(address: &str) -> Result<Self, IdError> {
        AccountId::wallet(address).map(Self)
    }

    /// The payer's account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.0
    }

    /// The name without its kind, as stored: a wallet's address in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_str().split_once(':').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A transfer that the server makes for a payer (pull), as it is written down before it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The method's name of its transaction, unique on its network: a hash in lower case.
    pub reference: String,
    /// The text that makes it happen, which can be sent again without happening twice: a signed
    /// transaction as hexadecimal digits. Empty once it is not needed any more.
    pub instruction: String,
    /// The most that it can cost the server in network fees; `None` when the payer bears them.
    pub fee_limit: Option<Money>,
    /// The last moment at which it can happen; `None` when there is none.
    pub valid_before: Option<Timestamp>,
}

/// The things that a payment buys: an answer, and perhaps goods beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    pub answer: String,
    /// JSON of what is bought beyond the answer.
    pub goods: Option<String>,
}

/// Progress of a payment, with what is known at each step. See `migrations/0002_payments.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// The credential is taken; nothing has left.
    Claimed,
    /// The transfer may have happened.
    Broadcast { payer: Payer, transfer: Transfer, purchase: Purchase },
    /// The money is there, and the answer has not left yet.
    Settled(Settled),
    /// The answer has left.
    Delivered(Settled),
    /// The transfer failed for good, or did not arrive.
    Failed { payer: Option<Payer>, reference: Option<String>, failure: Failure },
}

/// Reason that a payment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The network undid the transfer, or never made it: nothing was paid.
    Undone,
    /// The payer has paid, and the recipient's own policy keeps the money from it.
    HeldBack,
}

/// The record of money that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub payer: Payer,
    /// The method's name of the transfer, its transaction's with its position behind a colon; `None` for a proof.
    /// Payments settled by 0.1.0 have no position.
    pub reference: Option<String>,
    /// `None` when the answer is not kept any more.
    pub answer: Option<String>,
    /// JSON of what was bought beyond the answer.
    pub goods: Option<String>,
    /// The `Payment-Receipt` value.
    pub receipt: String,
}

impl PaymentState {
    /// The name in the database and on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Broadcast { .. } => "broadcast",
            Self::Settled(_) => "settled",
            Self::Delivered(_) => "delivered",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A payment: one credential's life on the server.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The challenge id.
    pub id: String,
    /// [`Credential::fingerprint`](super::Credential::fingerprint).
    pub fingerprint: String,
    pub method: Method,
    pub network: Network,
    pub submission: Submission,
    /// The method's name of the transaction that a push names.
    pub pushed: Option<String>,
    pub state: PaymentState,
    /// [`Resource::name`](super::Resource::name).
    pub resource: String,
    /// The digest of the request's content; empty without any.
    pub digest: String,
    pub amount: Money,
    /// The currency, as the method names it.
    pub currency: String,
    pub idempotency_key: Option<String>,
    pub request_id: String,
    /// The account that it tops up; `None` when it buys an answer.
    pub top_up: Option<AccountId>,
    pub expires_at: Timestamp,
    pub lease_until: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The transaction in the name of a transfer: all of it, up to the transfer's position in the transaction.
#[must_use]
pub fn transaction_of(reference: &str) -> &str {
    reference.split(':').next().unwrap_or(reference)
}

impl Payment {
    /// The method's name of the transaction that made the transfer, where one is known.
    #[must_use]
    pub fn transaction(&self) -> Option<&str> {
        let reference = match &self.state {
            PaymentState::Claimed => None,
            PaymentState::Broadcast { transfer, .. } => Some(transfer.reference.as_str()),
            PaymentState::Settled(settled) | PaymentState::Delivered(settled) => settled.reference.as_deref(),
            PaymentState::Failed { reference, .. } => reference.as_deref(),
        };
        reference.map(transaction_of)
    }

    /// The receipt, once the payment is settled.
    #[must_use]
    pub fn receipt(&self) -> Option<&str> {
        match &self.state {
            PaymentState::Settled(settled) | PaymentState::Delivered(settled) => Some(&settled.receipt),
            PaymentState::Claimed | PaymentState::Broadcast { .. } | PaymentState::Failed { .. } => None,
        }
    }
}

/// A credential as the decision sees it: its challenge has been verified.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// [`Credential::is_of`](super::Credential::is_of) of the stored payment.
    pub is_same: bool,
    pub submission: Submission,
    pub idempotency_key: Option<&'a str>,
    /// The moment at which the challenge expires.
    pub expires: Timestamp,
}

/// The next step for a presented credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// First time seen: claim it and work.
    Claim,
    /// Claimed before, but who did is gone and nothing was sent: take it over.
    TakeOver,
    /// A transfer may have happened: find out before anything else.
    Reconcile,
    /// Paid, and the answer has not left yet: hand it over.
    Deliver,
    /// Paid, asked again under the same idempotency key: hand over the same
    /// answer.
    Repeat,
    /// Nothing further happens with it.
    Refuse(RefusalReason),
}

/// Reason that a credential does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The challenge expired and no payment was made in time.
    Expired,
    /// Another request works on this credential now.
    InProgress,
    /// The challenge has been used, with another credential.
    UsedChallenge,
    /// Paid and delivered: a second use buys nothing, and must not ask for money.
    Spent,
    /// Its transfer failed for good; nothing was paid.
    Failed,
    /// Its transfer was made and did not arrive: paying again would not either.
    HeldBack,
}

/// Milliseconds that a lease lasts at the most.
pub const LONGEST_LEASE_MS: i64 = 60_000;

/// Decides from what is stored and what is presented.
///
/// Rules (draft-httpauth-payment-00, "Replay Protection", "Idempotency"): one
/// credential buys one answer; a payment that was made is never answered with a
/// new challenge; a payment made in time completes even after the expiry.
#[must_use]
pub fn decide(stored: Option<&Payment>, presented: &Presented, now: Timestamp) -> NextStep {
    let Some(stored) = stored else {
        let is_late = presented.expires <= now && presented.submission != Submission::Push;
        return if is_late { NextStep::Refuse(RefusalReason::Expired) } else { NextStep::Claim };
    };
    let same = presented.is_same;
    // A lease that ends later than any that is taken now was taken by a clock that has been set back since.
    let longest = now.checked_add_millis(LONGEST_LEASE_MS).unwrap_or(now);
    let leased = now < stored.lease_until && stored.lease_until <= longest;
    match &stored.state {
        PaymentState::Claimed | PaymentState::Broadcast { .. } if leased => {
            NextStep::Refuse(RefusalReason::InProgress)
        }
        PaymentState::Claimed if !same => NextStep::Refuse(RefusalReason::UsedChallenge),
        // The money of a push has moved already, and its block says when; a pull must
        // still be sent in time.
        PaymentState::Claimed if presented.expires <= now && stored.submission != Submission::Push => {
            NextStep::Refuse(RefusalReason::Expired)
        }
        PaymentState::Claimed => NextStep::TakeOver,
        PaymentState::Broadcast { .. } if same => NextStep::Reconcile,
        PaymentState::Settled(settled) | PaymentState::Delivered(settled)
            if same && repeats(stored, settled, presented, now) =>
        {
            NextStep::Repeat
        }
        // Whoever settled it is handing the answer over.
        PaymentState::Settled(_) if same && leased => NextStep::Refuse(RefusalReason::InProgress),
        PaymentState::Settled(_) if same => NextStep::Deliver,
        PaymentState::Failed { failure: Failure::Undone, .. } if same => {
            NextStep::Refuse(RefusalReason::Failed)
        }
        PaymentState::Failed { failure: Failure::HeldBack, .. } if same => {
            NextStep::Refuse(RefusalReason::HeldBack)
        }
        PaymentState::Delivered(_) if same => NextStep::Refuse(RefusalReason::Spent),
        PaymentState::Broadcast { .. }
        | PaymentState::Settled(_)
        | PaymentState::Delivered(_)
        | PaymentState::Failed { .. } => NextStep::Refuse(match presented.submission {
            // Whoever pushed has paid already: no new challenge for them.
            Submission::Push => RefusalReason::Spent,
            Submission::Pull | Submission::Proof => RefusalReason::UsedChallenge,
        }),
    }
}

/// True if the answer can be fetched again. One for goods can without a key, with the same
/// credential: it says which key was bought, and what opens it is derived anew each time. A pushed
/// one only until the challenge expires: whoever has seen the challenge can make its credential,
/// because everybody sees the transaction.
fn repeats(stored: &Payment, settled: &Settled, presented: &Presented, now: Timestamp) -> bool {
    let is_secret = stored.submission != Submission::Push || now < presented.expires;
    if settled.goods.is_some() && settled.answer.is_some() && is_secret {
        return true;
    }
    stored.idempotency_key.is_some() && stored.idempotency_key.as_deref() == presented.idempotency_key
}

#[cfg(test)]
mod tests;
