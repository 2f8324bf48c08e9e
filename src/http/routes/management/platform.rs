//! `GET /api/v1/platform`: facts about this server that a page for people needs first.

use axum::Json;
use axum::extract::State as AppState;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::State;

/// Facts about this server. Amounts are in dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    product: PlatformProduct,
    urls: PlatformUrls,
    chain: PlatformChain,
    /// Contract that sells API keys and credit, where there is one.
    key_sale: Option<PlatformKeySale>,
    /// True if credits can be bought by card.
    cards: bool,
    /// True if a button stands for the card: nobody pays anything.
    cards_are_a_test: bool,
    keys: PlatformKeys,
    prices: PlatformPrices,
    sign_in: PlatformSignIn,
    /// True if chat is sold from payment channels.
    channels: bool,
}

/// Ways to sign in on the dashboard.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformSignIn {
    /// Wallets that announce themselves to pages (EIP-6963).
    extension: bool,
    /// Passkeys of the dashboard's host.
    passkey: bool,
}

/// Product that is sold.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformProduct {
    name: String,
    description: String,
}

/// Origins of this server's parts.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformUrls {
    api: String,
    platform: String,
    mcp: String,
}

/// Chain that payments are made on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformChain {
    id: u64,
    currency: String,
    currency_name: String,
}

/// Contract that sells API keys and credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlatformKeySale {
    address: String,
    /// `null` until the contract was asked.
    version: Option<u8>,
}

/// Rules for API keys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformKeys {
    prefix: String,
    default_rpm: u32,
    default_tpm: u32,
    max_rpm: u32,
    max_tpm: u32,
}

/// Prices of what is not a model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformPrices {
    preview_usd: String,
}

impl Platform {
    fn new(app: &App) -> Self {
        let config = &app.config;
        let keys = &config.keys;
        let sale = app.key_sales.shown().map(|sale| PlatformKeySale {
            address: format!("{:#x}", sale.contract()),
            version: sale.version().map(crate::chain::key_sale::SaleVersion::number),
        });
        Self {
            product: PlatformProduct {
                name: config.product.name.clone(),
                description: config.product.description.clone(),
            },
            urls: PlatformUrls {
                api: config.server.public_url.clone(),
                platform: config.dashboard_url().to_owned(),
                mcp: config.mcp_url().to_owned(),
            },
            chain: PlatformChain {
                id: config.chain.chain_id,
                currency: format!("{:#x}", config.chain.currency),
                currency_name: config.chain.currency_name.clone(),
            },
            key_sale: sale,
            cards: app.cards.are_offered(),
            cards_are_a_test: app.cards.are_a_test(),
            keys: PlatformKeys {
                prefix: keys.prefix.clone(),
                default_rpm: keys.default_rpm,
                default_tpm: keys.default_tpm,
                max_rpm: keys.max_rpm,
                max_tpm: keys.max_tpm,
            },
            prices: PlatformPrices { preview_usd: config.pii.preview_price.to_dollars() },
            sign_in: PlatformSignIn {
                extension: config.dashboard.enabled,
                passkey: config.dashboard.enabled,
            },
            channels: app.sessions.is_some(),
        }
    }
}

/// Show facts about this server: its product, addresses, chain and rules.
#[utoipa::path(get, path = "/api/v1/platform", operation_id = "get_platform", tag = "discovery",
    responses((status = 200, description = "Facts about this server", body = Platform)))]
pub async fn platform(AppState(app): AppState<State>) -> Response {
    ([(CACHE_CONTROL, "max-age=60")], Json(Platform::new(&app))).into_response()
}
