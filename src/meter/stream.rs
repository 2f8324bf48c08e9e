//! Driver of one metered stream: reads the upstream, charges the hold, sends the chunks.

#![expect(clippy::disallowed_methods, reason = "a stream takes time, so its end has a moment of its own")]

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::served;
use super::source::{FundingSource, MeteredRequest, PING_INTERVAL, StreamContext};
use super::state::ChannelBalance;
use crate::id::{EntryId, HoldId, Timestamp};
use crate::ledger::{Capture, Ledger};
use crate::money::Money;
use crate::services::chat::{AnswerUsage, Chunk, ChunkStream, UpstreamError};

/// Largest number of chunks that one charge covers.
const BATCH: usize = 16;
/// Largest number of chunks that are read ahead of the charge.
const READ_AHEAD: usize = 64;
/// Capacity of a client's queue of events. A client that disconnects has paid at the
/// most for the batches in the queue, the one that waits to enter it, and the one that
/// is being written.
const EVENT_QUEUE: usize = 1;

type ReadResult = Result<Chunk, UpstreamError>;

/// Event of a stream, to be sent to the client.
#[derive(Debug)]
pub enum StreamEvent {
    /// Charged chunks, in their order.
    Chunks(Vec<Bytes>),
    /// Keep-alive of a stream that has nothing to send.
    Ping,
    /// Request for a voucher that reaches `required`.
    NeedVoucher { required: Money, balance: ChannelBalance },
    /// End of the stream.
    End(Box<StreamSummary>),
}

/// End of a stream, and the units that it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub end: StreamEnd,
    pub units: u64,
    /// Balance of the channel that paid for it; `None` for prepaid credits.
    pub balance: Option<ChannelBalance>,
    /// Last chunk of the answer, with its usage and its cost; `None` if the client did not ask for it, or nothing was
    /// delivered.
    pub usage_chunk: Option<Bytes>,
}

/// Reason for which a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    Complete,
    /// The upstream failed.
    Upstream(UpstreamError),
    /// No voucher came in time.
    NoVoucher,
    /// The account has no more credit.
    OutOfCredit,
    /// The key was revoked or has expired.
    KeyEnded,
    /// A newer request took the channel over, the channel is being closed, or the
    /// sweep closed the hold.
    Superseded,
    /// The ledger could not be read or written.
    LedgerUnavailable,
    /// The client disconnected.
    ClientGone,
}

/// A stream that charges its chunks before it sends them.
pub struct MeteredStream<P> {
    context: StreamContext,
    source: P,
    /// Text held back behind the last chunk that was sent, as one more chunk.
    held_back: Option<Bytes>,
    /// Usage of the chunks that were charged.
    usage: AnswerUsage,
    /// True if a chunk was sent.
    is_begun: bool,
}

impl<P: FundingSource> MeteredStream<P> {
    /// Creates a stream, and the receiver of its events. Boxed, as is every value that
    /// is passed on here: a future has room for each variable that held a value.
    #[must_use]
    pub fn new(
        request: MeteredRequest,
        source: P,
        ledger: Ledger,
    ) -> (Box<Self>, mpsc::Receiver<StreamEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let context = StreamContext { request, ledger, events };
        let usage = AnswerUsage::default();
        (Box::new(Self { context, source, held_back: None, usage, is_begun: false }), receiver)
    }

    /// Runs the stream to its end and captures the hold. `start` sends the request to
    /// the upstream; it is dropped if the client disconnects meanwhile.
    pub async fn run(
        mut self: Box<Self>,
        start: BoxFuture<'_, Result<ChunkStream, UpstreamError>>,
    ) -> StreamSummary {
        let end = match self.wait_for_upstream(start).await {
            Ok(upstream) => {
                self.source.on_first_chunk();
                Box::pin(self.deliver(upstream)).await
            }
            Err(end) => end,
        };
        self.close(end).await
    }

    /// Waits for the upstream's first chunk, which can take a busy model a minute.
    async fn wait_for_upstream(
        &mut self,
        mut start: BoxFuture<'_, Result<ChunkStream, UpstreamError>>,
    ) -> Result<ChunkStream, StreamEnd> {
        self.source.before_upstream(&self.context).await?;
        let delivery = self.context.request.chat.delivery().clone();
        let mut is_taken = false;
        loop {
            tokio::select! {
                () = self.context.events.closed() => return Err(StreamEnd::ClientGone),
                end = self.source.cancelled(&self.context.request) => return Err(end),
                begun = &mut start => return begun.map_err(StreamEnd::Upstream),
                taken = delivery.changed(is_taken) => {
                    is_taken = taken;
                    self.source.on_delivery(&self.context.request, taken).await;
                }
                () = tokio::time::sleep(PING_INTERVAL) => self.context.send(StreamEvent::Ping).await?,
            }
        }
    }

