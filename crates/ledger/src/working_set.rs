//! The rows that a batch touches: found, changed step by step, and written as what changed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, AccountRefusal, Hold};
use super::budget::{BudgetUsage, SpendingLimit};
use super::holds::{HoldRequest, Owed};
use super::{ChargeOutcome, LedgerError};
use farebox_types::id::{AccountId, HoldId};
use farebox_types::money::Money;

/// A hold as it was found, or as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHold {
    /// Whose it is.
    pub account: AccountId,
    /// How it stands.
    pub tab: Hold,
    /// Whether it can still be charged.
    pub is_open: bool,
    /// The budget it was opened within, and the day.
    pub budget: Option<(String, String)>,
}

/// Accounts and holds, and what was used of budgets.
#[derive(Debug, Clone, Default)]
pub struct WorkingSet {
    /// The accounts behind the holds.
    pub accounts: BTreeMap<AccountId, Account>,
    /// The holds.
    pub tabs: BTreeMap<HoldId, StoredHold>,
    /// What was used within budgets.
    pub used: BudgetUsage,
    /// Accounts that changed, as they were found.
    found_accounts: BTreeMap<AccountId, Account>,
    /// Holds that changed, as they were found; open, all of them.
    found_tabs: BTreeMap<HoldId, Hold>,
}

/// A charge that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The hold.
    pub hold: HoldId,
    /// How much.
    pub amount: Money,
    /// If that is more than the hold has set aside: how much of what is available is set aside for
    /// what comes next.
    pub ahead: Money,
}

/// What an open hold changes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldChange {
    /// As it was found.
    pub found: Hold,
    /// As it is to be.
    pub now: Hold,
    /// Whether it closes.
    pub closes: bool,
}

/// What became of a hold that was to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Closed at `charged`, of which `risen` is new, with `released` of its reserve left.
    Closed { charged: Money, risen: Money, released: Money },
    /// The account lacks this much of what was owed; nothing changed.
    Short { by: Money },
    /// It was closed before; nothing changed.
    Before,
}

impl WorkingSet {
    /// Of these rows.
    #[must_use]
    pub fn new(accounts: BTreeMap<AccountId, Account>, tabs: BTreeMap<HoldId, StoredHold>) -> Self {
        Self { accounts, tabs, ..Self::default() }
    }

    /// Charges a hold, if that fits; if not, it leaves no trace. Also says whether all that was asked
    /// for is granted.
    ///
    /// # Errors
    /// When there is no such hold, or the sum is beyond what can be recorded.
    pub fn charge(
        &mut self,
        Charge { hold, amount, ahead }: &Charge,
    ) -> Result<(ChargeOutcome, bool), LedgerError> {
        let (opened, account) = self.find(hold)?;
        if !opened.is_open {
            return Ok((ChargeOutcome::Closed, false));
        }
        match account.charge(opened.tab, *amount, *ahead) {
            Ok((after, tab)) => {
                let is_within = *amount <= opened.tab.unused();
                self.change(hold, after, tab, true);
                Ok((ChargeOutcome::Charged { total: tab.charged }, is_within || tab.unused() >= *ahead))
            }
            Err(AccountRefusal::Short(by)) => Ok((ChargeOutcome::Short { by }, false)),
            Err(AccountRefusal::Overflow) => Err(LedgerError::Overflow),
        }
    }

    /// Charges what is owed for a hold, and closes it.
    ///
    /// # Errors
    /// When there is no such hold, or the sum is beyond what can be recorded.
    pub fn capture(&mut self, hold: &HoldId, owed: Owed) -> Result<Settled, LedgerError> {
        let (opened, account) = self.find(hold)?;
        if !opened.is_open {
            return Ok(Settled::Before);
        }
        let mut amount = owed.amount();
        if let Err(AccountRefusal::Short(by)) = account.charge(opened.tab, amount, Money::ZERO) {
            if matches!(owed, Owed::Exactly(_)) {
                return Ok(Settled::Short { by });
            }
            amount = amount.checked_sub(by).unwrap_or_default();
        }
        let charged = account.charge(opened.tab, amount, Money::ZERO);
        let Ok((after, tab)) = charged.and_then(|(account, tab)| Ok((account.close(tab)?, tab))) else {
            return Err(LedgerError::Overflow);
        };
        self.change(hold, after, tab, false);
        Ok(Settled::Closed { charged: tab.charged, risen: amount, released: tab.unused() })
    }

