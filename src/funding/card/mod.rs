//! Credits paid by card.
//!
//! The processor is Stripe: two endpoints and an HMAC, so there is no SDK behind this. A checkout
//! is stored before it is sent to the processor, which knows it by our own id, so asking twice makes
//! one payment page. Events of webhooks may come twice, under other ids, in any order, or years later;
//! [`state`] computes from everything reported so far how much credit there should be, and [`booking`]
//! credits it or takes it back, in one transaction with the record.
//!
//! A refund or a dispute takes back the credit that is still available. Credit that was spent already
//! is a debt: a row, a metric and a warning; it is paid from the account's next credit (see
//! [`income`](super::income)). A dispute that is won returns its credit.

pub mod booking;
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

pub use booking::{BookingOutcome, CardChange};
pub use checkout::{CardPayment, Checkout, CheckoutError, CheckoutItem, CheckoutOrder, CheckoutState};
pub use event::CardEvent;
pub use state::CardPaymentStanding;
pub use stripe::{Stripe, StripeError};

/// The most accounts whose debts are paid in one round.
const MAX_DEBTORS: i64 = 100;
/// Time that the processor is given to answer.
const PROCESSOR_TIMEOUT: Duration = Duration::from_secs(20);

/// Card payments, where they are offered.
#[derive(Debug, Clone)]
pub struct Cards {
    db: Db,
    processor: Processor,
    /// URL of this server, to which payers come back.
    origin: String,
    /// Name of the product on the payment page.
    product: String,
}

/// Processor of card payments.
#[derive(Debug, Clone)]
enum Processor {
    None,
    Stripe(Stripe),
    /// A page of `farebox dev` with a button, in place of a payment.
    Test,
}

/// Reason a card payment was not recorded. Nothing of it was, so its event can be sent again.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the record of card payment or checkout {0} is malformed")]
    Corrupt(String),
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
    /// Returns the card payments of a configuration.
    ///
    /// # Errors
    /// If the HTTP client of the processor cannot be made.
    pub fn new(billing: &BillingConfig, origin: &str, product: &str, db: Db) -> Result<Self, ConfigError> {
        let processor = match (&billing.stripe_secret_key, &billing.stripe_webhook_secret) {
            (Some(key), Some(webhook)) => Processor::Stripe(
                Stripe::new(&billing.stripe_api_url, key, webhook, billing.proxy.as_ref(), PROCESSOR_TIMEOUT)
                    .map_err(|_| ConfigError::Invalid {
                        key: "billing.stripe_api_url".into(),
                        why: "the system's TLS roots cannot be loaded".into(),
                    })?,
            ),
            _ if billing.test_checkout => Processor::Test,
            _ => Processor::None,
        };
        Ok(Self { db, processor, origin: origin.to_owned(), product: product.to_owned() })
    }

    /// Returns true if this server takes cards.
    #[must_use]
    pub const fn are_offered(&self) -> bool {
        !matches!(self.processor, Processor::None)
    }

    /// Returns true if payments are a button in `farebox dev`.
    #[must_use]
    pub const fn are_a_test(&self) -> bool {
        matches!(self.processor, Processor::Test)
    }

    /// Returns the processor that signs webhooks.
    #[must_use]
    pub const fn stripe(&self) -> Option<&Stripe> {
        match &self.processor {
            Processor::Stripe(stripe) => Some(stripe),
            Processor::None | Processor::Test => None,
        }
    }

    /// Returns the debt of an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn debt(&self, account: &AccountId) -> Result<Money, DbError> {
        store::debt(&self.db, account).await
    }

    /// Pays debts from money that became available without new credit: a hold was closed, or an older
    /// version credited it. Any number of instances may do so at once.
    ///
    /// # Errors
    /// If the database fails; debts paid until then stay paid.
    pub async fn collect_debts(&self, now: Timestamp) -> Result<(), CardError> {
        for account in store::able_debtors(&self.db, MAX_DEBTORS).await? {
            let account = &AccountId::parse(&account).map_err(|_| CardError::Corrupt(account))?;
            let paid = self.db.transaction(|mut tx| async move {
                ledger::lock(&mut tx, account).await?;
                booking::pay_debts(&mut tx, account, now).await?;
                Ok::<_, CardError>((tx, ()))
            });
            paid.await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge for people")]
        metrics::gauge!("farebox_card_debts_open_micros")
            .set(store::total_debt(&self.db).await?.micros() as f64);
        Ok(())
    }

    /// Applies a change that the processor reported of a payment to the ledger.
    ///
    /// # Errors
    /// If the database fails; nothing was changed.
    pub async fn apply_change(
        &self,
        payment: &str,
        change: &CardChange,
        now: Timestamp,
    ) -> Result<BookingOutcome, CardError> {
        booking::apply_change(&self.db, payment, change, now).await
    }
}
