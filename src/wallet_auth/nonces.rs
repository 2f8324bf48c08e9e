//! Store of used nonces.
//!
//! A nonce is consumed by a row in the transaction of the action it authorises: of two requests
//! that race with one message, one acts, and an action that failed leaves its message usable. The
//! row stays until long after the message would be refused for its age. Nonces are random and
//! unique over all wallets, because one key can sign for several.

use super::{AuthError, VerifiedMessage};
use crate::browser_sessions::BrowserSession;
use crate::db::statements::Statements as _;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};

/// Time for which a nonce is kept after its message has expired, in milliseconds: clocks are set back.
const RETENTION_MARGIN_MS: i64 = 24 * 3_600_000;

/// Proof that a message's nonce was consumed in the transaction which carries out the action that was signed for, or that
/// a browser session asks for it.
#[derive(Debug)]
pub struct Authorized<'a> {
    account: &'a AccountId,
}

impl BrowserSession {
    /// Returns the proof that the session asks.
    #[must_use]
    pub const fn authorized(&self) -> Authorized<'_> {
        Authorized { account: &self.account }
    }
}

impl Authorized<'_> {
    /// Returns the account of the wallet that signed.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        self.account
    }
}

/// Consumes a message's nonce, together with whatever else the transaction does.
///
/// # Errors
/// The outer one when the database fails; the inner one is [`AuthError::Replay`].
pub async fn consume<'a>(
    tx: &mut Tx,
    signed: &'a VerifiedMessage,
    now: Timestamp,
) -> Result<Result<Authorized<'a>, AuthError>, DbError> {
    let kept_until = signed.valid_until.checked_add_millis(RETENTION_MARGIN_MS).unwrap_or(signed.valid_until);
    let text = "INSERT INTO wallet_nonces (nonce, account, action, used_at, kept_until) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (nonce) DO NOTHING";
    let (account, action) = (signed.account().as_str(), signed.action().as_str());
    let values = vec![
        signed.nonce().into(),
        account.into(),
        action.into(),
        now.millis().into(),
        kept_until.millis().into(),
    ];
    Ok(if tx.execute(text, values).await? == 1 {
        Ok(Authorized { account: signed.account() })
    } else {
        Err(AuthError::Replay)
    })
}

/// Removes nonces whose messages are long too old to be shown again.
///
/// # Errors
/// If the database fails.
pub async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    db.transaction(|mut tx| async move {
        let text = "DELETE FROM wallet_nonces WHERE kept_until < $1";
        let forgotten = tx.execute(text, vec![now.millis().into()]).await?;
        Ok((tx, forgotten))
    })
    .await
}
