//! What a request wants read before it is served.
//!
//! Reading costs us something and the caller nothing, so it is for those who
//! could pay for the answer, and not too often. Money is set aside afterwards,
//! when the prompt's length is known.

use super::Bearer;
use super::reply;
use super::standing::could_pay;
use crate::fetch::{Failed, FetchError, Wanted};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::id::Timestamp;
use crate::limits::TooOften;
use crate::services::chat::{Attachments, ChatRequest};

/// Whether this server reads any.
pub(super) fn offered(app: &State) -> Attachments {
    let fetch = &app.config.fetch;
    if fetch.enabled { Attachments::UpTo(fetch.max_attachments) } else { Attachments::Off }
}

/// The same request with what its attachments say.
///
/// # Errors
/// When the caller cannot pay, asks too often, or something cannot be read.
pub(super) async fn read(
    app: &State,
    bearer: &Bearer,
    chat: ChatRequest,
    idempotency_key: Option<&str>,
) -> Result<ChatRequest, HttpError> {
    if chat.attachments().is_empty() {
        return Ok(chat);
    }
    could_pay(app, bearer, &chat, idempotency_key).await?;
    for _ in chat.attachments() {
        app.readings.take(bearer.key().account(), Timestamp::now()).map_err(too_often)?;
    }
    let wanted: Vec<Wanted> = chat.attachments().iter().map(|attachment| attachment.wanted.clone()).collect();
    match app.fetcher.read(&wanted).await {
        Ok(texts) => chat.attached(texts).map_err(|error| reply::refused(&error)),
        Err(failed) => Err(unread(&chat, &failed)),
    }
}

fn too_often(TooOften { wait }: TooOften) -> HttpError {
    let seconds = u32::try_from(wait / 1000).unwrap_or(u32::MAX).saturating_add(1);
    HttpError::new(
        Code::RateLimitExceededRpm,
        format!("this account has too much read; try again in {seconds} s, or put the text into `messages`"),
    )
    .retry_after(seconds)
}

fn unread(chat: &ChatRequest, Failed { at, error }: &Failed) -> HttpError {
    if *error == FetchError::Busy {
        return HttpError::new(
            Code::ServiceUnavailable,
            "attachments cannot be read at the moment; try again",
        )
        .retry_after(2);
    }
    let field = chat.attachments().get(*at).map(|attachment| attachment.field.as_str()).unwrap_or_default();
    HttpError::invalid(format!("`{field}` {error}; nothing was charged")).param(field)
}
