//! The rules of a channel, as pure functions of its state.

use crate::id::{RequestId, Timestamp};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher, Snapshot};

/// How far a channel has come. See `migrations/0003_channels.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Opening,
    Open,
    Closed,
    Failed,
}

impl Phase {
    pub(super) const ALL: [Self; 4] = [Self::Opening, Self::Open, Self::Closed, Self::Failed];

    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

/// What a transaction about a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxPurpose {
    Open,
    TopUp,
    Settle,
    Close,
}

impl TxPurpose {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::TopUp, Self::Settle, Self::Close];

    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::TopUp => "topUp",
            Self::Settle => "settle",
            Self::Close => "close",
        }
    }
}

/// The transaction about a channel that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub purpose: TxPurpose,
    /// Deposit, addition, settled amount or capture.
    pub amount: Money,
    pub hash: String,
    pub raw: String,
    /// No block later than this includes it.
    pub until: Option<Timestamp>,
    /// Where we pay its fee.
    pub sponsored: Option<Reservation>,
}

/// What the sponsor's budget holds for a transaction of the channel's payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    pub fee: Money,
    /// When it was reserved.
    pub at: Timestamp,
}

/// A channel with everything that decisions about it need.
#[derive(Debug, Clone)]
pub struct Channel {
    pub id: ChannelId,
    pub descriptor: Descriptor,
    pub phase: Phase,
    pub deposit: Money,
    pub settled: Money,
    /// The highest voucher that a settlement ever carried, mined or not: public since.
    pub published: Money,
    /// Unix seconds; zero when the payer has not asked to close.
    pub close_requested_at: i64,
    pub pending: Option<Pending>,
    /// The highest voucher.
    pub voucher: Option<SignedVoucher>,
    /// What was charged for, over all requests.
    pub spent: Money,
    pub close_hash: Option<String>,
    pub active_at: Timestamp,
    /// When the chain was last asked about it.
    pub checked_at: Timestamp,
}

/// A request that is served on a channel.
#[derive(Debug, Clone, Copy)]
pub struct ChannelRequest<'a> {
    pub id: &'a RequestId,
    /// The client's `Idempotency-Key`: a request is charged once under it.
    pub key: Option<&'a str>,
    /// The id of the challenge it came with.
    pub challenge: &'a str,
    /// The ledger's name of what is sold.
    pub service: &'a str,
    pub unit_price: Money,
}

/// Why a channel refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelRefusal {
    #[error("this server knows no channel with this id")]
    Unknown,
    /// It may open yet: nobody is to give it up.
    #[error("the channel's opening transaction is not in a block yet; send the same request again")]
    Opening,
    #[error("the channel has been closed")]
    Closed,
    #[error("the channel is being closed; open a new one")]
    Closing,
    #[error("the voucher allows less than one accepted before")]
    Lower,
    #[error("the voucher adds less than the least step")]
    Step,
    #[error("the voucher exceeds the channel's deposit; top it up first")]
    Deposit,
    #[error("a voucher for a close must cover what was spent and settled")]
    Cover,
    #[error("this voucher has been on the chain before; sign a close authorization with it")]
    Published,
    #[error(
        "a request with this Idempotency-Key is being served on this channel; nothing was charged for this one"
    )]
    InProgress,
    #[error(
        "a request with this Idempotency-Key was served and charged; nothing was charged for this one, \
         and a new key buys a new answer"
    )]
    Repeated,
}

/// What a voucher changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoucherEffect {
    /// It allows this much more.
    More(Money),
    /// It was accepted before.
    Again,
}

impl Channel {
    /// The highest cumulative amount accepted.
    #[must_use]
    pub fn accepted(&self) -> Money {
        self.voucher.as_ref().map_or(Money::ZERO, |voucher| voucher.amount)
    }

    /// Whether it can be used: charged, and given vouchers.
    ///
    /// # Errors
    /// Why not.
    pub fn usable(&self) -> Result<(), ChannelRefusal> {
        match self.phase {
            Phase::Opening => Err(ChannelRefusal::Opening),
            Phase::Failed => Err(ChannelRefusal::Unknown),
            Phase::Closed => Err(ChannelRefusal::Closed),
            Phase::Open if self.is_closing() => Err(ChannelRefusal::Closing),
            Phase::Open => Ok(()),
        }
    }

    fn is_closing(&self) -> bool {
        self.close_requested_at > 0 || self.closing().is_some()
    }