    /// Sets aside what a new hold is estimated to cost, or all there is. Returns that; or what there
    /// is, when that is not enough.
    ///
    /// # Errors
    /// What there is.
    pub fn reserve(&mut self, opening: &HoldRequest) -> Result<Money, SpendingLimit> {
        let account = self.accounts.get(&opening.account).copied().unwrap_or_default();
        let budget = opening.budget.as_ref();
        let left = self.used.left(budget, account.available());
        let amount = opening.estimate.within(left.affordable).ok_or(left)?;
        let after = account.reserve(amount).map_err(|_| left)?;
        if let Some(budget) = budget {
            self.used.add(&budget.name, &budget.day, amount).ok_or(left)?;
        }
        self.change_account(&opening.account, account, after);
        Ok(amount)
    }

    fn find(&self, hold: &HoldId) -> Result<(&StoredHold, Account), LedgerError> {
        let opened = self.tabs.get(hold);
        let found = opened.and_then(|opened| Some((opened, *self.accounts.get(&opened.account)?)));
        found.ok_or_else(|| LedgerError::UnknownHold(hold.clone()))
    }

    fn change(&mut self, hold: &HoldId, account: Account, tab: Hold, is_open: bool) {
        let Some(opened) = self.tabs.get_mut(hold) else { return };
        // Also where a charge is nothing: that the hold is open is for the database to say.
        self.found_tabs.entry(hold.clone()).or_insert(opened.tab);
        (opened.tab, opened.is_open) = (tab, is_open);
        // A charge within what is set aside leaves it as it is.
        let before = self.accounts.get(&opened.account).filter(|before| **before != account).copied();
        if let Some(before) = before {
            let owner = opened.account.clone();
            self.change_account(&owner, before, account);
        }
    }

    fn change_account(&mut self, id: &AccountId, before: Account, after: Account) {
        if before != after {
            self.found_accounts.entry(id.clone()).or_insert(before);
            self.accounts.insert(id.clone(), after);
        }
    }

    /// The rows as they were found, but for those of `accounts`.
    #[must_use]
    pub fn found_without(mut self, accounts: &BTreeSet<AccountId>) -> Self {
        self.accounts.extend(self.found_accounts);
        for (hold, tab) in self.found_tabs {
            if let Some(opened) = self.tabs.get_mut(&hold) {
                (opened.tab, opened.is_open) = (tab, true);
            }
        }
        self.accounts.retain(|id, _| !accounts.contains(id));
        self.tabs.retain(|_, opened| !accounts.contains(&opened.account));
        Self::new(self.accounts, self.tabs)
    }

    /// What is added to the accounts' `posted` and `held`; the second may be negative.
    pub fn account_changes(&self) -> impl Iterator<Item = (&AccountId, (Money, Money))> {
        self.found_accounts.iter().filter_map(|(id, found)| {
            let now = self.accounts.get(id)?;
            let by = (difference(now.posted(), found.posted()), difference(now.held(), found.held()));
            (by != (Money::ZERO, Money::ZERO)).then_some((id, by))
        })
    }

    /// What holds change to.
    pub fn tab_changes(&self) -> impl Iterator<Item = (&HoldId, HoldChange)> {
        self.found_tabs.iter().filter_map(|(id, found)| {
            let opened = self.tabs.get(id)?;
            Some((id, HoldChange { found: *found, now: opened.tab, closes: !opened.is_open }))
        })
    }
}

