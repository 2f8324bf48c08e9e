//! Decisions of a channel's stream: units that it can charge, vouchers that it requests. No I/O, no clock.

use crate::money::Money;

/// Balance of a channel, as the stream that runs on it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelBalance {
    /// Amount of the highest voucher accepted.
    pub accepted: Money,
    /// Amount charged on the channel in total.
    pub spent: Money,
    /// Largest amount that vouchers can reach without a top-up.
    pub deposit: Money,
}

/// Time from the request for a voucher to its acceptance, in milliseconds: the round
/// trip to a distant client, and the work on both sides.
const ROUND_TRIP_MS: u64 = 500;
/// Shortest time from which a rate is computed, in milliseconds.
const MIN_RATE_SAMPLE_MS: u64 = 250;

/// Rule for how far ahead vouchers are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherWindow {
    /// Units below which a voucher is requested early.
    pub low: u64,
    /// Units that a requested voucher pays for.
    pub size: u64,
    /// Smallest amount that a voucher must add.
    pub step: Money,
}

impl VoucherWindow {
    /// Returns the window of a stream that had `units` in `millis` milliseconds: it
    /// covers the units that come while a voucher is on its way, so that vouchers are
    /// seconds apart however fast the stream is.
    #[must_use]
    pub fn at_rate(self, units: u64, millis: u64) -> Self {
        let in_transit = units.saturating_mul(ROUND_TRIP_MS) / millis.max(MIN_RATE_SAMPLE_MS);
        let low = self.low.max(in_transit);
        Self { low, size: self.size.max(low.saturating_mul(4)), ..self }
    }
}

/// A request for a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherRequest {
    /// Amount in total that the next voucher must reach.
    pub required: Money,
}

impl ChannelBalance {
    /// Returns the amount that can still be charged.
    #[must_use]
    pub fn left(&self) -> Money {
        self.accepted.checked_sub(self.spent).unwrap_or(Money::ZERO)
    }

    /// Returns the number of units that can be paid for now, `units` at the most.
    #[must_use]
    pub fn affordable(&self, price: Money, units: u64) -> u64 {
        if !price.is_positive() {
            return units;
        }
        let left = self.left().micros().max(0) / price.micros();
        u64::try_from(left).unwrap_or(0).min(units)
    }

    /// Returns the request for a voucher to send while units can still be paid for;
    /// `None` if none is due.
    ///
    /// `remaining` is the largest number of units that the answer can still have: a
    /// voucher is not requested for more. `requested` is the amount requested last: it
    /// is not requested twice. An early request stays within the deposit, because a
    /// top-up takes long, and only an empty channel has to wait for it.
    #[must_use]
    pub fn request_early(
        &self,
        price: Money,
        window: VoucherWindow,
        remaining: u64,
        requested: Option<Money>,
    ) -> Option<VoucherRequest> {
        if requested.is_some_and(|requested| requested > self.accepted) {
            return None;
        }
        let low = price.checked_mul(window.low.min(remaining))?;
        if self.left() >= low || remaining == 0 {
            return None;
        }
        let ahead = price.checked_mul(window.size.min(remaining))?;
        let next = self.accepted.checked_add(window.step)?;
        let required = self.spent.checked_add(ahead)?.max(next).min(self.deposit);
        (required > self.accepted && required >= next).then_some(VoucherRequest { required })
    }

