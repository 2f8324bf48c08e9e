//! Places of the event streams that pages keep open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::AccountId;

/// Streams of one account.
pub const MAX_OF_ACCOUNT: usize = 8;
/// Streams of an instance.
const MAX_STREAMS: usize = 1_000;

/// Register of the open streams of this instance, by account.
#[derive(Debug, Clone, Default)]
pub struct EventStreams(Arc<Mutex<HashMap<AccountId, usize>>>);

/// Place of one stream in the register; free again when dropped.
#[derive(Debug)]
pub struct StreamPlace {
    account: AccountId,
    streams: EventStreams,
}

impl EventStreams {
    /// Takes a place, where the account and this instance have one left.
    #[must_use]
    pub fn take(&self, account: &AccountId) -> Option<StreamPlace> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = open.values().sum();
        let of_account = open.get(account).copied().unwrap_or_default();
        if of_account >= MAX_OF_ACCOUNT || of_all >= MAX_STREAMS {
            return None;
        }
        open.insert(account.clone(), of_account + 1);
        Some(StreamPlace { account: account.clone(), streams: self.clone() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.account);
            }
        }
    }
}
