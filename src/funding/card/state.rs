//! Credit that a card payment is worth after its refunds and disputes. Pure.

use crate::money::Money;

/// Sums of everything reported about one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CardPaymentStanding {
    /// Price that the payer paid.
    pub paid: Money,
    /// Credit for it.
    pub credited: Money,
    /// Largest sum of refunds that was ever reported.
    pub refunded: Money,
    /// Refunds that are known one by one.
    pub refunds: Refunds,
    /// Part of `paid` that was disputed.
    pub disputed: Money,
    /// Part of `disputed` that the payer's bank gave back.
    pub won: Money,
    /// Part of `credited` that was taken back and not returned.
    pub taken_back: Money,
    /// Part of `credited` that was taken back and returned.
    pub returned: Money,
}

/// Sums of refunds that are known one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refunds {
    /// Those that are made or under way.
    pub made: Money,
    /// Those that have failed.
    pub failed: Money,
}

impl CardPaymentStanding {
    /// Returns the credit still to be taken back: the part that belongs to the reversed part of the
    /// payment, rounded up, less the credit taken back already. A payment that is refunded and
    /// disputed is reversed once.
    #[must_use]
    pub fn owed(&self) -> Money {
        self.money(self.reversed() - i128::from(self.taken_back.micros()))
    }

    /// Returns the credit still to be returned, because a dispute was won.
    #[must_use]
    pub fn returnable(&self) -> Money {
        self.money(i128::from(self.taken_back.micros()) - self.reversed())
    }

    /// Returns true if something that was taken back may have to be returned.
    #[must_use]
    pub fn may_return(&self) -> bool {
        self.won.is_positive() || self.refunds.failed.is_positive()
    }

    /// Returns the part of the payment that was given back. The sum may have been reported before one of its refunds
    /// failed, and single refunds need not be.
    #[must_use]
    pub fn given_back(&self) -> Money {
        let reported = self.refunded.checked_sub(self.refunds.failed).unwrap_or_default();
        self.refunds.made.max(reported).max(Money::ZERO).min(self.paid)
    }

    /// Returns true if a part of the payment is disputed, and the payer's bank has not given it back.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        self.disputed > self.won
    }

    /// Returns the part of the credit whose payment is refunded or disputed.
    fn reversed(&self) -> i128 {
        let [paid, credited, reported, made, failed, disputed, won] = [
            self.paid,
            self.credited,
            self.refunded,
            self.refunds.made,
            self.refunds.failed,
            self.disputed,
            self.won,
        ]
        .map(|money| i128::from(money.micros()));
        if paid <= 0 {
            return 0;
        }
        // The sum may have been reported before one of them failed, and single refunds need not be.
        let refunded = made.max(reported - failed);
        let reversed = (refunded + (disputed - won).max(0)).min(paid);
        (credited * reversed + paid - 1) / paid
    }

    /// Returns an amount of money from nothing to `credited`.
    fn money(&self, micros: i128) -> Money {
        i64::try_from(micros.max(0)).map_or(self.credited, Money::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(sides: [i64; 5]) -> CardPaymentStanding {
        let [paid, credited, refunded, disputed, taken_back] = sides.map(Money::from_micros);
        CardPaymentStanding {
            paid,
            credited,
            refunded,
            disputed,
            taken_back,
            ..CardPaymentStanding::default()
        }
    }

    #[test]
    fn credit_of_a_won_dispute_is_returned() {
        for (sides, won, owed, returnable) in [
            ([100, 100, 0, 100, 100], 0, 0, 0),
            ([100, 100, 0, 100, 100], 100, 0, 100),
            ([100, 100, 0, 100, 30], 100, 0, 30),
            ([100, 100, 0, 100, 0], 100, 0, 0),
            ([100, 100, 40, 100, 100], 100, 0, 60),
            ([100, 120, 0, 100, 120], 50, 0, 60),
            ([100, 100, 0, 0, 0], 100, 0, 0),
            // Word of the end can come before word of the dispute.
            ([100, 100, 40, 0, 0], 100, 40, 0),
        ] {
            let standing = CardPaymentStanding { won: Money::from_micros(won), ..standing(sides) };
            assert_eq!(
                (standing.owed().micros(), standing.returnable().micros()),
                (owed, returnable),
                "{sides:?} {won}"
            );
        }
    }

    #[test]
    fn credit_of_a_failed_refund_is_returned() {
        for (reported, made, failed, taken, owed, returnable) in [
            (100, 0, 0, 100, 0, 0),
            (100, 0, 100, 100, 0, 100),
            (100, 60, 40, 100, 0, 40),
            // Refunded again after the failure: the sum that is reported then is smaller than the largest.
            (100, 50, 100, 0, 50, 0),
            // Word of the failure came before word of the sum.
            (0, 0, 100, 0, 0, 0),
            // Known one by one only.
            (0, 30, 0, 0, 30, 0),
        ] {
            let refunds = Refunds { made: Money::from_micros(made), failed: Money::from_micros(failed) };
            let standing = CardPaymentStanding { refunds, ..standing([100, 100, reported, 0, taken]) };
            assert_eq!(
                (standing.owed().micros(), standing.returnable().micros()),
                (owed, returnable),
                "{standing:?}"
            );
        }
    }

    #[test]
    fn a_reversed_payment_is_owed_once() {
        for (sides, owed) in [
            ([0, 0, 0, 0, 0], 0),
            ([0, 0, 100, 0, 0], 0),
            ([100, 100, 0, 0, 0], 0),
            ([100, 100, 40, 0, 0], 40),
            ([100, 100, 40, 0, 40], 0),
            ([100, 100, 100, 100, 0], 100),
            ([100, 100, 40, 100, 40], 60),
            ([100, 120, 50, 0, 0], 60),
            ([100, 120, 100, 0, 60], 60),
            ([3, 4, 1, 0, 0], 2),
            ([100, 100, 500, 0, 0], 100),
        ] {
            assert_eq!(standing(sides).owed().micros(), owed, "{sides:?}");
        }
    }

    proptest! {
        /// However it comes apart, no more is owed than was credited.
        #[test]
        fn never_more_than_was_credited(
            paid in 0..i64::MAX, bonus in 0..1000i64, refunded in 0..i64::MAX, disputed in 0..i64::MAX, taken in 0..i64::MAX,
        ) {
            let credited = paid.saturating_add(bonus);
            let taken = taken.min(credited);
            let owed = standing([paid, credited, refunded, disputed, taken]).owed().micros();
            prop_assert!(owed >= 0 && owed <= credited - taken);
        }
    }
}
