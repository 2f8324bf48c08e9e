//! API keys: who may spend a wallet's prepaid credits over `/v1`, and how much.
//!
//! A key's text is the prefix, a public id and a secret. The row is found by the
//! id; of the secret only the SHA-256 is stored, and compared in constant time.
//! What a key spends is money of its owner's account, `wallet:<owner>`.

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
pub use spend::{KeyPaid, PurchaseOutcome};
use store::StoredKey;
pub use store::{BoughtKey, KeysError, NewKey, count_active, create, create_bought, revoke, rotate};
pub use text::{KeyId, Minted, SecretHash};

use crate::db::Db;
use crate::id::{AccountId, Timestamp};
use crate::money::Money;

/// What a key may do; nothing set is the server's defaults and no budget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u32>,
    /// The most it may spend on a UTC day.
    pub daily: Option<Money>,
    /// The most it may ever spend.
    pub total: Option<Money>,
    /// The models it may use; all when absent.
    pub models: Option<Vec<String>>,
}

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    /// Wallet address, lower case.
    pub owner: String,
    pub name: String,
    pub created_at: Timestamp,
    /// Accurate to some seconds.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub limits: KeyLimits,
}

impl Key {
    /// Whose money it spends.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId::wallet(&self.owner).expect("checked when the key was stored and read")
    }

    /// Neither revoked nor expired.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }

    /// Whether it may use a model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.limits.models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }
}

/// Why a text opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeyRejection {
    #[error("there is no API key")]
    Missing,
    /// Another form, an unknown id or a wrong secret: not told apart.
    #[error("the API key is not valid")]
    Invalid,
    /// Known, and revoked or expired.
    #[error("the API key was revoked or has expired")]
    Inactive,
    /// Nothing is known about the key.
    #[error("API keys cannot be read")]
    Unavailable(KeysError),
}

/// All keys. Clones share what they remember.
#[derive(Debug, Clone)]
pub struct Keys {
    db: Db,
    prefix: Arc<str>,
    /// When keys were last used, since that was last written down.
    used: Arc<Mutex<HashMap<KeyId, Timestamp>>>,
    cache: KeyCache,
    revocations: RevocationTokens,
}

impl Keys {
    #[must_use]
    pub fn new(db: Db, prefix: &str) -> Self {
        Self {
            db,
            prefix: prefix.into(),
            used: Arc::default(),
            cache: KeyCache::default(),
            revocations: RevocationTokens::default(),
        }
    }

    /// The text and hash of a new key; [`create`] stores it.
    #[must_use]
    pub fn mint(&self) -> Minted {
        Minted::new(&self.prefix, KeyId::random())
    }

    /// A new secret for a key there is; [`rotate`] stores it.
    #[must_use]
    pub fn mint_for(&self, id: &KeyId) -> Minted {
        Minted::new(&self.prefix, id.clone())
    }

    /// A key whose secret is these 32 bytes, for one that must be found again without being stored.
    #[must_use]
    pub fn mint_of(&self, id: &KeyId, secret: &[u8; 32]) -> Minted {
        Minted::of(&self.prefix, id.clone(), secret)
    }

    /// The key of this text, if it can be used now.
    ///
    /// # Errors
    /// [`KeyRejection`].
    pub async fn authenticate(&self, text: &str, now: Timestamp) -> Result<Key, KeyRejection> {
        if text.is_empty() {
            return Err(KeyRejection::Missing);
        }
        let (id, hash) = text::parse(&self.prefix, text).ok_or(KeyRejection::Invalid)?;
        let remembered = self.cache.get(&id, now).and_then(|stored| opened(Some(&stored), &hash, now).ok());
        let key = if let Some(key) = remembered {
            key
        } else {
            let stored = store::secrets(&self.db, &id).await.map_err(KeyRejection::Unavailable)?;
            let stored = stored.map(|stored| self.cache.remember(stored, now));
            opened(stored.as_deref(), &hash, now)?
        };
        self.used().insert(key.id.clone(), now);
        Ok(key)
    }

    /// For a key whose secret was changed: the one before it opens nothing more here, grace aside.
    pub fn changed(&self, id: &KeyId) {
        self.cache.forget(id);
    }

    /// The keys of an owner, revoked ones included, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, owner: &str) -> Result<Vec<Key>, KeysError> {
        let keys = store::list(&self.db, owner).await?;
        Ok(keys.into_iter().map(|key| self.with_use(key)).collect())
    }

    /// One key of an owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: &str, id: &KeyId) -> Result<Option<Key>, KeysError> {
        Ok(store::find(&self.db, owner, id).await?.map(|key| self.with_use(key)))
    }

    /// Writes down when keys were last used.
    ///
    /// # Errors
    /// When the database fails; they are written with the next ones then.
    pub async fn flush(&self) -> Result<(), KeysError> {
        let used = std::mem::take(&mut *self.used());
        if used.is_empty() {
            return Ok(());
        }
        let written = store::set_used(&self.db, &used).await;
        if written.is_err() {
            let mut since = self.used();
            for (id, at) in used {
                since.entry(id).or_insert(at);
            }
        }
        written
    }

    fn with_use(&self, key: Key) -> Key {
        let last_used_at = self.used().get(&key.id).copied().max(key.last_used_at);
        Key { last_used_at, ..key }
    }

    fn used(&self) -> MutexGuard<'_, HashMap<KeyId, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key that `hash` opens now.
fn opened(stored: Option<&StoredKey>, hash: &SecretHash, now: Timestamp) -> Result<Key, KeyRejection> {
    // An unknown id costs the same comparisons as a known one.
    let nobody = SecretHash::of("");
    let (current, previous) = match stored {
        Some(stored) => (&stored.hash, stored.previous(now).unwrap_or(&nobody)),
        None => (&nobody, &nobody),
    };
    let opens = hash.matches(current) | hash.matches(previous);
    let key = &stored.filter(|_| opens).ok_or(KeyRejection::Invalid)?.key;
    if key.is_active(now) { Ok(key.clone()) } else { Err(KeyRejection::Inactive) }
}
