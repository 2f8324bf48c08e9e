//! What the batch writer remembers of accounts and holds, so that it need not ask the database before
//! each batch.
//!
//! Nothing rests on it: what is written says how holds are expected to be and how much of accounts to
//! be available, and is written only if all of that is so. What was taken from it is forgotten unless
//! it was written. Only who gets all that they ask for is served from memory; everybody else after the
//! database was asked.

use std::collections::HashMap;

use super::account::Account;
use super::orders::Orders;
use super::working_set::{StoredHold, WorkingSet};
use farebox_types::id::{AccountId, HoldId};

/// With more accounts or more holds than this in it, all is forgotten: most are of no use any more.
const MOST: usize = 65_536;

/// Rows as they were after they were last written or read.
#[derive(Default)]
pub(super) struct Memory {
    accounts: HashMap<AccountId, Account>,
    tabs: HashMap<HoldId, StoredHold>,
}

impl Memory {
    /// Takes out what is remembered of what `orders` are about.
    pub(super) fn take(&mut self, orders: &Orders) -> WorkingSet {
        let mut books = WorkingSet::default();
        for hold in orders.tabs() {
            let Some((id, opened)) = self.tabs.remove_entry(hold) else { continue };
            if let Some((owner, account)) = self.accounts.remove_entry(&opened.account) {
                books.accounts.insert(owner, account);
            }
            // Without its account a hold is of no use.
            if books.accounts.contains_key(&opened.account) {
                books.tabs.insert(id, opened);
            }
        }
        for id in orders.accounts() {
            if let Some((id, account)) = self.accounts.remove_entry(id) {
                books.accounts.insert(id, account);
            }
        }
        books
    }

    /// Remembers what was written, or is as it was read.
    pub(super) fn keep(&mut self, books: WorkingSet) {
        if self.accounts.len().max(self.tabs.len()) > MOST {
            *self = Self::default();
        }
        self.accounts.extend(books.accounts);
        for (id, opened) in books.tabs {
            if opened.is_open {
                self.tabs.insert(id, opened);
            } else {
                self.tabs.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::Hold;
    use super::super::working_set::Charge;
    use super::*;
    use farebox_types::id::Timestamp;
    use farebox_types::money::Money;

    #[test]
    fn what_is_taken_is_forgotten_and_what_is_closed_is_not_kept() {
        let (a, b) = (AccountId::parse("test:a").unwrap(), AccountId::parse("test:b").unwrap());
        let [one, two, three] = [1, 2, 3].map(|moment| HoldId::new(Timestamp::from_millis(moment)));
        let opened = |account: &AccountId, is_open| StoredHold {
            account: account.clone(),
            tab: Hold::default(),
            is_open,
            budget: None,
        };
        let mut memory = Memory::default();
        memory.keep(WorkingSet::new(
            [(a.clone(), Account::default()), (b.clone(), Account::default())].into(),
            [
                (one.clone(), opened(&a, true)),
                (two.clone(), opened(&a, true)),
                (three.clone(), opened(&b, false)),
            ]
            .into(),
        ));
        let charge = |hold: &HoldId| Charge { hold: hold.clone(), amount: Money::ZERO, ahead: Money::ZERO };
        let orders = |holds: &[&HoldId]| Orders {
            charges: holds.iter().map(|hold| charge(hold)).collect(),
            ..Orders::default()
        };
        let all = orders(&[&one, &two, &three]);
        let books = memory.take(&all);
        assert!(books.tabs.keys().eq([&one, &two]) && books.accounts.keys().eq([&a]));
        assert!(memory.take(&all).tabs.is_empty());

        // Closed meanwhile; and a hold is of no use without its account.
        let mut books = books;
        books.tabs.insert(two.clone(), opened(&a, false));
        memory.keep(books);
        memory.accounts.remove(&a);
        assert!(memory.take(&all).tabs.is_empty() && memory.tabs.is_empty());
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut memory = Memory::default();
        let account = |n: usize| (AccountId::parse(&format!("test:{n}")).unwrap(), Account::default());
        memory.keep(WorkingSet::new((0..=MOST).map(account).collect(), [].into()));
        assert_eq!(memory.accounts.len(), MOST + 1);
        memory.keep(WorkingSet::new([account(0)].into(), [].into()));
        assert_eq!(memory.accounts.len(), 1);
    }
}
