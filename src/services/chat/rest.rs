//! Rest of an upstream that failed: for a while it is asked after all others, and then by one request first.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::upstream_error::UpstreamError;

/// Rest after the first failure; it doubles with each that follows.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Rest after a failure that was waited for: the next request would wait as long.
const REST_AFTER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest rest.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Rest of an upstream. Pure but for its lock: the moment is a parameter.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<RestState>);

#[derive(Debug, Default, Clone, Copy)]
struct RestState {
    /// Failures since the last answer.
    failures: u32,
    /// End of its rest, or of the time that a request has which tries whether it answers again.
    until: Option<Instant>,
}

impl Rest {
    /// Returns true if the upstream may be asked before others. After a rest that is so for one request, which tries it.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match state.until {
            None => true,
            Some(until) if until <= now => {
                state.until = Some(now + LONGEST_REST);
                true
            }
            Some(_) => false,
        }
    }

    /// Notes an answer, or a refusal that is the request's fault.
    pub(super) fn answered(&self) {
        *self.lock() = RestState::default();
    }

    /// Notes a failure.
    pub(super) fn failed(&self, error: &UpstreamError, now: Instant) {
        let mut state = self.lock();
        let usual = FIRST_REST.saturating_mul(1 << state.failures.min(10));
        let wanted = match error {
            UpstreamError::Timeout(_) => usual.max(REST_AFTER_TIMEOUT),
            UpstreamError::Busy { retry_after: Some(seconds) }
            | UpstreamError::Overloaded { retry_after: Some(seconds) } => {
                Duration::from_secs((*seconds).into())
            }
            _ => usual,
        };
        state.failures = state.failures.saturating_add(1);
        state.until = Some(now + wanted.min(LONGEST_REST));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RestState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstream_error::TimeoutKind;
    use super::*;

    #[test]
    fn an_upstream_that_failed_rests_and_is_tried_by_one_request() {
        let (rest, start) = (Rest::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(rest.admits(start) && rest.admits(start));
        rest.failed(&UpstreamError::Unavailable, start);
        assert!(!rest.admits(start));
        assert_eq!((rest.admits(at(1)), rest.admits(at(1))), (true, false));
        // The try fails: the rest is longer each time, up to a minute.
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            rest.failed(&UpstreamError::Interrupted, start);
            assert_eq!((rest.admits(at(seconds - 1)), rest.admits(at(seconds))), (false, true), "{seconds}");
        }
        rest.answered();
        assert!(rest.admits(start) && rest.admits(start));
        for (error, seconds) in [
            (UpstreamError::Timeout(TimeoutKind::FirstToken), 30),
            (UpstreamError::Busy { retry_after: Some(7) }, 7),
            (UpstreamError::Overloaded { retry_after: Some(900) }, 60),
        ] {
            rest.answered();
            rest.failed(&error, start);
            assert_eq!((rest.admits(at(seconds - 1)), rest.admits(at(seconds))), (false, true), "{error}");
        }
    }
}
