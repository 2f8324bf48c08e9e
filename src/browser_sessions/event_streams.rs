//! Places of the event streams that pages keep open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::AccountId;

/// Streams of one account.
pub const MAX_OF_ACCOUNT: usize = 8;
/// Streams of an instance.
const MAX_STREAMS: usize = 1_000;
/// Streams of an instance that accounts may have which never had credit: anybody can make a wallet, and sign in.
const MAX_OF_NEWCOMERS: usize = 250;

/// Register of the open streams of this instance, by account.
#[derive(Debug, Clone, Default)]
pub struct EventStreams(Arc<Mutex<OpenStreams>>);

/// Open streams: of each account, and of newcomers.
#[derive(Debug, Default)]
struct OpenStreams {
    by_account: HashMap<AccountId, usize>,
    of_newcomers: usize,
}

/// Place of one stream in the register; free again when dropped.
#[derive(Debug)]
pub struct StreamPlace {
    account: AccountId,
    is_newcomer: bool,
    streams: EventStreams,
}

impl EventStreams {
    /// Takes a place, where the account and this instance have one left. A newcomer's account never had credit.
    #[must_use]
    pub fn take(&self, account: &AccountId, is_newcomer: bool) -> Option<StreamPlace> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = open.by_account.values().sum();
        let of_account = open.by_account.get(account).copied().unwrap_or_default();
        let is_full = of_all >= MAX_STREAMS || is_newcomer && open.of_newcomers >= MAX_OF_NEWCOMERS;
        if of_account >= MAX_OF_ACCOUNT || is_full {
            return None;
        }
        open.by_account.insert(account.clone(), of_account + 1);
        open.of_newcomers += usize::from(is_newcomer);
        Some(StreamPlace { account: account.clone(), is_newcomer, streams: self.clone() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.of_newcomers -= usize::from(self.is_newcomer);
        if let Some(count) = open.by_account.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                open.by_account.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: usize) -> AccountId {
        AccountId::wallet(&format!("0x{number:040x}")).expect("an address")
    }

    #[test]
    fn attack_76_newcomers_take_no_places_from_those_who_paid() {
        let streams = EventStreams::default();
        let newcomers: Vec<_> = (0..MAX_STREAMS).map_while(|n| streams.take(&account(n), true)).collect();
        assert_eq!(newcomers.len(), MAX_OF_NEWCOMERS);
        let others: Vec<_> = (5_000..7_000).map_while(|n| streams.take(&account(n), false)).collect();
        assert_eq!(others.len(), MAX_STREAMS - MAX_OF_NEWCOMERS);
        drop(newcomers);
        assert!(streams.take(&account(9_000), true).is_some());
        drop(others);
        let of_one: Vec<_> = (0..20).map_while(|_| streams.take(&account(1), false)).collect();
        assert_eq!(of_one.len(), MAX_OF_ACCOUNT);
        drop(of_one);
        assert!(streams.0.lock().expect("not poisoned").by_account.is_empty());
    }
}
