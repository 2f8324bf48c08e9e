//! Policy of the worker: the action that is due on a channel, and the pause after one that came to nothing. Pure.

use super::state::{Channel, Phase};
use crate::id::Timestamp;
use crate::money::Money;

/// Seconds after a payer's request to close until it may withdraw what is not settled (TIP-1034, `CLOSE_GRACE_PERIOD`).
const GRACE_PERIOD_SECONDS: i64 = 15 * 60;
/// Pause after the second try that came to nothing, in milliseconds; it doubles with each further one. One alone may be
/// chance.
const FIRST_PAUSE_MS: i64 = 20_000;
/// Longest pause.
const LAST_PAUSE_MS: i64 = 3_600_000;
/// Longest pause while the grace period runs: what is not settled at its end is lost.
const LAST_PAUSE_IN_GRACE_MS: i64 = 60_000;

/// Limits beyond which the worker settles and closes.
#[derive(Debug, Clone, Copy)]
pub struct SettlementPolicy {
    /// Amount spent and not settled at which it settles.
    pub settle_above: Money,
    /// Milliseconds without activity after which it settles any unsettled amount.
    pub settle_after_ms: i64,
    /// Milliseconds without activity after which it closes.
    pub close_idle_ms: i64,
}

/// Action that is due on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueAction {
    Nothing,
    /// Settles what was spent.
    Settle,
    /// Captures what was spent and returns the rest.
    Close,
}

/// Tries of the worker to settle or close a channel, since the last one that came to something. Stored, so that they
/// count over restarts and for all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlementTries {
    pub count: i64,
    /// Moment of the last one.
    pub last_at: Timestamp,
}

impl SettlementTries {
    pub const NONE: Self = Self { count: 0, last_at: Timestamp::from_millis(0) };

    /// Returns these with one more.
    #[must_use]
    pub(super) fn next(self, now: Timestamp) -> Self {
        Self { count: self.count.saturating_add(1), last_at: now }
    }
}

/// Returns true while the worker's next try to settle or close a channel has to wait. A last one that is yet to come is
/// that of a wrong clock.
#[must_use]
pub fn must_wait(channel: &Channel, now: Timestamp) -> bool {
    let SettlementTries { count, last_at } = channel.tries;
    let since_request = now.seconds().saturating_sub(channel.close_requested_at);
    let in_grace_period = channel.close_requested_at > 0 && since_request < GRACE_PERIOD_SECONDS;
    let longest = if in_grace_period { LAST_PAUSE_IN_GRACE_MS } else { LAST_PAUSE_MS };
    let doublings = u32::try_from(count.saturating_sub(2)).unwrap_or(u32::MAX).min(30);
    let pause = if count < 2 { 0 } else { FIRST_PAUSE_MS << doublings };
    let waited = now.millis().saturating_sub(last_at.millis());
    (0..pause.min(longest)).contains(&waited)
}

/// Decides which action is due. A payer's request to close is met at once: after
/// the grace period the payer could withdraw what is not settled.
#[must_use]
pub fn due(channel: &Channel, policy: &SettlementPolicy, now: Timestamp) -> DueAction {
    if channel.phase != Phase::Open || channel.pending.is_some() {
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
    use super::super::state::tests::{channel, dollars};
    use super::*;

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

    #[test]
    fn attack_17_a_requested_close_is_due_at_once_with_a_voucher_or_without() {
        for accepted in [0, 500] {
            let at = |close_requested_at, millis| {
                let channel = Channel { close_requested_at, ..channel(1000, accepted, 0, 0) };
                due(&channel, &policy(), Timestamp::from_millis(millis))
            };
            assert_eq!(at(0, 1), DueAction::Nothing);
            assert_eq!(at(1, 1), DueAction::Close);
            assert_eq!(at(0, 10_000), DueAction::Close);
        }
    }

    #[test]
    fn attack_35_tries_that_come_to_nothing_become_seldom() {
        let waits = |count, close_requested_at, seconds: i64| {
            let last_at = Timestamp::from_millis(1_000_000);
            let tries = SettlementTries { count, last_at };
            let channel = Channel { close_requested_at, tries, ..channel(1000, 500, 300, 0) };
            let now = last_at.checked_add_millis(seconds * 1000).expect("near");
            must_wait(&channel, now)
        };
        for (count, pause) in
            [(1, 0), (2, 20), (3, 40), (4, 80), (9, 2_560), (10, 3_600), (1_000, 3_600), (i64::MAX, 3_600)]
        {
            assert!(pause == 0 || waits(count, 0, pause - 1), "{count} tries, {pause} s");
            assert!(!waits(count, 0, pause), "{count} tries, {pause} s");
        }
        // While its payer cannot withdraw yet, it is tried each minute, and afterwards as ever.
        assert!(waits(10, 1_000, 59) && !waits(10, 1_000, 60));
        assert!(waits(10, 1_000, 900) && waits(10, 1, 61));
        // A clock that was set back makes nobody wait.
        assert!(!waits(10, 0, -1));
    }
}