    /// The close that is out.
    #[must_use]
    pub fn closing(&self) -> Option<&Pending> {
        self.pending.as_ref().filter(|pending| pending.purpose == TxPurpose::Close)
    }

    /// Whether a voucher of `amount` may be accepted ("Voucher Verification",
    /// steps 5 to 7; the signature has been checked).
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn accept(&self, amount: Money, least_step: Money) -> Result<VoucherEffect, ChannelRefusal> {
        self.usable()?;
        let accepted = self.accepted();
        if amount > self.deposit {
            return Err(ChannelRefusal::Deposit);
        }
        if amount < accepted {
            return Err(ChannelRefusal::Lower);
        }
        if self.voucher.is_some() && amount == accepted {
            return Ok(VoucherEffect::Again);
        }
        let more = amount.checked_sub(accepted).ok_or(ChannelRefusal::Lower)?;
        if self.voucher.is_some() && more < least_step {
            return Err(ChannelRefusal::Step);
        }
        Ok(VoucherEffect::More(more))
    }

    /// What a close takes for the payee: exactly what was delivered, or what is
    /// settled already ("Cooperative Close").
    #[must_use]
    pub fn capture(&self) -> Money {
        self.spent.max(self.settled)
    }

    /// Whether a cooperative close with this voucher may go on. `authorized`:
    /// the payer signed a close authorization of its own.
    ///
    /// A voucher that was in a settlement is public, so alone it does not prove
    /// that the payer wants to close.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn may_close(&self, amount: Money, authorized: bool) -> Result<Money, ChannelRefusal> {
        self.usable()?;
        let capture = self.capture();
        if amount < capture {
            return Err(ChannelRefusal::Cover);
        }
        if amount > self.deposit {
            return Err(ChannelRefusal::Deposit);
        }
        let public = self.settled.max(self.published);
        if !authorized && amount <= public && public.is_positive() {
            return Err(ChannelRefusal::Published);
        }
        Ok(capture)
    }

    /// The least the next voucher must allow so that `cost` more can be spent.
    #[must_use]
    pub fn required(&self, cost: Money, least_step: Money) -> Money {
        let accepted = self.accepted();
        let needed = self.spent.checked_add(cost).unwrap_or(Money::from_micros(i64::MAX));
        if needed <= accepted {
            return accepted;
        }
        needed.max(accepted.checked_add(least_step).unwrap_or(needed))
    }

    /// What a client needs to resume.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            channel: self.id,
            descriptor: self.descriptor,
            accepted: self.accepted(),
            spent: self.spent,
            settled: self.settled,
            deposit: self.deposit,
            close_requested_at: u64::try_from(self.close_requested_at).unwrap_or(0),
            voucher: self.voucher.clone(),
        }
    }
}

/// When the worker settles and closes on its own.
#[derive(Debug, Clone, Copy)]
pub struct SettlementPolicy {
    /// Settle when this much is spent and not settled.
    pub settle_above: Money,
    /// Settle when something unsettled is this old, in milliseconds.
    pub settle_after_ms: i64,
    /// Close when nothing happened for this long, in milliseconds.
    pub close_idle_ms: i64,
}

/// What is to be done about a channel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAction {
    Nothing,
    /// Take what was spent so far.
    Settle,
    /// Take what was spent and return the rest.
    Close,
}

