//! Requests that come again under an `Idempotency-Key`.

use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use super::LedgerError;
use crate::db::Tx;
use crate::id::{AccountId, RequestKey, Timestamp};

/// How often a request that was charged nothing may be tried again under one key.
const ATTEMPTS: u32 = 16;

/// What a request is to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It may be served, under this key.
    New(RequestKey),
    /// The same is being served.
    InProgress,
    /// It was served and charged.
    Charged,
}

/// What a request under `idempotency_key` is known as. One that was charged for, or may yet be,
/// does not come again; one that was charged nothing may. Without a key every request is new.
///
/// The account must be locked, or two that race would both be new.
///
/// # Errors
/// When the database fails.
pub async fn known(
    tx: &mut Tx,
    account: &AccountId,
    idempotency_key: Option<&str>,
    now: Timestamp,
) -> Result<Known, LedgerError> {
    let Some(key) = idempotency_key else {
        return Ok(Known::New(RequestKey::new(now)));
    };
    // Hashed: it may be longer than a key of the ledger, and is the client's own.
    let hash = hex::encode(Sha256::digest(key));
    for attempt in 0..ATTEMPTS {
        let key = RequestKey::parse(&format!("idempotency:{hash}:{attempt}"))
            .map_err(|_| LedgerError::Corrupt("a request key".into()))?;
        let row = sqlx::query("SELECT state, charged FROM holds WHERE account = $1 AND request_key = $2")
            .bind(account.as_str().to_owned())
            .bind(key.as_str().to_owned())
            .fetch_optional(tx.conn())
            .await?;
        match row {
            None => return Ok(Known::New(key)),
            Some(row) if row.try_get::<String, _>("state")? == "open" => return Ok(Known::InProgress),
            Some(row) if row.try_get::<i64, _>("charged")? > 0 => return Ok(Known::Charged),
            Some(_) => {}
        }
    }
    Ok(Known::Charged)
}
