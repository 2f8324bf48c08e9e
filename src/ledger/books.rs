//! The rows that a batch touches: read, then changed step by step, then written as sums. Pure.

use std::collections::BTreeMap;

use super::ChargeOutcome;
use super::account::{Account, Refused, Tab};
use super::budget::{Limit, Used};
use super::tabs::{Opening, Owed};
use crate::id::{AccountId, HoldId};
use crate::money::Money;

/// A tab as it was found.
#[derive(Debug, Clone)]
pub struct OpenedTab {
    /// Whose it is.
    pub account: AccountId,
    /// How it stands.
    pub tab: Tab,
    /// Whether it can still be charged.
    pub is_open: bool,
    /// The budget it was opened within, and the day.
    pub budget: Option<(String, String)>,
}

/// Accounts and tabs, and what was used of budgets.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// The accounts behind the tabs.
    pub accounts: BTreeMap<AccountId, Account>,
    /// The tabs.
    pub tabs: BTreeMap<HoldId, OpenedTab>,
    /// What was used within budgets.
    pub used: Used,
}

/// A charge that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The tab.
    pub hold: HoldId,
    /// How much.
    pub amount: Money,
    /// If that is more than the tab has set aside: how much of what is available is set aside for
    /// what comes next.
    pub ahead: Money,
}

/// What steps add up to: one change per tab and one per account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fold {
    /// Raises the tab's `charged` and `reserved`.
    pub tabs: BTreeMap<HoldId, (Money, Money)>,
    /// Added to the account's `posted` and `held`; the second may be negative.
    pub accounts: BTreeMap<AccountId, (Money, Money)>,
}

/// What became of one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of the outcomes the caller may see.
    Outcome(ChargeOutcome),
    /// It is more than the tab has set aside, or the tab is closed or unknown: its account is to be
    /// looked at.
    Beyond,
    /// There is no such tab.
    Unknown,
    /// The sum is beyond what can be recorded.
    Overflow,
}

/// What became of a tab that was to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Closed at `charged`, with `released` of its reserve left.
    Closed { charged: Money, released: Money },
    /// The account lacks this much of what was owed; nothing changed.
    Short { by: Money },
    /// It was closed before; nothing changed.
    Before,
    /// There is no such tab.
    Unknown,
    /// The sum is beyond what can be recorded.
    Overflow,
}

impl Books {
    /// Decides charge by charge, in the order given, which fit; those that do not leave no trace.
    /// Returns a verdict for each, and the sum of those that fit.
    #[must_use]
    pub fn admit(mut self, charges: &[Charge]) -> (Vec<Verdict>, Fold) {
        let before = self.clone();
        let verdicts = charges.iter().map(|charge| self.charge(charge)).collect();
        (verdicts, self.changes_since(&before))
    }

    fn charge(&mut self, Charge { hold, amount, ahead }: &Charge) -> Verdict {
        let Some((opened, account)) = self.find(hold) else { return Verdict::Unknown };
        if !opened.is_open {
            return Verdict::Outcome(ChargeOutcome::Closed);
        }
        match account.charge(opened.tab, *amount, *ahead) {
            Ok((after, tab)) => {
                (*account, opened.tab) = (after, tab);
                Verdict::Outcome(ChargeOutcome::Charged { total: tab.charged })
            }
            Err(Refused::Short(by)) => Verdict::Outcome(ChargeOutcome::Short { by }),
            Err(Refused::Overflow) => Verdict::Overflow,
        }
    }

    /// Charges what is owed for a tab, and closes it.
    pub fn settle(&mut self, hold: &HoldId, owed: Owed) -> Settled {
        let Some((opened, account)) = self.find(hold) else { return Settled::Unknown };
        if !opened.is_open {
            return Settled::Before;
        }
        let mut amount = owed.amount();
        if let Err(Refused::Short(by)) = account.charge(opened.tab, amount, Money::ZERO) {
            if matches!(owed, Owed::Exactly(_)) {
                return Settled::Short { by };
            }
            amount = amount.checked_sub(by).unwrap_or_default();
        }
        let Ok((charged, tab)) = account.charge(opened.tab, amount, Money::ZERO) else {
            return Settled::Overflow;
        };
        let Ok(after) = charged.close(tab) else { return Settled::Overflow };
        *account = after;
        opened.tab = tab;
        opened.is_open = false;
        Settled::Closed { charged: tab.charged, released: tab.unused() }
    }

    /// Sets aside what a new tab is estimated to cost. Returns that, and what could have been;
    /// or what there is, when that is not enough.
    ///
    /// # Errors
    /// What there is.
    pub fn reserve(&mut self, opening: &Opening) -> Result<(Money, Limit), Limit> {
        let account = self.accounts.get(&opening.account).copied().unwrap_or_default();
        let budget = opening.budget.as_ref();
        let left = self.used.left(budget, account.available());
        let amount = opening.estimate.within(left.affordable).ok_or(left)?;
        let after = account.reserve(amount).map_err(|_| left)?;
        if let Some(budget) = budget {
            self.used.add(&budget.name, &budget.day, amount).ok_or(left)?;
        }
        self.accounts.insert(opening.account.clone(), after);
        Ok((amount, left))
    }

    fn find(&mut self, hold: &HoldId) -> Option<(&mut OpenedTab, &mut Account)> {
        let opened = self.tabs.get_mut(hold)?;
        let account = self.accounts.get_mut(&opened.account)?;
        Some((opened, account))
    }

