//! The driver of one metered stream.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::state::{Ask, Standing, Window};
use super::wake::Bell;
use crate::funding::channel::{Channels, Refused};
use crate::id::{HoldId, RequestId, Timestamp};
use crate::ledger::{ChargeOutcome, CloseOutcome, EntryDetails, EntryKind, Ledger};
use crate::money::Money;
use crate::mpp::session::ChannelId;
use crate::services::chat::{Chunk, ChunkStream, UpstreamError};

/// Chunks that one charge covers at the most.
const BATCH: usize = 32;
/// Charged chunks that may wait for the client: what a disconnect can cost.
const IN_FLIGHT: usize = 8;
/// Chunks read ahead of the charge.
const READ_AHEAD: usize = 64;
/// How long a stream waits for a voucher ("Insufficient Balance During Streaming").
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a waiting stream looks at its channel without being rung: should
/// word of a voucher that another instance got be lost.
const LOOK: Duration = Duration::from_secs(1);
/// How often a silent stream shows that it lives.
const PING: Duration = Duration::from_secs(10);

/// What a client is sent.
#[derive(Debug)]
pub enum Event {
    /// A chunk, paid for.
    Chunk(Bytes),
    /// Nothing to say.
    Ping,
    /// The next voucher must reach this.
    NeedVoucher { required: Money, standing: Standing },
    /// The stream is over.
    End(Box<Delivered>),
}

/// How a stream ended, with what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub end: End,
    pub units: u64,
    pub standing: Standing,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Complete,
    /// The upstream failed; the text is for the client.
    Upstream(String),
    /// No voucher came in time.
    NoVoucher,
    /// A newer request took the channel over, or it is being closed.
    Superseded,
    /// The ledger could not be written.
    Ledger,
    /// The client went away.
    Gone,
}

/// The tab that an answer charges.
pub struct Tab {
    pub hold: HoldId,
    pub channel: ChannelId,
    pub request_id: RequestId,
    /// The id of the challenge that the request came with.
    pub challenge: String,
    pub model: String,
    pub price: Money,
    pub window: Window,
    /// The most units the answer can have.
    pub most_units: u64,
    pub standing: Standing,
}

impl Tab {
    /// What is posted of it. `end` is a stable name of how it ended.
    pub(super) fn details(&self, units: u64, end: &str) -> EntryDetails {
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(self.request_id.clone()),
            service: self.model.clone(),
            units,
            unit_price: self.price,
            meta: serde_json::json!({
                "channel": self.channel.to_string(), "challenge": self.challenge, "end": end,
            }),
        }
    }
}

/// A running stream.
pub struct Metered {
    tab: Tab,
    ledger: Ledger,
    channels: Channels,
    bell: Bell,
    events: mpsc::Sender<Event>,
    units: u64,
    /// When the first chunk came.
    began: Instant,
    asked: Option<Money>,
    /// What had been accepted then.
    accepted_when_asked: Money,
}

