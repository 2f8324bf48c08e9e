//! How often something may happen. Pure: the time comes in.

mod minute;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

pub use minute::Share;

use crate::id::Timestamp;

/// Keys that are kept before those that have their whole burst back are dropped.
const KEPT: usize = 10_000;

/// So many per second on average, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Milliseconds that one use takes to come back.
    interval: i64,
    burst: i64,
}

/// One bucket for each key, in this process.
///
/// The generic cell rate algorithm (ITU-T I.371): a bucket is one number, the
/// moment at which it would be full again.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    full_at: Mutex<HashMap<K, i64>>,
}

/// Too often; how long to wait, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften {
    pub wait: i64,
}

impl Rate {
    /// `per_second` on average, at most `burst` at once; both at least one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: 1000 / i64::from(per_second.clamp(1, 1000)), burst: i64::from(burst.max(1)) }
    }

    /// `per_minute` on average, and all of them at once.
    #[must_use]
    pub fn per_minute(per_minute: u32) -> Self {
        let per_minute = i64::from(per_minute.clamp(1, 60_000));
        Self { interval: 60_000 / per_minute, burst: per_minute }
    }

    /// The longest that a bucket can take to be full.
    const fn longest(self) -> i64 {
        self.interval.saturating_mul(self.burst)
    }

    /// Takes one use from a bucket that is full at `full_at`.
    const fn take(self, full_at: i64, now: i64) -> Result<i64, TooOften> {
        let after = full_at.saturating_add(self.interval);
        let wait = after.saturating_sub(now).saturating_sub(self.longest());
        if wait > 0 { Err(TooOften { wait }) } else { Ok(after) }
    }
}

impl<K: Hash + Eq> Buckets<K> {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    /// Takes one use of `key`.
    ///
    /// # Errors
    /// [`TooOften`]; that takes nothing.
    pub fn take(&self, key: K, now: Timestamp) -> Result<(), TooOften> {
        let now = now.millis();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= KEPT {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let bucket = full_at.entry(key).or_insert(now);
        // Never beyond an empty one: a clock that jumped back must not lock anybody out.
        *bucket = (*bucket).clamp(now, now.saturating_add(self.rate.longest()));
        *bucket = self.rate.take(*bucket, now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let buckets = Buckets::new(Rate::new(10, 3));
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(1_000)), Ok(()));
        }
        assert_eq!(buckets.take("a", at(1_000)), Err(TooOften { wait: 100 }));
        assert_eq!(buckets.take("a", at(1_099)), Err(TooOften { wait: 1 }), "a refusal costs nothing");
        assert_eq!(buckets.take("a", at(1_100)), Ok(()));
        assert_eq!(buckets.take("a", at(1_100)), Err(TooOften { wait: 100 }));
        assert_eq!(buckets.take("b", at(1_100)), Ok(()), "keys do not share");
        for _ in 0..3 {
            assert_eq!(buckets.take("a", at(9_000)), Ok(()), "the burst comes back");
        }
        assert!(buckets.take("a", at(9_000)).is_err());
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out() {
        let buckets = Buckets::new(Rate::new(10, 3));
        assert_eq!(buckets.take("a", at(100_000)), Ok(()));
        assert_eq!(buckets.take("a", at(50_000)), Err(TooOften { wait: 100 }));
        assert_eq!(buckets.take("a", at(50_100)), Ok(()));
    }

    #[test]
    fn idle_keys_are_forgotten() {
        let buckets = Buckets::new(Rate::new(10, 3));
        for key in 0..KEPT {
            assert_eq!(buckets.take(key, at(0)), Ok(()));
        }
        assert_eq!(buckets.take(KEPT, at(1_000)), Ok(()));
        assert_eq!(buckets.full_at.lock().expect("not poisoned").len(), 1);
    }
}
