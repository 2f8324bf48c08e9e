//! What is asked for when a hold is opened and when it is settled.

use super::budget::{Budget, SpendingLimit};
use super::statement::EntryDetails;
use farebox_types::id::{AccountId, HoldId, Timestamp};
use farebox_types::money::Money;

/// What is to be set aside for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// What it may cost.
    pub wanted: Money,
    /// What it costs at the least. With no less than this available, all of it is set aside.
    pub least: Money,
}

impl Estimate {
    /// What is set aside of what is affordable; nothing when that is not enough.
    #[must_use]
    pub fn within(self, affordable: Money) -> Option<Money> {
        (self.least <= affordable).then_some(self.wanted.min(affordable))
    }
}

/// A hold to be opened.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    /// Who pays.
    pub account: AccountId,
    /// What the request is known by when it comes again.
    pub idempotency_key: Option<String>,
    /// What it is to be counted within.
    pub budget: Option<Budget>,
    /// What to set aside.
    pub estimate: Estimate,
    /// The moment it is opened at.
    pub now: Timestamp,
    /// When the [sweeper](super::sweep) may take the request for lost.
    pub expires_at: Timestamp,
}

impl HoldRequest {
    /// Whether accounts are all there is to look at: it is surely a new request, and within no limit
    /// but its account's.
    pub(super) fn is_plain(&self) -> bool {
        self.idempotency_key.is_none() && self.budget.as_ref().is_none_or(|budget| !budget.is_limited())
    }
}

/// What became of a request for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOutcome {
    /// A hold is open.
    Open {
        /// The new hold.
        hold: HoldId,
        /// What is set aside for it: what was wanted, or all there is.
        reserved: Money,
    },
    /// The same request, by its `Idempotency-Key`, is being served.
    InProgress,
    /// The same request was charged before.
    Charged,
    /// There is less than the least it costs.
    Short(SpendingLimit),
}

/// What is still to be charged for a hold when it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// This, or the hold stays open.
    Exactly(Money),
    /// This, or as much of it as there is: it has been delivered, and refusing it now would leave
    /// all of it unpaid.
    AtMost(Money),
}

impl Owed {
    /// All that was delivered is charged.
    pub const NOTHING: Self = Self::AtMost(Money::ZERO);

    /// How much it is.
    #[must_use]
    pub const fn amount(self) -> Money {
        match self {
            Self::Exactly(amount) | Self::AtMost(amount) => amount,
        }
    }
}

/// A hold to be closed.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The hold.
    pub hold: HoldId,
    /// What is charged before it closes.
    pub owed: Owed,
    /// What is posted of it.
    pub details: EntryDetails,
    /// The moment it is closed at.
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
