//! `POST /v1/chat/completions`: OpenAI's chat completions, paid from prepaid credits by the token.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State as AppState;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};

use super::reply;
use crate::http::error::{HttpError, OpenAiError};
use crate::http::gates::Bearer;
use crate::http::prepaid::chat::AcceptedChat;
use crate::http::prepaid::{PrepaidRequest, refusal};
use crate::http::request::{Received, ReceivedWithFiles};
use crate::http::routes::mpp::chat::{ChatBody, with_replaced};
use crate::http::{State, sse};
use crate::meter::StreamEvent;

/// Chat, paid by the token from prepaid credits.
///
/// OpenAI's chat completions. What the answer can cost is set aside, what it did
/// cost is charged. A balance that does not reach for the longest answer asked
/// for gets a shorter one; 402 says that it does not reach for any.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "create_chat_completion", tag = "prepaid", security(("apiKey" = [])),
    request_body(content = ChatBody,
        example = json!({"model": "dev-scripted", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16})),
    params(("Idempotency-Key" = Option<String>, Header, description = "A request is charged once under it; sent again it gets 409, or an answer where the first try cost nothing")),
    responses(
        (status = 200, description = "A completion, or text/event-stream with `stream`", content_type = "application/json", body = serde_json::Value,
            headers(("x-pii-redacted" = u64, description = "Pieces of personal data that were replaced, where they were looked for"),
                ("x-farebox-cost" = String, description = "What a whole answer cost, in dollars"),
                ("x-farebox-balance" = String, description = "What is left, in dollars"))),
        (status = 400, description = "invalid_params, model_not_found, context_length_exceeded, content_filter; free", body = OpenAiError),
        (status = 401, description = "missing_api_key, invalid_api_key, inactive_api_key", body = OpenAiError),
        (status = 402, description = "insufficient_credits", body = OpenAiError),
        (status = 403, description = "key_limit_reached", body = OpenAiError),
        (status = 409, description = "idempotency_key_reused, payment_in_progress", body = OpenAiError),
        (status = 429, description = "rate_limit_exceeded_rpm, rate_limit_exceeded_tpm, upstream_busy", body = OpenAiError),
        (status = 500, description = "billing_error, internal_error", body = OpenAiError),
        (status = 502, description = "upstream_failed; nothing was charged", body = OpenAiError),
        (status = 503, description = "upstream_unavailable; nothing was charged", body = OpenAiError),
    ))]
pub async fn completions(
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
    let accepted = AcceptedChat::new(app, bearer, PrepaidRequest::of(request)?).await?;
    let replaced = accepted.replaced().cloned();
    let answer = if accepted.is_stream() { stream(accepted).await } else { whole(accepted).await };
    answer.map(|response| with_replaced(response, replaced.as_ref()))
}

async fn stream(accepted: AcceptedChat) -> Result<Response, HttpError> {
    let (first, events) = accepted.stream().await?;
    let mut response = Response::new(Body::from_stream(frames(first, events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn frames(
    first: StreamEvent,
    events: mpsc::Receiver<StreamEvent>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    tokio_stream::once(first).chain(ReceiverStream::new(events)).map(|event| Ok(frame(&event)))
}

fn frame(event: &StreamEvent) -> Bytes {
    match event {
        StreamEvent::Chunks(chunks) => sse::data(chunks),
        // There are no vouchers here.
        StreamEvent::Ping | StreamEvent::NeedVoucher { .. } => sse::PING,
        StreamEvent::End(summary) => {
            let error = refusal::stream_error(&summary.end);
            let error = error.map_or_else(String::new, |error| sse::error(&error.to_openai()));
            let usage = summary.usage_chunk.as_slice();
            [&sse::data(usage), error.as_bytes(), sse::DONE.as_bytes()].concat().into()
        }
    }
}

async fn whole(accepted: AcceptedChat) -> Result<Response, HttpError> {
    let paid = accepted.answer().await?;
    let mut response = Response::new(Body::from(paid.completion.into_json(Some(paid.cost))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply::write_charge(response.headers_mut(), paid.cost, paid.balance);
    Ok(response)
}
