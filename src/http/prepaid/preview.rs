//! Preview at a known price, from prepaid credits.

use sha2::{Digest as _, Sha256};

use super::refusal::{insufficient, key_reused, ledger_unavailable};
use super::{PrepaidRequest, affordable};
use crate::http::error::HttpError;
use crate::http::gates::RatedKey;
use crate::http::{State, clock};
use crate::id::Timestamp;
use crate::keys::{KeyPaid, PurchaseOutcome};
use crate::ledger::{EntryDetails, EntryKind, OpenOutcome};
use crate::money::Money;
use crate::services::preview::PreviewRequest;

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
    let preview = request.parse(|body| PreviewRequest::parse(body, app.preview_terms(), &app.examiner))?;
    // A file can turn out to be unreadable and a text to take too long, which must cost nothing: the answer is made
    // before it is charged, for those who could pay. A repetition costs nothing, so an account that could not pay is
    // charged first.
    let paid = if can_pay(app, key, request).await? {
        None
    } else {
        Some(charge(app, key, request, request.at).await?)
    };
    let answer = preview.run(&app.examiner.for_account(key.key().account().as_str())).await?;
    let paid = match paid {
        Some(paid) => paid,
        // Examining takes seconds; the entry is of the day on which it is written.
        None => charge(app, key, request, clock::after_wait()).await?,
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

async fn charge(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
    now: Timestamp,
) -> Result<KeyPaid, HttpError> {
    let price = app.config.pii.preview_price;
    let details = EntryDetails {
        kind: EntryKind::Purchase,
        request_id: Some(request.id.clone()),
        service: "pii.preview".into(),
        units: 1,
        unit_price: price,
        meta: serde_json::json!({}),
    };
    let digest = hex::encode(Sha256::digest(request.body));
    let repeat = request.idempotency_key.as_deref().map(|key| (key, digest.as_str()));
    match app.keys.spend(key.key(), price, repeat, &details, now).await {
        Ok(PurchaseOutcome::Paid(paid)) => Ok(paid),
        Ok(PurchaseOutcome::KeyReused) => Err(key_reused()),
        Ok(PurchaseOutcome::Short(found)) => Err(insufficient(found, price)),
        Err(error) => Err(ledger_unavailable(&error)),
    }
}
