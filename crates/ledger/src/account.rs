//! The arithmetic of accounts and holds. Pure: state in, state out.
//!
//! The database repeats these rules in its `UPDATE ... WHERE` and its `CHECK`s; here they are
//! stated once, in one place, and decide what fits.

use serde::Serialize;

use farebox_types::money::Money;

/// The largest sum an account can reach on any side; the schema enforces the same bound.
pub const LARGEST: Money = Money::from_micros(9_000_000_000_000_000_000);

/// Balance of an account, as its owner sees it.
///
/// The sides are never negative and `spent + held` never exceeds `credited`: a value of this
/// type cannot be made otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Balance {
    credited: Money,
    spent: Money,
    held: Money,
}

/// Row of an account: the money of its [`Balance`], divided so that a charge within what its hold has set aside changes
/// nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    credited: Money,
    posted: Money,
    held: Money,
}

/// Amounts of a hold: what it reserved when it was opened, and what it was charged so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hold {
    /// Amount set aside, when the hold was opened or since.
    pub reserved: Money,
    /// Amount charged so far; may exceed what was reserved.
    pub charged: Money,
}

/// Reason why a step is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountRefusal {
    /// Shortage: the account lacks this much.
    Short(Money),
    /// Sum that would exceed [`LARGEST`].
    Overflow,
}

/// Returns the rest of `credited`, or `None` if no account can be in that state.
fn left(credited: Money, used: Money, held: Money) -> Option<Money> {
    let left = credited.checked_sub(used.checked_add(held)?)?;
    let sound = [used, held, left].iter().all(|side| *side >= Money::ZERO) && credited <= LARGEST;
    sound.then_some(left)
}

impl Balance {
    /// Returns the balance of these three sides, or `None` if no account can be in that state.
    #[must_use]
    pub fn new(credited: Money, spent: Money, held: Money) -> Option<Self> {
        left(credited, spent, held).map(|_| Self { credited, spent, held })
    }

    /// Returns the sum of all credits.
    #[must_use]
    pub const fn credited(&self) -> Money {
        self.credited
    }

    /// Returns the sum of all charges, those of open holds included.
    #[must_use]
    pub const fn spent(&self) -> Money {
        self.spent
    }

    /// Returns the sum that open holds have set aside and not yet charged.
    #[must_use]
    pub const fn held(&self) -> Money {
        self.held
    }

    /// Returns `credited - spent - held`: what a new request can use.
    ///
    /// # Panics
    /// Never: [`Balance::new`] lets no other values in.
    #[must_use]
    pub fn available(&self) -> Money {
        left(self.credited, self.spent, self.held).expect("`spent + held <= credited` since `new`")
    }
}

impl Account {
    /// Returns the account with these three sides, or `None` if no account can be in that state: the sum of all
    /// credits, of the charges of closed holds, and of the [claims](Hold::claim) of open ones.
    #[must_use]
    pub fn new(credited: Money, posted: Money, held: Money) -> Option<Self> {
        left(credited, posted, held).map(|_| Self { credited, posted, held })
    }

    /// Returns the sum of all credits.
    #[must_use]
    pub const fn credited(&self) -> Money {
        self.credited
    }

    /// Returns the sum that closed holds were charged.
    #[must_use]
    pub const fn posted(&self) -> Money {
        self.posted
    }

    /// Returns the sum that open holds [claim](Hold::claim).
    #[must_use]
    pub const fn held(&self) -> Money {
        self.held
    }

    /// Returns `credited - posted - held`: what a new request can use. [`Balance::available`] is the same sum.
    ///
    /// # Panics
    /// Never: [`Account::new`] lets no other values in.
    #[must_use]
    pub fn available(&self) -> Money {
        left(self.credited, self.posted, self.held).expect("`posted + held <= credited` since `new`")
    }

