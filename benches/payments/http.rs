//! The least of HTTP/1.1 that a client can do with: it must not be what is measured.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Headers of every request.
pub const BODY: &str = r#"{"text":"Mail jane@example.com or call +1 415 555 2671."}"#;
pub const PREVIEW: &str = "/mpp/pii/preview";

/// No answer of a benchmark comes near this.
const LARGEST_ANSWER: usize = 64 << 10;
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// One connection, kept alive; one request at a time.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A complete answer.
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a str,
    /// As received: framing of chunks included.
    pub body: &'a [u8],
}

/// The bytes of a POST with the JSON [`BODY`] and further header lines.
pub fn post(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    post_body(path, headers, BODY)
}

/// The request with another JSON body.
pub fn post_body(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.extend(["\r\n", body]);
    request.into_bytes()
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(8 << 10) })
    }

    /// Sends a request and reads the answer to its end.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.received.clear();
        self.stream.write_all(request).await?;
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the server closed the connection");
            }
            if let Some(head) = complete(&self.received)? {
                let (head, body) = self.received.split_at(head);
                let head = std::str::from_utf8(head)?;
                let status = head.get(9..12).and_then(|digits| digits.parse().ok()).context("no status")?;
                return Ok(Answer { status, head, body });
            }
            if self.received.len() > LARGEST_ANSWER {
                bail!("the answer has no end");
            }
        }
    }
}

/// Offset of the body, once all of it is there.
fn complete(received: &[u8]) -> Result<Option<usize>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = received.split_at(end + 4);
    let head = std::str::from_utf8(head)?;
    let whole = match field(head, "content-length") {
        Some(length) => body.len() >= length.parse()?,
        None => body.ends_with(LAST_CHUNK),
    };
    Ok(whole.then_some(head.len()))
}

/// The value of a header field.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
