//! A request as handlers see it: head, body, id and time, within the limits.

#![expect(clippy::disallowed_methods, reason = "a request's nonce is made here and nowhere else")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::State;
use super::clock;
use super::error::{Code, HttpError};
use super::json_size;
use crate::id::{RequestId, Timestamp};
use crate::payments::Resource;
use crate::permits::{MemoryPermit, MemoryPermits};

/// Longest idempotency key accepted, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Bytes of each body that take no memory permit.
const FREE_BYTES: usize = 16 << 10;
/// Time in which a usual body has arrived.
const QUICK: Duration = Duration::from_secs(1);

/// Bytes from which on a body is large: reading through it takes milliseconds.
const LARGE_BODY: usize = 256 << 10;

/// Bytes that are read and dropped of a body that is too large.
const DRAIN_LIMIT: usize = 4 << 20;
/// Longest pause between two pieces of a body that is dropped.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);
/// Longest time that a body is dropped for.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Address at the other end of the connection.
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
    /// Time at which the body was complete. Signatures and challenges are judged at this time, not when the head
    /// arrived: a slow body must not make them valid for longer.
    pub at: Timestamp,
    /// Address that the request is counted against; `None` where it is not known.
    pub client: Option<IpAddr>,
    /// Random part of the challenges that answer this request.
    pub nonce: Uuid,
    /// Memory of a large body, held as long as the body is.
    _memory: MemoryPermit,
}

/// A request whose body may hold images and PDFs.
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
    let encoding = parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let detail = "`Content-Encoding` must be gzip or zstd; or leave it out, and send the body as it is";
        return Err(HttpError::new(Code::UnsupportedMediaType, detail));
    }
    let mut body = Limited::new(body, limit + DRAIN_LIMIT);
    // A Content-Length that is too high is believed; nothing more is kept.
    if body.size_hint().lower() > limit as u64 {
        if !parts.headers.contains_key(EXPECT) {
            drain(body).await;
        }
        return Err(too_large());
    }
    let timeout = Duration::from_millis(limits.body_timeout_ms);
    let collected = patiently(collect(Limited::new(&mut body, limit), &app.large_bodies), &app.slow_bodies);
    let (body, memory) = match tokio::time::timeout(timeout, collected).await {
        Ok(Ok(collected)) => collected,
        Ok(Err(BodyError::TooLarge)) => {
            drain(body).await;
            return Err(too_large());
        }
        Ok(Err(BodyError::Incomplete)) => {
            return Err(HttpError::invalid(
                "the body is not complete, or not encoded as `Content-Encoding` says; send it again",
            ));
        }
        Ok(Err(BodyError::NoMemory)) => {
            let detail = "too many large or slow requests are being read at the moment; send it again";
            return Err(HttpError::unavailable(detail));
        }
        Err(_) => {
            let detail =
                format!("the body did not arrive within {} ms; send it faster", limits.body_timeout_ms);
            return Err(HttpError::new(Code::RequestTimeout, detail));
        }
    };
    let peer = parts.extensions.get::<Peer>().copied();
    Ok(Received {
        client: client_address(peer, &parts.headers, &limits.trusted_proxies),
        resource: Resource::http(parts.method.as_str(), parts.uri.path(), parts.uri.query()),
        id: request_id(&parts),
        headers: parts.headers,
        uri: parts.uri,
        body,
        // The body may have taken `server.body_timeout_ms`.
        at: clock::after_wait(),
        nonce: Uuid::new_v4(),
        _memory: memory,
    })
}

/// Reason a body was not read to its end.
enum BodyError {
    TooLarge,
    Incomplete,
    NoMemory,
}

