//! Cancels running requests of a key that is revoked or expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{KeyId, Keys, KeysError};
use crate::id::Timestamp;

/// Interval at which revoked and expired keys are looked for while requests run: a stream
/// ends within twice this time.
pub const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// Time that each search reaches back, in milliseconds: clocks of instances differ, and a
/// commit takes its time.
const LOOKBACK_MS: i64 = 60_000;

/// Revocation tokens of the keys that requests run with.
#[derive(Debug, Clone, Default)]
pub(super) struct RevocationTokens(Arc<Mutex<HashMap<KeyId, Weak<RevocationToken>>>>);

/// Token of a key, held by its requests: cancelled when the key is revoked or expires.
#[derive(Debug)]
pub struct RevocationToken(CancellationToken);

impl RevocationToken {
    /// Returns the token that is cancelled when the key is revoked or expires.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.0.clone()
    }
}

impl RevocationTokens {
    fn token(&self, id: &KeyId) -> Arc<RevocationToken> {
        let mut revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = revocations.get(id).and_then(Weak::upgrade) {
            return token;
        }
        let token = Arc::new(RevocationToken(CancellationToken::new()));
        revocations.insert(id.clone(), Arc::downgrade(&token));
        token
    }

    fn cancel(&self, id: &KeyId) {
        let revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = revocations.get(id).and_then(Weak::upgrade) {
            token.0.cancel();
        }
    }

    /// Drops the tokens that no request holds; returns true if any are left.
    fn retain_held(&self) -> bool {
        let mut revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        revocations.retain(|_, token| token.strong_count() > 0);
        !revocations.is_empty()
    }
}

impl Keys {
    /// Returns the token of a key, for a request to hold while it runs.
    #[must_use]
    pub fn revocation_token(&self, id: &KeyId) -> Arc<RevocationToken> {
        self.revocations.token(id)
    }

    /// Cancels the requests that run in this process with a key. Other instances cancel
    /// theirs within twice [`POLL_INTERVAL`].
    pub fn cancel_requests(&self, id: &KeyId) {
        self.cache.remove(id);
        self.revocations.cancel(id);
    }

    /// Cancels the requests that run in this process with keys that were revoked or have
    /// expired since `since`.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn cancel_inactive(&self, since: Timestamp, now: Timestamp) -> Result<(), KeysError> {
        if !self.revocations.retain_held() {
            return Ok(());
        }
        let since = since.checked_sub_millis(LOOKBACK_MS).unwrap_or(since);
        let text = "SELECT id FROM api_keys WHERE revoked_at > $1 \
             UNION SELECT id FROM api_keys WHERE expires_at > $1 AND expires_at <= $2";
        for row in self.db.fetch(text, vec![since.millis().into(), now.millis().into()]).await? {
            if let Some(id) = KeyId::parse(&row.text("id")?) {
                self.cancel_requests(&id);
            }
        }
        Ok(())
    }
}
