//! Paying where credits are missing: the refusal of a prepaid request carries a challenge
//! that tops the account up, and the same request with its credential goes on.
//!
//! Over HTTP `Authorization` holds the key, so the credential comes in
//! `Payment-Authorization`, and the challenge says so. Whoever pays, the account
//! of the key's owner is credited, once per transaction. A credential works until
//! its request was answered: if that failed, it is sent again and nothing is paid.

use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::gates::RatedKey;
use crate::http::gates::payable::{CredentialCarrier, PayableRequest};
use crate::http::gates::payment::{self, PaymentGate};
use crate::http::gates::wallet::unavailable;
use crate::money::Money;
use crate::payments::Delivery;
use crate::payments::http::PAYMENT_AUTHORIZATION;

/// Credits what a request brings along, then awaits its answer. Returns that with the payment that was credited.
///
/// # Errors
/// Those of [`payment::charge`] before the answer is begun, and those of the answer: where credits are still missing,
/// with a challenge.
pub async fn answer<T>(
    app: &State,
    key: &RatedKey,
    request: &PayableRequest<'_>,
    answer: impl Future<Output = Result<T, HttpError>>,
) -> Result<(T, Option<Delivery>), HttpError> {
    let paid = redeem(app, key, request).await?;
    let answer = answer.await;
    if let (Err(_), Some(delivery)) = (&answer, &paid)
        && let Err(error) = app.charges.undelivered(&delivery.payment).await
    {
        tracing::warn!(%error, "a payment keeps its lease for a moment");
    }
    match answer {
        Ok(answer) => Ok((answer, paid)),
        Err(error) if error.code == Code::InsufficientCredits => Err(ask(app, key, request, &error).await),
        Err(error) => Err(error),
    }
}

/// Smallest amount of [`buy`].
pub const LEAST: Money = Money::from_micros(10_000);
/// Largest amount of [`buy`].
pub const MOST: Money = Money::from_micros(10_000_000_000);

/// Adds credits to the account of the key's owner, for their own sake.
///
/// # Errors
/// 402 with a challenge for `amount` if no credential came, and those of [`payment::charge`].
pub async fn buy(
    app: &State,
    key: &RatedKey,
    request: &PayableRequest<'_>,
    amount: Money,
) -> Result<Delivery, HttpError> {
    let gate = gate(app, key, request, amount);
    match gate.credential()? {
        Some(credential) => payment::redeem(gate, credential, |_paid| async { Ok(String::new()) }).await,
        None => Err(gate.unpaid()),
    }
}

async fn redeem(
    app: &State,
    key: &RatedKey,
    request: &PayableRequest<'_>,
) -> Result<Option<Delivery>, HttpError> {
    let gate = gate(app, key, request, amount_asked(request).unwrap_or(app.config.keys.top_up));
    let Some(credential) = gate.credential()? else {
        return Ok(None);
    };
    // The answer comes from the account, once it is topped up.
    payment::redeem(gate, credential, |_paid| async { Ok(String::new()) }).await.map(Some)
}

/// Adds to a refusal a challenge for what is missing, in whole top-ups. What the account owes is
/// taken from whatever it is paid, so that is asked for as well.
async fn ask(app: &State, key: &RatedKey, request: &PayableRequest<'_>, error: &HttpError) -> HttpError {
    let debt = match app.cards.debt(&key.key().account()).await {
        Ok(debt) => debt,
        Err(error) => return unavailable(&error),
    };
    let step = app.config.keys.top_up;
    let missing = error.missing.unwrap_or(step);
    let amount = missing.checked_add(debt).and_then(|sum| whole(sum, step)).unwrap_or(step);
    let owed =
        if debt.is_zero() { String::new() } else { format!(", of which ${} is owed", debt.to_dollars()) };
    let (place, carrier) = match request.carrier {
        CredentialCarrier::Headers(_) => ("in WWW-Authenticate ", PAYMENT_AUTHORIZATION),
        CredentialCarrier::Meta(_) => ("", "`_meta`"),
    };
    let words = format!(
        "{}, or pay the challenge {place}(${}{owed}) and send the same request again with the credential in {carrier}",
        error.detail,
        amount.to_dollars()
    );
    let gate = gate(app, key, request, amount);
    gate.require_payment(Code::InsufficientCredits, &words).missing(error.missing)
}

/// `sum` in whole steps, at least one.
fn whole(sum: Money, step: Money) -> Option<Money> {
    let sum = u64::try_from(sum.micros().max(1)).ok()?;
    step.checked_mul(sum.div_ceil(step.micros().unsigned_abs().max(1)))
}

/// The gate of a top-up of the key owner's account by `amount`. Its challenge is for this request and for this account.
fn gate<'a>(app: &'a State, key: &RatedKey, request: &PayableRequest<'a>, amount: Money) -> PaymentGate<'a> {
    let account = key.key().account();
    let request =
        PayableRequest { resource: request.resource.clone().of_account(&account), ..request.clone() };
    let requirement = request.requirement(app.offers.top_up(amount), "credits");
    PaymentGate::new(app, request, requirement).topping_up(account)
}

/// Amount that the credential's challenge asked for. Believed no further
/// than to find the offer again: the challenge itself is verified against it.
fn amount_asked(request: &PayableRequest<'_>) -> Option<Money> {
    let credential = request.carrier.read().ok()??;
    let asked = credential.challenge().request.decode_value().ok()?;
    Money::parse_base_units(asked["amount"].as_str()?).ok().filter(|amount| amount.is_positive())
}
