//! Prepaid answers over HTTP, and their headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::Bearer;
use crate::http::gates::delivery;
use crate::http::gates::payable::PayableRequest;
use crate::http::prepaid::top_up;
use crate::http::request::Received;
use crate::money::Money;

/// Awaits an answer, after the credit that the request brings along, and adds the receipt of that.
///
/// # Errors
/// Those of [`top_up::answer`].
pub(super) async fn paid(
    app: &State,
    bearer: &Bearer,
    request: &Received,
    answer: impl Future<Output = Result<Response, HttpError>>,
) -> Result<Response, HttpError> {
    let (mut response, paid) = top_up::answer(app, bearer, &PayableRequest::of(request)?, answer).await?;
    if let Some(delivery) = paid {
        delivery::with_receipt(&mut response, &delivery);
        delivery::delivered(app, delivery.payment);
    }
    Ok(response)
}

/// Header with what a request cost, in dollars.
pub const COST_HEADER: &str = "x-farebox-cost";
/// Header with what is left on the account then, in dollars.
pub const BALANCE_HEADER: &str = "x-farebox-balance";

/// Tells what a request cost, and what the account has available then, where that could be read.
pub(super) fn write_charge(headers: &mut HeaderMap, cost: Money, balance: Option<Money>) {
    write_dollars(headers, COST_HEADER, cost);
    if let Some(balance) = balance {
        write_dollars(headers, BALANCE_HEADER, balance);
    }
}

fn write_dollars(headers: &mut HeaderMap, name: &'static str, amount: Money) {
    if let Ok(value) = HeaderValue::try_from(amount.to_dollars()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
