//! `POST /v1/pii/preview`: at a known price, from prepaid credits.

use axum::body::Body;
use axum::extract::State as AppState;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use super::reply;
use crate::http::State;
use crate::http::error::{HttpError, OpenAiError};
use crate::http::gates::Bearer;
use crate::http::prepaid::{PrepaidRequest, preview};
use crate::http::request::{Received, ReceivedWithFiles};
use crate::services::preview::{PreviewAnswer, PreviewBody};

/// Find and redact personal data in text, images and PDFs, from prepaid credits.
///
/// Answers as `POST /mpp/pii/preview` does. Sent again with the same `Idempotency-Key`
/// and body, it answers again and costs nothing.
#[utoipa::path(post, path = "/v1/pii/preview", operation_id = "preview_personal_data", tag = "prepaid", security(("apiKey" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Charged once under it")),
    request_body(content = PreviewBody, example = json!({"text": "Mail jane@example.com or call +1 415 555 2671."})),
    responses(
        (status = 200, description = "What was found", body = PreviewAnswer,
            headers(("x-farebox-cost" = String, description = "What it cost, in dollars; 0 when it was charged before"),
                ("x-farebox-balance" = String, description = "What the account has left, in dollars"))),
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
        reply::paid(&app, &bearer, &request, serve(&app, &bearer, &request)).await
    };
    bearer.answer(answer.await)
}

async fn serve(app: &State, bearer: &Bearer, request: &Received) -> Result<Response, HttpError> {
    let paid = preview::run(app, bearer, &PrepaidRequest::of(request)?).await?;
    let mut response = Response::new(Body::from(paid.answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply::write_charge(response.headers_mut(), paid.cost, paid.balance);
    Ok(response)
}