/// Waits for a body. One that takes long needs a permit: it keeps the head of its request in memory all the while.
async fn patiently(
    collected: impl Future<Output = Result<(Bytes, MemoryPermit), BodyError>>,
    slow: &Semaphore,
) -> Result<(Bytes, MemoryPermit), BodyError> {
    let mut collected = std::pin::pin!(collected);
    if let Ok(collected) = tokio::time::timeout(QUICK, &mut collected).await {
        return collected;
    }
    let Ok(_permit) = slow.try_acquire() else { return Err(BodyError::NoMemory) };
    collected.await
}

/// Reads a body to its end. Bytes beyond the first few take memory permits as they arrive: a client that only announces
/// a large body keeps nobody out.
async fn collect(
    mut body: impl hyper::body::Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Unpin,
    permits: &MemoryPermits,
) -> Result<(Bytes, MemoryPermit), BodyError> {
    let (mut collected, mut permit) = (BytesMut::new(), MemoryPermit::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() { BodyError::TooLarge } else { BodyError::Incomplete }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        collected.extend_from_slice(&data);
        if !permits.try_raise(&mut permit, collected.len().saturating_sub(FREE_BYTES)) {
            return Err(BodyError::NoMemory);
        }
    }
    Ok((collected.freeze(), permit))
}

/// Reads and drops the rest of a body that is too large, for a moment: a client that sends all
/// before it reads would find a closed connection instead of the reason.
async fn drain(mut body: impl hyper::body::Body + Unpin) {
    let rest = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(DRAIN_PAUSE, body.frame()).await {} };
    // A client that still sends after that gets no answer.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

fn request_id(parts: &Parts) -> RequestId {
    parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::new(clock::ArrivedAt::now().0))
}

/// Returns an idempotency key that a client sent in `field`; `None` is a value that is not text.
///
/// # Errors
/// 400 when it is not 1 to 255 visible ASCII characters.
pub fn checked_idempotency_key(field: &str, key: Option<&str>) -> Result<String, HttpError> {
    let allowed = |key: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
    };
    key.filter(allowed).map(str::to_owned).ok_or_else(|| {
        HttpError::invalid(format!("{field} must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"))
    })
}

impl Received {
    /// Returns the `Idempotency-Key` header.
    ///
    /// # Errors
    /// 400 when it is not 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<String>, HttpError> {
        let value = self.headers.get("idempotency-key");
        value.map(|value| checked_idempotency_key("Idempotency-Key", value.to_str().ok())).transpose()
    }

    /// Reads through the body. A large one is read beside the threads that serve: others go on meanwhile. Memory permits
    /// limit how many are.
    pub fn read_through<T>(&self, read: impl FnOnce() -> T) -> T {
        read_through(self.body.len(), read)
    }

    /// Returns what `parse` makes of the body's JSON text.
    ///
    /// # Errors
    /// Those of [`Received::json_text`].
    pub fn parse_json<T>(&self, parse: impl FnOnce(&str) -> T) -> Result<T, HttpError> {
        self.read_through(|| self.json_text().map(parse))
    }

    /// Returns the body as JSON text.
    ///
    /// # Errors
    /// 400 for an empty body or one that is not UTF-8, 415 for a declared type
    /// that is not JSON.
    pub fn json_text(&self) -> Result<&str, HttpError> {
        if self.body.is_empty() {
            return Err(HttpError::invalid("the body is empty; send a JSON object"));
        }
        let declared = self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if declared.is_some_and(|media_type| !is_json(media_type)) {
            return Err(HttpError::new(Code::UnsupportedMediaType, "send the body as application/json"));
        }
        self.read_through(|| {
            let text = std::str::from_utf8(&self.body)
                .map_err(|_| HttpError::invalid("the body is not UTF-8; encode its JSON as UTF-8"))?;
            match json_size::check(text) {
                Ok(()) => Ok(text),
                Err(excess) => Err(HttpError::invalid(excess.to_string())),
            }
        })
    }

    /// Returns true if it asks for nothing: registries send such requests to see what a route costs.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self.body.trim_ascii(), b"" | b"{}")
    }

    /// Returns one header, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns true if the query has `name=true` (or just `name`).
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

