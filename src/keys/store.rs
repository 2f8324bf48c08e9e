//! SQL of API keys.

use std::collections::HashMap;

use super::{Key, KeyId, KeyLimits, SecretHash};
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx, TxError};
use crate::id::{AccountId, IdError, SourceRef, Timestamp};
use crate::ledger::LedgerError;
use crate::money::Money;

const COLUMNS: &str = "id, owner, name, hash, previous_hash, previous_until, created_at, last_used_at, \
     revoked_at, expires_at, rpm, tpm, daily_limit, total_limit, models, source, buyer";

/// Name of a key that was bought on the chain: the purchase carries none.
const BOUGHT_NAME: &str = "bought on the chain";

/// Reason for which keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The owner of a new key is not a wallet address.
    #[error(transparent)]
    Owner(#[from] IdError),
    /// A row that this module does not write.
    #[error("the row of key {0} in `api_keys` is malformed; restore it from a backup")]
    Corrupt(KeyId),
}

impl TxError for KeysError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::Ledger(error) => error.db(),
            Self::Owner(_) | Self::Corrupt(_) => None,
        }
    }
}

/// A key to be stored.
#[derive(Debug)]
pub struct NewKey<'a> {
    pub id: &'a KeyId,
    /// Wallet address; letter case does not matter.
    pub owner: &'a str,
    pub name: &'a str,
    pub limits: &'a KeyLimits,
    pub expires_at: Option<Timestamp>,
    pub hash: &'a SecretHash,
}

/// Stores a minted key.
///
/// # Errors
/// [`KeysError::Owner`], or another if the database fails.
pub async fn create(tx: &mut Tx, new: &NewKey<'_>, now: Timestamp) -> Result<(), KeysError> {
    let limits = new.limits;
    let text = "INSERT INTO api_keys (id, owner, name, hash, created_at, expires_at, rpm, tpm, daily_limit, \
         total_limit, models) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values = vec![
        new.id.as_str().into(),
        wallet_address(new.owner)?.into(),
        new.name.into(),
        new.hash.to_hex().into(),
        now.millis().into(),
        new.expires_at.map(Timestamp::millis).into(),
        limits.rpm.map(i64::from).into(),
        limits.tpm.map(i64::from).into(),
        limits.daily.map(Money::micros).into(),
        limits.total.map(Money::micros).into(),
        models_json(limits).into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Returns the number of keys of an owner that can be used now.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn count_active(tx: &mut Tx, owner: &str, now: Timestamp) -> Result<i64, KeysError> {
    let text = "SELECT count(*) AS keys FROM api_keys \
         WHERE owner = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    let row = tx.fetch_one(text, vec![owner.to_ascii_lowercase().into(), now.millis().into()]).await?;
    Ok(row.whole("keys")?)
}

/// A key that its owner bought from the contract.
#[derive(Debug)]
pub struct BoughtKey<'a> {
    pub id: &'a KeyId,
    pub hash: &'a SecretHash,
    /// Wallet that paid, and owns it; letter case does not matter.
    pub owner: &'a str,
    /// Source of the credit that came with it.
    pub source: &'a SourceRef,
    /// Amount of that credit, which is the key's budget until its owner says otherwise.
    pub budget: Money,
}

