//! Share of a limit per minute. Pure: the caller knows the time.

/// Share of a minute's limit that this instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    limit: u64,
    /// Amount granted to this instance.
    granted: u64,
    /// Amount of it that was used.
    used: u64,
    /// Amount granted to all instances together, as of the latest grant.
    taken: u64,
}

impl Share {
    /// Creates the share of an instance that is the only one: the whole limit is granted.
    #[must_use]
    pub const fn exclusive(limit: u64) -> Self {
        Self { limit, granted: limit, used: 0, taken: limit }
    }

    /// Creates the share of one of several instances: nothing is granted yet.
    #[must_use]
    pub const fn leased(limit: u64) -> Self {
        Self { limit, granted: 0, used: 0, taken: 0 }
    }

    /// Uses `amount`.
    ///
    /// # Errors
    /// The amount that must be granted first; nothing is used then.
    pub const fn take(&mut self, amount: u64) -> Result<(), u64> {
        let left = self.granted.saturating_sub(self.used);
        if amount > left {
            return Err(amount - left);
        }
        self.used += amount;
        Ok(())
    }

    /// Uses `amount`, though it may be beyond the limit.
    pub const fn use_unchecked(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Releases `amount` that was used.
    pub const fn release(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
    }

    /// Returns the amount to lease when `missing` is missing: a tenth of the limit or more,
    /// so that there are about ten leases in a busy minute.
    #[must_use]
    pub const fn slice_size(&self, missing: u64) -> u64 {
        let tenth = self.limit.div_ceil(10);
        if missing > tenth { missing } else { tenth }
    }

    /// Adds `amount` to this instance's share; `taken` is the amount granted to all instances now.
    pub const fn grant(&mut self, amount: u64, taken: u64) {
        self.granted = self.granted.saturating_add(amount);
        self.taken = taken;
    }

    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the amount left in the minute, as far as this instance knows.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.taken) + self.granted.saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_share_is_the_limit() {
        let mut share = Share::exclusive(3);
        for left in [2, 1, 0] {
            assert_eq!(share.take(1), Ok(()));
            assert_eq!(share.remaining(), left);
        }
        assert_eq!(share.take(2), Err(2));
        share.release(1);
        assert_eq!((share.take(2), share.take(1)), (Err(1), Ok(())));
        share.use_unchecked(5);
        assert_eq!(share.remaining(), 0);
    }

    #[test]
    fn a_leased_share_is_granted_in_slices() {
        let mut share = Share::leased(100);
        assert_eq!((share.remaining(), share.take(1)), (100, Err(1)));
        assert_eq!((share.slice_size(1), share.slice_size(40)), (10, 40));
        share.grant(10, 60);
        assert_eq!(share.take(1), Ok(()));
        assert_eq!(share.remaining(), 49, "40 are not granted to any instance, 9 are granted here");
    }
}
