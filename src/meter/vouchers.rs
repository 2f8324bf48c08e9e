//! Paying from a channel, chunk by chunk, and asking for vouchers on the way.

use std::time::Duration;

use tokio::time::Instant;

use super::purse::{PATIENCE, PING, Purse, Tab, Till};
use super::state::{Ask, Standing, Window};
use super::stream::{End, Event};
use super::wake::Bell;
use crate::funding::channel::{Channels, Refused};
use crate::ledger::{ChargeOutcome, EntryDetails, EntryKind, Owed};
use crate::money::Money;
use crate::mpp::session::ChannelId;
use crate::services::chat::{Chunk, Completion};

/// How often a waiting stream looks at its channel without being rung: should
/// word of a voucher that another instance got be lost.
const LOOK: Duration = Duration::from_secs(1);

/// What a channel pays with.
pub struct Vouchers {
    channels: Channels,
    bell: Bell,
    terms: ChannelTab,
    units: u64,
    /// When the first chunk came.
    began: Instant,
    asked: Option<Money>,
    /// What had been accepted then.
    accepted_when_asked: Money,
}

/// A request on a channel.
#[derive(Debug, Clone)]
pub struct ChannelTab {
    pub channel: ChannelId,
    /// The id of the challenge that the request came with.
    pub challenge: String,
    pub price: Money,
    pub window: Window,
    /// The most units the answer can have.
    pub most_units: u64,
    pub standing: Standing,
}

impl Vouchers {
    #[must_use]
    pub fn new(terms: ChannelTab, channels: Channels, bell: Bell) -> Self {
        Self {
            channels,
            bell,
            terms,
            units: 0,
            began: Instant::now(),
            asked: None,
            accepted_when_asked: Money::ZERO,
        }
    }

    fn window(&self) -> Window {
        let millis = self.began.elapsed().as_millis();
        self.terms.window.at_rate(self.units, u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn more(&self) -> u64 {
        self.terms.most_units.saturating_sub(self.units)
    }

    async fn ask(&mut self, till: &Till, ask: Ask) -> Result<(), End> {
        self.asked = Some(ask.required);
        self.accepted_when_asked = self.terms.standing.accepted;
        let standing = self.terms.standing;
        till.send(Event::NeedVoucher { required: ask.required, standing }).await
    }

    /// Asks, unless that has been asked already, and waits until the channel
    /// pays for a unit.
    async fn wait_for_voucher(&mut self, till: &Till) -> Result<(), End> {
        self.look().await?;
        let deadline = Instant::now() + PATIENCE;
        let mut next_ping = Instant::now() + PING;
        while self.terms.standing.affordable(self.terms.price, 1) == 0 {
            let ask = self.terms.standing.ask_now(self.terms.price, self.window(), self.more());
            let accepted = self.terms.standing.accepted;
            // A voucher for less than was asked is an answer too: ask for the rest.
            if self.asked.is_none_or(|asked| asked <= accepted || self.accepted_when_asked < accepted) {
                self.ask(till, ask).await?;
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(End::NoVoucher);
            }
            if now >= next_ping {
                till.send(Event::Ping).await?;
                next_ping = now + PING;
            }
            tokio::select! {
                () = till.events.closed() => return Err(End::Gone),
                () = self.bell.rung() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.look().await?;
        }
        Ok(())
    }

    /// How the channel stands now.
    async fn look(&mut self) -> Result<(), End> {
        // Boxed, here and below: a stream keeps the room of all that it may ever wait for.
        match Box::pin(self.channels.find(self.terms.channel)).await {
            Ok(Some(channel)) => {
                match channel.usable() {
                    Ok(()) => {}
                    Err(Refused::Closed | Refused::Closing) => return Err(End::Superseded),
                    Err(_) => return Err(End::Ledger),
                }
                self.terms.standing =
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
}

impl Purse for Vouchers {
    fn began(&mut self) {
        self.began = Instant::now();
    }

    async fn pay(&mut self, till: &Till, chunks: &[&Chunk]) -> Result<u64, End> {
        let units = chunks.iter().filter(|chunk| chunk.billable).count() as u64;
        if units == 0 {
            return Ok(0);
        }
        loop {
            let affordable = self.terms.standing.affordable(self.terms.price, units);
            if affordable == 0 {
                Box::pin(self.wait_for_voucher(till)).await?;
                continue;
            }
            let cost = self.terms.price.checked_mul(affordable).ok_or(End::Ledger)?;
            // Nothing else runs on the channel, so what a voucher added is set aside as a whole.
            let ahead = self.terms.standing.left();
            match till.ledger.charge_ahead(&till.tab.hold, cost, ahead).await {
                Ok(ChargeOutcome::Charged { .. }) => {
                    self.units += affordable;
                    let standing = &mut self.terms.standing;
                    standing.spent = standing.spent.checked_add(cost).ok_or(End::Ledger)?;
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

    async fn sent(&mut self, till: &Till) -> Result<(), End> {
        let (price, window, more) = (self.terms.price, self.window(), self.more());
        match self.terms.standing.ask_early(price, window, more, self.asked) {
            Some(ask) => self.ask(till, ask).await,
            None => Ok(()),
        }
    }

    /// The challenge asked for the most that a whole answer can cost, so it is
    /// always covered.
    fn owed_whole(&mut self, completion: &Completion) -> Owed {
        let units = completion.tokens().clamp(1, self.terms.most_units);
        self.units = self.terms.standing.affordable(self.terms.price, units);
        Owed::Exactly(self.terms.price.checked_mul(self.units).unwrap_or(Money::ZERO))
    }

    /// The receipt must say what the channel's books say, whoever wrote them.
    async fn standing(&mut self) -> Option<Standing> {
        if let Ok(Some(channel)) = Box::pin(self.channels.find(self.terms.channel)).await {
            self.terms.standing.accepted = channel.accepted();
            self.terms.standing.spent = channel.spent;
        }
        Some(self.terms.standing)
    }

    fn units(&self) -> u64 {
        self.units
    }

    fn details(&self, tab: &Tab, units: u64, end: &str) -> EntryDetails {
        EntryDetails {
            kind: EntryKind::Usage,
            request_id: Some(tab.request_id.clone()),
            service: tab.model.clone(),
            units,
            unit_price: self.terms.price,
            meta: tab.noted(serde_json::json!({
                "channel": self.terms.channel.to_string(), "challenge": self.terms.challenge, "end": end,
            })),
        }
    }
}
