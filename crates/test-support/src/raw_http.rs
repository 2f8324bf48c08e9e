//! HTTP by hand, for requests that no client library would send.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Server;

/// An answer in its raw form.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl RawAnswer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub async fn connect(server: &Server) -> TcpStream {
    let address = server.url.strip_prefix("http://").expect("an http URL");
    TcpStream::connect(address).await.expect("the server accepts")
}

/// Sends these bytes and reads until the server closes.
pub async fn exchange(server: &Server, request: &[u8]) -> RawAnswer {
    let mut stream = connect(server).await;
    // A server that has read enough may answer and close before everything is sent.
    let _ = stream.write_all(request).await;
    read(&mut stream).await
}

pub async fn read(stream: &mut TcpStream) -> RawAnswer {
    let mut bytes = Vec::new();
    // A reset after the answer keeps what was read before it.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    RawAnswer {
        status: status.unwrap_or_else(|| panic!("not an answer: {text:?}")),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
