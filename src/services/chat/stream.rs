//! Streamed answer of an upstream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::answer::{AnswerRewriter, Chunk, ParsedEvent};
use super::privacy::{AnswerRestorer, StreamRestorer};
use super::repair::EventRepair;
use super::sse::{Parser, SseEvent};
use super::upstream_error::{TimeoutKind, UpstreamError, UpstreamReport};
use super::upstream_event::UpstreamEvent;

/// Time in which the body of a finished answer must end, so that its connection can be used
/// again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes after the end of an answer, beyond which its connection is closed instead.
const MAX_DRAINED_BYTES: usize = 1 << 10;

/// Bytes of a long token: text of fewer tokens than bytes by this has surely no more.
const LONG_TOKEN_BYTES: u64 = 5;

/// Limits of one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerLimits {
    /// Completion tokens: what goes on beyond them is cut off.
    pub tokens: u64,
    /// Billable chunks, likewise.
    pub billable: u64,
    /// Events of any kind.
    pub events: u64,
    /// Bytes of the body.
    pub bytes: u64,
}

/// Size of the largest answer that is read whole, in bytes.
const MAX_WHOLE_BYTES: u64 = 64 << 20;

impl AnswerLimits {
    /// Returns the bytes of an answer that is read whole.
    pub(super) fn whole_bytes(&self) -> usize {
        usize::try_from(self.bytes.min(MAX_WHOLE_BYTES)).unwrap_or(usize::MAX)
    }

    /// Returns the limits of an answer of `tokens` in `max_chunks` billable chunks.
    pub(super) fn of(tokens: u64, max_chunks: u64) -> Self {
        Self {
            tokens,
            billable: max_chunks,
            events: max_chunks.saturating_add(1024),
            // A chunk is a few hundred bytes; log probabilities make it kilobytes.
            bytes: max_chunks.saturating_mul(8 << 10).saturating_add(1 << 20),
        }
    }
}

/// Stream of an answer's chunks, the first of which has arrived. Dropping it cancels the
/// request at the upstream at once. It ends after an error.
pub struct ChunkStream {
    /// Body of the response; `None` after the end of the answer.
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    rewriter: AnswerRewriter,
    restorer: Option<StreamRestorer>,
    /// Limits of the answer, less the amounts read so far.
    limits: AnswerLimits,
    parser: Parser,
    repair: EventRepair,
    events: Vec<SseEvent>,
    ready: VecDeque<Chunk>,
    failure: Option<UpstreamError>,
    /// Indices of the choices that have not ended; the answer is complete when there is none.
    open_choices: Vec<u64>,
    /// Billable chunks so far, and the bytes of their text.
    billable: u64,
    text_bytes: u64,
    /// Text held back after the last chunk.
    held_back: Option<Bytes>,
    idle_timeout: Duration,
    /// Timer of the idle timeout; `None` while no chunk is waited for.
    idle_timer: Option<Pin<Box<Sleep>>>,
    total_timer: Pin<Box<Sleep>>,
}

impl fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkStream").field("rewriter", &self.rewriter).finish_non_exhaustive()
    }
}

impl ChunkStream {
    pub(super) fn new(
        body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
        rewriter: AnswerRewriter,
        choices: u64,
        limits: AnswerLimits,
        idle_timeout: Duration,
        deadline: Instant,
    ) -> Self {
        Self {
            body: Some(body.boxed()),
            restorer: rewriter.restorer.clone().map(AnswerRestorer::into_stream),
            rewriter,
            limits,
            parser: Parser::default(),
            repair: EventRepair::default(),
            events: Vec::new(),
            ready: VecDeque::new(),
            failure: None,
            open_choices: (0..choices).collect(),
            billable: 0,
            text_bytes: 0,
            held_back: None,
            idle_timeout,
            idle_timer: None,
            total_timer: Box::pin(sleep_until(deadline)),
        }
    }

    /// Reads up to the first chunk with content, and keeps the chunks in the queue. If it
    /// fails, another upstream can still be tried.
    ///
    /// # Errors
    /// [`UpstreamError`] if the answer fails or ends before it.
    pub(super) async fn wait_for_content(mut self) -> Result<Self, UpstreamError> {
        let has_content = |chunk: &Chunk| chunk.billable || !chunk.finished.is_empty();
        let mut examined = 0;
        while self.body.is_some() && !self.ready.range(examined..).any(has_content) {
            examined = self.ready.len();
            std::future::poll_fn(|cx| self.poll_read(cx)).await;
        }
        if self.ready.iter().any(has_content) {
            return Ok(self);
        }
        Err(self.failure.unwrap_or(UpstreamError::Malformed("the answer is empty")))
    }

    /// Returns the next chunk of those that were read, then the error.
    fn next_ready(&mut self) -> Option<Result<Chunk, UpstreamError>> {
        let next = match self.ready.pop_front() {
            Some(chunk) => Ok(chunk),
            None => Err(self.failure.take()?),
        };
        self.idle_timer = None;
        Some(next)
    }

