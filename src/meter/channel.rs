//! Paying from a channel, chunk by chunk, and asking for vouchers on the way.

use std::time::Duration;

use tokio::time::Instant;

use super::notifier::Waiter;
use super::source::{CLIENT_TIMEOUT, FundingSource, MeteredRequest, PING_INTERVAL, StreamContext};
use super::state::{ChannelBalance, VoucherRequest, VoucherWindow};
use super::stream::{StreamEnd, StreamEvent};
use crate::funding::channel::{ChannelRefusal, Channels};
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, Owed};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;
use crate::services::chat::{Chunk, Completion};

/// How often a waiting stream looks at its channel without being notified: should
/// word of a voucher that another instance got be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What a channel pays with.
pub struct ChannelSource {
    channels: Channels,
    waiter: Waiter,
    terms: ChannelTerms,
    units: u64,
    /// When the first chunk came.
    began: Instant,
    asked: Option<Money>,
    /// What had been accepted then.
    accepted_when_asked: Money,
}

/// A request on a channel.
#[derive(Debug, Clone)]
pub struct ChannelTerms {
    pub channel: ChannelId,
    /// The id of the challenge that the request came with.
    pub challenge: String,
    pub price: Money,
    pub window: VoucherWindow,
    /// The most units the answer can have.
    pub most_units: u64,
    pub balance: ChannelBalance,
}

impl ChannelSource {
    #[must_use]
    pub fn new(terms: ChannelTerms, channels: Channels, waiter: Waiter) -> Self {
        Self {
            channels,
            waiter,
            terms,
            units: 0,
            began: Instant::now(),
            asked: None,
            accepted_when_asked: Money::ZERO,
        }
    }

    fn window(&self) -> VoucherWindow {
        let millis = self.began.elapsed().as_millis();
        self.terms.window.at_rate(self.units, u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn more(&self) -> u64 {
        self.terms.most_units.saturating_sub(self.units)
    }

    async fn ask(&mut self, context: &StreamContext, ask: VoucherRequest) -> Result<(), StreamEnd> {
        self.asked = Some(ask.required);
        self.accepted_when_asked = self.terms.balance.accepted;
        let balance = self.terms.balance;
        context.send(StreamEvent::NeedVoucher { required: ask.required, balance }).await
    }

    /// Asks, unless that has been asked already, and waits until the channel
    /// pays for a unit.
    async fn wait_for_voucher(&mut self, context: &StreamContext) -> Result<(), StreamEnd> {
        self.refresh().await?;
        let deadline = Instant::now() + CLIENT_TIMEOUT;
        let mut next_ping = Instant::now() + PING_INTERVAL;
        while self.terms.balance.affordable(self.terms.price, 1) == 0 {
            let ask = self.terms.balance.request_now(self.terms.price, self.window(), self.more());
            let accepted = self.terms.balance.accepted;
            // A voucher for less than was asked is an answer too: ask for the rest.
            if self.asked.is_none_or(|asked| asked <= accepted || self.accepted_when_asked < accepted) {
                self.ask(context, ask).await?;
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(StreamEnd::NoVoucher);
            }
            if now >= next_ping {
                context.send(StreamEvent::Ping).await?;
                next_ping = now + PING_INTERVAL;
            }
            tokio::select! {
                () = context.events.closed() => return Err(StreamEnd::Gone),
                () = self.waiter.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            self.refresh().await?;
        }
        Ok(())
    }

    /// How the channel stands now.
    async fn refresh(&mut self) -> Result<(), StreamEnd> {
        // Boxed, here and below: a stream keeps the room of all that it may ever wait for.
        match Box::pin(self.channels.find(self.terms.channel)).await {
            Ok(Some(channel)) => {
                match channel.usable() {
                    Ok(()) => {}
                    Err(ChannelRefusal::Closed | ChannelRefusal::Closing) => {
                        return Err(StreamEnd::Superseded);
                    }
                    Err(_) => return Err(StreamEnd::Ledger),
                }
                self.terms.balance = ChannelBalance {
                    accepted: channel.accepted(),
                    spent: channel.spent,
                    deposit: channel.deposit,
                };
                Ok(())
            }
            Ok(None) => Err(StreamEnd::Ledger),
            Err(error) => {
                tracing::error!(%error, "channel cannot be read");
                Err(StreamEnd::Ledger)
            }
        }
    }
}

impl FundingSource for ChannelSource {
    fn began(&mut self) {
        self.began = Instant::now();
    }

    async fn pay(&mut self, context: &StreamContext, chunks: &[&Chunk]) -> Result<u64, StreamEnd> {
        let units = chunks.iter().filter(|chunk| chunk.billable).count() as u64;
        if units == 0 {
            return Ok(0);
        }
        loop {
            let affordable = self.terms.balance.affordable(self.terms.price, units);
            if affordable == 0 {
                Box::pin(self.wait_for_voucher(context)).await?;
                continue;
            }
            let cost = self.terms.price.checked_mul(affordable).ok_or(StreamEnd::Ledger)?;
            // Nothing else runs on the channel, so what a voucher added is set aside as a whole.
            let ahead = self.terms.balance.left();
            match context.ledger.charge_ahead(&context.request.hold, cost, ahead).await {
                Ok(ChargeOutcome::Charged { .. }) => {
                    self.units += affordable;
                    let balance = &mut self.terms.balance;
                    balance.spent = balance.spent.checked_add(cost).ok_or(StreamEnd::Ledger)?;
                    return Ok(affordable);
                }
                // Our picture was too good: look again before the next try.
                Ok(ChargeOutcome::Short { .. }) => self.refresh().await?,
                Ok(ChargeOutcome::Closed) => return Err(StreamEnd::Superseded),
                Err(error) => {
                    tracing::error!(%error, "a chunk cannot be charged");
                    return Err(StreamEnd::Ledger);
                }
            }
        }
    }

    async fn sent(&mut self, context: &StreamContext) -> Result<(), StreamEnd> {
        let (price, window, more) = (self.terms.price, self.window(), self.more());
        match self.terms.balance.request_early(price, window, more, self.asked) {
            Some(ask) => self.ask(context, ask).await,
            None => Ok(()),
        }
    }

    /// The challenge asked for the most that a non-streaming answer can cost, so it is
    /// always covered.
    fn owed_non_streaming(&mut self, completion: &Completion) -> Owed {
        let units = completion.tokens().clamp(1, self.terms.most_units);
        self.units = self.terms.balance.affordable(self.terms.price, units);
        Owed::Exactly(self.terms.price.checked_mul(self.units).unwrap_or(Money::ZERO))
    }

    /// The receipt must say what the channel's record says, whoever wrote it.
    async fn balance(&mut self) -> Option<ChannelBalance> {
        if let Ok(Some(channel)) = Box::pin(self.channels.find(self.terms.channel)).await {
            self.terms.balance.accepted = channel.accepted();
            self.terms.balance.spent = channel.spent;
        }
        Some(self.terms.balance)
    }

    fn units(&self) -> u64 {
        self.units
    }

    fn details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails {
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(request.request_id.clone()),
            service: request.model.clone(),
            units,
            unit_price: self.terms.price,
            meta: request.noted(serde_json::json!({
                "channel": self.terms.channel.to_string(), "challenge": self.terms.challenge, "end": end,
            })),
        }
    }
}
