//! Holds of the requests that this instance serves. A hold expires soon, so that what a lost instance had set aside is
//! free again soon, and is moved on for as long as its request is served.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::id::{HoldId, Timestamp};
use crate::ledger::{Capture, CloseOutcome, Ledger, LedgerError};

/// Time after which a hold that is not moved on is taken for lost, in milliseconds: longer than a database is away
/// during a failover.
pub const HOLD_TTL_MS: i64 = 3 * 60_000;
/// Time for which charges wait for a database that is away, as during a failover.
pub const OUTAGE_PATIENCE: Duration = Duration::from_mins(1);
/// Interval at which the holds are moved on.
pub const EXTEND_INTERVAL: Duration = Duration::from_secs(20);
/// Pause between attempts at a closing that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Number of those attempts: half an hour, with the ledger's own patience in each.
const RETRIES: u32 = 30;

/// Register of the holds that this instance serves. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServedHolds(Arc<Mutex<HashSet<HoldId>>>);

/// A hold whose request is being served. It stays registered until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct ServedHold(Arc<Registration>);

#[derive(Debug)]
struct Registration {
    hold: HoldId,
    register: ServedHolds,
}

impl ServedHolds {
    /// Registers a hold.
    #[must_use]
    pub fn serve(&self, hold: HoldId) -> ServedHold {
        self.lock().insert(hold.clone());
        ServedHold(Arc::new(Registration { hold, register: self.clone() }))
    }

    /// Moves on the expiry of all registered holds.
    ///
    /// # Errors
    /// The database fails; some may have been moved.
    pub async fn extend(&self, ledger: &Ledger, now: Timestamp) -> Result<(), LedgerError> {
        let holds: Vec<HoldId> = self.lock().iter().cloned().collect();
        ledger.extend_all(&holds, expiry(now)).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<HoldId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for ServedHold {
    type Target = HoldId;

    fn deref(&self) -> &HoldId {
        &self.0.hold
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.lock().remove(&self.hold);
    }
}

/// The moment at which a hold that is opened or moved on `now` expires.
#[must_use]
pub fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add_millis(HOLD_TTL_MS).unwrap_or(now)
}

/// Captures a hold. If the database is away for longer than the ledger waits, goes on in the background with what
/// `later` makes of the capture: what was delivered stays owed, and the entry says what it was for.
///
/// # Errors
/// Those of [`Ledger::capture`].
pub(super) async fn capture(
    ledger: &Ledger,
    hold: &ServedHold,
    capture: Capture,
    later: impl FnOnce(Capture) -> Capture,
) -> Result<CloseOutcome, LedgerError> {
    let captured = Box::pin(ledger.capture(capture.clone())).await;
    if let Err(error) = &captured
        && error.may_pass()
    {
        tracing::error!(%error, "a hold cannot be captured yet");
        tokio::spawn(capture_later(ledger.clone(), hold.clone(), later(capture)));
    }
    captured
}

async fn capture_later(ledger: Ledger, _hold: ServedHold, capture: Capture) {
    for _ in 0..RETRIES {
        tokio::time::sleep(RETRY_INTERVAL).await;
        match ledger.capture(capture.clone()).await {
            Err(error) if error.may_pass() => {}
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, "a hold cannot be captured; the sweep will close it");
                return;
            }
        }
    }
    tracing::error!("the database was away for too long; the sweep will close a hold at what it was charged");
}
