//! Permits for work that takes much memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unit that memory is counted in, in bytes.
const UNIT_BYTES: usize = 1024;

/// Memory that large request bodies share. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryPermits(Arc<Semaphore>);

/// Memory of one body; given back when dropped.
#[derive(Debug, Default)]
pub struct MemoryPermit(Option<OwnedSemaphorePermit>);

impl MemoryPermits {
    /// Makes permits for `bytes` in all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT_BYTES).min(Semaphore::MAX_PERMITS))))
    }

    /// Raises what `permit` holds to `bytes`, rounded up. False if that much is not free: then nothing changes.
    #[must_use]
    pub fn try_raise(&self, permit: &mut MemoryPermit, bytes: usize) -> bool {
        let held = permit.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let units = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        if units == 0 {
            return true;
        }
        let Ok(units) = u32::try_from(units) else { return false };
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(units) else { return false };
        match &mut permit.0 {
            Some(held) => held.merge(more),
            None => permit.0 = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_in_units_and_given_back() {
        let permits = MemoryPermits::new(4 * UNIT_BYTES);
        let (mut one, mut other) = (MemoryPermit::default(), MemoryPermit::default());
        assert!(permits.try_raise(&mut one, 0) && permits.try_raise(&mut one, 1));
        assert!(permits.try_raise(&mut one, UNIT_BYTES), "that unit is held already");
        assert!(permits.try_raise(&mut other, 3 * UNIT_BYTES));
        assert!(!permits.try_raise(&mut one, UNIT_BYTES + 1));
        drop(other);
        assert!(permits.try_raise(&mut one, 4 * UNIT_BYTES));
    }
}
