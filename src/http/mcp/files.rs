//! Files of tools, beside the conversation: `PUT` to an upload's URL, `GET` of a result's.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as AppState};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Full;

use super::delivery::SentBody;
use crate::http::State;
use crate::http::error::{Code, HttpError};
use crate::http::request::ReceivedWithFiles;
use crate::mcp_files::{FileToken, McpFile, McpFileError};

/// Largest file, in bytes.
pub const MAX_BYTES: usize = 10 << 20;

/// Takes the file of an upload that `create_upload` opened. The token in the URL is the authority.
pub async fn put(
    AppState(app): AppState<State>,
    Path(token): Path<String>,
    request: Result<ReceivedWithFiles, HttpError>,
) -> Result<Response, HttpError> {
    let token = FileToken::parse(&token).ok_or_else(gone)?;
    let ReceivedWithFiles(request) = request?;
    if request.body.len() > MAX_BYTES {
        return Err(HttpError::new(
            Code::PayloadTooLarge,
            format!("the file is larger than {MAX_BYTES} bytes"),
        ));
    }
    let media_type = media_type(&request.body).ok_or_else(|| {
        HttpError::new(
            Code::UnsupportedMediaType,
            "the file is not a PDF, PNG, JPEG, WebP, GIF or BMP; send one as it is",
        )
    })?;
    let file = request.read_through(|| McpFile::new(media_type, &request.body));
    app.mcp_files.fill(&token, &file, request.at).await.map_err(file_error)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sends a result. A link that something else opened first, or a transfer that broke, loses nothing: it works for two
/// minutes from then on.
pub async fn get(
    AppState(app): AppState<State>,
    Path(token): Path<String>,
    request: Result<ReceivedWithFiles, HttpError>,
) -> Result<Response, HttpError> {
    let token = FileToken::parse(&token).ok_or_else(gone)?;
    let ReceivedWithFiles(request) = request?;
    let (file, memory) =
        app.mcp_files.fetch(&token, &app.large_bodies, request.at).await.map_err(file_error)?;
    let name = if file.media_type == PDF { "redacted.pdf" } else { "redacted.png" };
    // The memory is given back when the body has been written, or dropped.
    let body = SentBody::new(Full::new(Bytes::from(file.bytes())), move || drop(memory));
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::try_from(file.media_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

const PDF: &str = "application/pdf";

/// Returns the media type of a file that can be redacted, by its first bytes: the name that a client gives it counts for
/// nothing.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    match () {
        () if farebox_pii::pdf::open::is_pdf(bytes) => Some(PDF),
        () if starts(b"\x89PNG\r\n\x1a\n") => Some("image/png"),
        () if starts(b"\xff\xd8\xff") => Some("image/jpeg"),
        () if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Some("image/webp"),
        () if starts(b"GIF8") => Some("image/gif"),
        () if starts(b"BM") => Some("image/bmp"),
        () => None,
    }
}

fn gone() -> HttpError {
    HttpError::new(
        Code::NotFound,
        "there is no such file, or it was used, or has expired; ask the tool for a new one",
    )
}

/// Makes the error of a file that is not there, or not kept.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn file_error(error: McpFileError) -> HttpError {
    match error {
        McpFileError::Unknown => gone(),
        McpFileError::Empty => HttpError::invalid(error.to_string()),
        McpFileError::TooManyUploads | McpFileError::TooManyResults => {
            HttpError::new(Code::RateLimitExceeded, error.to_string()).retry_after(60)
        }
        McpFileError::Full | McpFileError::NoMemory => HttpError::unavailable(error.to_string()),
        McpFileError::Database(_) | McpFileError::Ledger(_) => {
            tracing::error!(%error, "files of tools");
            HttpError::unavailable("files cannot be read or written at the moment; try again")
        }
    }
}

/// Returns the URL of a file.
pub fn url(app: &State, token: &FileToken) -> String {
    format!("{}/mcp/files/{}", app.config.mcp_url(), token.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_bytes() {
        for (bytes, expected) in [
            (&b"%PDF-1.7\n"[..], Some("application/pdf")),
            (b"\x89PNG\r\n\x1a\n", Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"RIFF1234WEBP", Some("image/webp")),
            (b"RIFF1234WAVE", None),
            (b"GIF89a", Some("image/gif")),
            (b"<html>", None),
            (b"", None),
        ] {
            assert_eq!(media_type(bytes), expected);
        }
    }
}
