//! Rate limits. Pure: the time is a parameter.

mod minute;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

pub use minute::Share;

use crate::id::Timestamp;

/// Number of buckets at which the full ones are dropped.
const MAX_BUCKETS: usize = 10_000;

/// Average rate of uses, and the burst that is allowed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time after which one use is available again, in milliseconds.
    interval: i64,
    /// Uses allowed at once.
    burst: i64,
}

/// Limiter with one bucket for each key, in this process.
///
/// The generic cell rate algorithm (ITU-T I.371): a bucket is one number, the
/// moment at which it would be full again.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    full_at: Mutex<HashMap<K, i64>>,
}

/// Refusal of a use beyond the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimited {
    /// Time until the next use is allowed, in milliseconds.
    pub wait_ms: i64,
}

impl Rate {
    /// Creates a rate of `per_second` uses on average and `burst` at once; both are at least one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: 1000 / i64::from(per_second.clamp(1, 1000)), burst: i64::from(burst.max(1)) }
    }

    /// Creates a rate of `per_minute` uses on average, all of which may come at once.
    #[must_use]
    pub fn per_minute(per_minute: u32) -> Self {
        let per_minute = i64::from(per_minute.clamp(1, 60_000));
        Self { interval: 60_000 / per_minute, burst: per_minute }
    }

    /// Returns the time in which an empty bucket fills, in milliseconds.
    const fn fill_ms(self) -> i64 {
        self.interval.saturating_mul(self.burst)
    }

    /// Takes one use from a bucket that is full at `full_at`; returns the new time.
    const fn take(self, full_at: i64, now: i64) -> Result<i64, RateLimited> {
        let after = full_at.saturating_add(self.interval);
        let wait_ms = after.saturating_sub(now).saturating_sub(self.fill_ms());
        if wait_ms > 0 { Err(RateLimited { wait_ms }) } else { Ok(after) }
    }
}

impl<K: Hash + Eq> Buckets<K> {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    /// Looks whether the bucket of `key` has a use left, and takes none.
    ///
    /// # Errors
    /// [`RateLimited`] if it is empty.
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), RateLimited> {
        let now = now.millis();
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = full_at.get(key) else { return Ok(()) };
        self.rate.take((*bucket).clamp(now, now.saturating_add(self.rate.fill_ms())), now).map(drop)
    }

    /// Takes one use from the bucket of `key`.
    ///
    /// # Errors
    /// [`RateLimited`]; nothing is taken then.
    pub fn take(&self, key: K, now: Timestamp) -> Result<(), RateLimited> {
        let now = now.millis();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_BUCKETS {
            full_at.retain(|_, full_at| *full_at > now);
        }
        let bucket = full_at.entry(key).or_insert(now);
        // Never later than an empty bucket: a clock that was set back must not lock anybody out.
        *bucket = (*bucket).clamp(now, now.saturating_add(self.rate.fill_ms()));
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
        assert_eq!(buckets.take("a", at(1_000)), Err(RateLimited { wait_ms: 100 }));
        assert_eq!(buckets.take("a", at(1_099)), Err(RateLimited { wait_ms: 1 }), "a refusal costs nothing");
        assert_eq!(buckets.take("a", at(1_100)), Ok(()));
        assert_eq!(buckets.take("a", at(1_100)), Err(RateLimited { wait_ms: 100 }));
        assert_eq!(buckets.check(&"a", at(1_100)), Err(RateLimited { wait_ms: 100 }));
        assert_eq!(buckets.check(&"b", at(1_100)), Ok(()));
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
        assert_eq!(buckets.take("a", at(50_000)), Err(RateLimited { wait_ms: 100 }));
        assert_eq!(buckets.take("a", at(50_100)), Ok(()));
    }

    #[test]
    fn idle_keys_are_forgotten() {
        let buckets = Buckets::new(Rate::new(10, 3));
        for key in 0..MAX_BUCKETS {
            assert_eq!(buckets.take(key, at(0)), Ok(()));
        }
        assert_eq!(buckets.take(MAX_BUCKETS, at(1_000)), Ok(()));
        assert_eq!(buckets.full_at.lock().expect("not poisoned").len(), 1);
    }
}
