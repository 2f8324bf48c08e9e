//! The driver of one metered stream.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::source::{FundingSource, MeteredRequest, PING_INTERVAL, StreamContext};
use super::state::ChannelBalance;
use crate::id::Timestamp;
use crate::ledger::{Capture, Ledger};
use crate::money::Money;
use crate::services::chat::{Chunk, ChunkStream, UpstreamError};

/// Chunks that one charge covers at the most.
const BATCH: usize = 16;
/// Chunks read ahead of the charge.
const READ_AHEAD: usize = 64;
/// Runs of charged chunks that may wait for the client. With the run that waits
/// to join them and the one that is being written, what a disconnect can cost.
const IN_FLIGHT: usize = 1;

type ReadResult = Result<Chunk, UpstreamError>;

/// What a client is sent.
#[derive(Debug)]
pub enum StreamEvent {
    /// Chunks that are paid for, in their order.
    Chunks(Vec<Bytes>),
    /// Nothing to say.
    Ping,
    /// The next voucher must reach this.
    NeedVoucher { required: Money, balance: ChannelBalance },
    /// The stream is over.
    End(Box<StreamSummary>),
}

/// How a stream ended, with what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub end: StreamEnd,
    pub units: u64,
    /// How the channel stands that paid for it.
    pub balance: Option<ChannelBalance>,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    Complete,
    /// The upstream failed.
    Upstream(UpstreamError),
    /// No voucher came in time.
    NoVoucher,
    /// The account has no more.
    OutOfCredit,
    /// The key was revoked or has expired.
    KeyEnded,
    /// A newer request took the channel over, or it is being closed; or the request
    /// was closed as lost.
    Superseded,
    /// The ledger could not be written.
    Ledger,
    /// The client went away.
    Gone,
}

/// A running stream.
pub struct MeteredStream<P> {
    context: StreamContext,
    source: P,
    /// What is held back behind the last chunk that was sent.
    rest: Option<Bytes>,
}

impl<P: FundingSource> MeteredStream<P> {
    /// A stream and where its events come out. Boxed, as is everything that is
    /// handed on here: a future keeps room for each place that a value was in.
    #[must_use]
    pub fn new(
        request: MeteredRequest,
        source: P,
        ledger: Ledger,
    ) -> (Box<Self>, mpsc::Receiver<StreamEvent>) {
        let (events, receiver) = mpsc::channel(IN_FLIGHT);
        (Box::new(Self { context: StreamContext { request, ledger, events }, source, rest: None }), receiver)
    }

    /// Runs to the end and closes the request at what was charged. `start` asks
    /// the upstream; it is dropped when the client goes away meanwhile.
    pub async fn run(
        mut self: Box<Self>,
        start: BoxFuture<'_, Result<ChunkStream, UpstreamError>>,
    ) -> StreamSummary {
        let end = match self.begin(start).await {
            Ok(upstream) => {
                self.source.began();
                Box::pin(self.pump(upstream)).await
            }
            Err(end) => end,
        };
        self.close(end).await
    }

    /// Waits for the upstream's first chunk, which a busy model may take a minute for.
    async fn begin(
        &mut self,
        mut start: BoxFuture<'_, Result<ChunkStream, UpstreamError>>,
    ) -> Result<ChunkStream, StreamEnd> {
        loop {
            tokio::select! {
                () = self.context.events.closed() => return Err(StreamEnd::Gone),
                end = self.source.stopped() => return Err(end),
                begun = &mut start => return begun.map_err(StreamEnd::Upstream),
                () = tokio::time::sleep(PING_INTERVAL) => self.context.send(StreamEvent::Ping).await?,
            }
        }
    }

    async fn pump(&mut self, upstream: ChunkStream) -> StreamEnd {
        let mut ahead = ReadAhead { upstream, ready: VecDeque::with_capacity(BATCH), is_over: false };
        loop {
            while ahead.ready.is_empty() {
                if ahead.is_over {
                    return StreamEnd::Complete;
                }
                let waited = tokio::select! {
                    () = self.context.events.closed() => return StreamEnd::Gone,
                    end = self.source.stopped() => return end,
                    waited = tokio::time::timeout(PING_INTERVAL, ahead.read()) => waited,
                };
                if waited.is_err()
                    && let Err(end) = self.send(StreamEvent::Ping).await
                {
                    return end;
                }
            }
            let mut delivering = std::pin::pin!(self.deliver(ahead.run()));
            let delivered = loop {
                tokio::select! {
                    biased;
                    delivered = &mut delivering => break delivered,
                    () = ahead.read(), if ahead.has_room() => {}
                }
            };
            if let Err(end) = delivered {
                return end;
            }
        }
    }

