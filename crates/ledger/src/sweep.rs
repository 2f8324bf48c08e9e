//! Closes the holds of requests that never came to their end: a crash, a lost instance.
//!
//! Such a hold is closed at what it was charged, which is what was delivered, and what it had set
//! aside becomes available again. Any number of instances may sweep at once: each hold is closed
//! in a transaction of its own, which reads again if it is still open and still expired.

use super::{EntryDetails, EntryKind, Ledger, LedgerError, sql, verbs};
use farebox_types::id::Timestamp;
use farebox_types::money::Money;

/// Result of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Number of holds that it closed.
    pub closed: u32,
    /// True if it stopped at its limit, so that more may be waiting.
    pub more: bool,
}

/// Closes at most `limit` holds whose time is over, the oldest first.
///
/// # Errors
/// The database fails; the holds closed until then stay closed.
pub async fn sweep(ledger: &Ledger, now: Timestamp, limit: u32) -> Result<Swept, LedgerError> {
    let over = Over { end: now, accounts: "" };
    close_over(ledger, over, now, limit).await
}

/// Closes every open hold of accounts whose names begin so, whenever its time is over. Only for a process that knows
/// that it is alone and serves nothing yet: whoever opened them is gone, and their money would be set aside for hours.
///
/// # Errors
/// The database fails; the holds closed until then stay closed.
pub async fn sweep_all(ledger: &Ledger, accounts: &str, now: Timestamp) -> Result<u32, LedgerError> {
    let over = Over { end: Timestamp::from_millis(i64::MAX), accounts };
    let mut closed = 0;
    loop {
        let swept = close_over(ledger, over, now, BATCH).await?;
        closed += swept.closed;
        if !swept.more || swept.closed == 0 {
            return Ok(closed);
        }
    }
}

/// Holds that are read at once to be closed.
const BATCH: u32 = 500;

/// Holds that are to be closed: those whose time is over at `end`, of accounts whose names begin with `accounts`.
#[derive(Debug, Clone, Copy)]
struct Over<'a> {
    end: Timestamp,
    accounts: &'a str,
}

/// Closes at most `limit` holds.
async fn close_over(
    ledger: &Ledger,
    over: Over<'_>,
    now: Timestamp,
    limit: u32,
) -> Result<Swept, LedgerError> {
    let Over { end, accounts } = over;
    let mut connection = ledger.db().pool.acquire().await?;
    let expired = sql::expired_holds(&mut connection, end, accounts, limit).await?;
    drop(connection);
    let details = details();
    let mut swept = Swept { closed: 0, more: u32::try_from(expired.len()) == Ok(limit) };
    for hold in &expired {
        let details = &details;
        let closed = ledger.db().transaction(|mut tx| async move {
            let closed = verbs::close_expired(&mut tx, hold, details, end, now).await?;
            Ok::<_, LedgerError>((tx, closed))
        });
        swept.closed += u32::from(closed.await?.is_some());
    }
    Ok(swept)
}

/// Details of the entry of a hold whose request never came to its end.
pub(super) fn details() -> EntryDetails {
    EntryDetails {
        kind: EntryKind::Expired,
        request_id: None,
        service: String::new(),
        units: 0,
        unit_price: Money::ZERO,
        meta: serde_json::json!({}),
    }
}
