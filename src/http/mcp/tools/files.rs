//! Tools for files: `create_upload` and `redact_file`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ContentBlock, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::models::NoArguments;
use super::{ToolCall, ToolOutput};
use crate::fetch::{FetchRequest, FetchedBytes, FetchedItem};
use crate::http::clock;
use crate::http::error::{Code, HttpError};
use crate::http::mcp::call::IDEMPOTENCY_KEY;
use crate::http::mcp::files::{self, MAX_BYTES, file_error, media_type};
use crate::http::prepaid::{PrepaidRequest, affordable, preview, top_up};
use crate::mcp_files::{FileToken, McpFile};

/// Largest image that is put into the result itself, in bytes.
const INLINE_BYTES: usize = 32 << 10;

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
    let account = key.key().account();
    // What is sent again under its key is answered again, of the same upload.
    let used_up = arguments.upload_id.clone().filter(|_| !call.meta.contains_key(IDEMPOTENCY_KEY));
    let answer = async {
        // Reading a file costs this server something and the caller nothing: it is for those who could pay.
        affordable::check_price(app, key, app.config.pii.preview_price, call.request.at).await?;
        let body = arguments.into_body(call).await?;
        let request = PrepaidRequest {
            body: &body,
            idempotency_key: call.idempotency_key()?,
            id: call.request.id.clone(),
            at: call.request.at,
        };
        preview::run(app, key, &request).await
    };
    let (answered, paid) = top_up::answer(app, key, &call.payable()?, answer).await?;
    let (mut structured, file) = shown(&answered.answer)?;
    let token = FileToken::random();
    let now = clock::after_wait();
    let kept = app.mcp_files.keep(&token, &account, &file, used_up.as_deref(), now).await;
    let expires_at = kept.map_err(file_error)?;
    let url = files::url(app, &token);
    structured["url"] = url.clone().into();
    structured["expiresAt"] = expires_at.to_rfc3339().into();
    structured["costUsd"] = answered.cost.to_dollars().into();
    if let Some(balance) = answered.balance {
        structured["balanceUsd"] = balance.to_dollars().into();
    }
    let more = if file.bytes.len() <= INLINE_BYTES && file.media_type.starts_with("image/") {
        ContentBlock::image(STANDARD.encode(&file.bytes), file.media_type)
    } else {
        ContentBlock::resource_link(Resource::new(url, "redacted file").with_mime_type(file.media_type))
    };
    Ok(ToolOutput { structured, paid, more: vec![more] })
}

impl RedactArguments {
    /// Returns the body of the same request at `/v1/pii/preview`.
    async fn into_body(self, call: &ToolCall) -> Result<String, HttpError> {
        let file = match (self.upload_id, self.url) {
            (Some(id), None) => {
                let account = call.key()?.key().account();
                call.app.mcp_files.uploaded(&id, &account, call.request.at).await.map_err(file_error)?
            }
            (None, Some(url)) => fetched(call, url).await?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(HttpError::invalid("send either `uploadId` or `url`"));
            }
        };
        let field = if file.media_type.starts_with("image/") { "images" } else { "pdfs" };
        let mut body = json!({ field: [STANDARD.encode(&file.bytes)] });
        if let Some(entities) = self.entities {
            body["piiEntities"] = entities.into();
        }
        Ok(body.to_string())
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
    Ok(McpFile { media_type: media_type.to_owned(), bytes })
}

/// Returns a preview of one file as the output schema has it, and the redacted file.
fn shown(answer: &str) -> Result<(Value, McpFile), HttpError> {
    let unreadable = || HttpError::new(Code::InternalError, "the answer cannot be read; it was charged");
    let answer: Value = serde_json::from_str(answer).map_err(|_| unreadable())?;
    let examined = [&answer["images"][0], &answer["pdfs"][0]].into_iter().find(|file| file.is_object());
    let examined = examined.ok_or_else(unreadable)?;
    let data =
        examined["redacted"].as_str().and_then(|url| url.strip_prefix("data:")).ok_or_else(unreadable)?;
    let (media_type, encoded) = data.split_once(";base64,").ok_or_else(unreadable)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| unreadable())?;
    let mut structured = json!({ "counts": answer["counts"], "mediaType": media_type });
    if let Some(pages) = examined["pages"].as_u64() {
        structured["pages"] = pages.into();
    }
    Ok((structured, McpFile { media_type: media_type.to_owned(), bytes }))
}