impl Metered {
    /// A stream and where its events come out.
    #[must_use]
    pub fn new(tab: Tab, ledger: Ledger, channels: Channels, bell: Bell) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(IN_FLIGHT);
        (
            Self {
                tab,
                ledger,
                channels,
                bell,
                events,
                units: 0,
                began: Instant::now(),
                asked: None,
                accepted_when_asked: Money::ZERO,
            },
            receiver,
        )
    }

    /// Runs to the end and closes the tab at what was charged. `start` asks
    /// the upstream; it is dropped when the client goes away meanwhile.
    pub async fn run(mut self, start: impl Future<Output = Result<ChunkStream, UpstreamError>>) -> Delivered {
        let end = match self.begin(start).await {
            Ok(upstream) => {
                self.began = Instant::now();
                self.pump(upstream).await
            }
            Err(end) => end,
        };
        self.close(end).await
    }

    /// Waits for the upstream's first chunk, which a busy model may take a minute for.
    async fn begin(
        &mut self,
        start: impl Future<Output = Result<ChunkStream, UpstreamError>>,
    ) -> Result<ChunkStream, End> {
        let mut start = std::pin::pin!(start);
        loop {
            tokio::select! {
                () = self.events.closed() => return Err(End::Gone),
                begun = &mut start => return begun.map_err(|error| End::Upstream(error.to_string())),
                () = tokio::time::sleep(PING) => self.send(Event::Ping).await?,
            }
        }
    }

    async fn pump(&mut self, upstream: ChunkStream) -> End {
        let (ahead, mut chunks) = mpsc::channel(READ_AHEAD);
        // Dropped with this future, which drops the upstream connection.
        let _reader = AbortOnDrop(tokio::spawn(read(upstream, ahead)));
        let mut ready = Vec::with_capacity(BATCH);
        loop {
            ready.clear();
            let got = tokio::select! {
                () = self.events.closed() => return End::Gone,
                got = tokio::time::timeout(PING, chunks.recv_many(&mut ready, BATCH)) => got,
            };
            match got {
                Ok(0) => return End::Complete,
                Ok(_) => {}
                Err(_) => {
                    if let Err(end) = self.send(Event::Ping).await {
                        return end;
                    }
                    continue;
                }
            }
            for chunk in charged_together(&mut ready) {
                if let Err(end) = self.deliver(chunk).await {
                    return end;
                }
            }
        }
    }

    /// Charges a run of chunks, then sends them.
    async fn deliver(&mut self, run: Vec<Result<Chunk, String>>) -> Result<(), End> {
        let mut run = std::collections::VecDeque::from(run);
        while !run.is_empty() {
            let units = run.iter().flatten().filter(|chunk| chunk.billable).count() as u64;
            let paid = self.charge(units).await?;
            self.send_paid(&mut run, paid).await?;
            self.ask_early().await?;
        }
        Ok(())
    }

    /// Charges as many of `units` as the channel pays for, at least one, and
    /// waits for a voucher where it pays for none.
    async fn charge(&mut self, units: u64) -> Result<u64, End> {
        if units == 0 {
            return Ok(0);
        }
        loop {
            let affordable = self.tab.standing.affordable(self.tab.price, units);
            if affordable == 0 {
                self.wait_for_voucher().await?;
                continue;
            }
            let cost = self.tab.price.checked_mul(affordable).ok_or(End::Ledger)?;
            match self.ledger.charge(&self.tab.hold, cost).await {
                Ok(ChargeOutcome::Charged { .. }) => {
                    self.units += affordable;
                    self.tab.standing.spent = self.tab.standing.spent.checked_add(cost).ok_or(End::Ledger)?;
                    return Ok(affordable);
                }
                // Our picture was too good: look again before the next try.
                Ok(ChargeOutcome::Short { .. }) => self.look().await?,
                Ok(ChargeOutcome::Closed) => return Err(End::Superseded),
                Err(error) => {
                    tracing::error!(%error, "a chunk cannot be charged");
                    return Err(End::Ledger);
                }
            }
        }
    }

    /// Sends chunks from the front until `paid` billable ones are sent and the
    /// next billable one is not paid for.
    async fn send_paid(
        &mut self,
        run: &mut std::collections::VecDeque<Result<Chunk, String>>,
        mut paid: u64,
    ) -> Result<(), End> {
        while let Some(next) = run.front() {
            if matches!(next, Ok(chunk) if chunk.billable) {
                if paid == 0 {
                    return Ok(());
                }
                paid -= 1;
            }
            match run.pop_front() {
                Some(Ok(chunk)) => self.send(Event::Chunk(chunk.data)).await?,
                Some(Err(reason)) => return Err(End::Upstream(reason)),
                None => {}
            }
        }
        Ok(())
    }

    async fn send(&mut self, event: Event) -> Result<(), End> {
        // A client that takes nothing for so long holds a tab and a model for nothing.
        match tokio::time::timeout(PATIENCE, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn ask_early(&mut self) -> Result<(), End> {
        let more = self.tab.most_units.saturating_sub(self.units);
        match self.tab.standing.ask_early(self.tab.price, self.window(), more, self.asked) {
            Some(ask) => self.ask(ask).await,
            None => Ok(()),
        }
    }

    fn window(&self) -> Window {
        let millis = self.began.elapsed().as_millis();
        self.tab.window.at_rate(self.units, u64::try_from(millis).unwrap_or(u64::MAX))
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), End> {
        self.asked = Some(ask.required);
        self.accepted_when_asked = self.tab.standing.accepted;
        let standing = self.tab.standing;
        self.send(Event::NeedVoucher { required: ask.required, standing }).await
    }

    /// Asks, unless that has been asked already, and waits until the channel
    /// pays for a unit.
    async fn wait_for_voucher(&mut self) -> Result<(), End> {
        self.look().await?;
        let deadline = Instant::now() + PATIENCE;
        let mut next_ping = Instant::now() + PING;
        while self.tab.standing.affordable(self.tab.price, 1) == 0 {
            let more = self.tab.most_units.saturating_sub(self.units);
            let ask = self.tab.standing.ask_now(self.tab.price, self.window(), more);
            let accepted = self.tab.standing.accepted;
            // A voucher for less than was asked is an answer too: ask for the rest.
            if self.asked.is_none_or(|asked| asked <= accepted || self.accepted_when_asked < accepted) {
                self.ask(ask).await?;
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(End::NoVoucher);
            }
            if now >= next_ping {
                self.send(Event::Ping).await?;
                next_ping = now + PING;
            }
            tokio::select! {
                () = self.events.closed() => return Err(End::Gone),
                () = self.bell.rung() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look().await?;
        }
        Ok(())
    }

    /// How the channel stands now.
    async fn look(&mut self) -> Result<(), End> {
        match self.channels.find(self.tab.channel).await {
            Ok(Some(channel)) => {
                match channel.usable() {
                    Ok(()) => {}
                    Err(Refused::Closed | Refused::Closing) => return Err(End::Superseded),
                    Err(_) => return Err(End::Ledger),
                }
                self.tab.standing =
                    Standing { accepted: channel.accepted(), spent: channel.spent, deposit: channel.deposit };
                Ok(())
            }
            Ok(None) => Err(End::Ledger),
            Err(error) => {
                tracing::error!(%error, "channel cannot be read");
                Err(End::Ledger)
            }
        }
    }

    /// Closes the tab at what was charged, and tells the client.
    async fn close(mut self, end: End) -> Delivered {
        let details = self.tab.details(self.units, end.as_str());
        match self.ledger.close(&self.tab.hold, &details, Timestamp::now()).await {
            Ok(CloseOutcome::Closed { .. } | CloseOutcome::AlreadyClosed { .. }) => {}
            Err(error) => tracing::error!(%error, "a tab is left to the sweeper"),
        }
        // The receipt must say what the channel's books say, whoever wrote them.
        if let Ok(Some(channel)) = self.channels.find(self.tab.channel).await {
            self.tab.standing.accepted = channel.accepted();
            self.tab.standing.spent = channel.spent;
        }
        let delivered = Delivered { end, units: self.units, standing: self.tab.standing };
        if delivered.end != End::Gone {
            let _ = self.send(Event::End(Box::new(delivered.clone()))).await;
        }
        delivered
    }
}

impl End {
    /// Stable name, as kept in the entry.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Upstream(_) => "upstream_failed",
            Self::NoVoucher => "no_voucher",
            Self::Superseded => "superseded",
            Self::Ledger => "ledger_unavailable",
            Self::Gone => "client_gone",
        }
    }
}

/// Splits what is ready where an error stands, so that nothing behind it is charged.
fn charged_together(ready: &mut Vec<Result<Chunk, String>>) -> Vec<Vec<Result<Chunk, String>>> {
    let mut runs = vec![Vec::new()];
    for chunk in ready.drain(..) {
        let failed = chunk.is_err();
        if let Some(run) = runs.last_mut() {
            run.push(chunk);
        }
        if failed {
            runs.push(Vec::new());
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

async fn read(mut upstream: ChunkStream, ahead: mpsc::Sender<Result<Chunk, String>>) {
    while let Some(chunk) = upstream.next().await {
        let chunk = chunk.map_err(|error| error.to_string());
        let failed = chunk.is_err();
        if ahead.send(chunk).await.is_err() || failed {
            return;
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
