//! Cache of keys read a moment ago. It only lets requests in: before one is refused, its key is read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KeyId;
use super::revocation::POLL_INTERVAL;
use super::store::StoredKey;
use crate::id::Timestamp;

/// Number of cached keys at which the cache is emptied.
const MAX_CACHED: usize = 10_000;

/// Keys, and the times at which they were read. An entry is valid for [`POLL_INTERVAL`]: a key that another instance
/// revoked opens new requests for no longer than its running streams go on.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyCache(Arc<Mutex<CacheEntries>>);

type CacheEntries = HashMap<KeyId, (Arc<StoredKey>, Timestamp)>;

impl KeyCache {
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Option<Arc<StoredKey>> {
        let cache = self.lock();
        let (stored, read_at) = cache.get(id)?;
        let age = now.millis().checked_sub(read_at.millis())?;
        let fresh = u128::try_from(age).is_ok_and(|age| age < POLL_INTERVAL.as_millis());
        fresh.then(|| Arc::clone(stored))
    }

    pub(super) fn insert(&self, stored: StoredKey, now: Timestamp) -> Arc<StoredKey> {
        let stored = Arc::new(stored);
        let mut cache = self.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(stored.key.id.clone(), (Arc::clone(&stored), now));
        stored
    }

    pub(super) fn remove(&self, id: &KeyId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, CacheEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
