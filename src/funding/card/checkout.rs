//! Checkouts: orders for credits, and the pages where they are paid by card.

#![expect(clippy::disallowed_methods, reason = "checkouts are named here and nowhere else")]

use uuid::Uuid;

use super::state::CardPaymentStanding;
use super::stripe::{CheckoutSession, StripeError};
use super::{CardError, Cards, Processor, booking, store};
use crate::db::{DbError, Tx, TxError};
use crate::id::{AccountId, RequestId, SourceRef, Timestamp};
use crate::ledger::LedgerError;
use crate::money::Money;

/// Credits that a wallet orders.
#[derive(Debug, Clone)]
pub struct CheckoutOrder<'a> {
    pub item: CheckoutItem,
    pub price: Money,
    pub credits: Money,
    pub idempotency_key: Option<&'a str>,
    /// Nonce of the wallet message that orders them.
    pub nonce: &'a str,
    pub request_id: &'a RequestId,
}

/// Offer that an order accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckoutItem {
    /// Pack with this id.
    Pack(String),
    /// Credits worth an amount that the buyer chose.
    Amount,
}

/// Stage of a checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckoutState {
    /// Neither paid nor given up.
    Open,
    Paid,
    /// It will not be paid.
    Failed,
}

/// A row of `card_checkouts`.
#[derive(Debug, Clone)]
pub struct Checkout {
    pub id: String,
    pub account: AccountId,
    pub item: CheckoutItem,
    pub price: Money,
    pub credits: Money,
    /// URL of the payment page, once the processor has made one.
    pub url: Option<String>,
    pub state: CheckoutState,
    pub created_at: Timestamp,
}

/// A payment of a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardPayment {
    /// Source of its credit.
    pub source: SourceRef,
    pub standing: CardPaymentStanding,
}

impl CheckoutItem {
    /// Returns the stored form: the pack's id, or an empty text.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Pack(id) => id,
            Self::Amount => "",
        }
    }

    pub(super) fn parse(stored: String) -> Self {
        if stored.is_empty() { Self::Amount } else { Self::Pack(stored) }
    }
}

impl CheckoutState {
    const ALL: [Self; 3] = [Self::Open, Self::Paid, Self::Failed];

    /// Returns the stored name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(stored: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == stored)
    }
}

/// Reason there is no payment page. Nothing was charged.
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

/// Stores a checkout, or finds the one that its account ordered under the same idempotency key.
///
/// # Errors
/// [`CheckoutError::KeyReused`] when that one was for another item or price.
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
    unchanged(earlier.ok_or(CardError::Corrupt(id))?, order)
}

/// Returns the checkout that the same wallet message ordered before, under the same idempotency key:
/// a client sends its request again when the answer was lost.
///
/// # Errors
/// [`CheckoutError::KeyReused`] when it now orders another item or price.
pub async fn repeated(
    tx: &mut Tx,
    account: &AccountId,
    order: &CheckoutOrder<'_>,
) -> Result<Option<Checkout>, CheckoutError> {
    let Some(key) = order.idempotency_key else {
        return Ok(None);
    };
    let earlier = store::checkout_by_nonce(tx, account, key, order.nonce).await?;
    earlier.map(|earlier| unchanged(earlier, order)).transpose()
}

fn unchanged(earlier: Checkout, order: &CheckoutOrder<'_>) -> Result<Checkout, CheckoutError> {
    if (&earlier.item, earlier.price) == (&order.item, order.price) {
        Ok(earlier)
    } else {
        Err(CheckoutError::KeyReused)
    }
}

impl Cards {
    /// Returns the URL of the page where a checkout is paid; each time the same.
    ///
    /// # Errors
    /// If there is no processor, or it is unreachable: ask again.
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

    /// Finds a checkout by its id, for the page of `farebox dev`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find(&self, id: &str) -> Result<Option<Checkout>, CardError> {
        self.db
            .transaction(|mut tx| async move {
                let found = store::checkout_by_id(&mut tx, id).await?;
                Ok((tx, found))
            })
            .await
    }

    /// Finds a checkout of an account, with its payment where there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn status(
        &self,
        account: &AccountId,
        id: &str,
    ) -> Result<Option<(Checkout, Option<CardPayment>)>, CardError> {
        let mut tx = self.db.snapshot().await?;
        let found = match store::checkout_of(&mut tx, account, id).await? {
            Some((checkout, Some(payment))) => {
                let standing = store::standing(&mut tx, &payment).await?;
                let source = booking::source(&payment)?;
                Some((checkout, standing.map(|standing| CardPayment { source, standing })))
            }
            Some((checkout, None)) => Some((checkout, None)),
            None => None,
        };
        tx.rollback().await?;
        Ok(found)
    }

    /// Returns what is known of the card payment that a credit came from; `None` for other credits.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn payment(&self, source: &SourceRef) -> Result<Option<CardPaymentStanding>, CardError> {
        let Some(payment) = booking::payment(source) else { return Ok(None) };
        let mut tx = self.db.snapshot().await?;
        let found = store::standing(&mut tx, payment).await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// Records that a checkout will not be paid.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn fail(&self, id: &str) -> Result<(), DbError> {
        booking::fail(&self.db, id).await
    }
}
