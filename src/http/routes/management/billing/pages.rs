//! Pages that people see when they pay by card.

use axum::extract::{Path, State as AppState};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::funding::card::{CardChange, Checkout, CheckoutState};
use crate::http::State;
use crate::http::clock::ArrivedAt;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::unavailable;
use crate::http::html::escape;

/// Style of the pages: readable in light and dark, on a phone, and without colours.
const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:1rem}\
    main{max-width:34rem;margin:8vh auto;padding:1.5rem;border:1px solid #8888;border-radius:.75rem}\
    h1{font-size:1.5rem;margin:0 0 1rem}\
    .test{margin:0 0 1.5rem;padding:.75rem 1rem;border-left:.4rem solid #b45309;background:#f59e0b33}\
    dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.5rem;align-items:baseline;margin:0 0 1.5rem}\
    dt{opacity:.8}dd{margin:0;overflow-wrap:anywhere}.sum{font-size:1.25rem;font-weight:600}\
    form{margin:0}\
    button{font:inherit;font-weight:600;width:100%;padding:.75rem;border:0;border-radius:.5rem;\
    background:#1d4ed8;color:#fff;cursor:pointer}\
    button:hover{background:#1e40af}\
    :focus-visible{outline:3px solid #b45309;outline-offset:2px}\
    .other{margin:1rem 0 0;text-align:center}\
    @media print{main{border:0;margin:0;max-width:none}}";

/// Notice on every page of a server whose payments are a button.
const TEST: &str = "<p class=\"test\" role=\"note\"><strong>This is a test, not a payment.</strong> \
    <code>farebox dev</code> has this page in place of a card processor: there is no card and no money.</p>";

/// Makes a page. `title` and `body` are HTML.
pub fn page(app: &App, title: &str, body: &str) -> Response {
    let product = escape(&app.config.product.name);
    let test = if app.cards.are_a_test() { TEST } else { "" };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title} - {product}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{test}{body}</main></body></html>"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
             base-uri 'none'",
        ),
    ];
    (headers, html).into_response()
}

/// Show the page after a card payment.
///
/// The page knows nothing of the payment: credits come with the processor's confirmation.
#[utoipa::path(get, path = "/api/v1/billing/success", operation_id = "checkout_succeeded", tag = "billing",
    responses((status = 200, description = "A page for people", content_type = "text/html")))]
pub async fn success(AppState(app): AppState<State>) -> Response {
    if app.cards.are_a_test() {
        let body = "<p>The test checkout is done, and its credits are on the account.</p>\
                    <p>You can close this page; your balance shows the credits.</p>";
        return page(&app, "Thank you", body);
    }
    page(
        &app,
        "Thank you",
        "<p>The payment page is done. Your credits appear as soon as the card processor confirms the \
         payment: usually within seconds, with some ways to pay after days.</p><p>You can close this \
         page; your balance shows the credits when they are there.</p>",
    )
}

/// Show the page after a payment page that was left.
#[utoipa::path(get, path = "/api/v1/billing/cancel", operation_id = "checkout_cancelled", tag = "billing",
    responses((status = 200, description = "A page for people", content_type = "text/html")))]
pub async fn cancel(AppState(app): AppState<State>) -> Response {
    page(
        &app,
        "Not paid",
        "<p>You left the payment page. Nothing was charged and no credits were added. You can begin again \
         whenever you like.</p>",
    )
}

/// Shows a button in place of a card, on `farebox dev` alone.
pub async fn test_checkout(
    AppState(app): AppState<State>,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let checkout = find(&app, &id).await?;
    let (price, credits, account) =
        (checkout.price.to_dollars(), checkout.credits.to_dollars(), &checkout.account);
    let order = format!(
        "<dl><dt>Price</dt><dd class=\"sum\">${price}</dd><dt>Credits</dt><dd>${credits}</dd>\
         <dt>Account</dt><dd>{account}</dd></dl>"
    );
    let action = if checkout.state == CheckoutState::Open {
        format!(
            "<form method=\"post\"><button>Pretend to pay ${price}</button></form>\
             <p class=\"other\"><a href=\"/api/v1/billing/cancel\">Leave without paying</a></p>"
        )
    } else {
        "<p role=\"status\"><strong>Done.</strong> This test checkout was paid before; its credits are on the \
         account.</p>"
            .to_owned()
    };
    Ok(page(&app, "Test checkout", &format!("{order}{action}")))
}

/// Records a press of the button as a real payment is recorded.
pub async fn test_checkout_paid(
    AppState(app): AppState<State>,
    ArrivedAt(now): ArrivedAt,
    Path(id): Path<String>,
) -> Result<Response, HttpError> {
    let checkout = find(&app, &id).await?;
    let payment = format!("test_{}", checkout.id.replace('-', ""));
    // As a card processor names it to the page.
    let success = format!("/api/v1/billing/success?session_id=test_{}", checkout.id);
    let change = CardChange::Paid { checkout: checkout.id, amount: checkout.price };
    app.cards.apply_change(&payment, &change, now).await.map_err(|error| unavailable(&error))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, success)]).into_response())
}

async fn find(app: &App, id: &str) -> Result<Checkout, HttpError> {
    let found = if app.cards.are_a_test() { app.cards.find(id).await } else { Ok(None) };
    found
        .map_err(|error| unavailable(&error))?
        .ok_or_else(|| HttpError::new(Code::NotFound, "there is no such test checkout"))
}