    /// Returns the request for a voucher to send when the next `needed` units cannot be paid for:
    /// a full window where the deposit covers it, else the deposit, and if even those
    /// units are beyond the deposit, exactly them (the payer must top up).
    #[must_use]
    pub fn request_now(
        &self,
        price: Money,
        window: VoucherWindow,
        needed: u64,
        remaining: u64,
    ) -> VoucherRequest {
        let after = |units: u64| {
            price
                .checked_mul(units)
                .and_then(|cost| self.spent.checked_add(cost))
                .unwrap_or(Money::from_micros(i64::MAX))
        };
        let least = after(needed).max(self.accepted.checked_add(window.step).unwrap_or(self.accepted));
        let ahead = after(window.size.max(needed).min(remaining.max(needed))).max(least);
        VoucherRequest { required: if ahead <= self.deposit { ahead } else { self.deposit.max(least) } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn balance(accepted: i64, spent: i64, deposit: i64) -> ChannelBalance {
        ChannelBalance { accepted: money(accepted), spent: money(spent), deposit: money(deposit) }
    }

    const WINDOW: VoucherWindow = VoucherWindow { low: 4, size: 16, step: Money::from_micros(1) };

    #[test]
    fn a_voucher_is_requested_early_once_and_within_the_deposit() {
        let low = balance(100, 70, 1000);
        let request = low.request_early(money(10), WINDOW, 1000, None).expect("3 units are left");
        assert_eq!(request.required, money(230));
        assert_eq!(low.request_early(money(10), WINDOW, 1000, Some(request.required)), None);
        assert_eq!(balance(100, 60, 1000).request_early(money(10), WINDOW, 1000, None), None);
        assert_eq!(
            balance(100, 70, 150).request_early(money(10), WINDOW, 1000, None),
            Some(VoucherRequest { required: money(150) })
        );
        assert_eq!(balance(100, 70, 100).request_early(money(10), WINDOW, 1000, None), None);
        assert_eq!(low.request_early(money(10), WINDOW, 3, None), None, "what is left pays for the rest");
    }

    #[test]
    fn an_early_request_keeps_the_smallest_step() {
        let window = VoucherWindow { step: money(500), ..WINDOW };
        let early = |deposit| balance(100, 70, deposit).request_early(money(10), window, 1000, None);
        assert_eq!(early(1000), Some(VoucherRequest { required: money(600) }));
        assert_eq!(early(599), None, "the server would have to refuse it");
    }

    #[test]
    fn a_fast_stream_requests_earlier_and_more() {
        let at = |units, millis| {
            let window = WINDOW.at_rate(units, millis);
            (window.low, window.size)
        };
        assert_eq!(at(0, 0), (4, 16));
        assert_eq!(at(5, 1_000), (4, 16));
        // 200 a second: a hundred come while a voucher is on its way.
        assert_eq!(at(400, 2_000), (100, 400));
        assert_eq!(at(32, 1), (64, 256), "no rate is computed from a millisecond");
    }

    #[test]
    fn a_top_up_is_requested_only_when_one_unit_does_not_fit() {
        assert_eq!(balance(100, 100, 1000).request_now(money(10), WINDOW, 1, 1000).required, money(260));
        assert_eq!(balance(100, 100, 150).request_now(money(10), WINDOW, 1, 1000).required, money(150));
        assert_eq!(balance(100, 100, 105).request_now(money(10), WINDOW, 1, 1000).required, money(110));
        // A long prompt needs more than a window, or than the deposit.
        assert_eq!(balance(100, 100, 1000).request_now(money(10), WINDOW, 40, 1000).required, money(500));
        assert_eq!(balance(100, 100, 300).request_now(money(10), WINDOW, 40, 1000).required, money(500));
    }

    proptest! {
        #[test]
        fn what_is_affordable_is_covered(accepted in 0_i64..10_000, spent in 0_i64..10_000, price in 1_i64..500, units in 0_u64..100) {
            let balance = balance(accepted, spent, 20_000);
            let affordable = balance.affordable(money(price), units);
            prop_assert!(affordable <= units);
            prop_assert!(affordable == 0 || i64::try_from(affordable).expect("small") * price <= accepted - spent);
            if affordable < units {
                prop_assert!((i64::try_from(affordable).expect("small") + 1) * price > (accepted - spent).max(0));
            }
        }

        #[test]
        fn a_requested_voucher_always_pays_for_what_is_needed(accepted in 0_i64..10_000, less in 0_i64..10_000, deposit in 0_i64..20_000, price in 1_i64..500, needed in 1_u64..100, remaining in 0_u64..100) {
            let balance = balance(accepted, (accepted - less).max(0), deposit.max(accepted));
            let request = balance.request_now(money(price), WINDOW, needed, remaining);
            let least = balance.spent.checked_add(money(price).checked_mul(needed).expect("small")).expect("small");
            prop_assert!(request.required >= least && request.required > balance.accepted);
        }
    }
}
