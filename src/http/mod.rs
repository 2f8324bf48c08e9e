//! HTTP API: every route on one screen.

mod billing;
mod chat;
mod clock;
mod code;
mod discovery;
mod error;
mod gate;
mod health;
mod keys;
mod mpp;
mod observe;
mod openapi;
mod params;
mod purchase;
mod request;
pub mod sse;
mod v1;
mod wallet;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, head};
use axum::{Extension, Router};
use tower_http::cors::{Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub use code::Code;
pub use error::{HttpError, Problem};
pub use gate::PAYMENT_RECEIPT;
pub use request::Peer;

/// Program that handlers get.
pub type State = Arc<App>;

/// Routes of the public API. Their documentation is made from this very
/// table, so nothing of it is served undocumented or documented unserved.
fn api() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(discovery::index))
        .routes(routes!(mpp::preview))
        .routes(routes!(mpp::account))
        .routes(routes!(purchase::packs, purchase::keys))
        .routes(routes!(purchase::credits))
        .routes(routes!(chat::models))
        .routes(routes!(chat::completions))
        .routes(routes!(billing::credit_packs))
        .routes(routes!(billing::balance, billing::balance_by_post))
        .routes(routes!(billing::ledger, billing::ledger_by_post))
        .routes(routes!(billing::begin_checkout))
        .routes(routes!(billing::success))
        .routes(routes!(billing::cancel))
        .routes(routes!(billing::webhook))
        .routes(routes!(keys::list, keys::create_or_list))
        .routes(routes!(keys::revoke, keys::revoke_by_post))
        .routes(routes!(keys::rotate))
        .routes(routes!(v1::models::list))
        .routes(routes!(v1::models::detail))
        .routes(routes!(v1::chat::completions))
        .routes(routes!(v1::preview::preview))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// Makes the router of all routes, with the middleware of every answer.
pub fn router(app: &State) -> Router {
    let (api, _) = api().split_for_parts();
    api.route("/openapi.json", get(discovery::openapi))
        .route("/llms.txt", get(discovery::llms))
        .route("/llms-full.txt", get(discovery::llms_full))
        .route("/.well-known/api-catalog", get(discovery::catalog))
        .route("/favicon.svg", get(discovery::favicon))
        .route("/mpp/chat/completions", head(chat::head))
        .route("/metrics", get(health::metrics))
        .route(
            "/api/v1/billing/test-checkout/{id}",
            get(billing::test_checkout).post(billing::test_checkout_paid),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(Arc::new(discovery::Documents::new(app))))
        .layer(cors())
        .layer(from_fn_with_state(Arc::clone(app), observe::observe))
        .with_state(Arc::clone(app))
}

async fn not_found() -> HttpError {
    HttpError::new(Code::NotFound, "there is nothing here; GET /mpp lists the operations")
}

async fn method_not_allowed() -> HttpError {
    HttpError::new(Code::MethodNotAllowed, "this route has other methods; see the Allow header")
}

/// Headers that scripts of other origins may read.
fn exposed() -> Vec<HeaderName> {
    let payment = [
        header::WWW_AUTHENTICATE,
        header::RETRY_AFTER,
        PAYMENT_RECEIPT,
        HeaderName::from_static("payment-session"),
        HeaderName::from_static("payment-session-snapshot"),
        billing::NEXT_CURSOR,
        observe::REQUEST_ID,
        chat::PII_REDACTED,
    ];
    payment.into_iter().chain(v1::bearer::rate_headers()).collect()
}

/// Lets browsers call from anywhere: credentials are never ambient (no cookies).
/// The payment headers must be readable, or a browser client cannot pay.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("payment-authorization"),
            HeaderName::from_static("accept-payment"),
            HeaderName::from_static("idempotency-key"),
            observe::REQUEST_ID,
        ])
        .expose_headers(exposed())
        .max_age(Duration::from_hours(1))
}