    /// Returns the account after a credit of `amount`.
    ///
    /// # Errors
    /// [`AccountRefusal::Overflow`] alone.
    pub fn credit(self, amount: Money) -> Result<Self, AccountRefusal> {
        let credited = self.credited.checked_add(amount).ok_or(AccountRefusal::Overflow)?;
        Self::new(credited, self.posted, self.held).ok_or(AccountRefusal::Overflow)
    }

    /// Returns the account after setting `amount` aside for a hold.
    ///
    /// # Errors
    /// [`AccountRefusal::Short`] if less than that is available.
    pub fn reserve(self, amount: Money) -> Result<Self, AccountRefusal> {
        let available = self.available();
        if amount > available {
            return Err(amount
                .checked_sub(available)
                .map_or(AccountRefusal::Overflow, AccountRefusal::Short));
        }
        let held = self.held.checked_add(amount).ok_or(AccountRefusal::Overflow)?;
        Self::new(self.credited, self.posted, held).ok_or(AccountRefusal::Overflow)
    }

    /// Returns the account and the hold after charging `amount` to `hold`, which draws on what the hold still has set
    /// aside first and on what is available then. If it does, as much of `ahead` as is available is set aside for what
    /// comes next.
    ///
    /// # Errors
    /// [`AccountRefusal::Short`] if both together do not suffice.
    pub fn charge(self, hold: Hold, amount: Money, ahead: Money) -> Result<(Self, Hold), AccountRefusal> {
        let beyond = amount.checked_sub(hold.unused().min(amount)).ok_or(AccountRefusal::Overflow)?;
        let after = self.reserve(beyond)?;
        let charged = hold.charged.checked_add(amount).ok_or(AccountRefusal::Overflow)?;
        let more = if beyond.is_positive() { ahead.min(after.available()) } else { Money::ZERO };
        if more.is_zero() {
            return Ok((after, Hold { charged, ..hold }));
        }
        let reserved = charged.checked_add(more).ok_or(AccountRefusal::Overflow)?;
        Ok((after.reserve(more)?, Hold { reserved, charged }))
    }

    /// Returns the account and the hold after closing `hold` at what it was charged, less what it gets back of that.
    ///
    /// # Errors
    /// [`AccountRefusal::Overflow`] if less than it claims is held, or more is given back than it was charged.
    pub fn close(self, hold: Hold, returned: Money) -> Result<(Self, Hold), AccountRefusal> {
        let held = self.held.checked_sub(hold.claim()).ok_or(AccountRefusal::Overflow)?;
        let charged = hold.charged.checked_sub(returned).filter(|charged| *charged >= Money::ZERO);
        let charged = charged.ok_or(AccountRefusal::Overflow)?;
        let posted = self.posted.checked_add(charged).ok_or(AccountRefusal::Overflow)?;
        let account = Self::new(self.credited, posted, held).ok_or(AccountRefusal::Overflow)?;
        Ok((account, Hold { charged, ..hold }))
    }
}

impl Hold {
    /// Returns the amount kept for this hold while it is open: what it set aside, or what it was charged if that is
    /// more.
    #[must_use]
    pub fn claim(&self) -> Money {
        self.reserved.max(self.charged)
    }

    /// Returns the amount still set aside for this hold.
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

    fn account(credited: i64, posted: i64, held: i64) -> Account {
        Account::new(money(credited), money(posted), money(held)).unwrap()
    }

    fn hold(reserved: i64, charged: i64) -> Hold {
        Hold { reserved: money(reserved), charged: money(charged) }
    }

    #[test]
    fn impossible_balances_cannot_be_made() {
        for (credited, spent, held) in
            [(1, 1, 1), (-1, 0, 0), (1, -1, 0), (1, 0, -1), (i64::MAX, 0, 0), (5, i64::MAX, 1)]
        {
            assert_eq!(Balance::new(money(credited), money(spent), money(held)), None);
            assert_eq!(Account::new(money(credited), money(spent), money(held)), None);
        }
    }

