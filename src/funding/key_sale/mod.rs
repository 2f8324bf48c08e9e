//! Purchases from contracts of the key sale become credit and API keys.
//!
//! A contract's logs are read in order behind a durable cursor, up to the
//! newest block with `confirmations` blocks after it ([`reader`]). Purchases become credit in
//! transactions that move the cursor past them ([`credit`]). So a crash at any moment leaves the cursor where the
//! credits are, and the credit's source is unique: a purchase that is read again,
//! because a cursor was lost, two instances race or the chain was reorganised,
//! changes nothing.
//!
//! Several contracts are followed side by side, each with a cursor and a lease of its own: the first version cannot
//! be closed, so it is followed for as long as it may sell.
//!
//! A key is its owner's authority over an account, so one is made only for an owner that bought it itself; anybody
//! can give credit. [`buyers`] looks that up for keys that were sold before this was the rule.
//!
//! Credit is final. If the chain drops a purchase that had more than
//! `confirmations` blocks after it, its credit stays, the counts differ once,
//! and the metric of rewinds shows it.

pub mod buyers;
mod credit;
pub mod reader;
mod store;

use alloy::primitives::Address;

use super::{StoreError, worker_lease};
use crate::chain::key_sale::SaleVersion;
use crate::chain::{Chain, ChainError};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::keys::KeysError;

pub use reader::{ReadOutcome, SaleReader};
pub use store::ChainCursor;

/// Readers of all contracts that are followed.
#[derive(Debug, Clone)]
pub struct KeySales(Vec<SaleReader>);

/// Reason a contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SaleError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("key_sale.addresses: the contract {contract:#x} {reason}")]
    Contract { contract: Address, reason: String },
    #[error(
        "the key sale {contract:#x} counted {counted} purchases up to block {block}, and {seen} were read; \
         they are read again from the last block at which both agreed"
    )]
    Incomplete { contract: Address, block: u64, counted: u64, seen: u64 },
}

impl From<DbError> for SaleError {
    fn from(error: DbError) -> Self {
        Self::Keys(error.into())
    }
}

impl SaleError {
    /// Returns true if it lasts until an operator acts.
    fn needs_operator(&self) -> bool {
        match self {
            Self::Contract { .. } | Self::Incomplete { .. } => true,
            Self::Chain(error) => matches!(error, ChainError::WrongChain { .. }),
            Self::Keys(_) | Self::Store(_) => false,
        }
    }
}

impl KeySales {
    /// Returns the readers of the configured contracts; none without any.
    #[must_use]
    pub fn new(config: &Config, db: &Db, chain: &Chain) -> Self {
        let contracts = config.key_sale.contracts();
        Self(contracts.into_iter().map(|contract| SaleReader::new(contract, config, db, chain)).collect())
    }

    /// Returns the reader of each contract.
    #[must_use]
    pub fn readers(&self) -> &[SaleReader] {
        &self.0
    }

    /// Returns the contract that buyers are shown: the first one of the newest version.
    #[must_use]
    pub fn shown(&self) -> Option<&SaleReader> {
        let newest = self.0.iter().find(|reader| reader.version() == Some(SaleVersion::V2));
        newest.or_else(|| self.0.first())
    }

    /// Returns the reasons purchases are not credited now, for the operator.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0.iter().filter_map(SaleReader::warning).collect()
    }

    /// Ends the leases of any instance, so that this one can read at once. Only for a process that knows that
    /// it is alone.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn revoke_leases(&self, db: &Db) -> Result<(), DbError> {
        for reader in &self.0 {
            worker_lease::revoke(db, reader.name()).await?;
        }
        Ok(())
    }

    /// Ends this instance's leases when it stops, so that another can read at once.
    pub async fn release_leases(&self) {
        for reader in &self.0 {
            reader.release_lease().await;
        }
    }
}
