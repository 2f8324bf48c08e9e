//! Keys read a moment ago. They only ever let a request in: a refusal is looked up anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KeyId;
use super::revocation::POLL_INTERVAL;
use super::store::StoredKey;
use crate::id::Timestamp;

/// Keys remembered before all are forgotten.
const MAX_CACHED: usize = 10_000;

/// What was read, and when. As long as streams of an ended key may run on, so may its requests: for [`POLL_INTERVAL`], and on
/// other instances only than the one that ended it.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyCache(Arc<Mutex<CachedKey>>);

type CachedKey = HashMap<KeyId, (Arc<StoredKey>, Timestamp)>;

impl KeyCache {
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Option<Arc<StoredKey>> {
        let cache = self.lock();
        let (stored, read_at) = cache.get(id)?;
        let age = now.millis().checked_sub(read_at.millis())?;
        let fresh = u128::try_from(age).is_ok_and(|age| age < POLL_INTERVAL.as_millis());
        fresh.then(|| Arc::clone(stored))
    }

    pub(super) fn remember(&self, stored: StoredKey, now: Timestamp) -> Arc<StoredKey> {
        let stored = Arc::new(stored);
        let mut cache = self.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(stored.key.id.clone(), (Arc::clone(&stored), now));
        stored
    }

    pub(super) fn forget(&self, id: &KeyId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, CachedKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