    #[test]
    fn a_charge_draws_on_the_hold_first() {
        for (before, of, amount, after) in [
            // Within the hold: the account does not move.
            (account(100, 0, 10), hold(10, 0), 4, Ok((account(100, 0, 10), hold(10, 4)))),
            // Beyond the hold: the rest comes from what is available.
            (account(100, 0, 10), hold(10, 4), 16, Ok((account(100, 0, 20), hold(10, 20)))),
            (account(100, 0, 20), hold(10, 20), 5, Ok((account(100, 0, 25), hold(10, 25)))),
            // No hold at all.
            (account(100, 0, 0), hold(0, 0), 100, Ok((account(100, 0, 100), hold(0, 100)))),
            // Another hold's reserve is out of reach.
            (account(100, 0, 90), hold(0, 0), 15, Err(AccountRefusal::Short(money(5)))),
            (account(10, 0, 10), hold(10, 0), 10, Ok((account(10, 0, 10), hold(10, 10)))),
            (account(10, 0, 10), hold(10, 0), 11, Err(AccountRefusal::Short(money(1)))),
            (account(10, 0, 0), hold(0, 0), 0, Ok((account(10, 0, 0), hold(0, 0)))),
        ] {
            assert_eq!(before.charge(of, money(amount), Money::ZERO), after);
        }
    }

    #[test]
    fn a_closed_hold_frees_what_it_did_not_use() {
        for (before, of, returned, after) in [
            (account(100, 5, 10), hold(10, 4), 0, Ok((account(100, 9, 0), hold(10, 4)))),
            (account(100, 5, 30), hold(10, 20), 0, Ok((account(100, 25, 10), hold(10, 20)))),
            (account(100, 5, 9), hold(10, 4), 0, Err(AccountRefusal::Overflow)),
            // What was charged beyond the price is available again.
            (account(100, 5, 30), hold(10, 20), 17, Ok((account(100, 8, 10), hold(10, 3)))),
            (account(100, 5, 10), hold(10, 4), 4, Ok((account(100, 5, 0), hold(10, 0)))),
            (account(100, 5, 10), hold(10, 4), 5, Err(AccountRefusal::Overflow)),
        ] {
            assert_eq!(before.close(of, money(returned)), after);
        }
    }

    proptest! {
        /// Whatever is asked, no step leaves an impossible account, panics or wraps.
        #[test]
        fn no_step_overdraws(
            credited in 0..=LARGEST.micros(), posted in any::<i64>(), held in any::<i64>(),
            reserved in 0..=LARGEST.micros(), charged in 0..=LARGEST.micros(), amount in 0..=i64::MAX, ahead in 0..=i64::MAX,
            returned in 0..=i64::MAX,
        ) {
            let posted = posted.rem_euclid(credited.saturating_add(1));
            let held = held.rem_euclid(credited - posted + 1);
            let before = account(credited, posted, held);
            if let Ok(after) = before.credit(money(amount)) {
                prop_assert_eq!(after.available().micros(), before.available().micros() + amount);
            }
            if let Ok(after) = before.reserve(money(amount)) {
                prop_assert_eq!(after.available().micros(), before.available().micros() - amount);
            }
            let before_hold = hold(reserved, charged);
            if let Ok((after, hold)) = before.charge(before_hold, money(amount), money(ahead)) {
                prop_assert_eq!(hold.charged.micros(), charged + amount);
                let claimed = after.held().micros() - held;
                prop_assert_eq!(claimed, hold.claim().micros() - before_hold.claim().micros());
                let returned = returned.rem_euclid(hold.charged.micros() + 1);
                if let Ok((closed, at)) = after.close(hold, money(returned)) {
                    prop_assert_eq!(at.charged.micros(), hold.charged.micros() - returned);
                    prop_assert_eq!(closed.posted().micros(), posted + at.charged.micros());
                    prop_assert_eq!(
                        closed.available().micros(),
                        after.available().micros() + hold.unused().micros() + returned
                    );
                }
            }
        }
    }
}
