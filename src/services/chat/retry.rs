//! Retries: after which failures a request is sent to the same upstream again, and when. Pure: time and randomness are
//! parameters.
//!
//! The client pays nothing for an upstream that failed; its operator does, if the upstream had read the prompt. So a
//! request is sent again only where it has cost nothing: no connection, a gateway without one (502), and refusals
//! before the work (429, 503, 529). A gateway that waited in vain (504), a server that failed inside (500), a connection
//! that was lost, and silence may each come after the prompt was read: then the next upstream is asked, once.

use std::time::Duration;

use super::upstream_error::{TimeoutKind, UpstreamError};

/// Time from the arrival of a request within which it is sent to an upstream again. Clients wait, and most of them try
/// again by themselves.
pub(super) const RETRY_WITHIN: Duration = Duration::from_secs(5);
/// Largest random wait before the first retry; it doubles with each that follows.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// Largest random wait.
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);

/// Returns the wait before a request is sent to an upstream again that failed for the `failures`-th time and rests for
/// `rest` from now; `None` if it is not. `left` is what is left of [`RETRY_WITHIN`].
///
/// The wait is random (full jitter), so that requests which failed together do not come back together, and begins after
/// the time that the upstream asks for. An upstream that rests for longer has failed again and again: it gets no more
/// requests than there are.
pub(super) fn backoff(
    error: &UpstreamError,
    failures: u32,
    rest: Duration,
    left: Duration,
    draw: &mut impl FnMut(u64) -> u64,
) -> Option<Duration> {
    if !has_cost_nothing(error) || rest > left {
        return None;
    }
    let told = error.retry_after().map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
    let longest = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_BACKOFF);
    let milliseconds = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    let wait = told + Duration::from_millis(draw(milliseconds + 1));
    (wait <= left).then_some(wait)
}

/// Returns true if the upstream has not begun to work on the request.
const fn has_cost_nothing(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Busy { .. }
        | UpstreamError::Overloaded { .. }
        | UpstreamError::Unreachable
        | UpstreamError::Timeout(TimeoutKind::Connect) => true,
        UpstreamError::Refused { .. }
        | UpstreamError::Unavailable
        | UpstreamError::KeyRefused
        | UpstreamError::Declined
        | UpstreamError::Timeout(TimeoutKind::FirstToken | TimeoutKind::Idle | TimeoutKind::Total)
        | UpstreamError::Interrupted
        | UpstreamError::Malformed(_)
        | UpstreamError::TooLong => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The shortest and the longest wait.
    fn waits(error: &UpstreamError, failures: u32, left: Duration) -> [Option<u128>; 2] {
        let least = backoff(error, failures, SECOND, left, &mut |_| 0);
        let most = backoff(error, failures, SECOND, left, &mut |below| below - 1);
        [least, most].map(|wait| wait.map(|wait| wait.as_millis()))
    }

    #[test]
    fn only_what_has_cost_nothing_is_sent_again() {
        for (error, is_repeated) in [
            (UpstreamError::Unreachable, true),
            (UpstreamError::Timeout(TimeoutKind::Connect), true),
            (UpstreamError::Busy { retry_after: None }, true),
            (UpstreamError::Overloaded { retry_after: Some(1) }, true),
            (UpstreamError::Unavailable, false),
            (UpstreamError::Timeout(TimeoutKind::FirstToken), false),
            (UpstreamError::Interrupted, false),
            (UpstreamError::KeyRefused, false),
            (UpstreamError::Declined, false),
        ] {
            assert_eq!(waits(&error, 1, RETRY_WITHIN)[0].is_some(), is_repeated, "{error:?}");
        }
    }

    #[test]
    fn waits_are_random_grow_and_keep_to_what_the_upstream_and_the_client_can_bear() {
        let error = UpstreamError::Unreachable;
        assert_eq!(waits(&error, 1, RETRY_WITHIN), [Some(0), Some(500)]);
        assert_eq!(waits(&error, 2, RETRY_WITHIN), [Some(0), Some(1000)]);
        assert_eq!(waits(&error, 9, RETRY_WITHIN), [Some(0), Some(4000)]);
        assert_eq!(waits(&error, 2, SECOND), [Some(0), Some(1000)]);
        assert_eq!(waits(&error, 3, SECOND), [Some(0), None], "later than clients wait");
        let busy = |seconds| UpstreamError::Busy { retry_after: Some(seconds) };
        assert_eq!(waits(&busy(3), 1, RETRY_WITHIN), [Some(3000), Some(3500)]);
        assert_eq!(waits(&busy(7), 1, RETRY_WITHIN), [None, None]);
        // It has failed for long.
        assert_eq!(backoff(&error, 1, 2 * SECOND, SECOND, &mut |_| 0), None);
    }
}
