//! Preview at a known price, from prepaid credits.

use sha2::{Digest as _, Sha256};

use super::refusal::{insufficient, key_reused, ledger_unavailable};
use super::{PrepaidRequest, affordable};
use crate::db::DbError;
use crate::http::error::HttpError;
use crate::http::gates::RatedKey;
use crate::http::{State, clock};
use crate::id::Timestamp;
use crate::keys::{self, KeyPaid, KeysError, PurchaseOutcome};
use crate::ledger::{EntryDetails, EntryKind, OpenOutcome};
use crate::mcp_files::{self, McpFile, ResultPlace};
use crate::money::Money;
use crate::services::preview::{PreviewRequest, UnpaidAnswer};

/// Preview that was charged.
#[derive(Debug)]
pub struct PaidPreview {
    /// JSON.
    pub answer: String,
    /// Amount charged; nothing for a repetition.
    pub cost: Money,
    /// Amount that the account has available then, where it could be read.
    pub balance: Option<Money>,
}

/// Examines a request and charges it.
///
/// # Errors
/// The reason for which it is not served; it costs nothing.
pub async fn run(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
) -> Result<PaidPreview, HttpError> {
    run_into(app, key, request, None).await
}

/// [`run`] of a request with one file: what becomes of the file is kept in the transaction that charges it, so that
/// nobody pays for a file that is lost.
///
/// # Errors
/// Those of [`run`].
pub async fn run_keeping(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
    place: &ResultPlace,
) -> Result<PaidPreview, HttpError> {
    run_into(app, key, request, Some(place)).await
}

async fn run_into(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
    place: Option<&ResultPlace>,
) -> Result<PaidPreview, HttpError> {
    let preview = request.parse(|body| PreviewRequest::parse(body, app.preview_terms(), &app.examiner))?;
    // A file can turn out to be unreadable and a text to take too long, which must cost nothing: the answer is made
    // before it is charged, for those who could pay. A repetition costs nothing, so an account that could not pay is
    // charged first.
    let charged_first = if can_pay(app, key, request).await? {
        None
    } else {
        Some(charge(app, key, request, None, request.at).await?)
    };
    let answer = preview.run(&app.examiner.for_account(key.key().account().as_str())).await?;
    let kept = place.map(|place| (place, &answer));
    let paid = match charged_first {
        Some(paid) => {
            if let Some((place, answer)) = kept {
                keep(app, &paid, place, answer).await?;
            }
            paid
        }
        // Examining takes seconds; the entry is of the day on which it is written.
        None => charge(app, key, request, kept, clock::after_wait()).await?,
    };
    // Not worth failing a paid answer for.
    let balance = app.ledger.balance(&key.key().account()).await.ok().map(|balance| balance.available());
    Ok(PaidPreview { cost: paid.cost(), balance, answer: answer.release(&paid) })
}

async fn can_pay(app: &State, key: &RatedKey, request: &PrepaidRequest<'_>) -> Result<bool, HttpError> {
    let price = app.config.pii.preview_price;
    Ok(match affordable::probe(app, key, None, request.at).await? {
        OpenOutcome::Short(found) => found.affordable >= price,
        OpenOutcome::Open { .. } | OpenOutcome::InProgress | OpenOutcome::Charged => true,
    })
}

/// Keeps the file of an answer that was charged before.
async fn keep(
    app: &State,
    paid: &KeyPaid,
    place: &ResultPlace,
    answer: &UnpaidAnswer,
) -> Result<(), HttpError> {
    let Some(file) = &McpFile::of_preview(&answer.clone().release(paid)) else { return Ok(()) };
    let kept = app.db.transaction(|mut tx| async move {
        mcp_files::keep(&mut tx, place, file, clock::after_wait()).await?;
        Ok::<_, DbError>((tx, ()))
    });
    kept.await.map_err(|error| {
        tracing::error!(%error, "a redacted file cannot be kept");
        HttpError::unavailable("the file cannot be kept at the moment; it is paid, make the same call again")
    })
}

/// Charges the price, once for one request, and keeps the file of the answer.
async fn charge(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
    kept: Option<(&ResultPlace, &UnpaidAnswer)>,
    now: Timestamp,
) -> Result<KeyPaid, HttpError> {
    let price = app.config.pii.preview_price;
    let details = &EntryDetails {
        kind: EntryKind::Purchase,
        request_id: Some(request.id.clone()),
        service: "pii.preview".into(),
        units: 1,
        unit_price: price,
        meta: serde_json::json!({}),
    };
    let digest = hex::encode(Sha256::digest(request.body));
    let repeat = request.idempotency_key.as_deref().map(|key| (key, digest.as_str()));
    let charged = app.db.transaction(|mut tx| async move {
        let outcome = keys::spend(&mut tx, key.key(), price, repeat, details, now).await?;
        if let (PurchaseOutcome::Paid(paid), Some((place, answer))) = (&outcome, kept)
            && let Some(file) = McpFile::of_preview(&answer.clone().release(paid))
        {
            mcp_files::keep(&mut tx, place, &file, now).await?;
        }
        Ok::<_, KeysError>((tx, outcome))
    });
    match charged.await {
        Ok(PurchaseOutcome::Paid(paid)) => Ok(paid),
        Ok(PurchaseOutcome::KeyReused) => Err(key_reused()),
        Ok(PurchaseOutcome::Short(found)) => Err(insufficient(found, price)),
        Err(error) => Err(ledger_unavailable(&error)),
    }
}