/// What `now` is more than `then`.
fn difference(now: Money, then: Money) -> Money {
    now.checked_sub(then).expect("both lie between zero and LARGEST")
}

#[cfg(test)]
mod tests {
    use super::super::Estimate;
    use super::*;
    use farebox_types::id::Timestamp;

    type Accounts = BTreeMap<AccountId, (Money, Money)>;
    type Tabs = BTreeMap<HoldId, HoldChange>;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn money(micros: i64) -> Money {
        Money::from_micros(micros)
    }

    fn books(credited: i64, held: i64, tabs: &[(&HoldId, i64, bool)]) -> (AccountId, WorkingSet) {
        let account = AccountId::parse("test:a").unwrap();
        let opened = |reserved, is_open| StoredHold {
            account: account.clone(),
            tab: Hold { reserved: money(reserved), charged: Money::ZERO },
            is_open,
            budget: None,
        };
        let row = Account::new(money(credited), Money::ZERO, money(held)).unwrap();
        let tabs =
            tabs.iter().map(|(hold, reserved, is_open)| ((*hold).clone(), opened(*reserved, *is_open)));
        let books = WorkingSet::new([(account.clone(), row)].into(), tabs.collect());
        (account, books)
    }

    /// What changed of the accounts and the holds.
    fn changes(books: &WorkingSet) -> (Accounts, Tabs) {
        let accounts = books.account_changes().map(|(id, by)| (id.clone(), by)).collect();
        (accounts, books.tab_changes().map(|(id, change)| (id.clone(), change)).collect())
    }

    fn tab(reserved: i64, charged: i64) -> Hold {
        Hold { reserved: money(reserved), charged: money(charged) }
    }

    #[test]
    fn attack_20_those_that_fit_succeed_in_order_of_arrival() {
        let (one, two, gone) = (HoldId::new(NOW), HoldId::new(NOW), HoldId::new(NOW));
        let (account, mut books) = books(20, 5, &[(&one, 5, true), (&two, 0, true), (&gone, 0, false)]);
        let unknown = HoldId::new(NOW);
        let told = |total| Some(ChargeOutcome::Charged { total: money(total) });
        for (hold, amount, outcome) in [
            (&one, 10, told(10)),
            (&two, 11, Some(ChargeOutcome::Short { by: money(1) })),
            (&two, 10, told(10)),
            (&one, 1, Some(ChargeOutcome::Short { by: money(1) })),
            (&one, 0, told(10)),
            (&gone, 1, Some(ChargeOutcome::Closed)),
            (&unknown, 1, None),
        ] {
            assert_eq!(books.charge(&charge(hold, amount, 0)).ok().map(|(outcome, _)| outcome), outcome);
        }
        let changed =
            |reserved| HoldChange { found: tab(reserved, 0), now: tab(reserved, 10), closes: false };
        let (accounts, tabs) = changes(&books);
        assert_eq!(tabs, [(one, changed(5)), (two, changed(0))].into());
        assert_eq!(accounts, [(account, (money(0), money(15)))].into());
    }

    #[test]
    fn a_charge_of_nothing_still_asks_for_an_open_tab() {
        let hold = HoldId::new(NOW);
        let (_, mut books) = books(20, 5, &[(&hold, 5, true)]);
        books.charge(&charge(&hold, 0, 0)).unwrap();
        let same = HoldChange { found: tab(5, 0), now: tab(5, 0), closes: false };
        assert_eq!(changes(&books), (Accounts::new(), [(hold, same)].into()));
    }