/// Stores a bought key. Returns false if its id is taken by another purchase; storing the same purchase again changes
/// nothing.
///
/// # Errors
/// [`KeysError::Owner`], or another if the database fails.
pub async fn create_bought(tx: &mut Tx, key: &BoughtKey<'_>, now: Timestamp) -> Result<bool, KeysError> {
    let text = "INSERT INTO api_keys (id, owner, name, hash, source, buyer, total_limit, created_at) \
         VALUES ($1, $2, $3, $4, $5, $2, $6, $7) ON CONFLICT (id) DO NOTHING";
    let values = vec![
        key.id.as_str().into(),
        wallet_address(key.owner)?.into(),
        BOUGHT_NAME.into(),
        key.hash.to_hex().into(),
        key.source.as_str().into(),
        key.budget.micros().into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    let text = "SELECT source FROM api_keys WHERE id = $1";
    let row = tx.fetch_one(text, vec![key.id.as_str().into()]).await?;
    Ok(row.text_or_null("source")?.as_deref() == Some(key.source.as_str()))
}

/// A bought key whose buyer is not known: it opens nothing until that is read from the chain.
#[derive(Debug)]
pub struct UnverifiedKey {
    pub id: KeyId,
    /// Wallet address, lower case.
    pub owner: String,
    /// Source of the credit that came with it.
    pub source: String,
}

/// Returns some of the bought keys whose buyers are not known, in the order of their ids from `after` on.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn unverified(db: &Db, after: &str, limit: i64) -> Result<Vec<UnverifiedKey>, KeysError> {
    let text = "SELECT id, owner, source FROM api_keys \
         WHERE source IS NOT NULL AND buyer IS NULL AND id > $1 ORDER BY id LIMIT $2";
    let rows = db.fetch(text, vec![after.into(), limit.into()]).await?;
    let read = |row: &Row| {
        let id = row.text("id")?;
        let id = KeyId::parse(&id).ok_or_else(|| KeysError::Corrupt(KeyId::random()))?;
        Ok(UnverifiedKey { id, owner: row.text("owner")?, source: row.text("source")? })
    };
    rows.iter().map(read).collect()
}

/// Records who bought a key, and revokes it unless that was its owner.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn set_buyer(tx: &mut Tx, id: &KeyId, buyer: &str, now: Timestamp) -> Result<(), KeysError> {
    let text = "UPDATE api_keys SET buyer = $2, \
         revoked_at = CASE WHEN owner = $2 THEN revoked_at ELSE COALESCE(revoked_at, $3) END \
         WHERE id = $1 AND buyer IS NULL";
    tx.execute(text, vec![id.as_str().into(), wallet_address(buyer)?.into(), now.millis().into()]).await?;
    Ok(())
}

/// Revokes a key. Returns false if the owner has no such key, or it was revoked before.
///
/// Requests that run with it are cancelled within a second of the commit.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn revoke(tx: &mut Tx, owner: &str, id: &KeyId, now: Timestamp) -> Result<bool, KeysError> {
    let text = "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND owner = $2 AND revoked_at IS NULL";
    let values = vec![id.as_str().into(), owner.to_ascii_lowercase().into(), now.millis().into()];
    Ok(tx.execute(text, values).await? == 1)
}

/// Gives a key a new secret; the old one works until `grace_until`. The id, the limits and the
/// amounts spent stay. Returns false if the owner has no such key, or it was revoked or has expired.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn rotate(
    tx: &mut Tx,
    owner: &str,
    id: &KeyId,
    new_hash: &SecretHash,
    grace_until: Timestamp,
    now: Timestamp,
) -> Result<bool, KeysError> {
    // A bought key whose buyer is not known becomes its owner's by the owner's own word, and the secret that somebody
    // else may know ends at once.
    let text = "UPDATE api_keys SET \
         previous_hash = CASE WHEN source IS NOT NULL AND buyer IS NULL THEN NULL ELSE hash END, \
         previous_until = $4, hash = $3, \
         buyer = CASE WHEN source IS NOT NULL AND buyer IS NULL THEN owner ELSE buyer END \
         WHERE id = $1 AND owner = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $5)";
    let values = vec![
        id.as_str().into(),
        owner.to_ascii_lowercase().into(),
        new_hash.to_hex().into(),
        grace_until.millis().into(),
        now.millis().into(),
    ];
    Ok(tx.execute(text, values).await? == 1)
}

/// Changes of a key; what is `None` stays as it is.
#[derive(Debug, Default)]
pub struct KeyChanges<'a> {
    pub name: Option<&'a str>,
    pub limits: Option<&'a KeyLimits>,
    pub expiry: Option<KeyExpiry>,
}