    /// What the steps since `before` add up to.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Fold {
        let mut fold = Fold::default();
        for (hold, now) in &self.tabs {
            let then = before.tabs[hold].tab;
            let risen =
                (difference(now.tab.charged, then.charged), difference(now.tab.reserved, then.reserved));
            if now.tab != then {
                fold.tabs.insert(hold.clone(), risen);
            }
        }
        for (account, now) in &self.accounts {
            let then = before.accounts.get(account).copied().unwrap_or_default();
            let (posted, held) =
                (difference(now.posted(), then.posted()), difference(now.held(), then.held()));
            if !posted.is_zero() || !held.is_zero() {
                fold.accounts.insert(account.clone(), (posted, held));
            }
        }
        fold
    }
}

/// What `now` is more than `then`.
fn difference(now: Money, then: Money) -> Money {
    now.checked_sub(then).expect("both lie between zero and LARGEST")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn books(credited: i64, held: i64, tabs: &[(&HoldId, i64, bool)]) -> (AccountId, Books) {
        let account = AccountId::parse("test:a").unwrap();
        let opened = |reserved, is_open| OpenedTab {
            account: account.clone(),
            tab: Tab { reserved: money(reserved), charged: Money::ZERO },
            is_open,
            budget: None,
        };
        let row = Account::new(money(credited), Money::ZERO, money(held)).unwrap();
        let tabs =
            tabs.iter().map(|(hold, reserved, is_open)| ((*hold).clone(), opened(*reserved, *is_open)));
        let books =
            Books { accounts: [(account.clone(), row)].into(), tabs: tabs.collect(), used: Used::default() };
        (account, books)
    }

    #[test]
    fn attack_20_those_that_fit_succeed_in_order_of_arrival() {
        let (one, two, gone) = (HoldId::new(NOW), HoldId::new(NOW), HoldId::new(NOW));
        let (account, books) = books(20, 5, &[(&one, 5, true), (&two, 0, true), (&gone, 0, false)]);
        let unknown = HoldId::new(NOW);
        let charges = [(&one, 10), (&two, 11), (&two, 10), (&one, 1), (&gone, 1), (&unknown, 1)]
            .map(|(hold, amount)| charge(hold, amount, 0));
        let (verdicts, fold) = books.admit(&charges);
        assert_eq!(
            verdicts,
            [
                Verdict::Outcome(ChargeOutcome::Charged { total: money(10) }),
                Verdict::Outcome(ChargeOutcome::Short { by: money(1) }),
                Verdict::Outcome(ChargeOutcome::Charged { total: money(10) }),
                Verdict::Outcome(ChargeOutcome::Short { by: money(1) }),
                Verdict::Outcome(ChargeOutcome::Closed),
                Verdict::Unknown,
            ]
        );
        assert_eq!(fold.tabs, [(one, (money(10), money(0))), (two, (money(10), money(0)))].into());
        assert_eq!(fold.accounts, [(account, (money(0), money(15)))].into());
    }

    #[test]
    fn what_goes_beyond_a_tab_sets_aside_for_what_comes_next() {
        for (reserved, charges, charged, risen, held) in [
            (0, [(3, 10), (4, 10)], 7, 13, 13),
            // Within what the tab has, nothing more is taken.
            (5, [(3, 10), (2, 10)], 5, 0, 0),
            // No more than there is.
            (5, [(6, 100), (2, 100)], 8, 15, 15),
        ] {
            let hold = HoldId::new(NOW);
            let (account, books) = books(20, reserved, &[(&hold, reserved, true)]);
            let charges = charges.map(|(amount, ahead)| charge(&hold, amount, ahead));
            let (_, fold) = books.admit(&charges);
            assert_eq!(fold.tabs, [(hold, (money(charged), money(risen)))].into());
            let held = (held > 0).then_some((account, (money(0), money(held))));
            assert_eq!(fold.accounts, held.into_iter().collect());
        }
    }

    fn charge(hold: &HoldId, amount: i64, ahead: i64) -> Charge {
        Charge { hold: hold.clone(), amount: money(amount), ahead: money(ahead) }
    }

    #[test]
    fn a_tab_is_settled_once_and_as_far_as_it_can_be_paid() {
        for (owed, expected) in [
            (Owed::Exactly(money(4)), Settled::Closed { charged: money(4), released: money(2) }),
            (Owed::Exactly(money(9)), Settled::Closed { charged: money(9), released: money(0) }),
            (Owed::Exactly(money(11)), Settled::Short { by: money(1) }),
            (Owed::AtMost(money(11)), Settled::Closed { charged: money(10), released: money(0) }),
            (Owed::NOTHING, Settled::Closed { charged: money(0), released: money(6) }),
        ] {
            let hold = HoldId::new(NOW);
            let (account, mut books) = books(10, 6, &[(&hold, 6, true)]);
            let before = books.clone();
            assert_eq!(books.settle(&hold, owed), expected);
            if let Settled::Closed { charged, .. } = expected {
                assert_eq!(books.settle(&hold, owed), Settled::Before);
                let fold = books.changes_since(&before);
                assert_eq!(fold.accounts, [(account, (charged, money(-6)))].into());
            }
            assert_eq!(books.settle(&HoldId::new(NOW), owed), Settled::Unknown);
        }
    }
}
