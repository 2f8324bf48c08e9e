//! So many of something in a minute. Pure: the time and the shares come in.

/// A share of a minute's limit: what this instance may use of what all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    limit: u64,
    /// What this instance took for itself, and used of that.
    granted: u64,
    used: u64,
    /// What all instances took together, as last heard.
    taken: u64,
}

impl Share {
    /// All of it: nobody else is there.
    #[must_use]
    pub const fn whole(limit: u64) -> Self {
        Self { limit, granted: limit, used: 0, taken: limit }
    }

    /// Nothing yet.
    #[must_use]
    pub const fn empty(limit: u64) -> Self {
        Self { limit, granted: 0, used: 0, taken: 0 }
    }

    /// Uses `amount`.
    ///
    /// # Errors
    /// How much more must be granted; that uses nothing.
    pub const fn take(&mut self, amount: u64) -> Result<(), u64> {
        let left = self.granted.saturating_sub(self.used);
        if amount > left {
            return Err(amount - left);
        }
        self.used += amount;
        Ok(())
    }

    /// Uses what was used without asking.
    pub const fn overdraw(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Did not use it after all.
    pub const fn give_back(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
    }

    /// How much to take from what all share, when `missing` is missing: slices
    /// of a tenth, so that a busy minute asks ten times.
    #[must_use]
    pub const fn slice(&self, missing: u64) -> u64 {
        let tenth = self.limit.div_ceil(10);
        if missing > tenth { missing } else { tenth }
    }

    /// `amount` more is ours, of the `taken` that all have now.
    pub const fn grant(&mut self, amount: u64, taken: u64) {
        self.granted = self.granted.saturating_add(amount);
        self.taken = taken;
    }

    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// What is left of the minute, as far as this instance knows.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.taken) + self.granted.saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_the_limit_is_the_limit() {
        let mut share = Share::whole(3);
        for left in [2, 1, 0] {
            assert_eq!(share.take(1), Ok(()));
            assert_eq!(share.remaining(), left);
        }
        assert_eq!(share.take(2), Err(2));
        share.give_back(1);
        assert_eq!((share.take(2), share.take(1)), (Err(1), Ok(())));
        share.overdraw(5);
        assert_eq!(share.remaining(), 0);
    }

    #[test]
    fn shared_it_is_taken_in_slices() {
        let mut share = Share::empty(100);
        assert_eq!((share.remaining(), share.take(1)), (100, Err(1)));
        assert_eq!((share.slice(1), share.slice(40)), (10, 40));
        share.grant(10, 60);
        assert_eq!(share.take(1), Ok(()));
        assert_eq!(share.remaining(), 49, "40 are untaken, 9 are ours");
    }
}
