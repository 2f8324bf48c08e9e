//! API keys: secrets that spend a wallet's prepaid credits over `/v1`, within limits.
//!
//! A key's text is the prefix, a public id and a secret. The row is found by the
//! id; of the secret only the SHA-256 is stored, and compared in constant time.
//! A key spends the money of its owner's account, `wallet:<owner>`.

mod cache;
mod rates;
mod revocation;
mod spend;
mod store;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache::KeyCache;
pub use rates::{RateUnit, RateView, Rates, TokenReservation};
use revocation::RevocationTokens;
pub use revocation::{POLL_INTERVAL, RevocationToken};
pub use spend::{KeyPaid, PurchaseOutcome, spend, was_charged};
use store::StoredKey;
pub use store::{
    BoughtKey, KeyChanges, KeyExpiry, KeysError, NewKey, UnverifiedKey, count_active, create, create_bought,
    locked, revoke, rotate, set_buyer, unverified, update,
};
pub use text::{KeyId, MintedKey, SecretHash};

use crate::db::Db;
use crate::id::{AccountId, Timestamp};
use crate::money::Money;

/// Time for which a key is kept after it was revoked or has expired, in milliseconds.
const KEPT_AFTER_END_MS: i64 = 30 * 86_400_000;

/// Active keys of one wallet at the most, grants of OAuth included.
pub const MAX_ACTIVE_KEYS: i64 = 100;

/// Limits of a key. Those that are not set are the server's default rates, and no budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u32>,
    /// Budget for one UTC day.
    pub daily: Option<Money>,
    /// Budget for the lifetime of the key.
    pub total: Option<Money>,
    /// Ids of the models it may use; all models when absent.
    pub models: Option<Vec<String>>,
}

impl KeyLimits {
    /// Returns true if they limit the money that the key spends.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.daily.is_some() || self.total.is_some()
    }

    /// Returns true if they allow nothing that `others` do not. `rpm` and `tpm` are the rates of a key without its own.
    #[must_use]
    pub fn are_within(&self, others: &Self, rpm: u32, tpm: u32) -> bool {
        let budget = |own: Option<Money>, other: Option<Money>| {
            other.is_none_or(|most| own.is_some_and(|own| own <= most))
        };
        let models = |most: &Vec<String>| {
            self.models.as_ref().is_some_and(|own| own.iter().all(|model| most.contains(model)))
        };
        self.rpm.unwrap_or(rpm) <= others.rpm.unwrap_or(rpm)
            && self.tpm.unwrap_or(tpm) <= others.tpm.unwrap_or(tpm)
            && budget(self.daily, others.daily)
            && budget(self.total, others.total)
            && others.models.as_ref().is_none_or(models)
    }
}

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    /// Wallet address, lower case.
    pub owner: String,
    pub name: String,
    pub created_at: Timestamp,
    /// Time of the latest request with it, accurate to some seconds.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// True if its owner bought it from the contract.
    pub is_bought: bool,
    pub limits: KeyLimits,
}

impl Key {
    /// Returns the account that it spends: its owner's.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId::wallet(&self.owner).expect("checked when the key was stored and read")
    }

    /// Returns true if it is neither revoked nor expired.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }

    /// Returns its state in a word: active, revoked or expired.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> &'static str {
        match self.revoked_at {
            Some(_) => "revoked",
            None if self.is_active(now) => "active",
            None => "expired",
        }
    }

    /// Returns true if it may use the model with this id.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.limits.models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }
}

/// Reason for which a presented key is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyRejection {
    #[error("there is no API key")]
    Missing,
    /// Another form, an unknown id or a wrong secret: clients cannot tell which.
    #[error("the API key is not valid")]
    Invalid,
    /// Valid key that was revoked or has expired.
    #[error("the API key was revoked or has expired")]
    Inactive,
    /// Bought key, of which it is not known who bought it.
    #[error("the API key was bought from the contract, and its buyer is still being looked up on the chain")]
    Unverified,
    /// The database failed.
    #[error("the API key cannot be checked: the database is unreachable; try again later")]
    Unavailable(KeysError),
}

/// All API keys. Clones share the cache and the times of use.
#[derive(Debug, Clone)]
pub struct Keys {
    db: Db,
    prefix: Arc<str>,
    /// Times at which keys were last used, as far as they are not written yet.
    last_used: Arc<Mutex<HashMap<KeyId, Timestamp>>>,
    cache: KeyCache,
    revocations: RevocationTokens,
}

impl Keys {
    #[must_use]
    pub fn new(db: Db, prefix: &str) -> Self {
        Self {
            db,
            prefix: prefix.into(),
            last_used: Arc::default(),
            cache: KeyCache::default(),
            revocations: RevocationTokens::default(),
        }
    }

    /// Creates the text and hash of a new key; [`create`] stores it.
    #[must_use]
    pub fn mint(&self) -> MintedKey {
        MintedKey::new(&self.prefix, KeyId::random())
    }

