//! Paying where credits are missing: a 402 of `/v1` carries a challenge that tops
//! the account up, and the same request with its credential goes on.
//!
//! `Authorization` holds the key, so the credential comes in
//! `Payment-Authorization`, and the challenge says so. Whoever pays, the account
//! of the key's owner is credited, once per transaction. A credential works until
//! its request was answered: if that failed, it is sent again and nothing is paid.

use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;

use crate::http::error::{Code, HttpError};
use crate::http::gates::Bearer;
use crate::http::gates::delivery;
use crate::http::gates::payment::{self, PaymentGate};
use crate::http::gates::wallet::unavailable;
use crate::http::request::Received;
use crate::http::{PAYMENT_RECEIPT, State};
use crate::money::Money;
use crate::payments::{Delivery, Resource};

/// Header that carries the credential.
const CARRIER: &str = "Payment-Authorization";

/// Credits what a request brings along, then awaits its answer, and completes that with a receipt or a challenge.
///
/// # Errors
/// Those of [`payment::charge`] before the answer is begun, and those of the answer.
pub(super) async fn answer(
    app: &State,
    bearer: &Bearer,
    request: &Received,
    answer: impl Future<Output = Result<Response, HttpError>>,
) -> Result<Response, HttpError> {
    let paid = redeem(app, bearer, request).await?;
    conclude(app, bearer, request, paid, answer.await).await
}

async fn redeem(app: &State, bearer: &Bearer, request: &Received) -> Result<Option<Delivery>, HttpError> {
    let asked = amount_asked(request).unwrap_or(app.config.keys.top_up);
    let gate = gate(app, bearer, request, asked);
    let Some(credential) = gate.credential()? else {
        return Ok(None);
    };
    // The answer comes from the account, once it is topped up.
    payment::redeem(gate, credential, |_paid| async { Ok(String::new()) }).await.map(Some)
}

/// Completes an answer: with the receipt of what was paid, or, where credits are
/// still missing, with a challenge.
async fn conclude(
    app: &State,
    bearer: &Bearer,
    request: &Received,
    paid: Option<Delivery>,
    answer: Result<Response, HttpError>,
) -> Result<Response, HttpError> {
    if let (Err(_), Some(delivery)) = (&answer, &paid)
        && let Err(error) = app.charges.undelivered(&delivery.payment).await
    {
        tracing::warn!(%error, "a payment keeps its lease for a moment");
    }
    match answer {
        Ok(mut response) => {
            if let Some(delivery) = paid {
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
                if let Ok(receipt) = HeaderValue::try_from(crate::payments::http::receipt(&delivery.receipt))
                {
                    headers.insert(PAYMENT_RECEIPT, receipt);
                }
                delivery::delivered(app, delivery.payment);
            }
            Ok(response)
        }
        Err(error) if error.code == Code::InsufficientCredits => Err(ask(app, bearer, request, &error).await),
        Err(error) => Err(error),
    }
}

/// Adds to a refusal a challenge for what is missing, in whole top-ups. What the account owes is
/// taken from whatever it is paid, so that is asked for as well.
async fn ask(app: &State, bearer: &Bearer, request: &Received, error: &HttpError) -> HttpError {
    let debt = match app.cards.debt(&bearer.key().account()).await {
        Ok(debt) => debt,
        Err(error) => return unavailable(&error),
    };
    let step = app.config.keys.top_up;
    let missing = error.missing.unwrap_or(step);
    let amount = missing.checked_add(debt).and_then(|sum| whole(sum, step)).unwrap_or(step);
    let gate = gate(app, bearer, request, amount);
    let owed =
        if debt.is_zero() { String::new() } else { format!(", of which ${} is owed", debt.to_dollars()) };
    let words = format!(
        "{}, or pay the challenge in WWW-Authenticate (${}{owed}) and send the same request again with the \
         credential in {CARRIER}",
        error.detail,
        amount.to_dollars()
    );
    gate.require_payment(Code::InsufficientCredits, &words).missing(error.missing)
}

/// `sum` in whole steps, at least one.
fn whole(sum: Money, step: Money) -> Option<Money> {
    let sum = u64::try_from(sum.micros().max(1)).ok()?;
    step.checked_mul(sum.div_ceil(step.micros().unsigned_abs().max(1)))
}

/// The gate of a top-up of the key owner's account by `amount`.
fn gate<'a>(app: &'a State, bearer: &Bearer, request: &'a Received, amount: Money) -> PaymentGate<'a> {
    let offers = app.offers.top_up(amount);
    let requirement = payment::requirement(request, resource(bearer, request), offers, "credits");
    PaymentGate::new(app, request, requirement).carried_by(CARRIER).topping_up(bearer.key().account())
}

/// The resource of a top-up: a challenge is for this request and for this account.
fn resource(bearer: &Bearer, request: &Received) -> Resource {
    let account = bearer.key().account();
    let name = request.resource.name();
    let (method, path) = name.split_once(' ').unwrap_or(("", name));
    Resource::http(method, path, Some(&format!("account={account}")))
}

/// Amount that the credential's challenge asked for. Believed no further
/// than to find the offer again: the challenge itself is verified against it.
fn amount_asked(request: &Received) -> Option<Money> {
    let credential = payment::credential(&request.headers).ok()??;
    let asked = credential.challenge.request.decode_value().ok()?;
    Money::parse_base_units(asked["amount"].as_str()?).ok().filter(|amount| amount.is_positive())
}
