//! Ending what runs with a key when the key ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::Row as _;
use tokio_util::sync::CancellationToken;

use super::{KeyId, Keys, KeysError};
use crate::id::Timestamp;

/// How often ended keys are looked for while requests run: a stream ends within
/// twice this.
pub const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// How far back each look reaches: clocks of instances differ, and a commit
/// takes its time.
const BACK_MS: i64 = 60_000;

/// The keys that requests run with.
#[derive(Debug, Clone, Default)]
pub(super) struct RevocationTokens(Arc<Mutex<HashMap<KeyId, Weak<RevocationToken>>>>);

/// Held by a request: tells when its key ends.
#[derive(Debug)]
pub struct RevocationToken(CancellationToken);

impl RevocationToken {
    /// Cancelled when the key was revoked or has expired.
    #[must_use]
    pub fn ended(&self) -> CancellationToken {
        self.0.clone()
    }
}

impl RevocationTokens {
    fn of(&self, id: &KeyId) -> Arc<RevocationToken> {
        let mut revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = revocations.get(id).and_then(Weak::upgrade) {
            return token;
        }
        let token = Arc::new(RevocationToken(CancellationToken::new()));
        revocations.insert(id.clone(), Arc::downgrade(&token));
        token
    }

    fn end(&self, id: &KeyId) {
        let revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = revocations.get(id).and_then(Weak::upgrade) {
            token.0.cancel();
        }
    }

    /// Forgets keys without requests; whether any are left.
    fn any(&self) -> bool {
        let mut revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        revocations.retain(|_, token| token.strong_count() > 0);
        !revocations.is_empty()
    }
}

impl Keys {
    /// For a request that may run for long.
    #[must_use]
    pub fn watch(&self, id: &KeyId) -> Arc<RevocationToken> {
        self.revocations.of(id)
    }

    /// Ends what runs in this process with a key. The other instances find out
    /// by themselves, as this one would.
    pub fn end(&self, id: &KeyId) {
        self.cache.forget(id);
        self.revocations.end(id);
    }

    /// Ends what runs with keys that were revoked or have expired since `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_inactive(&self, since: Timestamp, now: Timestamp) -> Result<(), KeysError> {
        if !self.revocations.any() {
            return Ok(());
        }
        let since = since.checked_sub_millis(BACK_MS).unwrap_or(since);
        let rows = sqlx::query(
            "SELECT id FROM api_keys WHERE revoked_at > $1 \
             UNION SELECT id FROM api_keys WHERE expires_at > $1 AND expires_at <= $2",
        )
        .bind(since.millis())
        .bind(now.millis())
        .fetch_all(&self.db.pool)
        .await?;
        for row in rows {
            if let Some(id) = KeyId::parse(row.try_get("id")?) {
                self.end(&id);
            }
        }
        Ok(())
    }
}
