//! The model, in a process of its own: `upstream` answers every chat request with a stream of
//! chunks that never ends, as fast as they are taken or at a rate.
//!
//! Parameters of a request are in its prompt, which every contender passes on: `streams=64
//! rate=0`. Nothing but the first chunk comes before so many streams are open, so that opening
//! them is not measured.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::program::end_with_parent;

/// Stands once in every chunk, and nowhere else in an answer: counting it counts chunks.
pub const CHUNK_MARK: u8 = b'~';
/// Bytes in flight to one reader, so that what is not read yet does not fill the memory.
pub const SOCKET_BUFFER: u32 = 64 << 10;
/// Chunks in one write of an answer without a rate.
const CHUNKS_PER_WRITE: usize = 64;

/// `upstream`: runs until its parent ends.
pub fn run() -> Result<()> {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(4096)?;
        println!("{}", listener.local_addr()?);
        let open = Arc::new(watch::Sender::new(0));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let open = Arc::clone(&open);
            // It ends when its reader goes away, which is how every run here ends.
            tokio::spawn(async move { answer(stream, &open).await });
        }
    })
}

/// Parameters in a prompt.
struct PromptParameters {
    streams: u64,
    /// Chunks per second, 0 for as many as are taken.
    rate: u64,
}

/// One stream counts as open while this lives.
struct OpenStream<'a>(&'a watch::Sender<u64>);

impl<'a> OpenStream<'a> {
    fn take(open: &'a watch::Sender<u64>) -> Self {
        open.send_modify(|count| *count += 1);
        Self(open)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn answer(mut stream: TcpStream, open: &watch::Sender<u64>) -> Result<()> {
    let wanted = read_request(&mut stream).await?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{}", chunk(&now())).as_bytes()).await?;
    let place = OpenStream::take(open);
    let number = *open.borrow();
    let mut enough = open.subscribe();
    let mut silence = [0; 1];
    tokio::select! {
        // The reader is gone: nothing else is ever sent.
        _ = stream.read(&mut silence) => return Ok(()),
        enough = enough.wait_for(|count| *count >= wanted.streams) => drop(enough?),
    }
    let sent = match wanted.rate {
        0 => send_unlimited(&mut stream).await,
        rate => send_at_rate(&mut stream, rate, number).await,
    };
    drop(place);
    sent
}

async fn send_unlimited(stream: &mut TcpStream) -> Result<()> {
    let chunks = chunk(&now()).repeat(CHUNKS_PER_WRITE);
    loop {
        stream.write_all(chunks.as_bytes()).await?;
    }
}

/// One chunk at a time, each with the moment it was due. `number` spreads streams over the period.
async fn send_at_rate(stream: &mut TcpStream, rate: u64, number: u64) -> Result<()> {
    let period = Duration::from_secs(1) / u32::try_from(rate)?;
    let phase = period * u32::try_from(number * 7919 % 1000)? / 1000;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + phase, period);
    loop {
        ticks.tick().await;
        stream.write_all(chunk(&now()).as_bytes()).await?;
    }
}

/// One event in one chunk of the transfer encoding. Its text is the time of sending.
fn chunk(text: &str) -> String {
    let mark = char::from(CHUNK_MARK);
    let event = format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{mark}{text}\"}},\
         \"finish_reason\":null}}]}}\n\n"
    );
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// Microseconds since 1970, always as many digits.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:016}", since.as_micros())
}

/// Reads one request with a `content-length`.
async fn read_request(stream: &mut TcpStream) -> Result<PromptParameters> {
    let mut received = Vec::with_capacity(4 << 10);
    loop {
        anyhow::ensure!(stream.read_buf(&mut received).await? > 0, "no request came");
        let text = String::from_utf8_lossy(&received);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = crate::http::field(head, "content-length").context("a length")?.parse()?;
        if body.len() >= length {
            return Ok(PromptParameters { streams: number(body, "streams=")?, rate: number(body, "rate=")? });
        }
    }
}

fn number(text: &str, name: &str) -> Result<u64> {
    let (_, rest) = text.split_once(name).with_context(|| format!("the prompt says no {name}"))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    Ok(digits.parse()?)
}
