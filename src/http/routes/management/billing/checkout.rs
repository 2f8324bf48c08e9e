//! `/api/v1/billing/checkout`: a page where credits are paid by card, and what became of it.

use axum::extract::{Path, State as AppState};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{BillingConfig, is_whole_cents};
use crate::funding::card::{self, CheckoutError, CheckoutItem, CheckoutOrder, CheckoutState, checkout};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{ActionError, Checkout, Ledger, WalletSigned, answer, unavailable};
use crate::http::params::Number;
use crate::id::{RequestId, SourceRef};
use crate::money::Money;
use crate::wallet_auth::AuthError;

/// Credits to buy by card: an amount or a pack.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckoutBody {
    /// Dollars: `"25.00"` or 25.
    #[schema(value_type = Option<String>)]
    usd_amount: Option<Number>,
    /// The id of a credit pack.
    #[serde(alias = "pack", alias = "creditPackId")]
    pack_id: Option<String>,
}

impl CheckoutBody {
    /// Returns the ordered item, its price and its credits.
    fn selection(&self, billing: &BillingConfig) -> Result<(CheckoutItem, Money, Money), HttpError> {
        match (&self.usd_amount, &self.pack_id) {
            (None, Some(id)) => {
                let pack = billing.pack(id);
                let pack = pack.ok_or_else(|| {
                    HttpError::invalid("there is no such pack; GET /api/v1/billing/credit-packs lists them")
                })?;
                Ok((CheckoutItem::Pack(pack.id.clone()), pack.price, pack.credits))
            }
            (Some(amount), None) => {
                let amount = amount.dollars("usdAmount")?;
                if amount < billing.min_checkout || amount > billing.max_checkout {
                    return Err(HttpError::invalid(format!(
                        "usdAmount must be from {} to {} dollars",
                        billing.min_checkout.to_dollars(),
                        billing.max_checkout.to_dollars()
                    )));
                }
                if !is_whole_cents(amount) {
                    return Err(HttpError::invalid("usdAmount must have at most two decimals"));
                }
                Ok((CheckoutItem::Amount, amount, amount))
            }
            (None, None) | (Some(_), Some(_)) => Err(HttpError::invalid("send one of usdAmount and packId")),
        }
    }
}

/// A page on which a card is charged.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckoutPage {
    checkout_id: String,
    url: String,
    price_usd: String,
    credits_usd: String,
    /// True for a button instead of a card: nobody pays anything.
    test: bool,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Begin a card payment for credits.
///
/// Answers the `url` of a payment page. With an Idempotency-Key the same request gets the same
/// page again.
#[utoipa::path(post, path = "/api/v1/billing/checkout", operation_id = "create_checkout", tag = "billing", request_body = CheckoutBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "`url`: where to pay", body = CheckoutPage), (status = 400, description = "Not for sale like that"),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count"),
        (status = 409, description = "The Idempotency-Key was used for something else"),
        (status = 500, description = "billing_error: not recorded, nothing was charged"),
        (status = 502, description = "upstream_failed: the card processor does not answer; nothing was charged"),
        (status = 503, description = "Card payments are not configured")))]
pub async fn begin_checkout(
    AppState(app): AppState<State>,
    mut signed: WalletSigned<Checkout>,
) -> Result<Response, HttpError> {
    let (item, price, credits) = signed.read::<CheckoutBody>()?.selection(&app.config.billing)?;
    if !app.cards.are_offered() {
        return Err(CheckoutError::NotOffered.into());
    }
    let key = signed.request().idempotency_key()?;
    let order = CheckoutOrder {
        item,
        price,
        credits,
        idempotency_key: key.as_deref(),
        nonce: signed.nonce(),
        request_id: signed.request_id(),
    };
    let (signed, order) = (&signed, &order);
    let checkout = app
        .db
        .transaction(|mut tx| async move {
            let checkout = match signed.consume(&mut tx).await {
                Ok(authorized) => checkout::open(&mut tx, authorized.account(), order, signed.at()).await?,
                // The very same request again: its answer may have been lost.
                Err(ActionError::Auth(AuthError::Replay)) => {
                    let earlier = checkout::repeated(&mut tx, signed.account(), order).await?;
                    earlier.ok_or(AuthError::Replay)?
                }
                Err(error) => return Err(error),
            };
            Ok::<card::Checkout, ActionError>(checkout).map(|checkout| (tx, checkout))
        })
        .await?;
    let url = app.cards.page(&checkout).await?;
    tracing::info!(checkout = checkout.id, account = %checkout.account, price = %checkout.price, "checkout begun");
    let page = CheckoutPage {
        price_usd: checkout.price.to_dollars(),
        credits_usd: checkout.credits.to_dollars(),
        test: app.cards.are_a_test(),
        checkout_id: checkout.id,
        url,
        request_id: signed.request_id().clone(),
    };
    Ok(answer(StatusCode::OK, &page))
}

/// A checkout of a wallet, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckoutStatus {
    id: String,
    /// open, paid (its credits are on the account), expired (it will not be paid), refunded (in whole or in part) or
    /// disputed.
    #[schema(value_type = String)]
    state: &'static str,
    /// Dollars.
    price_usd: String,
    credits_usd: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<String>,
    /// Source of its credit in the ledger, once it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    source: Option<SourceRef>,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Show a checkout of a wallet.
#[utoipa::path(get, path = "/api/v1/billing/checkouts/{checkoutId}", operation_id = "get_checkout", tag = "billing",
    params(("checkoutId" = String, Path), ("walletAddress" = String, Query), ("message" = String, Query),
        ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "Its `state`", body = CheckoutStatus), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count"), (status = 404, description = "No such checkout of this wallet")))]
pub async fn checkout_status(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
    signed: WalletSigned<Ledger>,
) -> Result<Response, HttpError> {
    let account = signed.authorize_read(&app).await?;
    let found = match uuid::Uuid::parse_str(&id) {
        Ok(_) => app.cards.status(account, &id).await.map_err(|error| unavailable(&error))?,
        Err(_) => None,
    };
    let (checkout, payment) = found.ok_or_else(|| {
        HttpError::new(
            Code::NotFound,
            "this wallet has no checkout with that id; it is `checkoutId` of its answer",
        )
    })?;
    let credit = match &payment {
        Some(payment) => {
            let credit = app.ledger.credit_of(account, &payment.source).await;
            credit.map_err(|error| unavailable(&error))?
        }
        None => None,
    };
    let standing = payment.as_ref().map(|payment| payment.standing);
    let state = match checkout.state {
        CheckoutState::Open => "open",
        CheckoutState::Failed => "expired",
        CheckoutState::Paid if standing.is_some_and(|standing| standing.is_disputed()) => "disputed",
        CheckoutState::Paid if standing.is_some_and(|standing| standing.given_back().is_positive()) => {
            "refunded"
        }
        CheckoutState::Paid => "paid",
    };
    let status = CheckoutStatus {
        id: checkout.id,
        state,
        price_usd: checkout.price.to_dollars(),
        credits_usd: checkout.credits.to_dollars(),
        created_at: checkout.created_at.to_rfc3339(),
        paid_at: credit.as_ref().map(|credit| credit.created_at.to_rfc3339()),
        source: credit.map(|credit| credit.source),
        request_id: signed.request_id().clone(),
    };
    Ok(answer(StatusCode::OK, &status))
}
