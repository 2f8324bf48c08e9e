//! A request as handlers see it: head, whole body and id, within the limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::State;
use super::error::{Code, HttpError};
use crate::id::RequestId;
use crate::payments::Resource;

/// Longest `Idempotency-Key` accepted.
const KEY_LIMIT: usize = 255;

/// What is read and dropped of a body that is too large, in bytes, and how long its next piece is
/// waited for; all of it ten times as long.
const LINGER: usize = 4 << 20;
const PAUSE: Duration = Duration::from_millis(100);
/// What room for large bodies is counted in, in bytes.
const ROOM: usize = 1024;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A request with its body read.
#[derive(Debug)]
pub struct Received {
    pub resource: Resource,
    pub headers: HeaderMap,
    pub uri: Uri,
    pub body: Bytes,
    pub id: RequestId,
    /// Kept as long as the body is, where it is a large one.
    _room: Option<OwnedSemaphorePermit>,
}

/// The same, with a body that may hold images and PDFs.
#[derive(Debug)]
pub struct ReceivedWithFiles(pub Received);

impl FromRequest<State> for Received {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        read(request, app, app.config.server.body_limit_bytes).await
    }
}

impl FromRequest<State> for ReceivedWithFiles {
    type Rejection = HttpError;

    async fn from_request(request: Request, app: &State) -> Result<Self, HttpError> {
        read(request, app, app.config.server.file_body_limit_bytes).await.map(Self)
    }
}

async fn read(request: Request, app: &State, limit: usize) -> Result<Received, HttpError> {
    let (parts, body) = request.into_parts();
    let limits = &app.config.server;
    let too_large =
        || HttpError::new(Code::PayloadTooLarge, format!("the body is larger than {limit} bytes"));
    let mut body = Limited::new(body, limit + LINGER);
    // A Content-Length that is too high is believed; nothing more is kept.
    if body.size_hint().lower() > limit as u64 {
        if !parts.headers.contains_key(EXPECT) {
            linger(body).await;
        }
        return Err(too_large());
    }
    let wait = Duration::from_millis(limits.body_timeout_ms);
    let whole = collect(Limited::new(&mut body, limit), limits.body_limit_bytes, &app.large_bodies);
    let (body, room) = match tokio::time::timeout(wait, whole).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(BodyError::TooLarge)) => {
            linger(body).await;
            return Err(too_large());
        }
        Ok(Err(BodyError::Cut)) => {
            return Err(HttpError::invalid("the body ended before it was complete"));
        }
        Ok(Err(BodyError::NoRoom)) => {
            let why = "too many large requests are being read at the moment; send it again";
            return Err(HttpError::new(Code::ServiceUnavailable, why).retry_after(2));
        }
        Err(_) => {
            return Err(HttpError::new(Code::RequestTimeout, "the body did not arrive in time"));
        }
    };
    Ok(Received {
        resource: Resource::http(parts.method.as_str(), parts.uri.path(), parts.uri.query()),
        id: id_of(&parts),
        headers: parts.headers,
        uri: parts.uri,
        body,
        _room: room,
    })
}

/// Why there is no whole body.
enum BodyError {
    TooLarge,
    Cut,
    NoRoom,
}

/// The room that large bodies share, for so many bytes in all.
#[must_use]
pub fn room(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / ROOM).min(Semaphore::MAX_PERMITS)))
}

/// The whole body. What it is beyond `small` bytes takes room, as it arrives: who only announces a large body keeps
/// nobody out.
async fn collect(
    mut body: impl hyper::body::Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Unpin,
    small: usize,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError> {
    let (mut whole, mut taken) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() { BodyError::TooLarge } else { BodyError::Cut }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        whole.extend_from_slice(&data);
        let has = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = whole.len().saturating_sub(small).div_ceil(ROOM).saturating_sub(has);
        if more > 0 {
            let more = u32::try_from(more).map_err(|_| BodyError::NoRoom)?;
            let more = Arc::clone(room).try_acquire_many_owned(more).map_err(|_| BodyError::NoRoom)?;
            match &mut taken {
                Some(taken) => taken.merge(more),
                None => taken = Some(more),
            }
        }
    }
    Ok((whole.freeze(), taken))
}

/// Takes what is still being sent of a body that is too large, for a moment: a client that sends all
/// before it reads would find a closed connection instead of the reason.
async fn linger(mut body: impl hyper::body::Body + Unpin) {
    let rest = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(PAUSE, body.frame()).await {} };
    // Whoever still sends after that is not told.
    let _ = tokio::time::timeout(10 * PAUSE, rest).await;
}

fn id_of(parts: &Parts) -> RequestId {
    parts.extensions.get::<RequestId>().cloned().unwrap_or_else(RequestId::random)
}

impl Received {
    /// The `Idempotency-Key` header.
    ///
    /// # Errors
    /// 400 when it is not 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<String>, HttpError> {
        let Some(value) = self.headers.get("idempotency-key") else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
                Ok(Some(key.to_owned()))
            }
            _ => Err(HttpError::invalid(format!(
                "Idempotency-Key must be 1 to {KEY_LIMIT} visible ASCII characters"
            ))),
        }
    }

    /// The body as JSON text.
    ///
    /// # Errors
    /// 400 for an empty body or one that is not UTF-8, 415 for a declared type
    /// that is not JSON.
    pub fn json_text(&self) -> Result<&str, HttpError> {
        if self.body.is_empty() {
            return Err(HttpError::invalid("the body is empty; send a JSON object"));
        }
        let declared = self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if declared.is_some_and(|kind| !is_json(kind)) {
            return Err(HttpError::new(Code::UnsupportedMediaType, "send the body as application/json"));
        }
        std::str::from_utf8(&self.body).map_err(|_| HttpError::invalid("the body is not UTF-8"))
    }

    /// One header as text, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the query has `name=true` (or just `name`).
    ///
    /// # Errors
    /// 400 for another value, so that a typing error is not a silent "no".
    pub fn flag(&self, name: &str) -> Result<bool, HttpError> {
        let query = self.uri.query().unwrap_or_default();
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "true")) {
                (key, "true") if key == name => return Ok(true),
                (key, "false") if key == name => return Ok(false),
                (key, _) if key == name => {
                    return Err(HttpError::invalid(format!("{name} must be true or false")));
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case("+json"))
}
