//! Payment channels: deposits on the chain, vouchers off the chain, credit on the ledger.
//!
//! A channel's account is `channel:<id>`; an accepted voucher is credited with its
//! addition. `state` and `policy` decide (pure), `open`, `top_up` and `voucher` take the payers'
//! transactions and vouchers, `settle` settles and closes, `worker` does so by policy.
//!
//! Invariants:
//! * delivered <= charged <= accepted <= deposit, and captured = max(charged, settled);
//! * one transaction about a channel is pending at a time; its bytes are recorded
//!   before it is sent, and it is reconciled until its outcome is known;
//! * deposit and settled amount never fall by a node's answer.

#![expect(clippy::disallowed_methods, reason = "an instance names itself once, when it starts")]

mod held_back;
mod holds;
mod list;
mod open;
mod outgoing;
mod policy;
mod settle;
mod state;
mod store;
mod top_up;
mod voucher;
mod voucher_queue;
pub mod worker;

use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;

pub use held_back::HeldBackSettlement;
pub use list::{ChannelCursor, PayerChannel, channels_of};
pub use open::Funded;
pub use policy::{DueAction, SettlementPolicy, SettlementTries};
pub use state::{Channel, ChannelRefusal, ChannelRequest, Phase, TxPurpose, VoucherEffect};

use voucher_queue::VoucherQueue;

use super::sponsor::Exhausted;
use super::{FeeAccount, Sponsor, StoreError};
use crate::chain::{Chain, Fees};
use crate::db::{Db, DbError, TxError};
use crate::id::HoldId;
use crate::ledger::{self, LedgerError};
use crate::limits::{Buckets, Rate};
use crate::money::Money;
use crate::payments::Payer;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SessionTerms, VoucherError};

/// The channels of this server.
#[derive(Debug, Clone)]
pub struct Channels {
    db: Db,
    chain: Chain,
    sponsor: Option<Sponsor>,
    operator: Operator,
    terms: SessionTerms,
    policy: SettlementPolicy,
    /// Limiter of each channel's vouchers. Only vouchers that its payer signed count
    /// against a channel, so nobody else can use up its rate ("Denial of Service").
    voucher_limiter: Arc<Buckets<ChannelId>>,
    vouchers: VoucherQueue,
    /// Name of this instance, for the lease of the [worker].
    instance: Arc<str>,
}

/// Account that settles and closes: the payee itself, or the operator that it named.
#[derive(Debug, Clone)]
pub struct Operator {
    pub signer: PrivateKeySigner,
    /// The one before, which channels that were opened then still name.
    pub previous: Option<PrivateKeySigner>,
    pub fees: Fees,
    pub account: FeeAccount,
}

impl Operator {
    /// The key that may settle and close a channel.
    fn signer_of(&self, descriptor: &Descriptor) -> &PrivateKeySigner {
        let named = if descriptor.operator.is_zero() { descriptor.payee } else { descriptor.operator };
        self.previous.as_ref().filter(|signer| signer.address() == named).unwrap_or(&self.signer)
    }
}

/// Reason a request to a channel failed. Only [`ChannelError::Pending`] and
/// [`ChannelError::Unavailable`] leave the outcome open; none of them takes money.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    #[error(transparent)]
    Refused(#[from] ChannelRefusal),
    /// The payer's transaction is malformed or would fail.
    #[error("{0}")]
    Transaction(String),
    /// The transaction was sent and its outcome is unknown: send the same request again.
    #[error("the transaction's outcome is not known yet; send the same request again")]
    Pending,
    /// The channel's vouchers exceed their rate; wait this many milliseconds.
    #[error("this channel's vouchers come too often; sign fewer vouchers, each for more")]
    TooOften(i64),
    /// The amount that is left to spend, which does not cover the request.
    #[error("the channel's vouchers do not cover this request; send one that does")]
    Insufficient(Money),
    /// A part that is needed is unreachable.
    #[error("{0} is unreachable; send the same request again")]
    Unavailable(&'static str),
}

impl From<StoreError> for ChannelError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "channels cannot be read or written");
        Self::Unavailable("the channel database")
    }
}

