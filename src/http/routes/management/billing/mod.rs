//! `/api/v1/billing`: credits, the ledger of a wallet, and buying more by card.

mod checkout;
mod csv;
mod ledger;
mod pages;
mod receipt;
mod usage;
mod webhook;

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::chain::key_sale::SaleVersion;
use crate::config::{BillingConfig, Pack};
use crate::funding::card::CheckoutError;
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::{Balance, WalletAuth, WalletSigned, answer, answer_briefly, unavailable};
use crate::http::request::Received;
use crate::id::RequestId;

pub use checkout::*;
pub use ledger::*;
pub use pages::*;
pub use receipt::*;
pub use usage::*;
pub use webhook::*;

/// Currency of every price.
const CURRENCY: &str = "USD";

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

/// Packs of keys and credits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packs {
    packs: Vec<PackView>,
    #[schema(example = "USD", value_type = String)]
    currency: &'static str,
    /// Contract that sells keys and credit as well, where there is one.
    contract: Option<SaleView>,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// A contract that sells without this server.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaleView {
    /// Of version 2: `buy(bytes32 keyHash, uint256 pack)`, `topUp(address owner, uint256 amount)`.
    address: String,
    /// Missing until the chain has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    chain_id: u64,
    /// Token that it takes.
    currency: String,
}

/// Packs of credits, and the amounts that a card can pay.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditPacks {
    packs: Vec<PackView>,
    #[schema(example = "USD", value_type = String)]
    currency: &'static str,
    card_payments: bool,
    /// Dollars.
    #[schema(example = "5.00")]
    min_usd_amount: String,
    #[schema(example = "1000.00")]
    max_usd_amount: String,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

/// Balance of a wallet, in dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletBalance {
    wallet_address: String,
    #[schema(example = "USD", value_type = String)]
    currency: &'static str,
    /// `credited - spent - held`: credit that a request can use.
    available: String,
    credited: String,
    spent: String,
    /// Reserved for requests that run.
    held: String,
    /// Credit of refunded card payments that was spent before.
    debt: String,
    #[serde(rename = "request_id")]
    #[schema(value_type = String)]
    request_id: RequestId,
}

impl From<&Pack> for PackView {
    fn from(pack: &Pack) -> Self {
        Self {
            id: pack.id.clone(),
            name: pack.name.clone(),
            price_usd: pack.price.to_dollars(),
            credits_usd: pack.credits.to_dollars(),
        }
    }
}

fn pack_views(billing: &BillingConfig) -> Vec<PackView> {
    billing.packs.iter().map(PackView::from).collect()
}

impl Packs {
    /// Lists the packs that this server sells.
    pub fn new(app: &App, request_id: RequestId) -> Self {
        let config = &app.config;
        let contract = app.key_sales.shown().map(|sale| SaleView {
            address: format!("{:#x}", sale.contract()),
            version: sale.version().map(SaleVersion::number),
            chain_id: config.chain.chain_id,
            currency: format!("{:#x}", config.chain.currency),
        });
        Self { packs: pack_views(&config.billing), currency: CURRENCY, contract, request_id }
    }
}

/// List credit packs.
#[utoipa::path(get, path = "/api/v1/billing/credit-packs", operation_id = "list_credit_packs", tag = "billing",
    responses((status = 200, description = "`packs`, and what a card can pay", body = CreditPacks)))]
pub async fn credit_packs(AppState(app): AppState<State>, request: Received) -> Response {
    let billing = &app.config.billing;
    let packs = CreditPacks {
        packs: pack_views(billing),
        currency: CURRENCY,
        card_payments: app.cards.are_offered(),
        min_usd_amount: billing.min_checkout.to_dollars(),
        max_usd_amount: billing.max_checkout.to_dollars(),
        request_id: request.id,
    };
    answer(StatusCode::OK, &packs)
}

/// Show a wallet's credit balance.
#[utoipa::path(get, path = "/api/v1/billing/balance", operation_id = "get_balance", tag = "billing",
    params(("walletAddress" = String, Query), ("message" = String, Query), ("signature" = String, Query)),
    security(("walletMessage" = [])),
    responses((status = 200, description = "Dollars: credited, spent, held, available, debt", body = WalletBalance),
        (status = 401, description = "missing_wallet_auth"), (status = 403, description = "The signature does not count")))]
pub async fn balance(
    AppState(app): AppState<State>,
    signed: WalletSigned<Balance>,
) -> Result<Response, HttpError> {
    let account = signed.authorize_read(&app).await?;
    let balance = app.ledger.balance(account).await.map_err(|error| unavailable(&error))?;
    let debt = app.cards.debt(account).await.map_err(|error| unavailable(&error))?;
    let balance = WalletBalance {
        wallet_address: signed.wallet(),
        currency: CURRENCY,
        available: balance.available().to_dollars(),
        credited: balance.credited().to_dollars(),
        spent: balance.spent().to_dollars(),
        held: balance.held().to_dollars(),
        debt: debt.to_dollars(),
        request_id: signed.request_id().clone(),
    };
    Ok(answer_briefly(&balance))
}

/// Show a wallet's credit balance, with the signature in the body.
#[utoipa::path(post, path = "/api/v1/billing/balance", operation_id = "get_balance_by_post", tag = "billing", request_body = WalletAuth,
    security(("walletMessage" = [])),
    responses((status = 200, description = "As with GET", body = WalletBalance), (status = 401, description = "missing_wallet_auth"),
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
                let advice =
                    "nothing was charged; send the request again, with its Idempotency-Key if it had one";
                Self::new(Code::UpstreamFailed, format!("{detail}; {advice}"))
            }
            CheckoutError::Card(error) => {
                tracing::error!(%error, "a checkout cannot be recorded");
                Self::new(Code::BillingError, "the checkout could not be recorded; nothing was charged")
            }
        }
    }
}
