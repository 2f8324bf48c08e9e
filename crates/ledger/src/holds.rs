//! Commands that open, charge and capture holds.
//!
//! New holds and entries are named by the caller: deciding is a function of the command, and a command that is repeated
//! is recognised.

use super::budget::{Budget, SpendingLimit};
use super::statement::EntryDetails;
use farebox_types::id::{AccountId, EntryId, HoldId, Timestamp};
use farebox_types::money::Money;

/// Amounts to be set aside for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Most that it may cost.
    pub wanted: Money,
    /// Least that it costs. If this is available and [`wanted`](Self::wanted) is not, all that is available is set
    /// aside.
    pub least: Money,
}

impl Estimate {
    /// Returns the amount that is set aside of what is affordable; `None` if that is less than the least.
    #[must_use]
    pub fn within(self, affordable: Money) -> Option<Money> {
        (self.least <= affordable).then_some(self.wanted.min(affordable))
    }
}

/// Hold to be opened.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    /// Id of the new hold: [`HoldId::new`].
    pub hold: HoldId,
    /// Account that pays.
    pub account: AccountId,
    /// The client's key, by which the request is known when it comes again.
    pub idempotency_key: Option<String>,
    /// Budget that its charges are counted within.
    pub budget: Option<Budget>,
    pub estimate: Estimate,
    /// Moment at which it is opened.
    pub now: Timestamp,
    /// Moment from which on the [sweeper](super::sweep) may take the request for lost.
    pub expires_at: Timestamp,
}

impl HoldRequest {
    /// Returns true if only its account needs to be read: the request is surely new, and within no limit but its
    /// account's.
    pub(super) fn is_plain(&self) -> bool {
        self.idempotency_key.is_none() && self.budget.as_ref().is_none_or(|budget| !budget.is_limited())
    }
}

/// Outcome of a request for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOutcome {
    /// A hold is open.
    Open {
        /// The new hold.
        hold: HoldId,
        /// Amount set aside for it: what was wanted, or all that was available.
        reserved: Money,
    },
    /// Request that is being served, according to its `Idempotency-Key`.
    InProgress,
    /// Request that was charged before, according to its `Idempotency-Key`.
    Charged,
    /// Less is available than the least it costs.
    Short(SpendingLimit),
}

/// Amount that is owed for a hold when it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// All of this amount besides what was charged, or the hold stays open.
    Exactly(Money),
    /// This amount besides what was charged, or as much of it as is available: it has been delivered, and refusing it
    /// now would leave all of it unpaid.
    AtMost(Money),
    /// This sum in all, or as much of it as is available. What was charged beyond it, while the price was not known
    /// yet, is given back.
    InAll(Money),
}

impl Owed {
    /// Nothing: all that was delivered is charged.
    pub const NOTHING: Self = Self::AtMost(Money::ZERO);

    /// Returns the amount.
    #[must_use]
    pub const fn amount(self) -> Money {
        match self {
            Self::Exactly(amount) | Self::AtMost(amount) | Self::InAll(amount) => amount,
        }
    }

    /// Returns what is still to be charged to a hold that was `charged` this much, and what it gets back.
    pub(super) fn after(self, charged: Money) -> (Money, Money) {
        let difference =
            |more: Money, less: Money| more.checked_sub(less).unwrap_or_default().max(Money::ZERO);
        match self {
            Self::Exactly(amount) | Self::AtMost(amount) => (amount, Money::ZERO),
            Self::InAll(sum) => (difference(sum, charged), difference(charged, sum)),
        }
    }
}

/// Charge of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Charge {
    pub hold: HoldId,
    pub amount: Money,
    /// Amount to be set aside for what comes next, or as much of it as is available, if `amount` is more than the hold
    /// has set aside.
    pub ahead: Money,
    /// Total that the hold was charged if this charge was written before, which is unknown.
    pub reached: Option<Money>,
}

/// Hold to be closed.
#[derive(Debug, Clone)]
pub struct Capture {
    pub hold: HoldId,
    /// Id of its entry: [`EntryId::new`].
    pub entry: EntryId,
    /// Amount that it owes then.
    pub owed: Owed,
    /// Details of its entry.
    pub details: EntryDetails,
    /// Moment at which it is closed.
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_takes_what_there_is_down_to_the_least() {
        let estimate = Estimate { wanted: Money::from_micros(100), least: Money::from_micros(10) };
        for (affordable, expected) in
            [(500, Some(100)), (100, Some(100)), (99, Some(99)), (10, Some(10)), (9, None)]
        {
            let within = estimate.within(Money::from_micros(affordable));
            assert_eq!(within.map(Money::micros), expected);
        }
    }
}
