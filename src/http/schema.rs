//! What answers look like, for `/openapi.json`: bodies that handlers write as JSON values.
#![expect(dead_code, reason = "they document; handlers write JSON")]

use serde_json::Value;
use utoipa::ToSchema;

use super::billing::PackView;

/// An error of the management API.
#[derive(ToSchema)]
pub struct ApiError {
    error: ApiErrorBody,
}

#[derive(ToSchema)]
pub struct ApiErrorBody {
    /// Stable, for programs.
    #[schema(example = "NONCE_REPLAY")]
    code: String,
    /// What happened and what to do.
    message: String,
    request_id: String,
}

/// What keys and credits can be bought.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Packs {
    packs: Vec<PackView>,
    #[schema(example = "USD")]
    currency: String,
    /// Of the contract that sells keys and credit as well, where there is one.
    contract: Option<SaleView>,
    #[schema(rename = "request_id")]
    request_id: String,
}

/// A contract that sells without this server.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct SaleView {
    /// Of `buy(bytes32 keyHash, uint256 pack, address owner)` and `topUp(address owner, uint256 amount)`.
    address: String,
    chain_id: u64,
    /// The token that it takes.
    currency: String,
}

/// The packs, and what a card can pay.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CreditPacks {
    packs: Vec<PackView>,
    #[schema(example = "USD")]
    currency: String,
    card_payments: bool,
    /// Dollars.
    #[schema(example = "5.00")]
    min_usd_amount: String,
    #[schema(example = "1000.00")]
    max_usd_amount: String,
    #[schema(rename = "request_id")]
    request_id: String,
}

/// How a wallet stands, in dollars.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct BalanceView {
    wallet_address: String,
    #[schema(example = "USD")]
    currency: String,
    /// `credited - spent - held`: what a request can use.
    available: String,
    credited: String,
    spent: String,
    /// Set aside for requests that run.
    held: String,
    /// Credit of refunded card payments that was spent before.
    debt: String,
    #[schema(rename = "request_id")]
    request_id: String,
}

/// A page of what happened to a wallet's credits, the newest first.
#[derive(ToSchema)]
pub struct LedgerPage {
    entries: Vec<LedgerEntry>,
    /// The `cursor` of the next page, where there is one.
    next: Option<String>,
    request_id: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct LedgerEntry {
    id: String,
    /// credit, usage, purchase, expired or refund.
    kind: String,
    /// in or out.
    direction: String,
    /// Dollars.
    amount: String,
    service: String,
    units: u64,
    unit_price: String,
    /// The request's `X-Request-Id`.
    request_id: Option<String>,
    source: Option<String>,
    meta: Value,
    created_at: String,
}

/// A page on which a card is charged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct CheckoutPage {
    checkout_id: String,
    url: String,
    price_usd: String,
    credits_usd: String,
    /// A button instead of a card: nobody pays anything.
    test: bool,
    #[schema(rename = "request_id")]
    request_id: String,
}

/// A key as its owner sees it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct KeyView {
    id: String,
    name: String,
    /// What the key begins with.
    prefix: String,
    /// active, revoked or expired.
    status: String,
    created_at: String,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    expires_at: Option<String>,
    limits: KeyLimitsView,
    /// The whole key: in the answer that made it, and nowhere else.
    key: Option<String>,
    /// After a rotation: how long the secret before still works.
    previous_valid_until: Option<String>,
    #[schema(rename = "request_id")]
    request_id: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct KeyLimitsView {
    rpm: Option<u32>,
    tpm: Option<u32>,
    daily_usd: Option<String>,
    total_usd: Option<String>,
    models: Option<Vec<String>>,
}

/// The keys of a wallet, the newest first.
#[derive(ToSchema)]
pub struct KeyList {
    keys: Vec<KeyView>,
    request_id: String,
}
