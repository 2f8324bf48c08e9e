//! Keys read a moment ago. They only ever let a request in: a refusal is looked up anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KeyId;
use super::life::LOOK;
use super::store::Stored;
use crate::id::Timestamp;

/// Keys remembered before all are forgotten.
const KEPT: usize = 10_000;

/// What was read, and when. As long as streams of an ended key may run on, so may its requests: for [`LOOK`], and on
/// other instances only than the one that ended it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Read>>);

type Read = HashMap<KeyId, (Arc<Stored>, Timestamp)>;

impl Recent {
    pub(super) fn get(&self, id: &KeyId, now: Timestamp) -> Option<Arc<Stored>> {
        let recent = self.lock();
        let (stored, read_at) = recent.get(id)?;
        let age = now.millis().checked_sub(read_at.millis())?;
        let fresh = u128::try_from(age).is_ok_and(|age| age < LOOK.as_millis());
        fresh.then(|| Arc::clone(stored))
    }

    pub(super) fn remember(&self, stored: Stored, now: Timestamp) -> Arc<Stored> {
        let stored = Arc::new(stored);
        let mut recent = self.lock();
        if recent.len() >= KEPT {
            recent.clear();
        }
        recent.insert(stored.key.id.clone(), (Arc::clone(&stored), now));
        stored
    }

    pub(super) fn forget(&self, id: &KeyId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
