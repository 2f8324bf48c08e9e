//! HTTP API: the router, its middleware, and what handlers share.

mod clock;
mod code;
mod compression;
mod error;
mod etag;
mod gates;
mod html;
mod json_size;
mod mcp;
mod observe;
mod params;
mod prepaid;
mod request;
mod routes;
pub mod sse;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Method, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, head};
use axum::{Extension, Router};
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

use crate::app::App;
use routes::management::billing;
use routes::mpp::chat;
use routes::{discovery, oauth, operator, v1};

pub use code::Code;
pub use error::{HttpError, Problem};
pub use gates::access_token;
pub use gates::delivery::PAYMENT_RECEIPT;
pub use request::{Peer, network_of};

/// Cache policy of a list of keys or a balance: its owner may be shown it again for a few seconds.
const BRIEF_CACHE_POLICY: &str = "private, max-age=5";

/// Program that handlers get.
pub type State = Arc<App>;

/// Makes the router of all routes, with the middleware of every answer.
pub fn router(app: &State) -> Router {
    let (api, _) = routes::api().split_for_parts();
    api.route("/openapi.json", get(discovery::openapi))
        .route("/openapi-full.json", get(discovery::openapi_full))
        .route("/llms.txt", get(discovery::llms))
        .route("/llms-full.txt", get(discovery::llms_full))
        .route("/.well-known/api-catalog", get(discovery::catalog))
        .route("/favicon.svg", get(discovery::favicon))
        .route("/mpp/chat/completions", head(chat::head).get(chat::manage).put(chat::manage))
        .route(
            "/api/v1/billing/test-checkout/{id}",
            get(billing::test_checkout).post(billing::test_checkout_paid),
        )
        .route("/mcp", any(mcp::account))
        .route("/mcp/files/{token}", get(mcp::files::get).put(mcp::files::put))
        .route("/mcp/server-card", get(mcp::card::account))
        .route("/.well-known/mcp/server-card.json", get(mcp::card::account))
        .route("/mpp/mcp/server-card", get(mcp::card::pay_per_call))
        .route("/mpp/mcp", any(mcp::pay_per_call))
        .merge(oauth::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(etag::tag))
        .layer(compression::layer())
        // What cannot be decoded is refused where bodies are read.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(Extension(Arc::new(discovery::Documents::new(app))))
        .layer(Extension(Arc::new(mcp::McpServices::new(app))))
        .layer(cors())
        .layer(from_fn_with_state(Arc::clone(app), observe::observe))
        .with_state(Arc::clone(app))
}

/// Makes the router of the operator's own listener: nothing of it is for clients, nor for pages of other origins.
pub fn admin_router(app: &State) -> Router {
    Router::new()
        .route("/metrics", get(operator::metrics))
        .route("/healthz", get(operator::healthz))
        .route("/readyz", get(operator::readyz))
        .with_state(Arc::clone(app))
}

async fn not_found(uri: Uri) -> HttpError {
    let detail = match error::Shape::of(uri.path()) {
        error::Shape::OpenAi => {
            "there is nothing here: /v1 has chat/completions, models, pii/preview, credits, key and usage"
        }
        error::Shape::Management => {
            "there is nothing here: /api/v1 has keys, billing, channels and models, see /openapi-full.json"
        }
        error::Shape::Oauth => {
            "there is nothing here; /.well-known/oauth-authorization-server has the endpoints"
        }
        error::Shape::Problem => "there is nothing here; GET /mpp lists the operations",
    };
    HttpError::new(Code::NotFound, detail)
}

async fn method_not_allowed() -> HttpError {
    HttpError::new(Code::MethodNotAllowed, "this route has other methods; see the Allow header")
}

/// Headers that scripts of other origins may read.
fn exposed() -> Vec<HeaderName> {
    let payment = [
        header::WWW_AUTHENTICATE,
        header::RETRY_AFTER,
        header::ETAG,
        PAYMENT_RECEIPT,
        HeaderName::from_static("payment-session"),
        HeaderName::from_static("payment-session-snapshot"),
        billing::NEXT_CURSOR,
        observe::REQUEST_ID,
        chat::PII_REDACTED,
        HeaderName::from_static(v1::COST_HEADER),
        HeaderName::from_static(v1::BALANCE_HEADER),
    ];
    payment.into_iter().chain(gates::rated_key::rate_headers()).collect()
}

/// Lets browsers call from anywhere: credentials are never ambient (no cookies).
/// The payment headers must be readable, or a browser client cannot pay.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("payment-authorization"),
            HeaderName::from_static("accept-payment"),
            // MCP's clients in browsers, which send them to the metadata as well.
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("mcp-session-id"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("payment-session"),
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("api-key"),
            // OpenAI's and Anthropic's clients.
            HeaderName::from_static("openai-organization"),
            HeaderName::from_static("openai-project"),
            HeaderName::from_static("openai-beta"),
            HeaderName::from_static("x-stainless-arch"),
            HeaderName::from_static("x-stainless-async"),
            HeaderName::from_static("x-stainless-custom-poll-interval"),
            HeaderName::from_static("x-stainless-helper-method"),
            HeaderName::from_static("x-stainless-lang"),
            HeaderName::from_static("x-stainless-os"),
            HeaderName::from_static("x-stainless-package-version"),
            HeaderName::from_static("x-stainless-poll-helper"),
            HeaderName::from_static("x-stainless-retry-count"),
            HeaderName::from_static("x-stainless-runtime"),
            HeaderName::from_static("x-stainless-runtime-version"),
            HeaderName::from_static("x-stainless-timeout"),
            observe::REQUEST_ID,
        ])
        .expose_headers(exposed())
        .max_age(Duration::from_hours(1))
}
