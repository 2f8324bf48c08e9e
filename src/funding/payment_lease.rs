//! Leases: who works on a payment now.
//!
//! A lease is short and renewed while its holder works. A payment whose server
//! died is free again within seconds, for whichever instance is asked next, and
//! well before the signed transaction expires (a client's lives 25 s or so).
//!
//! Leases keep two requests from doing the same work; money does not rest on
//! them. Every step of a payment is a compare-and-set, and a transaction is
//! always sent as the same bytes: a holder that stalls past its lease, or an
//! instance whose clock is off, loses a race and harms nothing.

#![expect(clippy::disallowed_methods, reason = "a lease is renewed as time passes")]

use std::convert::Infallible;
use std::time::Duration;

use super::charge::Charges;
use crate::id::Timestamp;

/// Milliseconds for which a lease holds without being renewed.
const LEASE_MS: i64 = 6_000;
/// Interval between renewals: two may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// The end of a lease that is taken `now`.
pub(super) fn until(now: Timestamp) -> Timestamp {
    now.checked_add_millis(LEASE_MS).unwrap_or(now)
}

impl Charges {
    /// Works on a payment whose lease was taken until `lease`, and renews that
    /// for as long as the work takes.
    pub(super) async fn holding<T>(&self, id: &str, lease: Timestamp, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.renewing(id, lease) => match never {},
        }
    }

    async fn renewing(&self, id: &str, mut lease: Timestamp) -> Infallible {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let next = until(Timestamp::now());
            match self.payments.renew(id, lease, next).await {
                Ok(true) => lease = next,
                // The payment is settled, or someone else's by now.
                Ok(false) => return std::future::pending().await,
                Err(error) => tracing::warn!(payment = id, %error, "lease cannot be renewed"),
            }
        }
    }
}
