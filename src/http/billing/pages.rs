//! The few pages that people see when they pay by card.

use axum::extract::{Path, State as AppState};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};

use super::super::State;
use super::super::error::{Code, HttpError};
use super::super::wallet::unavailable;
use crate::app::App;
use crate::funding::card::{Change, Checkout};
use crate::id::Timestamp;

/// A page of our own words. `body` is HTML that holds nothing of a request.
fn page(product: &str, title: &str, body: &str) -> Response {
    let product = product.replace('&', "&amp;").replace('<', "&lt;");
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title} - {product}</title><style>body{{font:1rem/1.5 \
         system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style><h1>{title}</h1>{body}</html>"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (headers, html).into_response()
}

/// Where the card processor sends the payer after a payment.
///
/// The page knows nothing of the payment: credits come with the processor's confirmation.
#[utoipa::path(get, path = "/api/v1/billing/success", tag = "billing",
    responses((status = 200, description = "A page for people", content_type = "text/html")))]
pub async fn success(AppState(app): AppState<State>) -> Response {
    page(
        &app.config.product.name,
        "Thank you",
        "<p>The payment page is done. Your credits appear as soon as the card processor confirms the \
         payment: usually within seconds, with some ways to pay after days.</p><p>You can close this \
         page; your balance shows the credits when they are there.</p>",
    )
}

/// Where the card processor sends a payer who gave up.
#[utoipa::path(get, path = "/api/v1/billing/cancel", tag = "billing",
    responses((status = 200, description = "A page for people", content_type = "text/html")))]
pub async fn cancel(AppState(app): AppState<State>) -> Response {
    page(
        &app.config.product.name,
        "Not paid",
        "<p>You left the payment page. Nothing was charged and no credits were added. You can begin again \
         whenever you like.</p>",
    )
}

/// `farebox dev` alone: a button in place of a card.
pub async fn test_checkout(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let checkout = find(&app, &id).await?;
    let state = if checkout.is_open {
        "<form method=\"post\"><button>Pretend to pay</button></form>"
    } else {
        "<p>This test checkout is done.</p>"
    };
    let body = format!(
        "<p><strong>This is not a payment.</strong> It is the local test checkout of <code>farebox dev</code>: \
         there is no card and no money. The button credits {} to {}.</p>{state}",
        checkout.credits, checkout.account
    );
    Ok(page(&app.config.product.name, "Test checkout", &body))
}

/// The button was pressed: the same booking as for a real payment.
pub async fn test_checkout_paid(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let checkout = find(&app, &id).await?;
    let payment = format!("test_{}", checkout.id.replace('-', ""));
    let change = Change::Paid { checkout: checkout.id, amount: checkout.price };
    app.cards.book(&payment, &change, Timestamp::now()).await.map_err(|error| unavailable(&error))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, "/api/v1/billing/success")]).into_response())
}

async fn find(app: &App, id: &str) -> Result<Checkout, HttpError> {
    let found = if app.cards.are_a_test() { app.cards.find(id).await } else { Ok(None) };
    found
        .map_err(|error| unavailable(&error))?
        .ok_or_else(|| HttpError::new(Code::NotFound, "there is no such test checkout"))
}
