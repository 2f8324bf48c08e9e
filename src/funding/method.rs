//! Payment methods with their networks behind them: they validate payments, make transfers happen and
//! find out what became of them.
//!
//! The driver of charges knows no chain: it asks the method of a payment. A new method is a variant
//! here, a folder in `farebox_payments::methods` and a section of the configuration.

use super::tempo::TempoCharges;
use crate::db::{DbError, Tx};
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::{Credential, Method, Network, Offer, Payer, Payment, Transfer};

/// Reason that a method does not accept a payment now.
#[derive(Debug)]
pub(super) enum MethodError {
    /// The payment is not what was asked for, or cannot be made. The text is for the payer.
    Invalid(String),
    /// The payer's balance does not cover the amount. The text is for the payer.
    Insufficient(String),
    /// The transfer was not made for this challenge. The text is for the payer.
    Unbound(String),
    /// The challenge has expired.
    Expired,
    /// The payer has paid, and the recipient's own policy keeps the money from it.
    HeldBack(HeldBack),
    /// The transfer is not known to have happened yet.
    Pending,
    /// The network is unreachable; the text names it.
    Unavailable(&'static str),
}

/// A payment that is what was asked for, as far as it can be known before it is made.
#[derive(Debug)]
pub(super) struct Validated {
    pub payer: Payer,
    /// The transfer that the payer has made (push).
    pub transfer: Option<PushedTransfer>,
    /// Further transfers for the challenge that the payer has made, which pay nothing.
    pub surplus: Vec<PushedTransfer>,
}

/// A transfer that a payer has made for a challenge.
#[derive(Debug, Clone)]
pub(super) struct PushedTransfer {
    /// The method's name of it.
    pub reference: String,
    pub payer: Payer,
    pub amount: Money,
}

/// Authority over the payer's account that whoever authorised a payment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// The account's own key, or an access key that it did not restrict.
    Full,
    /// An access key with spending limits or allowed calls: no more than the payment itself.
    Restricted,
    /// Somebody else, whom the account allowed to move its money: none.
    Nothing,
}

/// A transfer that was made and did not arrive.
#[derive(Debug)]
pub(super) struct HeldBack {
    pub payer: Payer,
    /// The method's name of the transfer.
    pub reference: String,
    /// The text with which whoever may can claim the money.
    pub claim: String,
}

/// Progress of a transfer.
#[derive(Debug)]
pub(super) enum TransferStatus {
    /// The money arrived, by a transfer that the method names so. `fee` is the network fee that the
    /// server paid, where it is known.
    Settled { reference: String, fee: Option<Money> },
    /// The payer has paid, and the recipient's own policy keeps the money from it.
    HeldBack { reference: String, claim: String, fee: Option<Money> },
    /// It failed for good; no money moved, but perhaps the network fee that the server paid.
    Failed { fee: Option<Money> },
    /// The network refused it and does not know it. The text is the network's reason.
    Refused(String),
    /// The network does not know it, and nothing was sent now.
    Missing,
    /// Nobody can say yet. It may still happen.
    Unknown,
}

/// The money that a transfer must move.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due<'a> {
    pub amount: Money,
    /// The currency, as the method names it.
    pub currency: &'a str,
}

/// A method that charges are paid by.
#[derive(Clone)]
pub enum ChargeMethod {
    Tempo(Box<TempoCharges>),
}

impl ChargeMethod {
    /// The method's identifier.
    pub(super) const fn id(&self) -> Method {
        match self {
            Self::Tempo(_) => Method::Tempo,
        }
    }

    /// The network that it moves money on.
    pub(super) fn network(&self) -> Network {
        match self {
            Self::Tempo(tempo) => tempo.network(),
        }
    }

    /// Checks the payment of a credential against its offer, which expires at `expires`.
    pub(super) async fn validate(
        &self,
        credential: &Credential,
        offer: &Offer,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Validated, MethodError> {
        match self {
            Self::Tempo(tempo) => tempo.validate(credential, offer, expires, now).await,
        }
    }

    /// Authority over `payer`'s account that the credential's payment was authorised with.
    pub(super) async fn authority(
        &self,
        credential: &Credential,
        offer: &Offer,
        payer: &Payer,
    ) -> Result<Authority, MethodError> {
        match self {
            Self::Tempo(tempo) => tempo.authority(credential, offer, payer).await,
        }
    }

    /// The transfers that were made for a credential's challenge, which this server has issued: what is in the
    /// network's books at this moment, not what may come (push).
    pub(super) async fn pushed_transfers(
        &self,
        credential: &Credential,
    ) -> Result<Vec<PushedTransfer>, MethodError> {
        match self {
            Self::Tempo(tempo) => tempo.pushed_transfers(credential).await,
        }
    }

    /// The transfers that a stored claim names, made for its challenge; empty where there are none or never will be.
    pub(super) async fn claimed_transfers(
        &self,
        realm: &str,
        claim: &Payment,
    ) -> Result<Vec<PushedTransfer>, MethodError> {
        match self {
            Self::Tempo(tempo) => tempo.claimed_transfers(realm, claim).await,
        }
    }

    /// The transaction that a payer made before it presented the credential (push), as it is stored.
    pub(super) fn pushed(&self, credential: &Credential) -> Result<String, MethodError> {
        match self {
            Self::Tempo(_) => TempoCharges::pushed(credential),
        }
    }

    /// The transfer that a validated credential authorises (pull), checked as far as the network can
    /// check it without making it.
    pub(super) async fn prepare(
        &self,
        credential: &Credential,
        offer: &Offer,
        now: Timestamp,
    ) -> Result<Transfer, MethodError> {
        match self {
            Self::Tempo(tempo) => tempo.prepare(credential, offer, now).await,
        }
    }

    /// Reserves what a transfer may cost the server, within the caller's transaction. The inner error
    /// says, for the payer, why the server does not bear that cost now.
    pub(super) async fn reserve_fee(
        &self,
        tx: &mut Tx,
        payer: &Payer,
        transfer: &Transfer,
        now: Timestamp,
    ) -> Result<Result<(), String>, DbError> {
        match self {
            Self::Tempo(tempo) => tempo.reserve_fee(tx, payer, transfer, now).await,
        }
    }

    /// Makes a transfer happen, and waits for it. Safe to repeat.
    pub(super) async fn execute(&self, transfer: &Transfer, due: Due<'_>) -> TransferStatus {
        match self {
            Self::Tempo(tempo) => tempo.execute(transfer, due).await,
        }
    }

    /// Finds out what became of a transfer, without making it happen.
    pub(super) async fn status(&self, reference: &str, due: Due<'_>) -> TransferStatus {
        match self {
            Self::Tempo(tempo) => tempo.status(reference, due).await,
        }
    }

    /// True if the transfer has not happened and never will: its last moment was `last`.
    pub(super) async fn is_dead(&self, reference: &str, last: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Tempo(tempo) => tempo.is_dead(reference, last, now).await,
        }
    }
}
