//! `POST /api/v1/billing/checkout`: a page where credits are paid by card.

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::State;
use super::super::error::HttpError;
use super::super::params::Number;
use super::super::schema::CheckoutPage;
use super::super::wallet::{ActionError, Checkout, WalletSigned, answer};
use crate::config::{BillingConfig, is_whole_cents};
use crate::funding::card::{self, CheckoutError, CheckoutItem, CheckoutOrder, checkout};
use crate::id::Timestamp;
use crate::money::Money;
use crate::wallet_auth::AuthError;

/// What to buy: an amount or a pack.
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
    fn wanted(&self, billing: &BillingConfig) -> Result<(CheckoutItem, Money, Money), HttpError> {
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
                        "usdAmount must be from {} to {}",
                        billing.min_checkout.to_dollars(),
                        billing.max_checkout.to_dollars()
                    )));
                }
                if !is_whole_cents(amount) {
                    return Err(HttpError::invalid("usdAmount must be whole cents"));
                }
                Ok((CheckoutItem::Amount, amount, amount))
            }
            (None, None) | (Some(_), Some(_)) => Err(HttpError::invalid("send either usdAmount or packId")),
        }
    }
}

/// Begin a card payment for credits.
///
/// Answers the `url` of a payment page. With an Idempotency-Key the same request gets the same
/// page again.
#[utoipa::path(post, path = "/api/v1/billing/checkout", tag = "billing", request_body = CheckoutBody,
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
    let (item, price, credits) = signed.read::<CheckoutBody>()?.wanted(&app.config.billing)?;
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
    let (now, by, order) = (Timestamp::now(), &signed, &order);
    let checkout = app
        .db
        .transaction(|mut tx| async move {
            let checkout = match by.consume(&mut tx, now).await {
                Ok(by) => checkout::open(&mut tx, by.account(), order, now).await?,
                // The very same request again: its answer may have been lost.
                Err(ActionError::Auth(AuthError::Replay)) => {
                    let earlier = checkout::repeated(&mut tx, by.account(), order).await?;
                    earlier.ok_or(AuthError::Replay)?
                }
                Err(failed) => return Err(failed),
            };
            Ok::<card::Checkout, ActionError>(checkout).map(|checkout| (tx, checkout))
        })
        .await?;
    let url = app.cards.page(&checkout).await?;
    tracing::info!(checkout = checkout.id, account = %checkout.account, price = %checkout.price, "checkout begun");
    Ok(answer(
        StatusCode::OK,
        signed.request_id(),
        json!({
            "checkoutId": checkout.id,
            "url": url,
            "priceUsd": checkout.price.to_dollars(),
            "creditsUsd": checkout.credits.to_dollars(),
            "test": app.cards.are_a_test(),
        }),
    ))
}