    /// Reads the body once: adds to `ready`, sets `failure`, or ends `body`.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(());
        };
        match ready!(body.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => {
                // Comments are signs of life too: servers send them while a model thinks.
                self.idle_timer = None;
                self.read(&bytes);
            }
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
        if length > self.limits.bytes {
            return self.fail(UpstreamError::TooLong);
        }
        self.limits.bytes -= length;
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

    fn event(&mut self, event: &SseEvent) {
        if self.body.is_none() {
            return;
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return self.drain();
        }
        if self.limits.events == 0 {
            return self.fail(UpstreamError::TooLong);
        }
        self.limits.events -= 1;
        if event.data.trim_ascii().is_empty() {
            return;
        }
        if event.is_error {
            let error = serde_json::from_slice::<Value>(&event.data).unwrap_or_default();
            return self.fail_with_report(error.get("error").unwrap_or(&error));
        }
        let read = match self.repair.read(&event.data) {
            Ok(read) => read,
            Err(malformed) => return self.fail(UpstreamError::Malformed(malformed.0)),
        };
        match self.rewriter.event(read, event.data.len(), self.restorer.as_mut()) {
            ParsedEvent::Chunk(chunk) => self.chunk(chunk),
            ParsedEvent::Empty => {}
            ParsedEvent::Error(error) => self.fail_with_report(&error),
        }
    }

    fn chunk(&mut self, chunk: Chunk) {
        if chunk.billable {
            self.billable += 1;
            self.text_bytes += chunk.text_bytes as u64;
            // A chunk is a token, or less where its bytes are few.
            let tokens = self.billable.min(self.text_bytes.div_ceil(LONG_TOKEN_BYTES));
            if tokens > self.limits.tokens || self.billable > self.limits.billable {
                return self.cut();
            }
        }
        self.open_choices.retain(|index| !chunk.finished.contains(index));
        self.held_back.clone_from(&chunk.held_back);
        self.ready.push_back(chunk);
    }

    /// Ends an answer that is longer than it was asked for, as the upstream should have.
    fn cut(&mut self) {
        tracing::debug!("an answer is longer than max_tokens; it is cut");
        metrics::counter!("farebox_upstream_cut_total").increment(1);
        self.ready.extend(self.held_back.take().map(Chunk::free));
        for index in std::mem::take(&mut self.open_choices) {
            let end = json!({ "choices": [{ "index": index, "delta": {}, "finish_reason": "length" }] });
            // Without the restorer: what it holds is of the chunk that is cut off.
            let Ok(end) = UpstreamEvent::read(end.to_string().as_bytes()) else { continue };
            if let ParsedEvent::Chunk(chunk) = self.rewriter.event(end, 0, None) {
                self.ready.push_back(chunk);
            }
        }
        self.body = None;
    }

    /// Ends with the error that the upstream reports.
    fn fail_with_report(&mut self, error: &Value) {
        self.fail(UpstreamReport::from_event(error).classify(&[], None));
    }

    /// Ends with an error, unless the answer is complete.
    fn fail(&mut self, failure: UpstreamError) {
        if self.body.take().is_none() {
            return;
        }
        if self.open_choices.is_empty() {
            tracing::debug!(code = failure.code(), "upstream failed after its answer was complete");
        } else {
            self.failure = Some(failure);
        }
    }

    /// Ends after `[DONE]`, and reads the end of the body in the background, which frees the
    /// connection.
    fn drain(&mut self) {
        if let Some(mut body) = self.body.take() {
            tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, async move {
                let mut read = 0;
                while let Some(Ok(bytes)) = body.next().await {
                    read += bytes.len();
                    if read > MAX_DRAINED_BYTES {
                        break;
                    }
                }
            }));
        }
    }

    /// Ends with the body: an error, unless the answer is complete. `[DONE]` may be missing.
    fn end_of_body(&mut self) {
        if let Some(event) = self.parser.finish() {
            // An event that is not complete was cut off with the connection.
            let is_complete = event.data.trim_ascii() == b"[DONE]"
                || serde_json::from_slice::<serde::de::IgnoredAny>(&event.data).is_ok();
            if is_complete {
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
            if let Some(chunk) = self.next_ready() {
                return Poll::Ready(Some(chunk));
            }
            if self.body.is_none() {
                return Poll::Ready(None);
            }
            if self.poll_read(cx).is_ready() {
                continue;
            }
            let idle_timeout = self.idle_timeout;
            let idle_timer = self.idle_timer.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
            if idle_timer.as_mut().poll(cx).is_ready() {
                self.fail(UpstreamError::Timeout(TimeoutKind::Idle));
            } else if self.total_timer.as_mut().poll(cx).is_ready() {
                self.fail(UpstreamError::Timeout(TimeoutKind::Total));
            } else {
                return Poll::Pending;
            }
        }
    }
}