    /// Charges a run of chunks, then sends them.
    async fn deliver(&mut self, mut run: VecDeque<ReadResult>) -> Result<(), StreamEnd> {
        while !run.is_empty() {
            let chunks: Vec<&Chunk> = run.iter().flatten().collect();
            let paid = self.source.pay(&self.context, &chunks).await?;
            self.send_paid(&mut run, paid).await?;
            self.source.sent(&self.context).await?;
        }
        Ok(())
    }

    /// Sends chunks from the front until `paid` billable ones are sent and the
    /// next billable one is not paid for.
    async fn send_paid(&mut self, run: &mut VecDeque<ReadResult>, mut paid: u64) -> Result<(), StreamEnd> {
        let mut chunks = Vec::with_capacity(run.len());
        let mut rest = None;
        let mut failed = Ok(());
        while let Some(next) = run.front() {
            if matches!(next, Ok(chunk) if chunk.billable) {
                if paid == 0 {
                    break;
                }
                paid -= 1;
            }
            match run.pop_front() {
                // It is always asked for upstream, not always by the client.
                Some(Ok(chunk)) if chunk.usage_only && !self.context.request.wants_usage => {}
                Some(Ok(chunk)) => {
                    rest = chunk.rest;
                    chunks.push(chunk.data);
                }
                Some(Err(error)) => failed = Err(StreamEnd::Upstream(error)),
                None => {}
            }
        }
        if !chunks.is_empty() {
            self.send(StreamEvent::Chunks(chunks)).await?;
            self.rest = rest;
        }
        failed
    }

    async fn send(&mut self, event: StreamEvent) -> Result<(), StreamEnd> {
        tokio::select! {
            biased;
            end = self.source.stopped() => Err(end),
            sent = self.context.send(event) => sent,
        }
    }

    /// Closes the request at what was charged, and tells the client.
    async fn close(mut self: Box<Self>, end: StreamEnd) -> StreamSummary {
        // What was charged leaves in full, however the stream ended.
        if let Some(rest) = self.rest.take().filter(|_| end != StreamEnd::Gone) {
            let _ = self.context.send(StreamEvent::Chunks(vec![rest])).await;
        }
        let owed = self.source.owed(&end);
        let units = self.source.units();
        let StreamContext { request, ledger, .. } = &self.context;
        let details = self.source.details(request, units, end.as_str());
        let capture = Capture { hold: request.hold.clone(), owed, details, now: Timestamp::now() };
        if let Err(error) = Box::pin(ledger.capture(capture)).await {
            tracing::error!(%error, "a request is left to the sweeper");
        }
        let balance = self.source.balance().await;
        let delivered = StreamSummary { end, units, balance };
        if delivered.end != StreamEnd::Gone {
            let _ = self.context.send(StreamEvent::End(Box::new(delivered.clone()))).await;
        }
        delivered
    }
}

impl StreamEnd {
    /// Stable name, as kept in the entry.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Upstream(_) => "upstream_failed",
            Self::NoVoucher => "no_voucher",
            Self::OutOfCredit => "out_of_credit",
            Self::KeyEnded => "key_ended",
            Self::Superseded => "superseded",
            Self::Ledger => "ledger_unavailable",
            Self::Gone => "client_gone",
        }
    }
}

/// An answer, read while what came before is charged and sent.
struct ReadAhead {
    upstream: ChunkStream,
    ready: VecDeque<ReadResult>,
    is_over: bool,
}

impl ReadAhead {
    fn has_room(&self) -> bool {
        !self.is_over && self.ready.len() < READ_AHEAD
    }

    /// Waits for the next chunk, or the end.
    async fn read(&mut self) {
        let next = self.upstream.next().await;
        self.is_over = !matches!(next, Some(Ok(_)));
        self.ready.extend(next);
    }

    /// What one charge covers. Nothing stands behind an error.
    fn run(&mut self) -> VecDeque<ReadResult> {
        let rest = self.ready.split_off(BATCH.min(self.ready.len()));
        std::mem::replace(&mut self.ready, rest)
    }
}
