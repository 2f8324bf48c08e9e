//! Ending work that nobody waits for any more.

use std::sync::atomic::{AtomicBool, Ordering};

/// The caller's flag was set before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped before it was done")]
pub struct Stopped;

impl Stopped {
    /// Asks the flag.
    pub(crate) fn check(stop: &AtomicBool) -> Result<(), Self> {
        if stop.load(Ordering::Relaxed) { Err(Self) } else { Ok(()) }
    }
}
