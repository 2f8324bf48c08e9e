//! Funding source of a channel: charges chunk by chunk and requests vouchers on the way.

use std::time::Duration;

use tokio::time::Instant;

use super::notifier::Waiter;
use super::served::OUTAGE_PATIENCE;
use super::source::{FundingSource, MeteredRequest, PING_INTERVAL, StreamContext};
use super::state::{ChannelBalance, VoucherRequest, VoucherWindow};
use super::stream::{StreamEnd, StreamEvent};
use crate::funding::channel::{ChannelRefusal, Channels};
use crate::id::HoldId;
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, Owed};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;
use crate::services::chat::{AnswerUsage, Chunk, Completion};

/// Interval at which a waiting stream reads its channel without a notification: the
/// notification of a voucher that another instance accepted may be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time that a stream waits for a voucher ("Insufficient Balance During Streaming").
const VOUCHER_TIMEOUT: Duration = Duration::from_mins(1);

/// Funding source of an answer that a channel pays for.
pub struct ChannelSource {
    channels: Channels,
    waiter: Waiter,
    terms: ChannelTerms,
    /// Units charged or owed: of the prompt, then of the answer.
    units: u64,
    /// Units of the prompt that are not charged yet.
    prompt_due: u64,
    /// Time of the first chunk.
    first_chunk_at: Option<Instant>,
    /// Amount that was requested last.
    requested: Option<Money>,
    /// Amount that was accepted when it was requested.
    accepted_at_request: Money,
}

/// Terms on which a channel pays for an answer.
#[derive(Debug, Clone)]
pub struct ChannelTerms {
    pub channel: ChannelId,
    /// Id of the challenge that the request answered.
    pub challenge: String,
    pub price: Money,
    pub window: VoucherWindow,
    /// Units of the prompt, charged before the first one of the answer.
    pub prompt_units: u64,
    /// Largest number of units that the answer can have.
    pub max_units: u64,
    pub balance: ChannelBalance,
}

impl ChannelSource {
    #[must_use]
    pub fn new(terms: ChannelTerms, channels: Channels, waiter: Waiter) -> Self {
        Self {
            channels,
            waiter,
            prompt_due: terms.prompt_units,
            terms,
            units: 0,
            first_chunk_at: None,
            requested: None,
            accepted_at_request: Money::ZERO,
        }
    }

