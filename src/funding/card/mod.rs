//! Credits paid by card.
//!
//! The processor is Stripe: two endpoints and an HMAC, so there is no SDK behind this. A checkout
//! is written down before the processor hears of it and named by our own id there, so asking twice
//! makes one payment page. What the processor says later, by webhook, may come twice, under other
//! event ids, in any order, or years later; [`state`] turns whatever was said so far into how much
//! credit there should be, and [`book`] makes it so in one transaction with the record.
//!
//! A refund or a dispute takes credit back as far as it is there. What is not there any more is a
//! debt: a row, a metric and a warning; whatever is credited to the account next meets it first (see
//! [`income`](super::income)). A dispute that is won gives its credit again.

pub mod book;
pub mod checkout;
pub mod event;
pub mod signature;
pub mod state;
mod store;
pub mod stripe;

use std::time::Duration;

use crate::config::{BillingConfig, ConfigError};
use crate::db::{Db, DbError, TxError};
use crate::id::{AccountId, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::money::Money;

pub use book::{BookingOutcome, Change};
pub use checkout::{Checkout, CheckoutError, CheckoutOrder};
pub use event::Event;
pub use stripe::{Stripe, StripeError};

/// Accounts whose debts are met in one go.
const DEBTORS: i64 = 100;
/// How long the processor is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Card payments, where they are offered.
#[derive(Debug, Clone)]
pub struct Cards {
    db: Db,
    processor: Processor,
    /// Where payers come back to.
    origin: String,
    product: String,
}

/// Who takes the money.
#[derive(Debug, Clone)]
enum Processor {
    None,
    Stripe(Stripe),
    /// A page of `farebox dev` with a button: nobody pays anything.
    Test,
}

/// Why a card payment could not be recorded. Nothing was, so the processor may say it again.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("card payment {0} holds a malformed value")]
    Corrupt(String),
}

impl From<sqlx::Error> for CardError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

impl TxError for CardError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Db(error) => Some(error),
            Self::Ledger(error) => error.db(),
            Self::Corrupt(_) => None,
        }
    }
}

impl From<CardError> for LedgerError {
    fn from(error: CardError) -> Self {
        match error {
            CardError::Db(error) => error.into(),
            CardError::Ledger(error) => error,
            CardError::Corrupt(_) => Self::Corrupt(error.to_string()),
        }
    }
}

impl Cards {
    /// The card payments of a configuration.
    ///
    /// # Errors
    /// When no client for the processor can be made.
    pub fn new(billing: &BillingConfig, origin: &str, product: &str, db: Db) -> Result<Self, ConfigError> {
        let processor = match (&billing.stripe_secret_key, &billing.stripe_webhook_secret) {
            (Some(key), Some(webhook)) => {
                Processor::Stripe(Stripe::new(&billing.stripe_api_url, key, webhook, PATIENCE).map_err(
                    |_| ConfigError::Invalid {
                        key: "billing.stripe_api_url".into(),
                        why: "the system's TLS roots cannot be loaded".into(),
                    },
                )?)
            }
            _ if billing.test_checkout => Processor::Test,
            _ => Processor::None,
        };
        Ok(Self { db, processor, origin: origin.to_owned(), product: product.to_owned() })
    }

    /// Whether a card can be used here.
    #[must_use]
    pub const fn are_offered(&self) -> bool {
        !matches!(self.processor, Processor::None)
    }

    /// Whether payments are a button in `farebox dev`.
    #[must_use]
    pub const fn are_a_test(&self) -> bool {
        matches!(self.processor, Processor::Test)
    }

    /// The processor that signs webhooks.
    #[must_use]
    pub const fn stripe(&self) -> Option<&Stripe> {
        match &self.processor {
            Processor::Stripe(stripe) => Some(stripe),
            Processor::None | Processor::Test => None,
        }
    }

    /// What an account owes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn debt(&self, account: &AccountId) -> Result<Money, DbError> {
        store::debt(&self.db, account).await
    }

    /// Has debts met by what became available without new credit: a hold was closed, or an older
    /// program credited it. Any number of instances may do so at once.
    ///
    /// # Errors
    /// When the database fails; debts met until then stay met.
    pub async fn collect(&self, now: Timestamp) -> Result<(), CardError> {
        for account in store::able_debtors(&self.db, DEBTORS).await? {
            let account = &AccountId::parse(&account).map_err(|_| CardError::Corrupt(account))?;
            let met = self.db.transaction(|mut tx| async move {
                ledger::lock(&mut tx, account).await?;
                book::meet_debts(&mut tx, account, now).await?;
                Ok::<_, CardError>((tx, ()))
            });
            met.await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge for people")]
        metrics::gauge!("farebox_card_debts_open_micros").set(store::owed(&self.db).await?.micros() as f64);
        Ok(())
    }

    /// Records what the processor said about a payment.
    ///
    /// # Errors
    /// When it could not be recorded; nothing was.
    pub async fn book(
        &self,
        payment: &str,
        change: &Change,
        now: Timestamp,
    ) -> Result<BookingOutcome, CardError> {
        book::book(&self.db, payment, change, now).await
    }
}
