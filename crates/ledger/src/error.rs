//! Errors of the ledger.

use std::sync::Arc;

use farebox_db::{DbError, TxError};
use farebox_types::id::{HoldId, RequestKey, SourceRef};
use farebox_types::money::Money;

use super::account;

/// Reason why the ledger could not do what it was asked. None says that money is missing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The database refused, failed or is unreachable.
    #[error(transparent)]
    Database(Arc<DbError>),
    /// This source was credited before, to another account or with another amount.
    #[error("{0} was already credited, to another account or with another amount")]
    CreditConflict(SourceRef),
    /// This request key belongs to a hold that is still open.
    #[error("the request {0} is still being served")]
    StillOpen(RequestKey),
    /// No hold has this id.
    #[error("there is no hold {0}")]
    UnknownHold(HoldId),
    /// An amount that is negative, or a credit of nothing.
    #[error("{0} is not an amount that can be recorded here")]
    Amount(Money),
    /// Details of an entry that cannot be recorded.
    #[error("the entry of a hold cannot be recorded: {0}")]
    Details(&'static str),
    /// A sum beyond the largest that the ledger can record.
    #[error("the sum exceeds {}, the most the ledger can record", account::LARGEST)]
    Overflow,
    /// A row that no verb writes: run `farebox audit`.
    #[error("the ledger contradicts itself: {0}")]
    Corrupt(String),
    /// The batch writer has ended, as it does when the program stops.
    #[error("the ledger has stopped")]
    Stopped,
}

impl LedgerError {
    /// Returns true if the database may do later what it did not do now.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.db().is_some_and(|error| !matches!(error, DbError::Sqlx(sqlx::Error::PoolClosed)))
    }
}

impl From<DbError> for LedgerError {
    fn from(error: DbError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl TxError for LedgerError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::CreditConflict(_)
            | Self::StillOpen(_)
            | Self::UnknownHold(_)
            | Self::Amount(_)
            | Self::Details(_)
            | Self::Overflow
            | Self::Corrupt(_)
            | Self::Stopped => None,
        }
    }
}
