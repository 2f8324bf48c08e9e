//! Readers of streams, in a process of their own: `streams ADDRESS FILE STREAMS AWAITED RATE MILLISECONDS`.
//!
//! Every line of the file is a header that one stream sends; the model is silent until AWAITED streams
//! are open. Says `go` when all streams have begun
//! and the measured time begins, and what it saw when that is over. Vouchers are large and come
//! with the requests, so nothing is signed meanwhile.

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::upstream::{CHUNK_MARK, SOCKET_BUFFER};
use super::{CHAT, prompt};
use crate::http::post_body;
use crate::report::percentile;

/// Streams that are being opened at the same time.
const OPENING: usize = 16;
/// From the last stream's beginning to the measured time.
const WARM_UP: Duration = Duration::from_millis(700);
/// `~` and as many digits say when a chunk was sent.
const TIMESTAMP_DIGITS: usize = 16;
/// A read of a connection, at most.
const READ: usize = 32 << 10;

/// A load that has begun.
pub struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

/// Results of the measured time.
pub struct Seen {
    pub chunks: u64,
    pub seconds: f64,
    /// Microseconds from the upstream to the reader, where a rate was asked for.
    pub p50: f64,
    pub p99: f64,
}

impl Running {
    /// Starts it and waits until the measured time begins.
    pub fn start(
        address: SocketAddr,
        headers: &Path,
        streams: usize,
        rate: u64,
        time: Duration,
    ) -> Result<Self> {
        Self::spawn(address, headers, [streams, streams], rate, time)
    }

    /// Streams that the model keeps waiting.
    pub fn idle(address: SocketAddr, headers: &Path, streams: usize, time: Duration) -> Result<Self> {
        Self::spawn(address, headers, [streams, usize::MAX], 0, time)
    }

    fn spawn(
        address: SocketAddr,
        headers: &Path,
        [streams, awaited]: [usize; 2],
        rate: u64,
        time: Duration,
    ) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["streams", &address.to_string()])
            .arg(headers)
            .args([streams.to_string(), awaited.to_string(), rate.to_string(), time.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line.trim() == "go", "{streams} streams did not begin at {address}");
        Ok(Self { child, output })
    }

    /// Waits until the measured time is over.
    pub fn seen(mut self) -> Result<Seen> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(self.child.wait()?.success(), "the streams ended early");
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [chunks, seconds, p50, p99] = numbers[..] else { bail!("the load said {line}") };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
        Ok(Seen { chunks: chunks as u64, seconds, p50, p99 })
    }
}

/// State that all streams of one process share. They run on one thread.
#[derive(Default)]
struct Counts {
    begun: Cell<usize>,
    chunks: Cell<u64>,
    measuring: Cell<bool>,
    delays: RefCell<Vec<f64>>,
}

pub fn run(arguments: &[&str]) -> Result<()> {
    let [address, file, streams, awaited, rate, time] = arguments else {
        bail!("usage: streams ADDRESS FILE STREAMS AWAITED RATE MILLISECONDS");
    };
    let (streams, awaited, rate) = (streams.parse()?, awaited.parse()?, rate.parse()?);
    let headers = std::fs::read_to_string(file)?;
    let requests: Vec<_> = headers.lines().take(streams).map(|line| request(line, awaited, rate)).collect();
    ensure!(requests.len() == streams, "there are headers for {} streams only", requests.len());
    let time = Duration::from_millis(time.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, drive(address.parse()?, requests, rate > 0, time))
}

fn request(header: &str, awaited: usize, rate: u64) -> Vec<u8> {
    let (name, value) = header.split_once(": ").unwrap_or((header, ""));
    post_body(CHAT, &[(name, value)], &prompt(awaited, rate))
}

async fn drive(address: SocketAddr, requests: Vec<Vec<u8>>, timed: bool, time: Duration) -> Result<()> {
    let counts = Rc::new(Counts::default());
    let opening = Rc::new(Semaphore::new(OPENING));
    let streams = requests.len();
    let mut readers = JoinSet::new();
    for request in requests {
        let (counts, opening) = (Rc::clone(&counts), Rc::clone(&opening));
        readers.spawn_local(async move { read(address, &request, &opening, &counts, timed).await });
    }
    let measured = async {
        while counts.begun.get() < streams {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(WARM_UP).await;
        println!("go");
        let (before, begun) = (counts.chunks.get(), Instant::now());
        counts.measuring.set(true);
        tokio::time::sleep(time).await;
        counts.measuring.set(false);
        (counts.chunks.get() - before, begun.elapsed().as_secs_f64())
    };
    let (chunks, seconds) = tokio::select! {
        measured = measured => measured,
        Some(ended) = readers.join_next() => bail!("a stream ended: {:?}", ended?),
    };
    let delays = counts.delays.take();
    println!("{chunks} {seconds} {} {}", percentile(&delays, 50), percentile(&delays, 99));
    Ok(())
}

/// Opens a stream and reads it until it or this process ends.
async fn read(
    address: SocketAddr,
    request: &[u8],
    opening: &Semaphore,
    counts: &Counts,
    timed: bool,
) -> Result<()> {
    let place = opening.acquire().await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    let mut stream: TcpStream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut received = Vec::with_capacity(READ);
    while !received.contains(&CHUNK_MARK) {
        ensure!(
            stream.read_buf(&mut received).await? > 0,
            "no answer: {}",
            String::from_utf8_lossy(&received)
        );
        let refused = received.len() > 12 && !received.starts_with(b"HTTP/1.1 200");
        ensure!(!refused, "{}", String::from_utf8_lossy(&received));
    }
    drop(place);
    counts.begun.set(counts.begun.get() + 1);
    received.clear();
    loop {
        ensure!(stream.read_buf(&mut received).await? > 0, "the stream has an end");
        if timed {
            let read = note_delays(&received, counts);
            received.drain(..read);
        } else {
            counts.chunks.set(counts.chunks.get() + count_chunks(&received));
            received.clear();
        }
    }
}

#[expect(clippy::naive_bytecount, reason = "the compiler makes it fast enough not to be seen")]
fn count_chunks(received: &[u8]) -> u64 {
    received.iter().filter(|&&byte| byte == CHUNK_MARK).count() as u64
}

/// Counts complete stamps and how long they were on their way; returns how much was read.
fn note_delays(received: &[u8], counts: &Counts) -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e6;
    let mut at = 0;
    while let Some(mark) = received[at..].iter().position(|&byte| byte == CHUNK_MARK) {
        let start = at + mark + 1;
        let Some(stamp) = received.get(start..start + TIMESTAMP_DIGITS) else {
            return at + mark;
        };
        counts.chunks.set(counts.chunks.get() + 1);
        if counts.measuring.get()
            && let Some(sent) = std::str::from_utf8(stamp).ok().and_then(|text| text.parse::<f64>().ok())
        {
            counts.delays.borrow_mut().push(now - sent);
        }
        at = start + TIMESTAMP_DIGITS;
    }
    received.len()
}
