//! `POST /v1/pii/preview`: at a known price, from prepaid credits.

use axum::body::Body;
use axum::extract::State as AppState;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use sha2::{Digest as _, Sha256};

use super::reply::{insufficient, key_reused, ledger_unavailable};
use super::{affordable, top_up};
use crate::http::error::{HttpError, OpenAiError};
use crate::http::gates::Bearer;
use crate::http::request::{Received, ReceivedWithFiles};
use crate::http::{State, clock};
use crate::id::Timestamp;
use crate::keys::{KeyPaid, PurchaseOutcome};
use crate::ledger::{EntryDetails, EntryKind, OpenOutcome};
use crate::services::preview::{PreviewAnswer, PreviewBody, PreviewRequest};

/// Find and redact personal data in text, images and PDFs, from prepaid credits.
///
/// Answers as `POST /mpp/pii/preview` does. Sent again with the same `Idempotency-Key`
/// and body, it answers again and costs nothing.
#[utoipa::path(post, path = "/v1/pii/preview", operation_id = "preview_personal_data", tag = "prepaid", security(("apiKey" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Charged once under it")),
    request_body(content = PreviewBody, example = json!({"text": "Mail jane@example.com or call +1 415 555 2671."})),
    responses(
        (status = 200, description = "What was found", body = PreviewAnswer),
        (status = 400, description = "invalid_params; free", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 402, description = "insufficient_credits", body = OpenAiError),
        (status = 403, description = "key_limit_reached", body = OpenAiError),
        (status = 409, description = "idempotency_key_reused", body = OpenAiError),
        (status = 413, description = "payload_too_large; free", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm", body = OpenAiError),
        (status = 500, description = "billing_error, internal_error", body = OpenAiError),
        (status = 503, description = "Too many files at once: send the same again", body = OpenAiError),
    ))]
pub async fn preview(
    AppState(app): AppState<State>,
    bearer: Bearer,
    request: Result<ReceivedWithFiles, HttpError>,
) -> Response {
    let answer = async {
        let ReceivedWithFiles(request) = request?;
        top_up::answer(&app, &bearer, &request, serve(&app, &bearer, &request)).await
    };
    bearer.answer(answer.await)
}

async fn serve(app: &State, bearer: &Bearer, request: &Received) -> Result<Response, HttpError> {
    let preview = PreviewRequest::parse(request.json_text()?, app.preview_terms(), &app.examiner)?;
    // A file can turn out to be unreadable and a text to take too long, which must cost nothing: the answer is made
    // before it is charged, for those who could pay. A repetition costs nothing, so an account that could not pay is
    // charged first.
    let paid = if can_pay(app, bearer, request).await? {
        None
    } else {
        Some(charge(app, bearer, request, request.at).await?)
    };
    let answer = preview.run(&app.examiner.for_account(bearer.key().account().as_str())).await?;
    let paid = match paid {
        Some(paid) => paid,
        // Examining takes seconds; the entry is of the day on which it is written.
        None => charge(app, bearer, request, clock::after_wait()).await?,
    };
    let mut response = Response::new(Body::from(answer.release(&paid)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn can_pay(app: &State, bearer: &Bearer, request: &Received) -> Result<bool, HttpError> {
    let price = app.config.pii.preview_price;
    Ok(match affordable::probe(app, bearer, None, request.at).await? {
        OpenOutcome::Short(found) => found.affordable >= price,
        OpenOutcome::Open { .. } | OpenOutcome::InProgress | OpenOutcome::Charged => true,
    })
}

async fn charge(
    app: &State,
    bearer: &Bearer,
    request: &Received,
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
    let digest = hex::encode(Sha256::digest(&request.body));
    let idempotency_key = request.idempotency_key()?;
    let repeat = idempotency_key.as_deref().map(|key| (key, digest.as_str()));
    match app.keys.spend(bearer.key(), price, repeat, &details, now).await {
        Ok(PurchaseOutcome::Paid(paid)) => Ok(paid),
        Ok(PurchaseOutcome::KeyReused) => Err(key_reused()),
        Ok(PurchaseOutcome::Short(found)) => Err(insufficient(found, price)),
        Err(error) => Err(ledger_unavailable(&error)),
    }
}
