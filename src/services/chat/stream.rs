//! A streamed answer, as it comes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use serde_json::Value;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::answer::{Chunk, Identity, ParsedEvent};
use super::error::{UpstreamError, UpstreamReport, Wait};
use super::privacy::{Restorer, Restoring};
use super::sse::{Event, Parser};

/// How long the rest of a finished answer is awaited so that its connection can
/// be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// What one answer may amount to.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerLimits {
    /// Chunks that hold something to pay for.
    pub billable: u64,
    /// Events of any kind.
    pub events: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl AnswerLimits {
    /// What a request with these limits can need.
    pub(super) fn of(max_chunks: u64) -> Self {
        Self {
            billable: max_chunks,
            events: max_chunks.saturating_add(1024),
            // A chunk is a few hundred bytes; log probabilities make it kilobytes.
            bytes: max_chunks.saturating_mul(8 << 10).saturating_add(1 << 20),
        }
    }
}

/// The chunks of one answer. The first has arrived when this exists. Dropping it
/// ends the request upstream at once. After an error it is over.
pub struct ChunkStream {
    /// Gone when the answer is over.
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    identity: Identity,
    restorer: Option<Restorer>,
    budget: AnswerLimits,
    parser: Parser,
    events: Vec<Event>,
    ready: VecDeque<Chunk>,
    failure: Option<UpstreamError>,
    /// Choices that have not ended. With none left nothing is missing.
    unfinished: u64,
    idle: Duration,
    /// Runs while a chunk is waited for, not while nobody asks for one.
    silence: Option<Pin<Box<Sleep>>>,
    end: Pin<Box<Sleep>>,
}

impl fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkStream").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl ChunkStream {
    pub(super) fn new(
        body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
        identity: Identity,
        choices: u64,
        budget: AnswerLimits,
        idle: Duration,
        end: Instant,
    ) -> Self {
        Self {
            body: Some(body.boxed()),
            restorer: identity.restoring.clone().map(Restoring::begin),
            identity,
            budget,
            parser: Parser::default(),
            events: Vec::new(),
            ready: VecDeque::new(),
            failure: None,
            unfinished: choices,
            idle,
            silence: None,
            end: Box::pin(sleep_until(end)),
        }
    }

    /// Reads up to the first chunk with something in it, which stays in line.
    /// Until then another upstream can still be asked.
    pub(super) async fn begin(mut self) -> Result<Self, UpstreamError> {
        let begun = |chunk: &Chunk| chunk.billable || chunk.finish;
        let mut seen = 0;
        while self.body.is_some() && !self.ready.range(seen..).any(begun) {
            seen = self.ready.len();
            std::future::poll_fn(|cx| self.poll_read(cx)).await;
        }
        if self.ready.iter().any(begun) {
            return Ok(self);
        }
        Err(self.failure.unwrap_or(UpstreamError::Malformed("the answer is empty")))
    }

    /// The next chunk, or what went wrong, of what was read.
    fn taken(&mut self) -> Option<Result<Chunk, UpstreamError>> {
        let next = match self.ready.pop_front() {
            Some(chunk) => Ok(chunk),
            None => Err(self.failure.take()?),
        };
        self.silence = None;
        Some(next)
    }

    /// Reads once, into `ready`, `failure` or the end of `body`.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(());
        };
        match ready!(body.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => self.read(&bytes),
            Some(Err(error)) => {
                tracing::debug!(error = %error.without_url(), "upstream connection lost");
                self.fail(UpstreamError::Interrupted);
            }
            None => self.end_of_body(),
        }
        Poll::Ready(())
    }

    fn read(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if length > self.budget.bytes {
            return self.fail(UpstreamError::TooLong);
        }
        self.budget.bytes -= length;
        let mut events = std::mem::take(&mut self.events);
        let result = self.parser.push(bytes, &mut events);
        for event in events.drain(..) {
            self.event(&event);
        }
        self.events = events;
        if result.is_err() {
            self.fail(UpstreamError::Malformed("an event is too large"));
        }
    }

    fn event(&mut self, event: &Event) {
        if self.body.is_none() {
            return;
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return self.done();
        }
        if self.budget.events == 0 {
            return self.fail(UpstreamError::TooLong);
        }
        self.budget.events -= 1;
        if event.is_error {
            let error = serde_json::from_slice::<Value>(&event.data).unwrap_or_default();
            return self.reported(error.get("error").unwrap_or(&error));
        }
        match self.identity.event(&event.data, self.restorer.as_mut()) {
            Ok(ParsedEvent::Chunk(chunk)) => self.chunk(chunk),
            Ok(ParsedEvent::Nothing) => {}
            Ok(ParsedEvent::Error(error)) => self.reported(&error),
            Err(malformed) => self.fail(UpstreamError::Malformed(malformed.0)),
        }
    }

    fn chunk(&mut self, chunk: Chunk) {
        if chunk.billable {
            if self.budget.billable == 0 {
                return self.fail(UpstreamError::TooLong);
            }
            self.budget.billable -= 1;
        }
        self.unfinished = self.unfinished.saturating_sub(u64::from(chunk.finish));
        self.ready.push_back(chunk);
    }

    fn reported(&mut self, error: &Value) {
        self.fail(UpstreamReport::of_event(error).judge(&[], None));
    }

    /// Ends with an error, unless the answer was complete before it.
    fn fail(&mut self, failure: UpstreamError) {
        if self.body.take().is_none() {
            return;
        }
        if self.unfinished == 0 {
            tracing::debug!(code = failure.code(), "upstream failed after its answer was complete");
        } else {
            self.failure = Some(failure);
        }
    }

    /// `[DONE]`: what follows is the end of the body, which frees the connection.
    fn done(&mut self) {
        if let Some(mut body) = self.body.take() {
            tokio::spawn(tokio::time::timeout(DRAIN, async move {
                let mut rest = 0;
                while let Some(Ok(bytes)) = body.next().await {
                    rest += bytes.len();
                    if rest > 1 << 10 {
                        break;
                    }
                }
            }));
        }
    }

    /// An answer that is complete needs no `[DONE]`.
    fn end_of_body(&mut self) {
        if let Some(event) = self.parser.finish() {
            // Half an event is no event: the connection was cut within it.
            let whole = event.data.trim_ascii() == b"[DONE]"
                || serde_json::from_slice::<serde::de::IgnoredAny>(&event.data).is_ok();
            if whole {
                self.event(&event);
            }
        }
        self.fail(UpstreamError::Interrupted);
    }
}

impl Stream for ChunkStream {
    type Item = Result<Chunk, UpstreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(chunk) = self.taken() {
                return Poll::Ready(Some(chunk));
            }
            if self.body.is_none() {
                return Poll::Ready(None);
            }
            if self.poll_read(cx).is_ready() {
                continue;
            }
            let idle = self.idle;
            let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
            if silence.as_mut().poll(cx).is_ready() {
                self.fail(UpstreamError::Timeout(Wait::Idle));
            } else if self.end.as_mut().poll(cx).is_ready() {
                self.fail(UpstreamError::Timeout(Wait::Total));
            } else {
                return Poll::Pending;
            }
        }
    }
}