/// Reads through so many bytes: [`Received::read_through`].
pub fn read_through<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    if bytes < LARGE_BODY { read() } else { tokio::task::block_in_place(read) }
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case("+json"))
}

/// Returns the address that a request without a valid key or signature is counted against: the peer's, or where that is
/// a proxy which this server trusts, the one that it names. Proxies add what they see at the end: the last value of the
/// last line counts, and before it those of further trusted proxies are passed over.
pub fn client_address(peer: Option<Peer>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer?.0.to_canonical();
    if is_trusted(&client) {
        let lines: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
        for named in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(named) = forwarded_address(named) else { break };
            client = named;
            if !is_trusted(&client) {
                break;
            }
        }
    }
    Some(network_of(client))
}

/// Reads an address of `X-Forwarded-For`, where proxies also write ports and brackets.
fn forwarded_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let parsed = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    let parsed = parsed.or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse());
    parsed.ok().map(|address| address.to_canonical())
}

/// Returns the network that an address is counted as: a customer's smallest network is a /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn received(body: Bytes) -> Received {
        Received {
            resource: Resource::http("POST", "/", None),
            headers: HeaderMap::new(),
            uri: Uri::from_static("/"),
            body,
            id: RequestId::new(Timestamp::from_millis(0)),
            at: Timestamp::from_millis(0),
            client: None,
            nonce: Uuid::nil(),
            _memory: MemoryPermit::default(),
        }
    }

    /// One thread serves. While it reads a large body, another request is served, which this one waits for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn attack_39_a_large_body_is_read_beside_the_threads_that_serve() {
        let (other, served) = std::sync::mpsc::channel();
        let reading = tokio::spawn(async move {
            tokio::spawn(async move { other.send(()) });
            let text = format!("\"{}\"", "a".repeat(LARGE_BODY));
            let waited = received(text.into()).parse_json(|_| served.recv_timeout(Duration::from_secs(10)));
            waited.expect("it is JSON")
        });
        assert_eq!(reading.await.expect("it ends"), Ok(()), "the other request waited for this one");
    }

    #[test]
    fn attack_45_guesses_are_counted_against_who_makes_them() {
        let peer = |text: &str| Some(Peer(text.parse().expect("an address")));
        let trusted: Vec<IpNet> =
            ["127.0.0.0/8", "10.0.0.0/24", "fd00::/64"].map(|text| text.parse().expect("a network")).into();
        for (from, forwarded, counted) in [
            ("9.9.9.9", &["1.2.3.4"][..], "9.9.9.9"),
            ("127.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            // Of several lines the last, which the proxy added.
            ("127.0.0.1", &["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
            ("127.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            ("127.0.0.1", &["\"[2001:db8:1:2::9]:443\""], "2001:db8:1:2::"),
            ("127.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            // A chain of proxies that are trusted.
            ("10.0.0.7", &["6.6.6.6, 1.2.3.4, 10.0.0.8"], "1.2.3.4"),
            ("fd00::1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.1.7", &["1.2.3.4"], "10.0.1.7"),
            ("::ffff:9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            ("2001:db8:1:2:3:4:5:6", &[""], "2001:db8:1:2::"),
        ] {
            let name = HeaderName::from_static("x-forwarded-for");
            let lines =
                forwarded.iter().map(|line| (name.clone(), HeaderValue::from_str(line).expect("text")));
            let headers = lines.collect::<HeaderMap>();
            assert_eq!(
                client_address(peer(from), &headers, &trusted),
                counted.parse().ok(),
                "{from} {forwarded:?}"
            );
        }
        let forged = HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("1.2.3.4"),
        )]);
        assert_eq!(
            client_address(peer("127.0.0.1"), &forged, &[]),
            "127.0.0.1".parse().ok(),
            "nobody is trusted"
        );
        assert_eq!(client_address(None, &HeaderMap::new(), &trusted), None);
    }
}
