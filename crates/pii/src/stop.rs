//! Cancellation of work that nobody waits for any more.

use std::sync::atomic::{AtomicBool, Ordering};

/// Error of work that was cancelled: the caller's flag was set before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped before it was done")]
pub struct Stopped;

impl Stopped {
    /// Reads the flag.
    ///
    /// # Errors
    /// [`Stopped`] when it is set.
    pub(crate) fn check(stop: &AtomicBool) -> Result<(), Self> {
        if stop.load(Ordering::Relaxed) { Err(Self) } else { Ok(()) }
    }
}
