//! What a request wants read before it is served.
//!
//! Reading costs us something and the caller nothing, so it is for those who
//! could pay for the answer, and not too often. Money is set aside afterwards,
//! when the prompt's length is known.

use super::Bearer;
use super::reply;
use super::standing::could_pay;
use crate::fetch::{FetchError, FetchFailure, FetchRequest, FetchedBytes, FetchedItem};
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::id::Timestamp;
use crate::limits::RateLimited;
use crate::services::chat::{Attachment, AttachmentPolicy, ChatRequest};

/// Whether this server reads any.
pub(super) fn offered(app: &State) -> AttachmentPolicy {
    let fetch = &app.config.fetch;
    if fetch.enabled { AttachmentPolicy::UpTo(fetch.max_attachments) } else { AttachmentPolicy::Disabled }
}

/// The same request with what its attachments say, and with the images that are examined before a model gets them.
///
/// # Errors
/// When the caller cannot pay, asks too often, or something cannot be read.
pub(super) async fn read(
    app: &State,
    bearer: &Bearer,
    chat: ChatRequest,
    idempotency_key: Option<&str>,
) -> Result<ChatRequest, HttpError> {
    let mut attachments = chat.attachments().to_vec();
    let texts = attachments.len();
    if let AttachmentPolicy::UpTo(most) = offered(app) {
        attachments.extend(chat.remote_files(&app.models.privacy).map_err(|error| reply::refused(&error))?);
        if attachments.len() > most {
            let what = format!("a request can have {most} attachments and images that are fetched");
            return Err(HttpError::invalid(what).param("messages"));
        }
    }
    if attachments.is_empty() {
        return Ok(chat);
    }
    could_pay(app, bearer, &chat, idempotency_key).await?;
    for _ in &attachments {
        app.readings.take(bearer.key().account(), Timestamp::now()).map_err(too_often)?;
    }
    let wanted: Vec<FetchRequest> = attachments.iter().map(|attachment| attachment.wanted.clone()).collect();
    let read = app.fetcher.read(&wanted).await.map_err(|failed| unread(&attachments, &failed))?;
    let (mut said, mut files) = (Vec::with_capacity(texts), Vec::new());
    for read in read {
        match read {
            FetchedItem::Text(text) => said.push(text),
            FetchedItem::File(FetchedBytes(bytes)) => files.push(bytes),
        }
    }
    let chat = chat.with_fetched_files(files);
    if said.is_empty() {
        Ok(chat)
    } else {
        chat.with_attachments(said).map_err(|error| reply::refused(&error))
    }
}

fn too_often(RateLimited { wait_ms }: RateLimited) -> HttpError {
    let seconds = u32::try_from(wait_ms / 1000).unwrap_or(u32::MAX).saturating_add(1);
    HttpError::new(
        Code::RateLimitExceededRpm,
        format!("this account has too much read; try again in {seconds} s, or put the text into `messages`"),
    )
    .retry_after(seconds)
}

fn unread(attachments: &[Attachment], FetchFailure { index, error }: &FetchFailure) -> HttpError {
    if *error == FetchError::Busy {
        return HttpError::new(
            Code::ServiceUnavailable,
            "attachments cannot be read at the moment; try again",
        )
        .retry_after(2);
    }
    let field = attachments.get(*index).map(|attachment| attachment.field.as_str()).unwrap_or_default();
    HttpError::invalid(format!("`{field}` {error}; nothing was charged")).param(field)
}
