//! The arithmetic of accounts and tabs. Pure: state in, state out.
//!
//! The database repeats these rules in its `UPDATE ... WHERE` and its `CHECK`s; here they are
//! stated once, in one place, and decide what fits.

use serde::Serialize;

use crate::money::Money;

/// The largest sum an account can reach on any side; the schema enforces the same bound.
pub const LARGEST: Money = Money::from_micros(9_000_000_000_000_000_000);

/// How an account stands.
///
/// The sides are never negative and `spent + held` never exceeds `credited`: a value of this
/// type cannot be made otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Balance {
    credited: Money,
    spent: Money,
    held: Money,
}

/// How a tab stands: what it reserved when it was opened, and what it was charged so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tab {
    /// Set aside when the tab was opened.
    pub reserved: Money,
    /// Charged so far; may exceed what was reserved.
    pub charged: Money,
}

/// Why a step was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The account lacks this much.
    Short(Money),
    /// A sum would exceed [`LARGEST`].
    Overflow,
}

impl Balance {
    /// The balance of these three sides, or `None` when no account can be in that state.
    #[must_use]
    pub fn new(credited: Money, spent: Money, held: Money) -> Option<Self> {
        let used = spent.checked_add(held)?;
        let sound = spent >= Money::ZERO && held >= Money::ZERO && used <= credited && credited <= LARGEST;
        sound.then_some(Self { credited, spent, held })
    }

    /// Everything ever credited.
    #[must_use]
    pub const fn credited(&self) -> Money {
        self.credited
    }

    /// Everything ever charged, open tabs included.
    #[must_use]
    pub const fn spent(&self) -> Money {
        self.spent
    }

    /// What open tabs have set aside and not yet charged.
    #[must_use]
    pub const fn held(&self) -> Money {
        self.held
    }

    /// `credited - spent - held`: what a new request can use.
    ///
    /// # Panics
    /// Never: [`Balance::new`] lets no other values in.
    #[must_use]
    pub fn available(&self) -> Money {
        self.credited
            .checked_sub(self.spent)
            .and_then(|rest| rest.checked_sub(self.held))
            .expect("`spent + held <= credited` since `new`")
    }

    /// After a credit of `amount`.
    ///
    /// # Errors
    /// [`Refused::Overflow`] alone.
    pub fn credit(self, amount: Money) -> Result<Self, Refused> {
        let credited = self.credited.checked_add(amount).ok_or(Refused::Overflow)?;
        Self::new(credited, self.spent, self.held).ok_or(Refused::Overflow)
    }

    /// After setting `amount` aside for a tab.
    ///
    /// # Errors
    /// [`Refused::Short`] when less than that is available.
    pub fn reserve(self, amount: Money) -> Result<Self, Refused> {
        self.need(amount)?;
        let held = self.held.checked_add(amount).ok_or(Refused::Overflow)?;
        Self::new(self.credited, self.spent, held).ok_or(Refused::Overflow)
    }

    /// After charging `amount` to `tab`, which draws on what the tab still has set aside first
    /// and on what is available then.
    ///
    /// # Errors
    /// [`Refused::Short`] when both together do not suffice.
    pub fn charge(self, tab: Tab, amount: Money) -> Result<(Self, Tab), Refused> {
        let drawn = tab.unused().min(amount);
        let beyond = amount.checked_sub(drawn).ok_or(Refused::Overflow)?;
        self.need(beyond)?;
        let charged = tab.charged.checked_add(amount).ok_or(Refused::Overflow)?;
        let spent = self.spent.checked_add(amount).ok_or(Refused::Overflow)?;
        let held = self.held.checked_sub(drawn).ok_or(Refused::Overflow)?;
        let balance = Self::new(self.credited, spent, held).ok_or(Refused::Overflow)?;
        Ok((balance, Tab { charged, ..tab }))
    }

    /// After freeing `unused`, which a tab had set aside.
    ///
    /// # Errors
    /// [`Refused::Overflow`] when not even that much is set aside.
    pub fn release(self, unused: Money) -> Result<Self, Refused> {
        let held = self.held.checked_sub(unused).ok_or(Refused::Overflow)?;
        Self::new(self.credited, self.spent, held).ok_or(Refused::Overflow)
    }

    fn need(self, amount: Money) -> Result<(), Refused> {
        let available = self.available();
        if amount <= available {
            return Ok(());
        }
        Err(amount.checked_sub(available).map_or(Refused::Overflow, Refused::Short))
    }
}

impl Tab {
    /// What is still set aside for this tab.
    #[must_use]
    pub fn unused(&self) -> Money {
        self.reserved.checked_sub(self.charged).unwrap_or_default().max(Money::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn balance(credited: i64, spent: i64, held: i64) -> Balance {
        Balance::new(money(credited), money(spent), money(held)).unwrap()
    }

    fn tab(reserved: i64, charged: i64) -> Tab {
        Tab { reserved: money(reserved), charged: money(charged) }
    }

    #[test]
    fn impossible_balances_cannot_be_made() {
        for (credited, spent, held) in
            [(1, 1, 1), (-1, 0, 0), (1, -1, 0), (1, 0, -1), (i64::MAX, 0, 0), (5, i64::MAX, 1)]
        {
            assert_eq!(Balance::new(money(credited), money(spent), money(held)), None);
        }
    }

    #[test]
    fn a_charge_draws_on_the_hold_first() {
        for (before, of, amount, after) in [
            // Within the hold: what is available does not move.
            (balance(100, 0, 10), tab(10, 0), 4, Ok((balance(100, 4, 6), tab(10, 4)))),
            // Beyond the hold: the rest comes from what is available.
            (balance(100, 4, 6), tab(10, 4), 16, Ok((balance(100, 20, 0), tab(10, 20)))),
            // No hold at all.
            (balance(100, 0, 0), tab(0, 0), 100, Ok((balance(100, 100, 0), tab(0, 100)))),
            // Another tab's hold is out of reach.
            (balance(100, 0, 90), tab(0, 0), 15, Err(Refused::Short(money(5)))),
            (balance(10, 0, 10), tab(10, 0), 10, Ok((balance(10, 10, 0), tab(10, 10)))),
            (balance(10, 0, 10), tab(10, 0), 11, Err(Refused::Short(money(1)))),
            (balance(10, 0, 0), tab(0, 0), 0, Ok((balance(10, 0, 0), tab(0, 0)))),
        ] {
            assert_eq!(before.charge(of, money(amount)), after);
        }
    }

    proptest! {
        /// Whatever is asked, no step leaves an impossible balance, panics or wraps.
        #[test]
        fn no_step_overdraws(
            credited in 0..=LARGEST.micros(), spent in any::<i64>(), held in any::<i64>(),
            reserved in 0..=LARGEST.micros(), charged in 0..=LARGEST.micros(), amount in 0..=i64::MAX,
        ) {
            let spent = spent.rem_euclid(credited.saturating_add(1));
            let held = held.rem_euclid(credited - spent + 1);
            let before = balance(credited, spent, held);
            if let Ok(after) = before.credit(money(amount)) {
                prop_assert_eq!(after.available().micros(), before.available().micros() + amount);
            }
            if let Ok(after) = before.reserve(money(amount)) {
                prop_assert_eq!(after.available().micros(), before.available().micros() - amount);
            }
            if let Ok((after, tab)) = before.charge(tab(reserved, charged), money(amount)) {
                prop_assert_eq!(after.spent().micros(), spent + amount);
                prop_assert_eq!(tab.charged.micros(), charged + amount);
                prop_assert!(after.available() >= Money::ZERO);
            }
        }
    }
}
