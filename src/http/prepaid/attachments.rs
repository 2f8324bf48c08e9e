//! Attachments that are read before a request is served.
//!
//! Reading costs this server something and the caller nothing, so it is for those who
//! could pay for the answer, and limited by a rate. Money is reserved afterwards,
//! when the prompt's length is known.

use super::affordable;
use super::refusal;
use crate::fetch::{FetchError, FetchFailure, FetchRequest, FetchedBytes, FetchedItem};
use crate::http::State;
use crate::http::error::{Code, HttpError, wait_seconds};
use crate::http::gates::RatedKey;
use crate::id::Timestamp;
use crate::limits::RateLimited;
use crate::services::chat::{Attachment, AttachmentPolicy, ChatRequest};

/// Returns the attachments that this server accepts.
pub(super) fn accepted(app: &State) -> AttachmentPolicy {
    let fetch = &app.config.fetch;
    if fetch.enabled { AttachmentPolicy::UpTo(fetch.max_attachments) } else { AttachmentPolicy::Disabled }
}

/// Returns the request with the text of its attachments, and with the images that are examined before a model gets
/// them.
///
/// # Errors
/// If the caller cannot pay, asks too often, or an attachment cannot be read.
pub(super) async fn read(
    app: &State,
    key: &RatedKey,
    chat: ChatRequest,
    idempotency_key: Option<&str>,
    now: Timestamp,
) -> Result<ChatRequest, HttpError> {
    let mut attachments = chat.attachments().to_vec();
    let text_count = attachments.len();
    if let AttachmentPolicy::UpTo(limit) = accepted(app) {
        attachments
            .extend(chat.remote_files(&app.models.privacy).map_err(|error| refusal::chat_error(&error))?);
        if attachments.len() > limit {
            let detail = format!("a request can have {limit} attachments and images that are fetched");
            return Err(HttpError::invalid(detail).param("messages"));
        }
    }
    if attachments.is_empty() {
        return Ok(chat);
    }
    affordable::check(app, key, &chat, idempotency_key, now).await?;
    for _ in &attachments {
        app.attachment_limiter.take(key.key().account(), now).map_err(too_often)?;
    }
    let wanted: Vec<FetchRequest> = attachments.iter().map(|attachment| attachment.wanted.clone()).collect();
    let read = app.fetcher.read(&wanted).await.map_err(|failed| read_error(&attachments, &failed))?;
    let (mut texts, mut files) = (Vec::with_capacity(text_count), Vec::new());
    for read in read {
        match read {
            FetchedItem::Text(text) => texts.push(text),
            FetchedItem::File(FetchedBytes(bytes)) => files.push(bytes),
        }
    }
    let chat = chat.with_fetched_files(files);
    if texts.is_empty() {
        Ok(chat)
    } else {
        chat.with_attachments(texts).map_err(|error| refusal::chat_error(&error))
    }
}

fn too_often(RateLimited { wait_ms }: RateLimited) -> HttpError {
    let seconds = wait_seconds(wait_ms);
    HttpError::new(
        Code::RateLimitExceededRpm,
        format!(
            "this account has had too many attachments read; try again in {seconds} s, or put the text into \
             `messages`"
        ),
    )
    .retry_after(seconds)
}

fn read_error(attachments: &[Attachment], FetchFailure { index, error }: &FetchFailure) -> HttpError {
    if *error == FetchError::Busy {
        return HttpError::unavailable("attachments cannot be read at the moment; send the request again");
    }
    let field = attachments.get(*index).map(|attachment| attachment.field.as_str()).unwrap_or_default();
    HttpError::invalid(format!("`{field}` {error}; nothing was charged")).param(field)
}
