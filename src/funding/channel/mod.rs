//! Payment channels: deposits on the chain, vouchers by hand, credit on the ledger.
//!
//! A channel's account is `channel:<id>`; accepting a voucher credits what it
//! adds. `state` decides (pure), `open`, `top_up` and `voucher` take what payers bring,
//! `settle` takes what was earned, `worker` does so unasked.
//!
//! Invariants:
//! * delivered <= charged <= accepted <= deposit, and captured = max(charged, settled);
//! * one transaction about a channel is out at a time; its bytes are written
//!   down before it leaves, and its outcome is asked for until it is known;
//! * deposit and settled amount never fall by what a node says.

mod holds;
mod open;
mod settle;
mod state;
mod store;
mod top_up;
mod voucher;
mod voucher_queue;
pub mod worker;

use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;

pub use open::Funded;
pub use state::{
    Channel, ChannelRefusal, ChannelRequest, DueAction, Phase, SettlementPolicy, TxPurpose, VoucherEffect,
};

use voucher_queue::VoucherQueue;

use super::sponsor::Exhausted;
use super::{FeeAccount, Sponsor, StoreError};
use crate::chain::{Chain, Fees};
use crate::db::{Db, DbError, TxError};
use crate::ledger::LedgerError;
use crate::limits::{Buckets, Rate};
use crate::payments::Payer;
use crate::payments::methods::tempo::session::{ChannelId, SessionTerms, VoucherError};

/// The channels of this server.
#[derive(Debug, Clone)]
pub struct Channels {
    db: Db,
    chain: Chain,
    sponsor: Option<Sponsor>,
    operator: Operator,
    terms: SessionTerms,
    policy: SettlementPolicy,
    /// How often vouchers are taken. Only its payer's signature counts against
    /// a channel, so nobody else can use its share up ("Denial of Service").
    limiter: Arc<Buckets<ChannelId>>,
    vouchers: VoucherQueue,
    /// This instance's name, for the lease of the [worker].
    worker: Arc<str>,
}

/// Who settles and closes: the payee itself, or the operator it named.
#[derive(Debug, Clone)]
pub struct Operator {
    pub signer: PrivateKeySigner,
    pub fees: Fees,
    pub account: FeeAccount,
}

/// Why a channel did not do what was asked. Only [`ChannelError::Pending`] and
/// [`ChannelError::Unavailable`] leave the outcome open; none of them takes money.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    #[error(transparent)]
    Refused(#[from] ChannelRefusal),
    /// The funding transaction is not what it should be, or would fail.
    #[error("{0}")]
    Transaction(String),
    /// The transaction is out, its outcome unknown: send the same again.
    #[error("the transaction's outcome is not known yet; send the same request again")]
    Pending,
    /// Vouchers come too fast; wait this many milliseconds.
    #[error("this channel's vouchers come too often; ask for more with each")]
    TooOften(i64),
    /// Something this needs cannot be reached.
    #[error("{0} cannot be reached; send the same request again")]
    Unavailable(&'static str),
}

impl From<StoreError> for ChannelError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "channels cannot be read or written");
        Self::Unavailable("the channel records")
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
    /// Wires the parts together, and starts the [queue](voucher_queue) of vouchers on the
    /// current runtime.
    #[must_use]
    pub fn new(
        db: Db,
        chain: Chain,
        sponsor: Option<Sponsor>,
        operator: Operator,
        terms: SessionTerms,
        policy: SettlementPolicy,
        rate: Rate,
    ) -> Self {
        let limiter = Arc::new(Buckets::new(rate));
        let vouchers = VoucherQueue::start(db.clone(), terms.min_voucher_delta);
        let worker = uuid::Uuid::new_v4().to_string().into();
        Self { db, chain, sponsor, operator, terms, policy, limiter, vouchers, worker }
    }

    /// The account that pays for settlements and closes.
    #[must_use]
    pub fn fee_account(&self) -> &FeeAccount {
        &self.operator.account
    }

    #[must_use]
    pub fn terms(&self) -> &SessionTerms {
        &self.terms
    }

    /// A channel, with its highest voucher and what was spent.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn find(&self, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        store::find(&self.db, channel).await
    }

    /// The channel that a wallet would resume.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn of_payer(&self, payer: &Payer) -> Result<Option<Channel>, StoreError> {
        store::of_payer(&self.db, payer.name(), &format!("{:#x}", self.terms.currency)).await
    }

    /// Channels for an operator's eyes, the newest first.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list(&self, limit: i64) -> Result<Vec<Channel>, StoreError> {
        store::all(&self.db, limit).await
    }
}

/// An error of the work inside a transaction.
#[derive(Debug)]
enum TxFailure {
    ChannelRefusal(ChannelRefusal),
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
    fn from(refused: ChannelRefusal) -> Self {
        Self::ChannelRefusal(refused)
    }
}

impl TxError for TxFailure {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::ChannelRefusal(_) | Self::Exhausted(_) | Self::Store(StoreError::Corrupt { .. }) => None,
            Self::Ledger(error) => error.db(),
            Self::Store(StoreError::Db(error)) => Some(error),
        }
    }
}

impl From<TxFailure> for ChannelError {
    fn from(failure: TxFailure) -> Self {
        match failure {
            TxFailure::ChannelRefusal(refused) => refused.into(),
            TxFailure::Exhausted(why) => open::not_sponsored(why),
            TxFailure::Ledger(error) => error.into(),
            TxFailure::Store(error) => error.into(),
        }
    }
}