    /// Charges and sends all chunks of the upstream, reading ahead meanwhile.
    async fn deliver(&mut self, upstream: ChunkStream) -> StreamEnd {
        let mut ahead = ReadAhead { upstream, ready: VecDeque::with_capacity(BATCH), is_finished: false };
        loop {
            while ahead.ready.is_empty() {
                if ahead.is_finished {
                    return StreamEnd::Complete;
                }
                let waited = tokio::select! {
                    () = self.context.events.closed() => return StreamEnd::ClientGone,
                    end = self.source.cancelled(&self.context.request) => return end,
                    waited = tokio::time::timeout(PING_INTERVAL, ahead.read()) => waited,
                };
                if waited.is_err()
                    && let Err(end) = self.send(StreamEvent::Ping).await
                {
                    return end;
                }
            }
            let events = self.context.events.clone();
            let mut sending = std::pin::pin!(self.charge_and_send(ahead.take_batch()));
            let sent = loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => break sent,
                    () = ahead.read(), if ahead.has_room() => {}
                    // A charge can take as long as a failover of the database. A client with a full queue needs no ping.
                    () = tokio::time::sleep(PING_INTERVAL) => drop(events.try_send(StreamEvent::Ping)),
                }
            };
            if let Err(end) = sent {
                return end;
            }
        }
    }

    /// Charges a batch of chunks, then sends them.
    async fn charge_and_send(&mut self, mut batch: VecDeque<ReadResult>) -> Result<(), StreamEnd> {
        while !batch.is_empty() {
            let chunks: Vec<&Chunk> = batch.iter().flatten().collect();
            let charged = self.source.charge_chunks(&self.context, &chunks).await?;
            self.send_charged(&mut batch, charged).await?;
            self.source.on_sent(&self.context).await?;
        }
        Ok(())
    }

    /// Sends chunks from the front, up to the first billable one after the `charged` ones.
    async fn send_charged(
        &mut self,
        batch: &mut VecDeque<ReadResult>,
        mut charged: u64,
    ) -> Result<(), StreamEnd> {
        let (mut chunks, mut sent) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut held_back = None;
        let mut failed = Ok(());
        while let Some(next) = batch.front() {
            if matches!(next, Ok(chunk) if chunk.billable) {
                if charged == 0 {
                    break;
                }
                charged -= 1;
            }
            match batch.pop_front() {
                Some(Ok(chunk)) => {
                    // Usage alone is told at the end, when it is charged.
                    if !chunk.data.is_empty() {
                        held_back.clone_from(&chunk.held_back);
                        chunks.push(chunk.data.clone());
                    }
                    sent.push(chunk);
                }
                Some(Err(error)) => failed = Err(StreamEnd::Upstream(error)),
                None => {}
            }
        }
        if !chunks.is_empty() {
            self.is_begun = true;
            self.send(StreamEvent::Chunks(chunks)).await?;
            self.held_back = held_back;
        }
        // What did not leave is not paid for.
        for chunk in &sent {
            self.usage.add(chunk);
        }
        failed
    }

    async fn send(&mut self, event: StreamEvent) -> Result<(), StreamEnd> {
        tokio::select! {
            biased;
            end = self.source.cancelled(&self.context.request) => Err(end),
            sent = self.context.send(event) => sent,
        }
    }

    /// Captures the hold and sends the client the end of the stream.
    async fn close(mut self: Box<Self>, end: StreamEnd) -> StreamSummary {
        // The client gets all that was charged, however the stream ended.
        if let Some(chunk) = self.held_back.take().filter(|_| end != StreamEnd::ClientGone) {
            let _ = self.context.send(StreamEvent::Chunks(vec![chunk])).await;
        }
        let owed = self.source.owed_at_end(&self.context.request, &end, &self.usage);
        let units = self.source.units();
        let StreamContext { request, ledger, .. } = &self.context;
        let details = self.source.entry_details(request, units, end.as_str());
        let now = Timestamp::now();
        let hold = HoldId::clone(&request.hold);
        let capture = Capture { hold, entry: EntryId::new(now), owed, details, now };
        // What was delivered stays owed.
        let cost = match served::capture(ledger, &request.hold, capture, |capture| capture).await {
            Ok(closed) => closed.entry().map(|entry| entry.amount),
            Err(error) => {
                tracing::error!(%error, "a stream's hold is not captured");
                None
            }
        };
        let wants_usage = request.chat.wants_usage() && self.is_begun && end != StreamEnd::ClientGone;
        let usage_chunk = wants_usage.then(|| {
            let usage = self.usage.of(&request.chat);
            request.head.usage_chunk(&request.chat.model().id, usage, cost)
        });
        let balance = self.source.channel_balance().await;
        let summary = StreamSummary { end, units, balance, usage_chunk };
        if summary.end != StreamEnd::ClientGone {
            let _ = self.context.send(StreamEvent::End(Box::new(summary.clone()))).await;
        }
        summary
    }
}

impl StreamEnd {
    /// Returns the stable name of the reason, as the entry keeps it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Upstream(_) => "upstream_failed",
            Self::NoVoucher => "no_voucher",
            Self::OutOfCredit => "out_of_credit",
            Self::KeyEnded => "key_ended",
            Self::Superseded => "superseded",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::ClientGone => "client_gone",
        }
    }
}

/// Answer of an upstream, read while earlier chunks are charged and sent.
struct ReadAhead {
    upstream: ChunkStream,
    ready: VecDeque<ReadResult>,
    is_finished: bool,
}

impl ReadAhead {
    fn has_room(&self) -> bool {
        !self.is_finished && self.ready.len() < READ_AHEAD
    }

    /// Reads the next chunk, the error that ends the answer, or its end.
    async fn read(&mut self) {
        let next = self.upstream.next().await;
        self.is_finished = !matches!(next, Some(Ok(_)));
        self.ready.extend(next);
    }

    /// Takes the chunks that one charge covers. An error is the last item of a batch.
    fn take_batch(&mut self) -> VecDeque<ReadResult> {
        let rest = self.ready.split_off(BATCH.min(self.ready.len()));
        std::mem::replace(&mut self.ready, rest)
    }
}
