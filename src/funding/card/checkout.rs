//! From a wish to pay by card to the page where that is done.

use uuid::Uuid;

use super::stripe::{CheckoutSession, StripeError};
use super::{CardError, Cards, Processor, book, store};
use crate::db::{DbError, Tx, TxError};
use crate::id::{AccountId, RequestId, Timestamp};
use crate::ledger::LedgerError;
use crate::money::Money;

/// What a wallet wants to buy.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutOrder<'a> {
    /// The pack's id, or nothing for a free amount.
    pub pack: &'a str,
    pub price: Money,
    pub credits: Money,
    pub idempotency_key: Option<&'a str>,
    /// Of the message that asks for it.
    pub nonce: &'a str,
    pub request_id: &'a RequestId,
}

/// A row of `card_checkouts`.
#[derive(Debug, Clone)]
pub struct Checkout {
    pub id: String,
    pub account: AccountId,
    pub pack: String,
    pub price: Money,
    pub credits: Money,
    /// The processor's name of it.
    pub session: Option<String>,
    /// Where it is paid.
    pub url: Option<String>,
    pub is_open: bool,
}

/// Why there is no page to pay on. Nothing was charged.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    #[error("card payments are not configured on this server; POST /mpp/credits buys credits on the chain")]
    NotOffered,
    #[error("this Idempotency-Key was used for another checkout; use a new one")]
    KeyReused,
    #[error(transparent)]
    Processor(#[from] StripeError),
    #[error(transparent)]
    Card(#[from] CardError),
}

impl From<DbError> for CheckoutError {
    fn from(error: DbError) -> Self {
        Self::Card(error.into())
    }
}

impl From<LedgerError> for CheckoutError {
    fn from(error: LedgerError) -> Self {
        Self::Card(error.into())
    }
}

impl TxError for CheckoutError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Card(error) => error.db(),
            Self::NotOffered | Self::KeyReused | Self::Processor(_) => None,
        }
    }
}

/// Writes a checkout down, or finds the one this account asked for under the same idempotency key.
///
/// # Errors
/// [`CheckoutError::KeyReused`] when that one was for something else.
pub async fn open(
    tx: &mut Tx,
    account: &AccountId,
    order: &CheckoutOrder<'_>,
    now: Timestamp,
) -> Result<Checkout, CheckoutError> {
    let id = Uuid::new_v4().to_string();
    if store::insert_checkout(tx, &id, account, order, now).await? {
        let made = store::checkout_by_id(tx, &id).await?;
        return Ok(made.ok_or(CardError::Corrupt(id))?);
    }
    let key = order.idempotency_key.unwrap_or_default();
    let earlier = store::checkout_by_key(tx, account, key).await?;
    same(earlier.ok_or(CardError::Corrupt(id))?, order)
}

/// The checkout that this very message asked for before: its answer was lost, and it comes again
/// with the same idempotency key.
///
/// # Errors
/// [`CheckoutError::KeyReused`] when it now asks for something else.
pub async fn repeated(
    tx: &mut Tx,
    account: &AccountId,
    order: &CheckoutOrder<'_>,
) -> Result<Option<Checkout>, CheckoutError> {
    let Some(key) = order.idempotency_key else {
        return Ok(None);
    };
    let earlier = store::checkout_by_nonce(tx, account, key, order.nonce).await?;
    earlier.map(|earlier| same(earlier, order)).transpose()
}

fn same(earlier: Checkout, order: &CheckoutOrder<'_>) -> Result<Checkout, CheckoutError> {
    let same = (earlier.pack.as_str(), earlier.price) == (order.pack, order.price);
    if same { Ok(earlier) } else { Err(CheckoutError::KeyReused) }
}

impl Cards {
    /// The page where a checkout is paid. Asking again gives the same page.
    ///
    /// # Errors
    /// When there is no processor, or it cannot be asked now: ask again.
    pub async fn page(&self, checkout: &Checkout) -> Result<String, CheckoutError> {
        if let Some(url) = &checkout.url {
            return Ok(url.clone());
        }
        let session = match &self.processor {
            Processor::None => return Err(CheckoutError::NotOffered),
            Processor::Stripe(stripe) => {
                let billing = format!("{}/api/v1/billing", self.origin);
                let name = format!("{} credits, {}", self.product, checkout.credits);
                stripe.create_session(&checkout.id, checkout.price, &name, &billing).await?
            }
            Processor::Test => CheckoutSession {
                id: format!("test_{}", checkout.id),
                url: format!("{}/api/v1/billing/test-checkout/{}", self.origin, checkout.id),
            },
        };
        let CheckoutSession { id, url } = &session;
        self.db
            .transaction(|mut tx| async move {
                store::set_session(&mut tx, &checkout.id, id, url).await?;
                Ok::<_, DbError>((tx, ()))
            })
            .await?;
        Ok(session.url)
    }

    /// A checkout by its id, for the page of `farebox dev`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, id: &str) -> Result<Option<Checkout>, CardError> {
        self.db
            .transaction(|mut tx| async move {
                let found = store::checkout_by_id(&mut tx, id).await?;
                Ok((tx, found))
            })
            .await
    }

    /// A checkout that will not be paid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail(&self, id: &str) -> Result<(), DbError> {
        book::fail(&self.db, id).await
    }
}