    #[test]
    fn what_goes_beyond_a_tab_sets_aside_for_what_comes_next() {
        for (reserved, charges, charged, risen, held) in [
            (0, [(3, 10), (4, 10)], 7, 13, 13),
            // Within what the hold has, nothing more is taken.
            (5, [(3, 10), (2, 10)], 5, 0, 0),
            // No more than there is.
            (5, [(6, 100), (2, 100)], 8, 15, 15),
        ] {
            let hold = HoldId::new(NOW);
            let (account, mut books) = books(20, reserved, &[(&hold, reserved, true)]);
            for (amount, ahead) in charges {
                books.charge(&charge(&hold, amount, ahead)).unwrap();
            }
            let now = tab(reserved + risen, charged);
            let (accounts, tabs) = changes(&books);
            assert_eq!(tabs, [(hold, HoldChange { found: tab(reserved, 0), now, closes: false })].into());
            let held = (held > 0).then_some((account, (money(0), money(held))));
            assert_eq!(accounts, held.into_iter().collect());
        }
    }

    fn charge(hold: &HoldId, amount: i64, ahead: i64) -> Charge {
        Charge { hold: hold.clone(), amount: money(amount), ahead: money(ahead) }
    }

    #[test]
    fn a_tab_is_settled_once_and_as_far_as_it_can_be_paid() {
        let closed = |charged, released| Settled::Closed {
            charged: money(charged),
            risen: money(charged),
            released: money(released),
        };
        for (owed, expected) in [
            (Owed::Exactly(money(4)), closed(4, 2)),
            (Owed::Exactly(money(9)), closed(9, 0)),
            (Owed::Exactly(money(11)), Settled::Short { by: money(1) }),
            (Owed::AtMost(money(11)), closed(10, 0)),
            (Owed::NOTHING, closed(0, 6)),
        ] {
            let hold = HoldId::new(NOW);
            let (account, mut books) = books(10, 6, &[(&hold, 6, true)]);
            assert_eq!(books.capture(&hold, owed).unwrap(), expected);
            let (accounts, tabs) = changes(&books);
            if let Settled::Closed { charged, .. } = expected {
                assert_eq!(books.capture(&hold, owed).unwrap(), Settled::Before);
                assert_eq!(accounts, [(account, (charged, money(-6)))].into());
                let now = Hold { charged, ..tab(6, 0) };
                assert_eq!(tabs, [(hold, HoldChange { found: tab(6, 0), now, closes: true })].into());
            } else {
                assert_eq!((accounts, tabs), (Accounts::new(), Tabs::new()));
            }
            assert!(matches!(books.capture(&HoldId::new(NOW), owed), Err(LedgerError::UnknownHold(_))));
        }
    }

    #[test]
    fn what_is_reserved_is_held() {
        let hold = HoldId::new(NOW);
        let (account, mut books) = books(10, 0, &[(&hold, 0, true)]);
        let opening = HoldRequest {
            account,
            idempotency_key: None,
            budget: None,
            estimate: Estimate { wanted: money(6), least: money(6) },
            now: NOW,
            expires_at: NOW,
        };
        assert_eq!(books.reserve(&opening).unwrap(), money(6));
        assert_eq!(books.reserve(&opening).unwrap_err().affordable, money(4));
        let (accounts, _) = changes(&books);
        assert_eq!(accounts, [(opening.account, (money(0), money(6)))].into());
    }

    #[test]
    fn what_was_changed_can_be_had_as_it_was_found() {
        let (one, two) = (HoldId::new(NOW), HoldId::new(NOW));
        let (account, mut books) = books(20, 5, &[(&one, 5, true), (&two, 0, true)]);
        let (other, before) = (AccountId::parse("test:b").unwrap(), books.clone());
        books.charge(&charge(&one, 9, 0)).unwrap();
        books.capture(&two, Owed::Exactly(money(3))).unwrap();
        let found = books.clone().found_without(&[other].into());
        assert_eq!((&found.accounts, &found.tabs), (&before.accounts, &before.tabs));
        assert_eq!(changes(&found), (Accounts::new(), Tabs::new()));
        let found = books.found_without(&[account].into());
        assert!(found.accounts.is_empty() && found.tabs.is_empty());
    }
}
