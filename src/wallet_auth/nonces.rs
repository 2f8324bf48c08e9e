//! Nonces that were used.
//!
//! A nonce is consumed by a row in the transaction of the action it authorises: of two requests
//! that race with one message, one acts, and an action that failed leaves its message usable. The
//! row stays until long after the message would be refused for its age. Nonces are random and
//! unique over all wallets, because one key can sign for several.

use super::{AuthError, VerifiedMessage};
use crate::db::statements::Statements as _;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};

/// How much longer than a message counts its nonce is remembered: clocks are set back.
const MARGIN_MS: i64 = 24 * 3_600_000;

/// A wallet's word, used up in a transaction: what that transaction does is what was signed for.
#[derive(Debug)]
pub struct Authorized<'a> {
    signed: &'a VerifiedMessage,
}

impl Authorized<'_> {
    /// The account of the wallet that signed.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        self.signed.account()
    }
}

/// Uses a message's nonce up, together with whatever else the transaction does.
///
/// # Errors
/// The outer one when the database fails; the inner one is [`AuthError::Replay`].
pub async fn consume<'a>(
    tx: &mut Tx,
    signed: &'a VerifiedMessage,
    now: Timestamp,
) -> Result<Result<Authorized<'a>, AuthError>, DbError> {
    let kept = signed.last_moment.checked_add_millis(MARGIN_MS).unwrap_or(signed.last_moment);
    let text = "INSERT INTO wallet_nonces (nonce, account, action, used_at, kept_until) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (nonce) DO NOTHING";
    let (account, action) = (signed.account().as_str(), signed.action().as_str());
    let values =
        vec![signed.nonce().into(), account.into(), action.into(), now.millis().into(), kept.millis().into()];
    Ok(if tx.execute(text, values).await? == 1 { Ok(Authorized { signed }) } else { Err(AuthError::Replay) })
}

/// Forgets nonces whose messages are long too old to be shown again.
///
/// # Errors
/// When the database fails.
pub async fn forget(db: &Db, now: Timestamp) -> Result<u64, DbError> {
    db.transaction(|mut tx| async move {
        let text = "DELETE FROM wallet_nonces WHERE kept_until < $1";
        let forgotten = tx.execute(text, vec![now.millis().into()]).await?;
        Ok((tx, forgotten))
    })
    .await
}