/// Decides what is due. A payer that asked to close gets what it asked for at
/// once: after the grace period it could take what we have not settled.
#[must_use]
pub fn due(channel: &Channel, policy: &SettlementPolicy, now: Timestamp) -> DueAction {
    if channel.phase != Phase::Open || channel.pending.is_some() || channel.voucher.is_none() {
        return DueAction::Nothing;
    }
    let quiet = now.checked_millis_since(channel.active_at).unwrap_or(0);
    let unsettled = channel.spent.checked_sub(channel.settled).unwrap_or(Money::ZERO);
    if channel.close_requested_at > 0 || quiet >= policy.close_idle_ms {
        DueAction::Close
    } else if unsettled >= policy.settle_above && unsettled.is_positive()
        || unsettled.is_positive() && quiet >= policy.settle_after_ms
    {
        DueAction::Settle
    } else {
        DueAction::Nothing
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, Bytes};

    use super::*;

    fn dollars(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn channel(deposit: i64, accepted: i64, spent: i64, settled: i64) -> Channel {
        let id = ChannelId(B256::repeat_byte(1));
        Channel {
            id,
            descriptor: Descriptor {
                payer: Address::repeat_byte(1),
                payee: Address::repeat_byte(2),
                operator: Address::ZERO,
                token: Address::repeat_byte(3),
                salt: B256::ZERO,
                authorized_signer: Address::ZERO,
                expiring_nonce_hash: B256::ZERO,
            },
            phase: Phase::Open,
            deposit: dollars(deposit),
            settled: dollars(settled),
            published: Money::ZERO,
            close_requested_at: 0,
            pending: None,
            voucher: (accepted > 0).then(|| SignedVoucher {
                channel: id,
                amount: dollars(accepted),
                signature: Bytes::new(),
            }),
            spent: dollars(spent),
            close_hash: None,
            active_at: Timestamp::from_millis(0),
            checked_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn attack_14_lower_equal_and_higher_vouchers() {
        let channel = channel(1000, 500, 0, 0);
        let accept = |amount| channel.accept(dollars(amount), dollars(10));
        assert_eq!(accept(499), Err(ChannelRefusal::Lower));
        assert_eq!(accept(500), Ok(VoucherEffect::Again));
        assert_eq!(accept(509), Err(ChannelRefusal::Step));
        assert_eq!(accept(510), Ok(VoucherEffect::More(dollars(10))));
        assert_eq!(accept(1000), Ok(VoucherEffect::More(dollars(500))));
        assert_eq!(accept(1001), Err(ChannelRefusal::Deposit));
    }

    #[test]
    fn attack_17_a_closing_channel_delivers_nothing() {
        let mut channel = channel(1000, 500, 0, 0);
        channel.close_requested_at = 1;
        assert_eq!(channel.accept(dollars(600), Money::ZERO), Err(ChannelRefusal::Closing));
        assert_eq!(due(&channel, &policy(), Timestamp::from_millis(1)), DueAction::Close);
    }

    #[test]
    fn attack_16_close_takes_what_was_delivered_and_no_more() {
        assert_eq!(channel(1000, 500, 300, 0).may_close(dollars(500), false), Ok(dollars(300)));
        assert_eq!(channel(1000, 500, 300, 400).may_close(dollars(500), false), Ok(dollars(400)));
        assert_eq!(channel(1000, 500, 0, 0).may_close(dollars(500), false), Ok(dollars(0)));
        assert_eq!(channel(1000, 500, 300, 0).may_close(dollars(299), true), Err(ChannelRefusal::Cover));
        assert_eq!(channel(1000, 500, 300, 0).may_close(dollars(1001), true), Err(ChannelRefusal::Deposit));
        // A settle signature used again as a close.
        assert_eq!(
            channel(1000, 500, 400, 400).may_close(dollars(400), false),
            Err(ChannelRefusal::Published)
        );
        assert_eq!(channel(1000, 500, 400, 400).may_close(dollars(400), true), Ok(dollars(400)));
        // The same when the settlement failed: it was on the wire.
        let mut failed = channel(1000, 500, 400, 0);
        failed.published = dollars(400);
        assert_eq!(failed.may_close(dollars(400), false), Err(ChannelRefusal::Published));
        assert_eq!(failed.may_close(dollars(500), false), Ok(dollars(400)));
    }

    #[test]
    fn required_is_never_below_what_was_accepted() {
        assert_eq!(channel(1000, 500, 300, 0).required(dollars(100), dollars(10)), dollars(500));
        assert_eq!(channel(1000, 500, 450, 0).required(dollars(51), dollars(10)), dollars(510));
        assert_eq!(channel(1000, 500, 500, 0).required(dollars(100), dollars(10)), dollars(600));
    }

    fn policy() -> SettlementPolicy {
        SettlementPolicy { settle_above: dollars(100), settle_after_ms: 1_000, close_idle_ms: 10_000 }
    }

    #[test]
    fn settlement_is_due_by_value_and_by_age() {
        let at = |spent, settled, millis| {
            due(&channel(1000, 500, spent, settled), &policy(), Timestamp::from_millis(millis))
        };
        assert_eq!(at(99, 0, 0), DueAction::Nothing);
        assert_eq!(at(100, 0, 0), DueAction::Settle);
        assert_eq!(at(1, 0, 1_000), DueAction::Settle);
        assert_eq!(at(300, 300, 1_000), DueAction::Nothing);
        assert_eq!(at(300, 300, 10_000), DueAction::Close);
    }
}
