//! Rules of a channel, as pure functions of its state.

use super::policy::SettlementTries;
use crate::id::{RequestId, Timestamp};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher, Snapshot};

/// Stage of a channel's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its opening transaction is pending.
    Opening,
    /// Its deposit and vouchers can be used.
    Open,
    /// Settled on the chain for the last time.
    Closed,
    /// Its opening transaction failed or expired.
    Failed,
}

impl Phase {
    pub(super) const ALL: [Self; 4] = [Self::Opening, Self::Open, Self::Closed, Self::Failed];

    /// Returns the stored name.
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

/// Purpose of a transaction about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxPurpose {
    /// The payer's: makes the deposit.
    Open,
    /// The payer's: raises the deposit.
    TopUp,
    /// The operator's: moves earned money to the payee; the channel goes on.
    Settle,
    /// The operator's: captures for the payee, and returns the rest to the payer.
    Close,
}

impl TxPurpose {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::TopUp, Self::Settle, Self::Close];

    /// Returns the stored name.
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

/// The transaction about a channel that is sent, or about to be, and whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingTx {
    pub purpose: TxPurpose,
    /// Deposit, addition, settled amount or capture.
    pub amount: Money,
    /// `0x` and hexadecimal digits.
    pub hash: String,
    /// Bytes of the transaction, in the same form.
    pub raw: String,
    /// Last moment at which a block can include it.
    pub valid_until: Option<Timestamp>,
    /// Reservation of its fee, if it is sponsored.
    pub sponsored: Option<Reservation>,
}

/// A fee reserved of the sponsor's budget for a transaction of the channel's payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    pub fee: Money,
    /// Moment at which it was reserved: its day's budget counts it.
    pub at: Timestamp,
}

/// A channel, with everything that decisions about it need.
#[derive(Debug, Clone)]
pub struct Channel {
    pub id: ChannelId,
    pub descriptor: Descriptor,
    pub phase: Phase,
    pub deposit: Money,
    pub settled: Money,
    /// Amount of the highest voucher that was ever in a settlement, mined or not: it is public.
    pub published: Money,
    /// Moment of the payer's request to close, in Unix seconds; zero without one.
    pub close_requested_at: i64,
    pub pending: Option<PendingTx>,
    /// Highest voucher.
    pub voucher: Option<SignedVoucher>,
    /// Amount charged, over all requests.
    pub spent: Money,
    /// Hash of the transaction that closed it.
    pub close_hash: Option<String>,
    /// Moment of the last voucher, opening or top-up.
    pub active_at: Timestamp,
    /// Moment at which its state was last read from the chain.
    pub checked_at: Timestamp,
    /// The worker's tries to settle or close it since the last one that came to something.
    pub tries: SettlementTries,
}

/// A request that is served on a channel.
#[derive(Debug, Clone, Copy)]
pub struct ChannelRequest<'a> {
    pub id: &'a RequestId,
    /// `Idempotency-Key` of the client: a request is charged once under it.
    pub key: Option<&'a str>,
    /// Id of the challenge that its credential answers.
    pub challenge: &'a str,
    /// Name of the model or service in the ledger.
    pub service: &'a str,
    pub unit_price: Money,
    /// Least amount that must be left to spend.
    pub least: Money,
}

/// Reason a channel refuses a voucher, request or close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelRefusal {
    #[error("`channelId` is not a channel of this server; open a channel first")]
    Unknown,
    /// It may open yet.
    #[error("the channel's opening transaction is not in a block yet; send the same request again")]
    Opening,
    #[error("the channel is closed; open a new one")]
    Closed,
    #[error("the channel is closing; open a new one")]
    Closing,
    #[error("`cumulativeAmount` is less than that of a voucher accepted before; sign a higher one")]
    Lower,
    #[error("`cumulativeAmount` adds less than `minVoucherDelta` to the last voucher; add more")]
    Step,
    #[error("the channel's deposit does not cover the voucher or the price of one unit; top it up first")]
    Deposit,
    #[error(
        "`cumulativeAmount` of a close must be at least what was spent and settled on the channel; \
         sign a higher one"
    )]
    Cover,
    #[error(
        "this voucher was in a settlement on the chain, so it is public; \
         add a close authorization (`closeSignature`)"
    )]
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

/// Effect of a voucher that may be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoucherEffect {
    /// Adds this much to the accepted amount.
    Adds(Money),
    /// Nothing: it was accepted before.
    AddsNothing,
}

impl Channel {
    /// Returns the highest cumulative amount accepted.
    #[must_use]
    pub fn accepted(&self) -> Money {
        self.voucher.as_ref().map_or(Money::ZERO, |voucher| voucher.amount)
    }

    /// Checks that it can be charged and can accept vouchers.
    ///
    /// # Errors
    /// The reason it cannot.
    pub fn usable(&self) -> Result<(), ChannelRefusal> {
        self.closable()?;
        if self.close_requested_at > 0 { Err(ChannelRefusal::Closing) } else { Ok(()) }
    }

    /// Decides if the operator may close it. A payer that asked the chain for a close wants just that, and may ask here
    /// too: otherwise its deposit waits for the end of the grace period ("Forced Close", step 3).
    ///
    /// # Errors
    /// The reason it cannot.
    pub fn closable(&self) -> Result<(), ChannelRefusal> {
        match self.phase {
            Phase::Opening => Err(ChannelRefusal::Opening),
            Phase::Failed => Err(ChannelRefusal::Unknown),
            Phase::Closed => Err(ChannelRefusal::Closed),
            Phase::Open if self.closing().is_some() => Err(ChannelRefusal::Closing),
            Phase::Open => Ok(()),
        }
    }