impl KeyChanges<'_> {
    /// Returns true if they give a key no more than it has. `rpm` and `tpm` are the rates of a key without its own.
    #[must_use]
    pub fn only_lower(&self, key: &Key, rpm: u32, tpm: u32) -> bool {
        let expiry = match (self.expiry, key.expires_at) {
            (None, _) | (Some(KeyExpiry::At(_)), None) => true,
            (Some(KeyExpiry::Never), ends) => ends.is_none(),
            (Some(KeyExpiry::At(end)), Some(ends)) => end <= ends,
        };
        expiry && self.limits.is_none_or(|limits| limits.are_within(&key.limits, rpm, tpm))
    }
}

/// End of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExpiry {
    Never,
    At(Timestamp),
}

/// Changes a key; what it has spent stays and counts against a new budget. Returns false if the owner has no such key,
/// or it was revoked or has expired.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn update(
    tx: &mut Tx,
    owner: &str,
    id: &KeyId,
    changes: &KeyChanges<'_>,
    now: Timestamp,
) -> Result<bool, KeysError> {
    let mut values = vec![id.as_str().into(), owner.to_ascii_lowercase().into(), now.millis().into()];
    let mut sets = Vec::new();
    let mut set = |column: &str, value| {
        values.push(value);
        sets.push(format!("{column} = ${}", values.len()));
    };
    if let Some(name) = changes.name {
        set("name", name.into());
    }
    if let Some(limits) = changes.limits {
        set("rpm", limits.rpm.map(i64::from).into());
        set("tpm", limits.tpm.map(i64::from).into());
        set("daily_limit", limits.daily.map(Money::micros).into());
        set("total_limit", limits.total.map(Money::micros).into());
        set("models", models_json(limits).into());
    }
    match changes.expiry {
        Some(KeyExpiry::Never) => set("expires_at", None::<i64>.into()),
        Some(KeyExpiry::At(moment)) => set("expires_at", moment.millis().into()),
        None => {}
    }
    if sets.is_empty() {
        sets.push("name = name".into());
    }
    let text = format!(
        "UPDATE api_keys SET {} WHERE id = $1 AND owner = $2 AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $3)",
        sets.join(", ")
    );
    Ok(tx.execute(&text, values).await? == 1)
}

fn models_json(limits: &KeyLimits) -> Option<String> {
    limits.models.as_ref().map(|models| serde_json::json!(models).to_string())
}

/// A key with the hashes of its secrets.
#[derive(Debug)]
pub(super) struct StoredKey {
    pub key: Key,
    pub hash: SecretHash,
    previous: Option<(SecretHash, Timestamp)>,
    /// True if it was bought, and it is not known by whom.
    pub unverified: bool,
}

impl StoredKey {
    /// Returns the hash of the secret before the last rotation, while it still works.
    pub(super) fn previous_hash(&self, now: Timestamp) -> Option<&SecretHash> {
        self.previous.as_ref().filter(|(_, until)| now < *until).map(|(hash, _)| hash)
    }
}

pub(super) async fn load(db: &Db, id: &KeyId) -> Result<Option<StoredKey>, KeysError> {
    let text = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1");
    let row = db.fetch_optional(&text, vec![id.as_str().into()]).await?;
    row.as_ref().map(read_row).transpose()
}

pub(super) async fn find(db: &Db, owner: &str, id: &KeyId) -> Result<Option<Key>, KeysError> {
    let stored = load(db, id).await?.map(|stored| stored.key);
    Ok(stored.filter(|key| key.owner.eq_ignore_ascii_case(owner)))
}

/// Returns a key of an owner, which nobody changes until the transaction ends.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn locked(tx: &mut Tx, owner: &str, id: &KeyId) -> Result<Option<Key>, KeysError> {
    let lock = tx.engine().for_update();
    let text = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1 AND owner = $2{lock}");
    let row = tx.fetch_optional(&text, vec![id.as_str().into(), owner.to_ascii_lowercase().into()]).await?;
    Ok(row.as_ref().map(read_row).transpose()?.map(|stored| stored.key))
}

