//! Rest of an upstream that failed, or of one of its keys: for a while it is asked after all others, and then by one
//! request first.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::upstream_error::{MAX_RETRY_AFTER, TimeoutKind, UpstreamError};

/// Rest after the first failure; it doubles with each that follows.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Rest after a failure that was waited for: the next request would wait as long.
const REST_AFTER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest rest.
const LONGEST_REST: Duration = Duration::from_mins(1);
/// Longest rest of a key that says when it is of use again: others are asked with meanwhile.
const LONGEST_KEY_REST: Duration = Duration::from_secs(MAX_RETRY_AFTER as u64);

/// Rest of an upstream or of a key. Pure but for its lock: the moment is a parameter.
#[derive(Debug, Default)]
pub(super) struct Rest {
    subject: RestSubject,
    state: Mutex<RestState>,
}

/// Subject that rests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestSubject {
    #[default]
    Upstream,
    /// One of several keys.
    Key,
}

#[derive(Debug, Default, Clone, Copy)]
struct RestState {
    /// Failures since the last answer, one for each rest.
    failures: u32,
    /// End of its rest.
    until: Option<Instant>,
    /// True while a request tries whether it answers again.
    is_tried: bool,
}

/// Turn of a request that asks an upstream, or with a key.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    rest: &'a Rest,
    /// True if it tries what has rested: others keep away meanwhile.
    is_try: bool,
}

impl Rest {
    /// Creates the rest of a key.
    pub(super) fn of_key() -> Self {
        Self { subject: RestSubject::Key, state: Mutex::default() }
    }

    /// Returns true if it is asked before others that rest.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let state = self.lock();
        state.until.is_none_or(|until| until <= now && !state.is_tried)
    }

    /// Returns the time for which it still rests.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.lock().until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Begins to ask it. After a rest the first request tries it.
    pub(super) fn begin(&self, now: Instant) -> Turn<'_> {
        let mut state = self.lock();
        let is_try = state.until.is_some_and(|until| until <= now) && !state.is_tried;
        state.is_tried |= is_try;
        Turn { rest: self, is_try }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Notes an answer, or a refusal that is the request's fault.
    pub(super) fn answered(self) {
        *self.rest.lock() = RestState::default();
    }

    /// Notes a failure that says something of what was asked. Those of requests that were sent before it began to rest
    /// make the rest no longer.
    pub(super) fn failed(self, error: &UpstreamError, now: Instant) {
        let subject = self.rest.subject;
        let mut state = self.rest.lock();
        let rests = state.until.is_some_and(|until| until > now);
        if (rests && !self.is_try) || !subject.is_concerned(error) {
            return;
        }
        let usual = FIRST_REST.saturating_mul(1 << state.failures.min(10)).min(LONGEST_REST);
        let told = error.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
        let wanted = match (error, told) {
            (UpstreamError::Timeout(_), _) => usual.max(REST_AFTER_TIMEOUT),
            (_, Some(told)) if subject == RestSubject::Key => told.min(LONGEST_KEY_REST),
            (_, Some(told)) => told.min(LONGEST_REST),
            (_, None) => usual,
        };
        state.failures = state.failures.saturating_add(1);
        state.until = Some(now + wanted);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Also where its client went away: the next request tries it then.
        if self.is_try {
            self.rest.lock().is_tried = false;
        }
    }
}

impl RestSubject {
    /// Returns true if an error is not of the single request: what a client can bring about rests no upstream.
    const fn is_concerned(self, error: &UpstreamError) -> bool {
        match error {
            UpstreamError::Declined => matches!(self, Self::Key),
            UpstreamError::Busy { .. }
            | UpstreamError::Overloaded { .. }
            | UpstreamError::Unreachable
            | UpstreamError::Unavailable
            | UpstreamError::KeyRefused
            | UpstreamError::Interrupted
            | UpstreamError::Timeout(TimeoutKind::Connect | TimeoutKind::FirstToken | TimeoutKind::Idle) => {
                true
            }
            UpstreamError::Refused { .. }
            | UpstreamError::Malformed(_)
            | UpstreamError::TooLong
            | UpstreamError::Timeout(TimeoutKind::Total) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(rest: &Rest, error: &UpstreamError, now: Instant) {
        rest.begin(now).failed(error, now);
    }

    #[test]
    fn an_upstream_that_failed_rests_longer_each_time() {
        let (rest, start) = (Rest::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(rest.admits(start));
        let mut now = 0;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            fail(&rest, &UpstreamError::Unavailable, at(now));
            // Others that were sent before.
            fail(&rest, &UpstreamError::Interrupted, at(now));
            assert_eq!((rest.admits(at(now + seconds - 1)), rest.admits(at(now + seconds))), (false, true));
            now += seconds;
        }
        rest.begin(at(now)).answered();
        assert!(rest.admits(start));
        for (error, seconds) in [
            (UpstreamError::Timeout(TimeoutKind::FirstToken), 30),
            (UpstreamError::Busy { retry_after: Some(7) }, 7),
            (UpstreamError::Overloaded { retry_after: Some(900) }, 60),
            (UpstreamError::KeyRefused, 1),
            (UpstreamError::Declined, 0),
            (UpstreamError::TooLong, 0),
        ] {
            rest.begin(start).answered();
            fail(&rest, &error, start);
            assert_eq!((rest.admits(start), rest.admits(at(seconds))), (seconds == 0, true), "{error}");
            assert_eq!(rest.left(start), Duration::from_secs(seconds), "{error}");
        }
    }

    #[test]
    fn a_key_rests_as_long_as_it_is_told_to() {
        let start = Instant::now();
        for (error, seconds) in [
            (UpstreamError::Busy { retry_after: Some(900) }, 900),
            (UpstreamError::Busy { retry_after: None }, 1),
            (UpstreamError::KeyRefused, 1),
            (UpstreamError::Declined, 1),
        ] {
            let rest = Rest::of_key();
            fail(&rest, &error, start);
            assert_eq!(rest.left(start), Duration::from_secs(seconds), "{error}");
        }
    }

    #[test]
    fn after_a_rest_one_request_tries_it() {
        let (rest, start) = (Rest::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        fail(&rest, &UpstreamError::Unavailable, start);
        let first = rest.begin(later);
        assert!(!rest.admits(later), "others keep away");
        // Its client goes away: the next one tries it.
        drop(first);
        assert!(rest.admits(later));
        rest.begin(later).failed(&UpstreamError::Unavailable, later);
        assert!(!rest.admits(later + Duration::from_secs(1)) && rest.admits(later + Duration::from_secs(2)));
    }
}