    /// Returns the pending close.
    #[must_use]
    pub fn closing(&self) -> Option<&PendingTx> {
        self.pending.as_ref().filter(|pending| pending.purpose == TxPurpose::Close)
    }

    /// Returns true if a close of the operator closed it, in which the payer has its rest; false after a
    /// withdrawal of the payer, which nothing was captured in.
    #[must_use]
    pub fn is_closed_by_operator(&self) -> bool {
        self.phase == Phase::Closed && self.close_hash.is_some()
    }

    /// Decides if a voucher of `amount` may be accepted ("Voucher Verification",
    /// steps 5 to 7; the signature has been checked).
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn accept(&self, amount: Money, min_delta: Money) -> Result<VoucherEffect, ChannelRefusal> {
        self.usable()?;
        let accepted = self.accepted();
        if amount > self.deposit {
            return Err(ChannelRefusal::Deposit);
        }
        if amount < accepted {
            return Err(ChannelRefusal::Lower);
        }
        if self.voucher.is_some() && amount == accepted {
            return Ok(VoucherEffect::AddsNothing);
        }
        let more = amount.checked_sub(accepted).ok_or(ChannelRefusal::Lower)?;
        if self.voucher.is_some() && more < min_delta {
            return Err(ChannelRefusal::Step);
        }
        Ok(VoucherEffect::Adds(more))
    }

    /// Returns the amount that a close captures: exactly what was delivered, or what is
    /// settled already ("Cooperative Close").
    #[must_use]
    pub fn capture(&self) -> Money {
        self.spent.max(self.settled)
    }

    /// Decides if a voucher of `amount` may close the channel, and returns the capture.
    /// `authorized` is true if the payer signed a close authorization too.
    ///
    /// A voucher that was in a settlement is public, so alone it does not prove
    /// that the payer wants to close.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn may_close(&self, amount: Money, authorized: bool) -> Result<Money, ChannelRefusal> {
        self.closable()?;
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

    /// Returns the least amount of the next voucher with which `cost` more can be spent.
    #[must_use]
    pub fn required(&self, cost: Money, min_delta: Money) -> Money {
        let accepted = self.accepted();
        let needed = self.spent.checked_add(cost).unwrap_or(Money::from_micros(i64::MAX));
        if needed <= accepted {
            return accepted;
        }
        needed.max(accepted.checked_add(min_delta).unwrap_or(needed))
    }

    /// Returns the snapshot for a client that resumes the channel.
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

#[cfg(test)]
pub(super) mod tests {
    use alloy::primitives::{Address, B256, Bytes};

    use super::*;

    pub(in super::super) fn dollars(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    pub(in super::super) fn channel(deposit: i64, accepted: i64, spent: i64, settled: i64) -> Channel {
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
            tries: SettlementTries::NONE,
        }
    }

    #[test]
    fn attack_14_lower_equal_and_higher_vouchers() {
        let channel = channel(1000, 500, 0, 0);
        let accept = |amount| channel.accept(dollars(amount), dollars(10));
        assert_eq!(accept(499), Err(ChannelRefusal::Lower));
        assert_eq!(accept(500), Ok(VoucherEffect::AddsNothing));
        assert_eq!(accept(509), Err(ChannelRefusal::Step));
        assert_eq!(accept(510), Ok(VoucherEffect::Adds(dollars(10))));
        assert_eq!(accept(1000), Ok(VoucherEffect::Adds(dollars(500))));
        assert_eq!(accept(1001), Err(ChannelRefusal::Deposit));
    }

    #[test]
    fn attack_17_a_closing_channel_delivers_nothing() {
        let mut channel = channel(1000, 500, 0, 0);
        channel.close_requested_at = 1;
        assert_eq!(channel.accept(dollars(600), Money::ZERO), Err(ChannelRefusal::Closing));
    }

    #[test]
    fn attack_17_a_payer_that_asked_the_chain_to_close_can_ask_here_too() {
        let asked = |accepted, spent, settled| Channel {
            close_requested_at: 1,
            ..channel(1000, accepted, spent, settled)
        };
        for (accepted, spent, settled, amount, verdict) in [
            // Its first voucher never came.
            (0, 0, 0, 0, Ok(dollars(0))),
            (0, 0, 0, 500, Ok(dollars(0))),
            (500, 300, 0, 500, Ok(dollars(300))),
            (500, 300, 0, 300, Ok(dollars(300))),
            (500, 300, 0, 299, Err(ChannelRefusal::Cover)),
            (500, 300, 0, 1001, Err(ChannelRefusal::Deposit)),
            (500, 300, 300, 300, Err(ChannelRefusal::Published)),
        ] {
            let channel = asked(accepted, spent, settled);
            assert_eq!(channel.may_close(dollars(amount), false), verdict, "{amount} of {accepted}");
            // Nothing is sold on it all the same.
            assert_eq!(channel.usable(), Err(ChannelRefusal::Closing));
        }
        let at = |phase| Channel { phase, ..asked(500, 300, 0) }.may_close(dollars(500), true);
        assert_eq!(at(Phase::Opening), Err(ChannelRefusal::Opening));
        assert_eq!(at(Phase::Closed), Err(ChannelRefusal::Closed));
        assert_eq!(at(Phase::Failed), Err(ChannelRefusal::Unknown));
        let pending = PendingTx {
            purpose: TxPurpose::Close,
            amount: dollars(300),
            hash: String::new(),
            raw: String::new(),
            valid_until: None,
            sponsored: None,
        };
        let closing = Channel { pending: Some(pending), ..asked(500, 300, 0) };
        assert_eq!(closing.may_close(dollars(500), true), Err(ChannelRefusal::Closing));
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
}
