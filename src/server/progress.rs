//! Progress of a connection, and the decision when it is let go. Pure.
//!
//! A connection costs a socket, memory and perhaps a place that somebody else wants. It is kept for as long as it asks,
//! is being answered, or takes what it is given.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Time until the head of its first request is complete.
    pub first_request: Duration,
    /// Time for which it may be open without a request.
    pub idle: Duration,
    /// Time that it may take for a piece of an answer.
    pub write: Duration,
}

/// Reason for which a connection is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetGo {
    /// It asked nothing in time.
    Silent,
    /// It has asked nothing for long.
    Idle,
    /// It does not take what it is given.
    Stalled,
}

impl LetGo {
    /// Returns the stable name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }
}

/// Requests and answers of a connection.
#[derive(Debug)]
pub struct Progress {
    /// Moment since which nothing is asked; `None` while something is.
    quiet_since: Option<Instant>,
    has_asked: bool,
    /// Requests that are not answered to their end.
    open: u32,
    /// Answers of which a piece was given out and is not taken yet, by number, with the moment.
    given: HashMap<u64, Instant>,
    next: u64,
}

impl Progress {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { quiet_since: Some(now), has_asked: false, open: 0, given: HashMap::new(), next: 0 }
    }

    /// Notes a request whose head is complete; returns the number of its answer.
    pub fn begin(&mut self) -> u64 {
        self.quiet_since = None;
        self.has_asked = true;
        self.open += 1;
        self.next += 1;
        self.next
    }

    /// Notes that a piece of an answer was given out.
    pub fn give(&mut self, answer: u64, now: Instant) {
        self.given.insert(answer, now);
    }

    /// Notes that an answer's last piece was taken.
    pub fn take(&mut self, answer: u64) {
        self.given.remove(&answer);
    }

    /// Notes that an answer has ended.
    pub fn end(&mut self, answer: u64, now: Instant) {
        self.given.remove(&answer);
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.quiet_since = Some(now);
        }
    }

    /// Decides if the connection is let go.
    #[must_use]
    pub fn verdict(&self, limits: &ConnectionLimits, now: Instant) -> Option<LetGo> {
        if self.given.values().any(|given| now.duration_since(*given) >= limits.write) {
            return Some(LetGo::Stalled);
        }
        let quiet = now.duration_since(self.quiet_since?);
        match self.has_asked {
            false if quiet >= limits.first_request => Some(LetGo::Silent),
            true if quiet >= limits.idle => Some(LetGo::Idle),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        first_request: Duration::from_secs(10),
        idle: Duration::from_mins(1),
        write: Duration::from_secs(30),
    };

    #[test]
    fn attack_37_who_asks_nothing_or_takes_nothing_is_let_go() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::new(start);
        assert_eq!(progress.verdict(&LIMITS, at(9)), None);
        assert_eq!(progress.verdict(&LIMITS, at(10)), Some(LetGo::Silent));
        let first = progress.begin();
        assert_eq!(progress.verdict(&LIMITS, at(3_600)), None, "a model may take its time");
        progress.give(first, at(3_600));
        assert_eq!(progress.verdict(&LIMITS, at(3_629)), None);
        assert_eq!(progress.verdict(&LIMITS, at(3_630)), Some(LetGo::Stalled));
        progress.take(first);
        assert_eq!(progress.verdict(&LIMITS, at(9_000)), None);
        let second = progress.begin();
        progress.end(first, at(9_000));
        assert_eq!(progress.verdict(&LIMITS, at(9_100)), None, "another is open");
        progress.end(second, at(9_100));
        assert_eq!(progress.verdict(&LIMITS, at(9_159)), None);
        assert_eq!(progress.verdict(&LIMITS, at(9_160)), Some(LetGo::Idle));
    }
}