    /// Creates a new secret for an existing key; [`rotate`] stores it.
    #[must_use]
    pub fn mint_secret(&self, id: &KeyId) -> MintedKey {
        MintedKey::new(&self.prefix, id.clone())
    }

    /// Creates a key whose secret is these 32 bytes: for a key that can be derived again without being stored.
    #[must_use]
    pub fn mint_from_bytes(&self, id: &KeyId, secret: &[u8; 32]) -> MintedKey {
        MintedKey::from_bytes(&self.prefix, id.clone(), secret)
    }

    /// Returns the key of this text if it can be used now.
    ///
    /// # Errors
    /// [`KeyRejection`].
    pub async fn authenticate(&self, text: &str, now: Timestamp) -> Result<Key, KeyRejection> {
        if text.is_empty() {
            return Err(KeyRejection::Missing);
        }
        let (id, hash) = text::parse(&self.prefix, text).ok_or(KeyRejection::Invalid)?;
        let cached = self.cache.get(&id, now).and_then(|stored| verify(Some(&stored), &hash, now).ok());
        let key = if let Some(key) = cached {
            key
        } else {
            let stored = store::load(&self.db, &id).await.map_err(KeyRejection::Unavailable)?;
            let stored = stored.map(|stored| self.cache.insert(stored, now));
            verify(stored.as_deref(), &hash, now)?
        };
        self.lock_last_used().insert(key.id.clone(), now);
        Ok(key)
    }

    /// Returns the key of a grant if it can be used now: for a request whose access token was checked, because nobody has
    /// such a key's secret.
    ///
    /// # Errors
    /// [`KeyRejection`].
    pub async fn of_grant(&self, id: &KeyId, now: Timestamp) -> Result<Key, KeyRejection> {
        let cached = self.cache.get(id, now).filter(|stored| stored.key.is_active(now));
        let stored = if let Some(stored) = cached {
            stored
        } else {
            let stored = store::load(&self.db, id).await.map_err(KeyRejection::Unavailable)?;
            self.cache.insert(stored.ok_or(KeyRejection::Invalid)?, now)
        };
        if !stored.key.is_active(now) {
            return Err(KeyRejection::Inactive);
        }
        self.lock_last_used().insert(id.clone(), now);
        Ok(stored.key.clone())
    }

    /// Removes a key from the cache after its secret was changed: from now on this instance refuses the
    /// secret before it, unless its grace period lasts.
    pub fn forget_cached(&self, id: &KeyId) {
        self.cache.remove(id);
    }

    /// Returns the keys of an owner, revoked ones included, the newest first.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn list(&self, owner: &str, after: Option<&KeyId>, limit: u32) -> Result<Vec<Key>, KeysError> {
        let keys = store::list(&self.db, owner, after, limit).await?;
        Ok(keys.into_iter().map(|key| self.with_last_use(key)).collect())
    }

    /// Deletes keys that have opened nothing for a month, because they were revoked or expired; returns their number.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<u64, KeysError> {
        match now.checked_add_millis(-KEPT_AFTER_END_MS) {
            Some(before) => store::forget(&self.db, before).await,
            None => Ok(0),
        }
    }

    /// Returns one key of an owner.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn find(&self, owner: &str, id: &KeyId) -> Result<Option<Key>, KeysError> {
        Ok(store::find(&self.db, owner, id).await?.map(|key| self.with_last_use(key)))
    }

    /// Stores the times at which keys were last used.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails; the times are then kept for the next call.
    pub async fn flush(&self) -> Result<(), KeysError> {
        let used = std::mem::take(&mut *self.lock_last_used());
        if used.is_empty() {
            return Ok(());
        }
        let written = store::set_last_used(&self.db, &used).await;
        if written.is_err() {
            let mut newer = self.lock_last_used();
            for (id, at) in used {
                newer.entry(id).or_insert(at);
            }
        }
        written
    }

    fn with_last_use(&self, key: Key) -> Key {
        let last_used_at = self.lock_last_used().get(&key.id).copied().max(key.last_used_at);
        Key { last_used_at, ..key }
    }

    fn lock_last_used(&self) -> MutexGuard<'_, HashMap<KeyId, Timestamp>> {
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the stored key if `hash` is that of a secret of it, and it is active.
fn verify(stored: Option<&StoredKey>, hash: &SecretHash, now: Timestamp) -> Result<Key, KeyRejection> {
    // An unknown id costs the same comparisons as a known one.
    let no_secret = SecretHash::of_secret("");
    let (current, previous) = match stored {
        Some(stored) => (&stored.hash, stored.previous_hash(now).unwrap_or(&no_secret)),
        None => (&no_secret, &no_secret),
    };
    let is_match = hash.matches(current) | hash.matches(previous);
    let stored = stored.filter(|_| is_match).ok_or(KeyRejection::Invalid)?;
    match &stored.key {
        key if !key.is_active(now) => Err(KeyRejection::Inactive),
        _ if stored.unverified => Err(KeyRejection::Unverified),
        key => Ok(key.clone()),
    }
}
