//! Tools for files: `create_upload` and `redact_file`.

use rmcp::model::{ContentBlock, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::models::NoArguments;
use super::{ToolCall, ToolOutput};
use crate::fetch::{FetchRequest, FetchedBytes, FetchedItem};
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::gates::wallet::unavailable;
use crate::http::mcp::files::{self, MAX_BYTES, file_error, media_type};
use crate::http::prepaid::preview::{self, PaidFile};
use crate::http::prepaid::{PrepaidRequest, affordable, top_up};
use crate::keys::{self, KeysError};
use crate::mcp_files::{FileToken, McpFile, PreviewedFile, ResultPlace, expiry};
use crate::permits::MemoryPermit;

/// Largest image that is put into the result itself, in characters of base64.
const INLINE_LENGTH: usize = 43 << 10;

/// Opens an upload, for an account that could pay for what follows.
pub(super) async fn create_upload(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let NoArguments {} = call.read()?;
    let (app, key) = (&call.app, call.key()?);
    affordable::check_price(app, key, app.config.pii.preview_price, call.request.at).await?;
    let token = FileToken::random();
    let expires_at =
        app.mcp_files.open(&token, &key.key().account(), call.request.at).await.map_err(file_error)?;
    let structured = json!({
        "uploadId": token.file_id(),
        "uploadUrl": files::url(app, &token),
        "method": "PUT",
        "maxBytes": MAX_BYTES,
        "expiresAt": expires_at.to_rfc3339(),
    });
    Ok(structured.into())
}

/// A file to redact.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RedactArguments {
    upload_id: Option<String>,
    url: Option<String>,
    entities: Option<Vec<String>>,
}

/// Redacts an image or a PDF, which was uploaded or is public.
pub(super) async fn redact(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let arguments: RedactArguments = call.read()?;
    let (app, key) = (&call.app, call.key()?);
    let idempotency_key = call.idempotency_key()?;
    // What is sent again under its key is answered again, of the same upload.
    let used_up = arguments.upload_id.clone().filter(|_| idempotency_key.is_none());
    let place = ResultPlace::new(key.key().account(), key.key().id.as_str(), idempotency_key.as_deref());
    let answer = async {
        may_read(call, idempotency_key.as_deref()).await?;
        let (body, _memory) = arguments.into_body(call).await?;
        let request =
            PrepaidRequest { body: &body, idempotency_key, id: call.request.id.clone(), at: call.request.at };
        let paid = preview::run_keeping(app, key, &request, &place).await?;
        Ok(shown(call, &place, paid))
    };
    let ((structured, more), paid) = top_up::answer(app, key, &call.payable()?, answer).await?;
    if let Some(upload) = used_up
        && let Err(error) = app.mcp_files.remove(&upload).await
    {
        tracing::warn!(%error, "an upload that was used stays until it expires");
    }
    Ok(ToolOutput { structured, paid, more: vec![more] })
}

/// Checks that a file may be read: doing so costs this server something and the caller nothing, so it is for those who
/// could pay, or have paid for this very call before.
async fn may_read(call: &ToolCall, idempotency_key: Option<&str>) -> Result<(), HttpError> {
    let (app, key) = (&call.app, call.key()?);
    if let Some(idempotency_key) = idempotency_key {
        let known = app.db.transaction(|mut tx| async move {
            let known = keys::was_charged(&mut tx, key.key(), idempotency_key).await?;
            Ok::<_, KeysError>((tx, known))
        });
        if known.await.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
    }
    affordable::check_price(app, key, app.config.pii.preview_price, call.request.at).await?;
    app.mcp_files.check_room(&key.key().account(), call.request.at).await.map_err(file_error)
}

impl RedactArguments {
    /// Returns the body of the same request at `/v1/pii/preview`.
    async fn into_body(self, call: &ToolCall) -> Result<(String, MemoryPermit), HttpError> {
        let (file, memory) = match (self.upload_id, self.url) {
            (Some(id), None) => {
                let account = call.key()?.key().account();
                let files = &call.app.mcp_files;
                let found = files.uploaded(&id, &account, &call.app.large_bodies, call.request.at);
                found.await.map_err(file_error)?
            }
            (None, Some(url)) => (fetched(call, url).await?, MemoryPermit::default()),
            (Some(_), Some(_)) | (None, None) => {
                return Err(HttpError::invalid("send either `uploadId` or `url`"));
            }
        };
        let field = if file.media_type.starts_with("image/") { "images" } else { "pdfs" };
        let mut body = json!({ field: [file.content] });
        if let Some(entities) = self.entities {
            body["piiEntities"] = entities.into();
        }
        Ok((body.to_string(), memory))
    }
}

/// Reads a public file.
async fn fetched(call: &ToolCall, url: String) -> Result<McpFile, HttpError> {
    let refused =
        |reason: &str| HttpError::invalid(format!("`url` {reason}; nothing was charged")).param("url");
    let app = &call.app;
    if !app.config.fetch.enabled {
        return Err(refused("cannot be read: this server fetches no files; use create_upload"));
    }
    let account = call.key()?.key().account();
    app.attachment_limiter.take(account, call.request.at).map_err(|limited| {
        HttpError::new(
            Code::RateLimitExceededRpm,
            "this account has had too many files read; try again later",
        )
        .retry_after_millis(limited.wait_ms)
    })?;
    let read = app.fetcher.read(&[FetchRequest::File(url)]).await;
    let mut read = read.map_err(|failure| refused(&failure.error.to_string()))?;
    let Some(FetchedItem::File(FetchedBytes(bytes))) = read.pop() else {
        return Err(refused("is not a file"));
    };
    let media_type = media_type(&bytes).ok_or_else(|| refused("is not a PDF or an image"))?;
    Ok(McpFile::new(media_type, &bytes))
}

/// Returns a preview of one file as the output schema has it, with the file itself if it is small, or a link to it.
fn shown(call: &ToolCall, place: &ResultPlace, paid: PaidFile) -> (Value, ContentBlock) {
    let PaidFile { file: PreviewedFile { file, counts, pages }, cost, balance } = paid;
    let url = files::url(&call.app, &place.token);
    let mut structured = json!({
        "url": url,
        "mediaType": file.media_type,
        "counts": counts,
        "expiresAt": expiry(clock::after_wait()).to_rfc3339(),
        "costUsd": cost.to_dollars(),
    });
    if let Some(pages) = pages {
        structured["pages"] = pages.into();
    }
    if let Some(balance) = balance {
        structured["balanceUsd"] = balance.to_dollars().into();
    }
    let is_small = file.content.len() <= INLINE_LENGTH && file.media_type.starts_with("image/");
    let more = if is_small {
        ContentBlock::image(file.content, file.media_type)
    } else {
        ContentBlock::resource_link(Resource::new(url, "redacted file").with_mime_type(file.media_type))
    };
    (structured, more)
}
