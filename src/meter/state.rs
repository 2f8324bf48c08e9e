//! What a stream may deliver, and what it should ask for. No I/O, no clock.

use crate::money::Money;

/// How a channel stands for the stream that runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelBalance {
    /// The highest voucher accepted.
    pub accepted: Money,
    /// Charged on the channel altogether.
    pub spent: Money,
    /// The most that vouchers can reach without a top-up.
    pub deposit: Money,
}

/// What a voucher sent at once must outlast, in milliseconds: a client a long
/// way off, and the work on both sides.
const ROUND_TRIP_MS: u64 = 500;
/// A rate is not told from less time than this, in milliseconds.
const SHORTEST_MS: u64 = 250;

/// How far ahead vouchers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherWindow {
    /// Ask when fewer units than this are left to spend.
    pub low: u64,
    /// Ask for this many units.
    pub size: u64,
    /// The least that a voucher must add.
    pub step: Money,
}

impl VoucherWindow {
    /// The window of a stream that made `units` in `millis`: what it makes while
    /// a voucher is on its way is still paid for, and vouchers are seconds apart
    /// however fast it is.
    #[must_use]
    pub fn at_rate(self, units: u64, millis: u64) -> Self {
        let on_the_way = units.saturating_mul(ROUND_TRIP_MS) / millis.max(SHORTEST_MS);
        let low = self.low.max(on_the_way);
        Self { low, size: self.size.max(low.saturating_mul(4)), ..self }
    }
}

/// A request for a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoucherRequest {
    /// The least the next voucher must reach.
    pub required: Money,
}

impl ChannelBalance {
    /// What can still be charged.
    #[must_use]
    pub fn left(&self) -> Money {
        self.accepted.checked_sub(self.spent).unwrap_or(Money::ZERO)
    }

    /// How many of `units` can be paid for now.
    #[must_use]
    pub fn affordable(&self, price: Money, units: u64) -> u64 {
        if !price.is_positive() {
            return units;
        }
        let left = self.left().micros().max(0) / price.micros();
        u64::try_from(left).unwrap_or(0).min(units)
    }

    /// Whether to ask for a voucher while there is still something to spend.
    ///
    /// `more` bounds how many units the answer can still have: nobody is asked
    /// to allow what cannot be delivered. `asked` is what was asked for last:
    /// nothing is asked twice. An early request stays within the deposit,
    /// because a top-up takes time that only an empty channel is worth.
    #[must_use]
    pub fn request_early(
        &self,
        price: Money,
        window: VoucherWindow,
        more: u64,
        asked: Option<Money>,
    ) -> Option<VoucherRequest> {
        if asked.is_some_and(|asked| asked > self.accepted) {
            return None;
        }
        let low = price.checked_mul(window.low.min(more))?;
        if self.left() >= low || more == 0 {
            return None;
        }
        let ahead = price.checked_mul(window.size.min(more))?;
        let next = self.accepted.checked_add(window.step)?;
        let required = self.spent.checked_add(ahead)?.max(next).min(self.deposit);
        (required > self.accepted && required >= next).then_some(VoucherRequest { required })
    }

    /// What to ask for when the next unit cannot be paid: a window where the
    /// deposit reaches that far, else what the deposit allows, and if even one
    /// unit is beyond it, that one unit (the payer must top up).
    #[must_use]
    pub fn request_now(&self, price: Money, window: VoucherWindow, more: u64) -> VoucherRequest {
        let after = |units: u64| {
            price
                .checked_mul(units)
                .and_then(|cost| self.spent.checked_add(cost))
                .unwrap_or(Money::from_micros(i64::MAX))
        };
        let one = after(1).max(self.accepted.checked_add(window.step).unwrap_or(self.accepted));
        let ahead = after(window.size.min(more.max(1))).max(one);
        VoucherRequest { required: if ahead <= self.deposit { ahead } else { self.deposit.max(one) } }
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
    fn asks_early_once_and_within_the_deposit() {
        let low = balance(100, 70, 1000);
        let ask = low.request_early(money(10), WINDOW, 1000, None).expect("3 units are left");
        assert_eq!(ask.required, money(230));
        assert_eq!(low.request_early(money(10), WINDOW, 1000, Some(ask.required)), None);
        assert_eq!(balance(100, 60, 1000).request_early(money(10), WINDOW, 1000, None), None);
        assert_eq!(
            balance(100, 70, 150).request_early(money(10), WINDOW, 1000, None),
            Some(VoucherRequest { required: money(150) })
        );
        assert_eq!(balance(100, 70, 100).request_early(money(10), WINDOW, 1000, None), None);
        assert_eq!(low.request_early(money(10), WINDOW, 3, None), None, "what is left pays for the rest");
    }

    #[test]
    fn an_early_request_keeps_the_least_step() {
        let window = VoucherWindow { step: money(500), ..WINDOW };
        let early = |deposit| balance(100, 70, deposit).request_early(money(10), window, 1000, None);
        assert_eq!(early(1000), Some(VoucherRequest { required: money(600) }));
        assert_eq!(early(599), None, "the server would have to refuse it");
    }

    #[test]
    fn a_fast_stream_asks_earlier_and_for_more() {
        let at = |units, millis| {
            let window = WINDOW.at_rate(units, millis);
            (window.low, window.size)
        };
        assert_eq!(at(0, 0), (4, 16));
        assert_eq!(at(5, 1_000), (4, 16));
        // 200 a second: a hundred are made while a voucher is on its way.
        assert_eq!(at(400, 2_000), (100, 400));
        assert_eq!(at(32, 1), (64, 256), "the first moment says little");
    }

    #[test]
    fn asks_for_a_top_up_only_when_one_unit_does_not_fit() {
        assert_eq!(balance(100, 100, 1000).request_now(money(10), WINDOW, 1000).required, money(260));
        assert_eq!(balance(100, 100, 150).request_now(money(10), WINDOW, 1000).required, money(150));
        assert_eq!(balance(100, 100, 105).request_now(money(10), WINDOW, 1000).required, money(110));
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
        fn an_ask_always_pays_for_a_unit(accepted in 0_i64..10_000, less in 0_i64..10_000, deposit in 0_i64..20_000, price in 1_i64..500, more in 0_u64..100) {
            let balance = balance(accepted, (accepted - less).max(0), deposit.max(accepted));
            let ask = balance.request_now(money(price), WINDOW, more);
            let one = balance.spent.checked_add(money(price)).expect("small");
            prop_assert!(ask.required >= one && ask.required > balance.accepted);
        }
    }
}
