//! `/api/v1/billing`: credits, what became of them, and buying more by card.

mod checkout;
mod csv;
mod ledger;
mod pages;
mod webhook;

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::State;
use super::error::{Code, HttpError};
use super::request::Received;
use super::schema::{BalanceView, CreditPacks};
use super::wallet::{Balance, WalletAuth, WalletSigned, answer, unavailable};
use crate::funding::card::CheckoutError;

pub use checkout::*;
pub use ledger::*;
pub use pages::*;
pub use webhook::*;

/// Credits at a price.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackView {
    #[schema(example = "starter")]
    id: String,
    name: String,
    /// Dollars.
    #[schema(example = "10.00")]
    price_usd: String,
    #[schema(example = "10.00")]
    credits_usd: String,
}

/// The packs of a configuration, as they are shown.
pub fn packs(config: &crate::config::BillingConfig) -> Vec<PackView> {
    let view = |pack: &crate::config::Pack| PackView {
        id: pack.id.clone(),
        name: pack.name.clone(),
        price_usd: pack.price.to_dollars(),
        credits_usd: pack.credits.to_dollars(),
    };
    config.packs.iter().map(view).collect()
}

/// List credit packs.
#[utoipa::path(get, path = "/api/v1/billing/credit-packs", tag = "billing",
    responses((status = 200, description = "`packs`, and what a card can pay", body = CreditPacks)))]
pub async fn credit_packs(AppState(app): AppState<State>, request: Received) -> Response {
    let billing = &app.config.billing;
    answer(
        StatusCode::OK,
        &request.id,
        json!({
            "packs": packs(billing),
            "currency": "USD",
            "cardPayments": app.cards.are_offered(),
            "minUsdAmount": billing.min_checkout.to_dollars(),
            "maxUsdAmount": billing.max_checkout.to_dollars(),
        }),
    )
}

/// Show a wallet's credit balance.
#[utoipa::path(get, path = "/api/v1/billing/balance", tag = "billing",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "Dollars: credited, spent, held, available, debt", body = BalanceView),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn balance(
    AppState(app): AppState<State>,
    signed: WalletSigned<Balance>,
) -> Result<Response, HttpError> {
    let account = signed.read_only(&app).await?;
    let balance = app.ledger.balance(account).await.map_err(|error| unavailable(&error))?;
    let debt = app.cards.debt(account).await.map_err(|error| unavailable(&error))?;
    Ok(answer(
        StatusCode::OK,
        signed.request_id(),
        json!({
            "walletAddress": signed.wallet(),
            "currency": "USD",
            "available": balance.available().to_dollars(),
            "credited": balance.credited().to_dollars(),
            "spent": balance.spent().to_dollars(),
            "held": balance.held().to_dollars(),
            "debt": debt.to_dollars(),
        }),
    ))
}

/// Show a wallet's credit balance, with the signature in the body.
#[utoipa::path(post, path = "/api/v1/billing/balance", tag = "billing", request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "As with GET", body = BalanceView), (status = 401, description = "missing_wallet_auth"),
        (status = 403, description = "The signature does not count")))]
pub async fn balance_by_post(
    app: AppState<State>,
    signed: WalletSigned<Balance>,
) -> Result<Response, HttpError> {
    balance(app, signed).await
}

impl From<CheckoutError> for HttpError {
    fn from(error: CheckoutError) -> Self {
        let detail = error.to_string();
        match error {
            CheckoutError::NotOffered => Self::new(Code::ServiceUnavailable, detail),
            CheckoutError::KeyReused => Self::new(Code::IdempotencyKeyReused, detail),
            CheckoutError::Processor(_) => {
                let again = "nothing was charged; ask again, with the same Idempotency-Key if you sent one";
                Self::new(Code::UpstreamFailed, format!("{detail}; {again}"))
            }
            CheckoutError::Card(error) => {
                tracing::error!(%error, "a checkout cannot be recorded");
                Self::new(Code::BillingError, "the checkout could not be recorded; nothing was charged")
            }
        }
    }
}
