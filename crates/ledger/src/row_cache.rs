//! Cache of accounts and holds, so that the batch writer need not read them before each batch.
//!
//! Nothing rests on it: a write says how it expects holds to be and how much of accounts to be available, and happens
//! only if all of that is so. Rows that are taken from the cache are gone from it until they were written. A row that
//! does not grant a command in full is not used: it may be out of date.

use std::collections::HashMap;
use std::hash::Hash;

use super::account::{Account, Hold};
use super::batch::Batch;
use super::holds::{Capture, Charge, HoldRequest};
use super::working_set::{StoredHold, WorkingSet};
use farebox_types::id::{AccountId, HoldId};
use farebox_types::money::Money;

/// Most rows of a generation. There are two generations, of accounts and of holds each.
const GENERATION: usize = 32_768;

/// Rows as they were last written or read.
#[derive(Default)]
pub(super) struct RowCache {
    accounts: Generations<AccountId, Account>,
    holds: Generations<HoldId, StoredHold>,
}

/// Map that forgets its older half when it is full: rows that were not used since the newer half began.
struct Generations<K, V> {
    newer: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { newer: HashMap::new(), older: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn take(&mut self, key: &K) -> Option<(K, V)> {
        self.newer.remove_entry(key).or_else(|| self.older.remove_entry(key))
    }

    fn insert(&mut self, key: K, value: V) {
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        if !self.older.is_empty() {
            self.older.remove(&key);
        }
        self.newer.insert(key, value);
        assert!(self.newer.len() <= GENERATION && self.older.len() <= GENERATION, "the cache is bounded");
    }
}

impl RowCache {
    /// Takes the rows of `batch` out that grant its commands in full.
    pub(super) fn take(&mut self, batch: &Batch) -> WorkingSet {
        let mut rows = WorkingSet::default();
        let mut are_all_granted = true;
        for Capture { hold, owed, .. } in &batch.captures {
            are_all_granted &= self.take_hold(&mut rows, hold, owed.amount(), Money::ZERO);
        }
        for HoldRequest { account, estimate, .. } in &batch.openings {
            if let Some((id, row)) = self.accounts.take(account) {
                rows.accounts.insert(id, row);
            }
            if rows.accounts.get(account).is_some_and(|row| row.available() < estimate.wanted) {
                rows.accounts.remove(account);
                are_all_granted = false;
            }
        }
        for Charge { hold, amount, ahead, .. } in &batch.charges {
            are_all_granted &= self.take_hold(&mut rows, hold, *amount, *ahead);
        }
        if !are_all_granted {
            // A hold is of no use without its account.
            rows.holds.retain(|_, stored| rows.accounts.contains_key(&stored.account));
        }
        rows
    }

    /// Takes a hold and its account. Returns false if they do not grant a charge.
    fn take_hold(&mut self, rows: &mut WorkingSet, id: &HoldId, amount: Money, ahead: Money) -> bool {
        let Some((id, stored)) = self.holds.take(id) else { return true };
        if let Some((owner, account)) = self.accounts.take(&stored.account) {
            rows.accounts.insert(owner, account);
        }
        let Some(account) = rows.accounts.get(&stored.account) else { return true };
        if amount > stored.hold.unused() && !is_covered(*account, stored.hold, amount, ahead) {
            rows.accounts.remove(&stored.account);
            return false;
        }
        rows.holds.insert(id, stored);
        true
    }

