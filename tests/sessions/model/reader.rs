//! A stream as its payer reads it, and its possible cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use farebox_test_support::sse::{Frame, Stream, text};
use tokio::task::JoinHandle;

use super::rules::Range;
use crate::fixture::amount;

/// Chunks that may be charged and not received where a request was interrupted: three runs (`BATCH`
/// and `IN_FLIGHT` in `src/meter/stream.rs`), of which one is being written, one waits for that, and
/// one is charged.
pub const IN_FLIGHT: u64 = 3 * 16;
/// Longer than a stream needs to notice that it has lost its hold.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Possible cost of a request, in units.
#[derive(Debug)]
pub struct Cost {
    pub request: String,
    pub units: Range,
}

/// A stream that is read, or was.
pub struct StreamReader {
    request: String,
    reader: JoinHandle<()>,
    transcript: Arc<Mutex<Transcript>>,
    /// The payer went away from it.
    left: bool,
}

/// Content of a stream so far.
#[derive(Debug, Default)]
struct Transcript {
    chunks: u64,
    /// The voucher that it required last.
    required: Option<u64>,
    errors: Vec<String>,
    /// Units of the receipt.
    units: Option<u64>,
    done: bool,
    /// Content that no stream may have.
    wrong: Option<String>,
}

impl StreamReader {
    pub fn start(stream: Stream, request: String) -> Self {
        let transcript = Arc::new(Mutex::new(Transcript::default()));
        let reader = tokio::spawn(read(stream, Arc::clone(&transcript)));
        Self { request, reader, transcript, left: false }
    }

    pub fn is_running(&self) -> bool {
        !self.reader.is_finished()
    }

    /// Goes away; whether it went on until now.
    pub fn leave(&mut self) -> bool {
        let is_running = self.is_running();
        if is_running {
            self.reader.abort();
            self.left = true;
        }
        is_running
    }

    pub fn chunks(&self) -> u64 {
        self.transcript().chunks
    }

    /// The voucher without which it does not go on, when `accepted` is what it has.
    pub fn waits_for(&self, accepted: u64) -> Option<u64> {
        self.transcript().required.filter(|required| *required > accepted && !self.left && self.is_running())
    }

    /// Waits for its end and returns its possible cost.
    pub async fn cost(self) -> Cost {
        let Self { request, reader, transcript, left } = self;
        if !left {
            let ended = tokio::time::timeout(TIME_LIMIT, reader).await;
            ended.unwrap_or_else(|_| panic!("{request}: it goes on without its hold")).expect("it reads");
        }
        let transcript = lock(&transcript);
        assert_eq!(transcript.wrong, None, "{request}");
        let chunks = transcript.chunks;
        let is_complete = transcript.done && transcript.errors.iter().all(|code| code == "upstream_failed");
        let possible = Range { low: chunks, high: if is_complete { chunks } else { chunks + IN_FLIGHT } };
        // A receipt names what was charged, and that must be what the ledger has; where it could not
        // be written, it is what the server still knew.
        let is_booked = !transcript.errors.iter().any(|code| code == "ledger_unavailable");
        let units = match transcript.units.filter(|_| is_booked) {
            Some(units) => {
                assert!(possible.holds(units), "{request}: receipt of {units}, possible {possible:?}");
                Range::exactly(units)
            }
            None => possible,
        };
        Cost { request, units }
    }

    fn transcript(&self) -> MutexGuard<'_, Transcript> {
        lock(&self.transcript)
    }
}

async fn read(mut stream: Stream, transcript: Arc<Mutex<Transcript>>) {
    while let Some(frame) = stream.next().await {
        let mut transcript = lock(&transcript);
        match frame {
            Frame::Chunk(chunk) => {
                let Some(text) = text(&chunk) else { continue };
                if text != format!(" word{}", transcript.chunks) {
                    transcript.wrong = Some(format!("{text} after {} chunks", transcript.chunks));
                }
                transcript.chunks += 1;
            }
            Frame::NeedVoucher(ask) => transcript.required = Some(amount(&ask["requiredCumulative"])),
            Frame::Error(error) => {
                transcript.errors.push(error["error"]["code"].as_str().unwrap_or_default().to_owned());
            }
            Frame::Receipt(receipt) => transcript.units = receipt["units"].as_u64(),
            Frame::Done => transcript.done = true,
            Frame::Comment => {}
            Frame::Other(text) => transcript.wrong = Some(text),
        }
    }
}

fn lock(transcript: &Mutex<Transcript>) -> MutexGuard<'_, Transcript> {
    // Counters stay usable whatever happened to another holder.
    transcript.lock().unwrap_or_else(PoisonError::into_inner)
}
