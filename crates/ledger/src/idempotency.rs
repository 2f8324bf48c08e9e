//! Requests that come again under an `Idempotency-Key`.

use sha2::{Digest as _, Sha256};

use super::LedgerError;
use farebox_db::statements::Statements;
use farebox_types::id::{AccountId, RequestKey, Timestamp};

/// Number of times that a request that was charged nothing may be sent under one key.
const ATTEMPTS: u32 = 16;

/// Status of a request under its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyStatus {
    /// New request, to be served under this key.
    New(RequestKey),
    /// Request that is being served.
    InProgress,
    /// Request that was served and charged.
    Charged,
}

/// Returns the status of a request. One that was charged for, or may yet be, is not served again; one that was
/// charged nothing may be. Without a key every request is new.
///
/// The account must be locked, or two that race would both be new.
///
/// # Errors
/// The database fails.
pub async fn idempotency_status(
    tx: &mut impl Statements,
    account: &AccountId,
    idempotency_key: Option<&str>,
    now: Timestamp,
) -> Result<IdempotencyStatus, LedgerError> {
    let Some(key) = idempotency_key else {
        return Ok(IdempotencyStatus::New(RequestKey::new(now)));
    };
    // Hashed: it may be longer than a key of the ledger, and is the client's own.
    let hash = hex::encode(Sha256::digest(key));
    for attempt in 0..ATTEMPTS {
        let key = RequestKey::parse(&format!("idempotency:{hash}:{attempt}"))
            .map_err(|_| LedgerError::Corrupt("a request key".into()))?;
        let text = "SELECT state, charged FROM holds WHERE account = $1 AND request_key = $2";
        let rows = tx.fetch(text, vec![account.as_str().into(), key.as_str().into()]).await?;
        match rows.first() {
            None => return Ok(IdempotencyStatus::New(key)),
            Some(row) if row.text("state")? == "open" => return Ok(IdempotencyStatus::InProgress),
            Some(row) if row.whole("charged")? > 0 => return Ok(IdempotencyStatus::Charged),
            Some(_) => {}
        }
    }
    Ok(IdempotencyStatus::Charged)
}