impl From<DbError> for ChannelError {
    fn from(error: DbError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<LedgerError> for ChannelError {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger cannot be written");
        Self::Unavailable("the ledger")
    }
}

impl Channels {
    /// Connects the parts, and starts the queue of vouchers on the current runtime.
    #[must_use]
    pub fn new(
        db: Db,
        chain: Chain,
        sponsor: Option<Sponsor>,
        operator: Operator,
        terms: SessionTerms,
        policy: SettlementPolicy,
        voucher_rate: Rate,
    ) -> Self {
        let voucher_limiter = Arc::new(Buckets::new(voucher_rate));
        let vouchers = VoucherQueue::start(db.clone(), terms.min_voucher_delta);
        let instance = uuid::Uuid::new_v4().to_string().into();
        Self { db, chain, sponsor, operator, terms, policy, voucher_limiter, vouchers, instance }
    }

    /// Returns the account that pays the fees of settlements and closes.
    #[must_use]
    pub fn fee_account(&self) -> &FeeAccount {
        &self.operator.account
    }

    /// Returns the terms of all session offers.
    #[must_use]
    pub fn terms(&self) -> &SessionTerms {
        &self.terms
    }

    /// Finds a channel, with its highest voucher and the amount spent.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find(&self, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        store::find(&self.db, channel).await
    }

    /// Returns false if a request has lost its hold, to a newer one or to a close.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn is_serving(&self, hold: &HoldId) -> Result<bool, LedgerError> {
        ledger::is_open(&self.db, hold).await
    }

    /// Finds a channel if one of its requests still has its hold; `None` after a newer request or a close.
    ///
    /// # Errors
    /// [`ChannelError::Unavailable`] if the database fails.
    pub async fn find_serving(
        &self,
        channel: ChannelId,
        hold: &HoldId,
    ) -> Result<Option<Channel>, ChannelError> {
        if !self.is_serving(hold).await? {
            return Ok(None);
        }
        Ok(self.find(channel).await?)
    }

    /// Finds the channel that a wallet would resume.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn of_payer(&self, payer: &Payer) -> Result<Option<Channel>, StoreError> {
        store::of_payer(&self.db, payer.name(), &format!("{:#x}", self.terms.currency)).await
    }

    /// Returns true once the database was closed: the program stops.
    #[must_use]
    pub fn are_stopped(&self) -> bool {
        self.db.pool.is_closed()
    }

    /// Returns the newest channels, the newest first, for an operator.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(&self, limit: i64) -> Result<Vec<Channel>, StoreError> {
        store::newest(&self.db, limit).await
    }
}

/// Failure of work in a database transaction.
#[derive(Debug)]
enum TxFailure {
    /// The amount that is left to spend on a channel is too little.
    Insufficient(Money),
    Refused(ChannelRefusal),
    /// The operator's transaction cannot be signed.
    Transaction(String),
    /// The work is not due any more.
    NotDue,
    Exhausted(Exhausted),
    Ledger(LedgerError),
    Store(StoreError),
}

impl From<DbError> for TxFailure {
    fn from(error: DbError) -> Self {
        Self::Store(StoreError::Db(error))
    }
}

impl From<StoreError> for TxFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LedgerError> for TxFailure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<ChannelRefusal> for TxFailure {
    fn from(refusal: ChannelRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl TxError for TxFailure {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Refused(_)
            | Self::Insufficient(_)
            | Self::NotDue
            | Self::Transaction(_)
            | Self::Exhausted(_)
            | Self::Store(StoreError::Corrupt { .. }) => None,
            Self::Ledger(error) => error.db(),
            Self::Store(StoreError::Ledger(error)) => error.db(),
            Self::Store(StoreError::Db(error)) => Some(error),
        }
    }
}

impl From<TxFailure> for ChannelError {
    fn from(failure: TxFailure) -> Self {
        match failure {
            TxFailure::Refused(refusal) => refusal.into(),
            TxFailure::NotDue => Self::Pending,
            TxFailure::Insufficient(left) => Self::Insufficient(left),
            TxFailure::Transaction(reason) => Self::Transaction(reason),
            TxFailure::Exhausted(reason) => open::not_sponsored(reason),
            TxFailure::Ledger(error) => error.into(),
            TxFailure::Store(error) => error.into(),
        }
    }
}
