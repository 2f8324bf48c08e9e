//! How much credit a card payment is worth, after all that was said about it. Pure.

use crate::money::Money;

/// What was said about one payment so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CardPaymentStanding {
    /// What the payer paid.
    pub paid: Money,
    /// What was credited for it.
    pub credited: Money,
    /// What was refunded of `paid`, altogether.
    pub refunded: Money,
    /// What was disputed of `paid`.
    pub disputed: Money,
    /// What of `disputed` turned out to be ours.
    pub won: Money,
    /// What was taken back of `credited` and not given again.
    pub taken: Money,
    /// What was taken back and given again.
    pub returned: Money,
}

impl CardPaymentStanding {
    /// What is still to be taken back: the part of the credit that belongs to the part of the
    /// payment that is gone, rounded up, less what was taken already. A payment that is refunded
    /// and disputed is gone once.
    #[must_use]
    pub fn owed(&self) -> Money {
        self.money(self.reversed() - i128::from(self.taken.micros()))
    }

    /// What is to be given again, because a dispute was won.
    #[must_use]
    pub fn due(&self) -> Money {
        self.money(i128::from(self.taken.micros()) - self.reversed())
    }

    /// The part of the credit whose payment is gone.
    fn reversed(&self) -> i128 {
        let [paid, credited, refunded, disputed, won] =
            [self.paid, self.credited, self.refunded, self.disputed, self.won]
                .map(|money| i128::from(money.micros()));
        if paid <= 0 {
            return 0;
        }
        let gone = (refunded + (disputed - won).max(0)).min(paid);
        (credited * gone + paid - 1) / paid
    }

    /// At most what was credited.
    fn money(&self, micros: i128) -> Money {
        i64::try_from(micros.max(0)).map_or(self.credited, Money::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(sides: [i64; 5]) -> CardPaymentStanding {
        let [paid, credited, refunded, disputed, taken] = sides.map(Money::from_micros);
        CardPaymentStanding { paid, credited, refunded, disputed, taken, ..CardPaymentStanding::default() }
    }

    #[test]
    fn what_was_won_is_due_again() {
        for (sides, won, owed, due) in [
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
            assert_eq!((standing.owed().micros(), standing.due().micros()), (owed, due), "{sides:?} {won}");
        }
    }

    #[test]
    fn what_is_gone_is_owed_once() {
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
