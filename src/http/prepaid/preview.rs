//! Preview at a known price, from prepaid credits.

use sha2::{Digest as _, Sha256};

use super::refusal::{insufficient, key_reused, ledger_unavailable};
use super::{PrepaidRequest, affordable};
use crate::db::DbError;
use crate::http::error::{Code, HttpError};
use crate::http::gates::RatedKey;
use crate::http::request::read_through;
use crate::http::{State, clock};
use crate::id::Timestamp;
use crate::keys::{self, KeyPaid, KeysError, PurchaseOutcome};
use crate::ledger::{EntryDetails, EntryKind, OpenOutcome};
use crate::mcp_files::{self, PreviewedFile, ResultPlace};
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
    let paid = run_into(app, key, request, None).await?;
    Ok(PaidPreview { answer: paid.answer.text, cost: paid.cost, balance: paid.balance })
}

/// Preview of one file that was charged.
#[derive(Debug)]
pub struct PaidFile {
    pub file: PreviewedFile,
    /// Amount charged; nothing for a repetition.
    pub cost: Money,
    /// Amount that the account has available then, where it could be read.
    pub balance: Option<Money>,
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
) -> Result<PaidFile, HttpError> {
    let paid = run_into(app, key, request, Some(place)).await?;
    let file = paid.answer.file.ok_or_else(unreadable)?;
    Ok(PaidFile { file, cost: paid.cost, balance: paid.balance })
}

/// Answer of a preview, read before it is charged.
#[derive(Debug)]
struct ReadAnswer {
    /// JSON.
    text: String,
    /// Its file, where that is kept.
    file: Option<PreviewedFile>,
}

impl ReadAnswer {
    fn new(text: String, has_kept_file: bool) -> Result<Self, HttpError> {
        if !has_kept_file {
            return Ok(Self { text, file: None });
        }
        let file = read_through(text.len(), || PreviewedFile::of_preview(&text)).ok_or_else(unreadable)?;
        // It is as large as the file.
        Ok(Self { text: String::new(), file: Some(file) })
    }
}

fn unreadable() -> HttpError {
    HttpError::new(Code::InternalError, "the redacted file cannot be read; tell the operator")
}

/// [`ReadAnswer`] that was charged.
struct Charged {
    answer: ReadAnswer,
    cost: Money,
    balance: Option<Money>,
}

async fn run_into(
    app: &State,
    key: &RatedKey,
    request: &PrepaidRequest<'_>,
    place: Option<&ResultPlace>,
) -> Result<Charged, HttpError> {
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
    let answer = answer.try_map(|text| ReadAnswer::new(text, place.is_some()))?;
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
    Ok(Charged { cost: paid.cost(), balance, answer: answer.release(&paid) })
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
    answer: &UnpaidAnswer<ReadAnswer>,
) -> Result<(), HttpError> {
    let Some(redacted) = &answer.show(paid).file else { return Ok(()) };
    let kept = app.db.transaction(|mut tx| async move {
        mcp_files::keep(&mut tx, place, &redacted.file, clock::after_wait()).await?;
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
    kept: Option<(&ResultPlace, &UnpaidAnswer<ReadAnswer>)>,
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
            && let Some(redacted) = &answer.show(paid).file
        {
            mcp_files::keep(&mut tx, place, &redacted.file, now).await?;
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