/// Returns up to `limit` keys of an owner, the newest first, after the key `after` of an earlier page.
pub(super) async fn list(
    db: &Db,
    owner: &str,
    after: Option<&KeyId>,
    limit: u32,
) -> Result<Vec<Key>, KeysError> {
    let mut values = vec![owner.to_ascii_lowercase().into(), i64::from(limit).into()];
    let mut page = "";
    if let Some(after) = after {
        values.push(after.as_str().into());
        page = "AND EXISTS (SELECT 1 FROM api_keys last WHERE last.id = $3 AND last.owner = $1 \
                AND (api_keys.created_at < last.created_at \
                     OR api_keys.created_at = last.created_at AND api_keys.id > last.id))";
    }
    let text = format!(
        "SELECT {COLUMNS} FROM api_keys WHERE owner = $1 {page} ORDER BY created_at DESC, id LIMIT $2"
    );
    let rows = db.fetch(&text, values).await?;
    rows.iter().map(|row| read_row(row).map(|stored| stored.key)).collect()
}

/// Deletes keys that were revoked or expired before `before`. Those that were bought stay: whoever reads their purchases
/// on the chain again must find them.
pub(super) async fn forget(db: &Db, before: Timestamp) -> Result<u64, KeysError> {
    db.transaction(|mut tx| async move {
        let text = "DELETE FROM api_keys WHERE source IS NULL AND (revoked_at < $1 OR expires_at < $1)";
        let forgotten = tx.execute(text, vec![before.millis().into()]).await?;
        Ok((tx, forgotten))
    })
    .await
}

/// Writes down when several keys were last used, in one commit; the later of two instances' times stays.
pub(super) async fn set_last_used(db: &Db, used: &HashMap<KeyId, Timestamp>) -> Result<(), KeysError> {
    let mut ordered: Vec<_> = used.iter().collect();
    // All instances lock the rows in the same order, so that they cannot deadlock.
    ordered.sort_unstable();
    let ordered = &ordered;
    db.transaction(|mut tx| async move {
        for (id, at) in ordered {
            let text = "UPDATE api_keys SET last_used_at = $2 \
                 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
            tx.execute(text, vec![id.as_str().into(), at.millis().into()]).await?;
        }
        Ok((tx, ()))
    })
    .await
}

fn read_row(row: &Row) -> Result<StoredKey, KeysError> {
    let text = row.text("id")?;
    let corrupt = || KeysError::Corrupt(KeyId::parse(&text).unwrap_or_else(KeyId::random));
    let id = KeyId::parse(&text).ok_or_else(corrupt)?;
    let number = |column: &str| row.whole_or_null(column);
    let moment = |column: &str| number(column).map(|millis| millis.map(Timestamp::from_millis));
    let money = |column: &str| number(column).map(|micros| micros.map(Money::from_micros));
    let rate = |column: &str| -> Result<Option<u32>, KeysError> {
        number(column)?.map(u32::try_from).transpose().map_err(|_| corrupt())
    };
    let hash = |text: &str| SecretHash::from_hex(text).ok_or_else(corrupt);
    let models = row.text_or_null("models")?;
    let models = models.map(|models| serde_json::from_str(&models)).transpose().map_err(|_| corrupt())?;
    let owner = row.text("owner")?;
    AccountId::wallet(&owner).map_err(|_| corrupt())?;
    let previous = match (row.text_or_null("previous_hash")?, moment("previous_until")?) {
        (Some(text), Some(until)) => Some((hash(&text)?, until)),
        _ => None,
    };
    let key = Key {
        id,
        owner,
        name: row.text("name")?,
        created_at: Timestamp::from_millis(row.whole("created_at")?),
        last_used_at: moment("last_used_at")?,
        revoked_at: moment("revoked_at")?,
        expires_at: moment("expires_at")?,
        is_bought: row.text_or_null("source")?.is_some(),
        limits: KeyLimits {
            rpm: rate("rpm")?,
            tpm: rate("tpm")?,
            daily: money("daily_limit")?,
            total: money("total_limit")?,
            models,
        },
    };
    let unverified = key.is_bought && row.text_or_null("buyer")?.is_none();
    Ok(StoredKey { key, hash: hash(&row.text("hash")?)?, previous, unverified })
}

/// Returns the wallet address in lower case.
fn wallet_address(owner: &str) -> Result<String, IdError> {
    AccountId::wallet(owner)?;
    Ok(owner.to_ascii_lowercase())
}