    /// Returns the voucher window at the rate of this stream.
    fn window(&self) -> VoucherWindow {
        let millis = self.first_chunk_at.map_or(0, |first| first.elapsed().as_millis());
        self.terms.window.at_rate(self.units, u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Returns the number of units that prompt and answer can still have.
    fn remaining_units(&self) -> u64 {
        self.terms.prompt_units.saturating_add(self.terms.max_units).saturating_sub(self.units)
    }

    /// Returns the number of units without which nothing goes on: what is due of the prompt, and one of the answer.
    fn needed_units(&self) -> u64 {
        self.prompt_due.saturating_add(1)
    }

    /// Returns true if the channel can pay for the next units.
    fn can_go_on(&self) -> bool {
        let needed = self.needed_units();
        self.terms.balance.affordable(self.terms.price, needed) == needed
    }

    async fn request_voucher(
        &mut self,
        context: &StreamContext,
        request: VoucherRequest,
    ) -> Result<(), StreamEnd> {
        self.requested = Some(request.required);
        self.accepted_at_request = self.terms.balance.accepted;
        let balance = self.terms.balance;
        context.send(StreamEvent::NeedVoucher { required: request.required, balance }).await
    }

    /// Requests a voucher, unless it was requested already, and waits until the
    /// channel can pay for the next units.
    async fn wait_for_voucher(&mut self, context: &StreamContext) -> Result<(), StreamEnd> {
        self.refresh_balance(&context.request.hold).await?;
        let deadline = Instant::now() + VOUCHER_TIMEOUT;
        let mut next_ping = Instant::now() + PING_INTERVAL;
        while !self.can_go_on() {
            let balance = self.terms.balance;
            let request = balance.request_now(
                self.terms.price,
                self.window(),
                self.needed_units(),
                self.remaining_units(),
            );
            let accepted = balance.accepted;
            // A voucher for less than was requested is an answer too: request the difference.
            let is_answered = |requested: Money| requested <= accepted || self.accepted_at_request < accepted;
            if self.requested.is_none_or(is_answered) {
                self.request_voucher(context, request).await?;
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
                () = context.events.closed() => return Err(StreamEnd::ClientGone),
                () = self.next_change() => {}
            }
            self.refresh_balance(&context.request.hold).await?;
        }
        Ok(())
    }

    /// Waits until the channel may have changed.
    async fn next_change(&mut self) {
        tokio::select! {
            () = self.waiter.notified() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }

    /// Reads the channel's balance. A database that is away is waited for, as for a charge.
    async fn refresh_balance(&mut self, hold: &HoldId) -> Result<(), StreamEnd> {
        let deadline = Instant::now() + OUTAGE_PATIENCE;
        let found = loop {
            // Boxed, here and below: the future of a stream is as large as the largest one that it awaits.
            match Box::pin(self.channels.find_serving(self.terms.channel, hold)).await {
                Ok(found) => break found,
                Err(_) if Instant::now() < deadline && !self.channels.are_stopped() => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                Err(_) => return Err(StreamEnd::LedgerUnavailable),
            }
        };
        let Some(channel) = found else { return Err(StreamEnd::Superseded) };
        match channel.usable() {
            Ok(()) => {}
            Err(ChannelRefusal::Closed | ChannelRefusal::Closing) => return Err(StreamEnd::Superseded),
            Err(_) => return Err(StreamEnd::LedgerUnavailable),
        }
        self.terms.balance =
            ChannelBalance { accepted: channel.accepted(), spent: channel.spent, deposit: channel.deposit };
        Ok(())
    }
}

impl FundingSource for ChannelSource {
    /// No upstream is asked with a prompt that the channel cannot pay for.
    async fn before_upstream(&mut self, context: &StreamContext) -> Result<(), StreamEnd> {
        if self.can_go_on() {
            return Ok(());
        }
        Box::pin(self.wait_for_voucher(context)).await
    }

    /// Kept with the hold, because a newer request or a close ends this one without asking it.
    async fn on_delivery(&mut self, request: &MeteredRequest, is_taken: bool) {
        let Some(due) = self.terms.price.checked_mul(self.prompt_due).filter(|due| due.is_positive()) else {
            return;
        };
        // Nothing is owed for an upstream that failed.
        let due = if is_taken { due } else { Money::ZERO };
        if let Err(error) = Box::pin(self.channels.owe_prompt(&request.hold, due)).await {
            tracing::warn!(%error, "what is owed for a prompt cannot be recorded");
        }
    }

    fn on_first_chunk(&mut self) {
        self.first_chunk_at = Some(Instant::now());
    }

    async fn charge_chunks(&mut self, context: &StreamContext, chunks: &[&Chunk]) -> Result<u64, StreamEnd> {
        let units = chunks.iter().filter(|chunk| chunk.billable).count() as u64;
        if units == 0 {
            return Ok(0);
        }
        loop {
            if !self.can_go_on() {
                Box::pin(self.wait_for_voucher(context)).await?;
                continue;
            }
            let wanted = self.prompt_due.saturating_add(units);
            let affordable = self.terms.balance.affordable(self.terms.price, wanted);
            let cost = self.terms.price.checked_mul(affordable).ok_or(StreamEnd::LedgerUnavailable)?;
            // Nothing else runs on the channel, so all that a voucher added is reserved at once.
            let ahead = self.terms.balance.left().checked_sub(cost).unwrap_or_default();
            match context.ledger.charge_ahead(&context.request.hold, cost, ahead).await {
                Ok(ChargeOutcome::Charged { .. }) => {
                    self.units += affordable;
                    let balance = &mut self.terms.balance;
                    balance.spent = balance.spent.checked_add(cost).ok_or(StreamEnd::LedgerUnavailable)?;
                    return Ok(affordable - std::mem::take(&mut self.prompt_due));
                }
                // The balance read before was too high: read it again before the next try.
                Ok(ChargeOutcome::Short { .. }) => self.refresh_balance(&context.request.hold).await?,
                Ok(ChargeOutcome::Closed) => return Err(StreamEnd::Superseded),
                Err(error) => {
                    tracing::error!(%error, "chunks cannot be charged");
                    return Err(StreamEnd::LedgerUnavailable);
                }
            }
        }
    }

    /// A newer request or a close takes the hold. A database that cannot be read ends nothing.
    async fn cancelled(&mut self, request: &MeteredRequest) -> StreamEnd {
        loop {
            self.next_change().await;
            if let Ok(false) = self.channels.is_serving(&request.hold).await {
                return StreamEnd::Superseded;
            }
        }
    }

    async fn on_sent(&mut self, context: &StreamContext) -> Result<(), StreamEnd> {
        let (price, window, remaining) = (self.terms.price, self.window(), self.remaining_units());
        match self.terms.balance.request_early(price, window, remaining, self.requested) {
            Some(request) => self.request_voucher(context, request).await,
            None => Ok(()),
        }
    }

    /// An upstream that has the prompt reads it for money, whoever waits for the answer, and also for an empty one.
    fn owed_at_end(&mut self, request: &MeteredRequest, end: &StreamEnd, _usage: &AnswerUsage) -> Owed {
        let is_read = matches!(end, StreamEnd::Complete | StreamEnd::ClientGone | StreamEnd::Superseded);
        if !is_read || !request.chat.delivery().is_taken() {
            return Owed::NOTHING;
        }
        let due = self.terms.balance.affordable(self.terms.price, std::mem::take(&mut self.prompt_due));
        self.units += due;
        Owed::AtMost(self.terms.price.checked_mul(due).unwrap_or(Money::ZERO))
    }

    /// The challenge asked for the most that a non-streaming answer can cost, so the
    /// vouchers always cover it.
    fn owed_for_completion(&mut self, completion: &Completion) -> Owed {
        let tokens = completion.usage.completion.tokens.clamp(1, self.terms.max_units);
        let units = tokens.saturating_add(self.terms.prompt_units);
        self.units = self.terms.balance.affordable(self.terms.price, units);
        Owed::Exactly(self.terms.price.checked_mul(self.units).unwrap_or(Money::ZERO))
    }

    /// Read anew: the receipt must agree with the channel's record, whichever request wrote it.
    async fn channel_balance(&mut self) -> Option<ChannelBalance> {
        if let Ok(Some(channel)) = Box::pin(self.channels.find(self.terms.channel)).await {
            self.terms.balance.accepted = channel.accepted();
            self.terms.balance.spent = channel.spent;
        }
        Some(self.terms.balance)
    }

    fn units(&self) -> u64 {
        self.units
    }

    fn entry_details(&self, request: &MeteredRequest, units: u64, end: &str) -> EntryDetails {
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(request.request_id.clone()),
            service: request.chat.model().id.clone(),
            units,
            unit_price: self.terms.price,
            meta: request.entry_meta(serde_json::json!({
                "channel": self.terms.channel.to_string(), "challenge": self.terms.challenge, "end": end,
                "promptUnits": self.terms.prompt_units.min(units),
            })),
        }
    }
}
