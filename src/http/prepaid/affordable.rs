//! The amount that an account could pay, before anything is reserved: work that costs this server something and the
//! caller nothing is done for those who could pay for its answer.

use std::time::Duration;

use super::refusal::{billing_error, in_progress, insufficient, key_reused, ledger_unavailable};
use crate::app::App;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::gates::RatedKey;
use crate::id::Timestamp;
use crate::ledger::{Estimate, HoldRequest, LARGEST, OpenOutcome};
use crate::money::Money;
use crate::services::chat::ChatRequest;

/// Time for which a request waits for a database that is away before it is told so.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the least that must be there for a request: what the shortest answer can cost at the least. Where a budget
/// limits the request, it is what the prompt can cost at the most: no more is charged than was set aside, and the
/// upstream bills the whole prompt. `None` where that is beyond what can be counted.
pub(super) fn minimum_cost(chat: &ChatRequest, is_limited: bool) -> Option<Money> {
    let prompt = if is_limited { chat.prompt().max_tokens() } else { chat.prompt().min_tokens() };
    chat.tariff_at_most(is_limited).text_cost(prompt, chat.min_useful_tokens())
}

/// Asks the ledger how much could be reserved, and whether an earlier request had the same key.
///
/// # Errors
/// If the ledger cannot be read.
pub(super) async fn probe(
    app: &State,
    key: &RatedKey,
    idempotency_key: Option<&str>,
    now: Timestamp,
) -> Result<OpenOutcome, HttpError> {
    // No account has this much: it opens no hold, and tells how much could be reserved.
    let most = Estimate { wanted: LARGEST, least: LARGEST };
    open(app, key.key().hold_request(idempotency_key, most, now, now)).await
}

/// Opens a hold, and waits a while for a database that is away.
///
/// # Errors
/// If it stays away; nothing is held then.
pub(super) async fn open(app: &App, request: HoldRequest) -> Result<OpenOutcome, HttpError> {
    match tokio::time::timeout(OPEN_TIMEOUT, app.ledger.open(request)).await {
        Ok(opened) => opened.map_err(|error| ledger_unavailable(&error)),
        Err(_) => Err(ledger_unavailable(&"no answer in time")),
    }
}

/// Checks that a known price could be paid.
///
/// # Errors
/// 402 or 403 if it could not, and if the ledger cannot be read.
pub async fn check_price(app: &State, key: &RatedKey, price: Money, now: Timestamp) -> Result<(), HttpError> {
    match probe(app, key, None, now).await? {
        OpenOutcome::Short(found) if found.affordable < price => Err(insufficient(found, price)),
        _ => Ok(()),
    }
}

/// Checks that there is enough for the shortest answer, and that the request was not paid before.
///
/// # Errors
/// The reason for which it would not be served.
pub(super) async fn check(
    app: &State,
    key: &RatedKey,
    chat: &ChatRequest,
    idempotency_key: Option<&str>,
    now: Timestamp,
) -> Result<(), HttpError> {
    let minimum = minimum_cost(chat, key.key().limits.has_budget());
    match probe(app, key, idempotency_key, now).await? {
        OpenOutcome::InProgress => Err(in_progress()),
        OpenOutcome::Charged => Err(key_reused()),
        OpenOutcome::Short(found) => match minimum {
            Some(minimum) if minimum > found.affordable => Err(insufficient(found, minimum)),
            Some(_) => Ok(()),
            None => Err(billing_error()),
        },
        OpenOutcome::Open { .. } => Ok(()),
    }
}
