//! What an account could pay for, before anything is set aside: work that costs us something and the caller nothing is
//! for those who could pay for its answer.

use super::Bearer;
use super::reply::{self, in_progress, ledger_unavailable, reused, short};
use crate::http::State;
use crate::http::error::HttpError;
use crate::id::Timestamp;
use crate::ledger::{Estimate, LARGEST, OpenOutcome};
use crate::services::chat::ChatRequest;

/// What could be set aside, and what became of an earlier request with the same key.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) async fn look(
    app: &State,
    bearer: &Bearer,
    idempotency_key: Option<&str>,
) -> Result<OpenOutcome, HttpError> {
    let now = Timestamp::now();
    // Nobody has this much: it opens no hold, and tells what could be set aside.
    let most = Estimate { wanted: LARGEST, least: LARGEST };
    let looked = app.ledger.open(bearer.key().hold_request(idempotency_key, most, now, now)).await;
    looked.map_err(|error| ledger_unavailable(&error))
}

/// Checks that there is enough for the shortest answer, and it was not paid before.
///
/// # Errors
/// Why it would not be served.
pub(super) async fn could_pay(
    app: &State,
    bearer: &Bearer,
    chat: &ChatRequest,
    idempotency_key: Option<&str>,
) -> Result<(), HttpError> {
    let least = super::chat::least(chat);
    match look(app, bearer, idempotency_key).await? {
        OpenOutcome::InProgress => Err(in_progress()),
        OpenOutcome::Charged => Err(reused()),
        OpenOutcome::Short(found) => match least {
            Some(least) if least > found.affordable => Err(short(found, least)),
            Some(_) => Ok(()),
            None => Err(reply::billing()),
        },
        OpenOutcome::Open { .. } => Ok(()),
    }
}