    /// Keeps rows that were written, or are as they were read.
    pub(super) fn keep(&mut self, rows: WorkingSet) {
        for (id, account) in rows.accounts {
            self.accounts.insert(id, account);
        }
        for (id, stored) in rows.holds {
            if stored.is_open {
                self.holds.insert(id, stored);
            } else {
                self.holds.take(&id);
            }
        }
    }
}

/// Returns true if an account grants a charge beyond a hold, and all that is to be set aside for what comes next.
fn is_covered(account: Account, hold: Hold, amount: Money, ahead: Money) -> bool {
    account.charge(hold, amount, ahead).is_ok_and(|(_, hold)| hold.unused() >= ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use farebox_types::id::Timestamp;

    fn stored(account: &AccountId, reserved: i64, is_open: bool) -> StoredHold {
        let hold = Hold { reserved: Money::from_micros(reserved), charged: Money::ZERO };
        StoredHold { account: account.clone(), hold, is_open, budget: None }
    }

    fn charges(holds: &[&HoldId], amount: i64) -> Batch {
        let charge = |hold: &&HoldId| Charge {
            hold: (*hold).clone(),
            amount: Money::from_micros(amount),
            ahead: Money::ZERO,
            reached: None,
        };
        Batch { charges: holds.iter().map(charge).collect(), ..Batch::default() }
    }

    fn rows(
        accounts: impl IntoIterator<Item = (AccountId, Account)>,
        holds: impl IntoIterator<Item = (HoldId, StoredHold)>,
    ) -> WorkingSet {
        WorkingSet {
            accounts: accounts.into_iter().collect(),
            holds: holds.into_iter().collect(),
            ..WorkingSet::default()
        }
    }

    #[test]
    fn rows_that_are_taken_are_gone_and_closed_holds_are_not_kept() {
        let [a, b] = ["test:a", "test:b"].map(|name| AccountId::parse(name).unwrap());
        let [one, two, three] = [1, 2, 3].map(|moment| HoldId::new(Timestamp::from_millis(moment)));
        let mut cache = RowCache::default();
        cache.keep(rows(
            [(a.clone(), Account::default()), (b.clone(), Account::default())],
            [
                (one.clone(), stored(&a, 0, true)),
                (two.clone(), stored(&a, 0, true)),
                (three.clone(), stored(&b, 0, false)),
            ],
        ));
        let all = charges(&[&one, &two, &three], 0);
        let mut taken = cache.take(&all);
        assert!(taken.holds.keys().eq([&one, &two]) && taken.accounts.keys().eq([&a]));
        assert!(cache.take(&all).holds.is_empty());

        // Closed meanwhile; and a hold is of no use without its account.
        taken.holds.insert(two.clone(), stored(&a, 0, false));
        cache.keep(taken);
        cache.accounts.take(&a);
        assert!(cache.take(&all).holds.is_empty() && cache.holds.take(&one).is_none());
    }

    #[test]
    fn rows_that_do_not_grant_a_charge_are_not_used() {
        let a = AccountId::parse("test:a").unwrap();
        let [one, two] = [1, 2].map(|moment| HoldId::new(Timestamp::from_millis(moment)));
        let account = Account::new(Money::from_micros(30), Money::ZERO, Money::from_micros(20)).unwrap();
        for (amount, is_used) in [(10, true), (20, true), (21, false)] {
            let mut cache = RowCache::default();
            let holds = [(one.clone(), stored(&a, 10, true)), (two.clone(), stored(&a, 10, true))];
            cache.keep(rows([(a.clone(), account)], holds));
            let taken = cache.take(&charges(&[&one, &two], amount));
            assert_eq!((taken.holds.len(), taken.accounts.len()), if is_used { (2, 1) } else { (0, 0) });
        }
    }

    #[test]
    fn the_half_that_was_not_used_is_forgotten() {
        let mut rows = Generations::default();
        rows.insert(usize::MAX, ());
        for n in 0..GENERATION {
            rows.insert(n, ());
        }
        // Used now and then, a row stays.
        let (first, ()) = rows.take(&usize::MAX).unwrap();
        rows.insert(first, ());
        for n in 0..GENERATION {
            rows.insert(GENERATION + n, ());
        }
        assert!(rows.take(&0).is_none());
        assert!(rows.take(&usize::MAX).is_some() && rows.take(&(2 * GENERATION - 1)).is_some());
        assert!(rows.newer.len() + rows.older.len() <= 2 * GENERATION);
    }
}
