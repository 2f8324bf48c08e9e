//! SQL of clients, grants, codes and tokens. Of a code or token only the hash is stored.
//!
//! A grant's end is its key's: revoked or expired. Nothing here says it a second time.

use std::collections::HashSet;

use super::client::{OauthClient, stored_id};
use super::scope::Scopes;
use super::token::{ACCESS_TTL_MS, CODE_TTL_MS, RETRY_MS, TokenHash};
use crate::db::rows::{self, Column};
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx, TxError};
use crate::id::Timestamp;
use crate::keys::{KeyId, KeysError};

/// Time for which a code is kept after its end, to be recognised when it is used again, in milliseconds.
const KEPT_CODE_MS: i64 = 86_400_000;
/// Time for which a used refresh token is kept after its use, to be recognised when it comes again, in milliseconds.
const KEPT_USED_MS: i64 = RETRY_MS + 86_400_000;
/// Time for which a client is kept that has no grant any more, in milliseconds.
const KEPT_CLIENT_MS: i64 = 90 * 86_400_000;

/// Reason for which the records of OAuth could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OauthStoreError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A row that this module does not write.
    #[error("a row of `{0}` is malformed; restore it from a backup")]
    Corrupt(&'static str),
}

impl TxError for OauthStoreError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::Keys(error) => error.db(),
            Self::Corrupt(_) => None,
        }
    }
}

type Stored<T> = Result<T, OauthStoreError>;

/// A grant as it is stored, with the name of its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its key, which names it.
    pub key: KeyId,
    pub client_id: String,
    pub client_name: String,
    pub resource: String,
    pub scopes: Scopes,
    pub granted_at: Timestamp,
}

/// A code or refresh token that was presented, with what it stands for.
#[derive(Debug)]
pub(super) struct PresentedGrant {
    pub key: KeyId,
    /// Wallet that owns the key, lower case.
    pub owner: String,
    /// True if the key is neither revoked nor expired.
    pub is_active: bool,
    /// End of the key.
    pub ends_at: Option<Timestamp>,
    /// Id of the client's row.
    pub client: String,
    pub resource: String,
    pub scopes: Scopes,
    pub used_at: Option<Timestamp>,
}

/// A code that was presented.
#[derive(Debug)]
pub(super) struct PresentedCode {
    pub grant: PresentedGrant,
    pub redirect_uri: String,
    pub challenge: String,
    pub expires_at: Timestamp,
}

/// A refresh token that was presented.
#[derive(Debug)]
pub(super) struct PresentedRefresh {
    pub grant: PresentedGrant,
    pub family: String,
}

/// An access token that was presented.
#[derive(Debug)]
pub(super) struct PresentedAccess {
    pub grant: Grant,
    /// Scopes of the grant, as far as the token was not narrowed.
    pub scopes: Scopes,
    pub expires_at: Timestamp,
}

const GRANT: &str = "g.key, g.resource, g.scopes, g.granted_at, c.client_id, c.name";
const KEY: &str = "g.key, g.client, g.resource, g.scopes, k.owner, k.revoked_at, k.expires_at AS ends_at";

/// Writes a client down, or what became of it since.
pub(super) async fn put_client(tx: &mut Tx, client: &OauthClient, now: Timestamp) -> Stored<()> {
    let uris: Vec<&str> = client.redirect_uris.iter().map(super::RedirectUri::as_str).collect();
    let text = "INSERT INTO oauth_clients (id, client_id, name, redirect_uris, authorized_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET \
         name = excluded.name, redirect_uris = excluded.redirect_uris, authorized_at = excluded.authorized_at";
    let values = vec![
        stored_id(&client.client_id).into(),
        client.client_id.as_str().into(),
        client.display_name().into(),
        serde_json::json!(uris).to_string().into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Returns a client that a wallet authorized before.
pub(super) async fn client(db: &Db, client_id: &str, schemes: &[String]) -> Stored<Option<OauthClient>> {
    let text = "SELECT client_id, name, redirect_uris FROM oauth_clients WHERE id = $1";
    let Some(row) = db.fetch_optional(text, vec![stored_id(client_id).into()]).await? else {
        return Ok(None);
    };
    let uris: Vec<String> = serde_json::from_str(&row.text("redirect_uris")?)
        .map_err(|_| OauthStoreError::Corrupt("oauth_clients"))?;
    Ok(Some(OauthClient::stored(row.text("client_id")?, row.text("name")?, &uris, schemes)))
}

/// Returns the key of the living grant of a wallet to a client, if there is one. The client's row is locked by
/// [`put_client`], so that of two at once the second finds what the first made.
pub(super) async fn living_grant(
    tx: &mut Tx,
    owner: &str,
    client_id: &str,
    resource: &str,
    now: Timestamp,
) -> Stored<Option<KeyId>> {
    let text = "SELECT g.key FROM oauth_grants g JOIN api_keys k ON k.id = g.key \
         WHERE g.client = $1 AND g.resource = $2 AND k.owner = $3 AND k.revoked_at IS NULL \
         AND (k.expires_at IS NULL OR k.expires_at > $4) ORDER BY g.granted_at DESC, g.key LIMIT 1";
    let values = vec![
        stored_id(client_id).into(),
        resource.into(),
        owner.to_ascii_lowercase().into(),
        now.millis().into(),
    ];
    tx.fetch_optional(text, values).await?.as_ref().map(key_id).transpose()
}

/// Stores a grant, or its new scopes.
pub(super) async fn put_grant(
    tx: &mut Tx,
    key: &KeyId,
    client_id: &str,
    resource: &str,
    scopes: &Scopes,
    now: Timestamp,
) -> Stored<()> {
    let text = "INSERT INTO oauth_grants (key, client, resource, scopes, granted_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO UPDATE SET \
         scopes = excluded.scopes, granted_at = excluded.granted_at";
    let values = vec![
        key.as_str().into(),
        stored_id(client_id).into(),
        resource.into(),
        scopes.to_string().into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Changes the scopes of a grant. Returns false if there is none of that key.
///
/// # Errors
/// [`OauthStoreError`] if the database fails.
pub async fn set_scopes(tx: &mut Tx, key: &KeyId, scopes: &Scopes) -> Result<bool, OauthStoreError> {
    let text = "UPDATE oauth_grants SET scopes = $2 WHERE key = $1";
    Ok(tx.execute(text, vec![key.as_str().into(), scopes.to_string().into()]).await? == 1)
}

/// Returns true if a key is that of a grant.
///
/// # Errors
/// [`OauthStoreError`] if the database fails.
pub async fn is_grant(tx: &mut Tx, key: &KeyId) -> Result<bool, OauthStoreError> {
    let text = "SELECT 1 AS one FROM oauth_grants WHERE key = $1";
    Ok(tx.fetch_optional(text, vec![key.as_str().into()]).await?.is_some())
}

/// Returns those of some keys that are of grants.
///
/// # Errors
/// [`OauthStoreError`] if the database fails.
pub async fn grants_among(db: &Db, keys: &[&KeyId]) -> Result<HashSet<String>, OauthStoreError> {
    let keys: Vec<_> = keys.iter().map(|key| [key.as_str()]).collect();
    let given = rows::given(db.engine, &[Column::Text("id")], keys.len());
    let text = format!("{given} SELECT key FROM given CROSS JOIN oauth_grants WHERE key = given.id");
    let found = db.fetch(&text, vec![rows::cells(&keys)]).await?;
    Ok(found.iter().map(|row| row.text("key")).collect::<Result<_, _>>()?)
}

/// Returns the living grants of a wallet, the latest first; there are no more than a wallet can have keys.
///
/// # Errors
/// [`OauthStoreError`] if the database fails.
pub async fn grants(db: &Db, owner: &str, now: Timestamp) -> Result<Vec<Grant>, OauthStoreError> {
    let text = format!(
        "SELECT {GRANT} FROM oauth_grants g JOIN oauth_clients c ON c.id = g.client JOIN api_keys k ON k.id = g.key \
         WHERE k.owner = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2) \
         ORDER BY g.granted_at DESC, g.key"
    );
    let values = vec![owner.to_ascii_lowercase().into(), now.millis().into()];
    db.fetch(&text, values).await?.iter().map(grant).collect()
}

/// Returns one grant of a wallet, living or not.
///
/// # Errors
/// [`OauthStoreError`] if the database fails.
pub async fn find_grant(db: &Db, owner: &str, key: &KeyId) -> Result<Option<Grant>, OauthStoreError> {
    let text = format!(
        "SELECT {GRANT} FROM oauth_grants g JOIN oauth_clients c ON c.id = g.client JOIN api_keys k ON k.id = g.key \
         WHERE g.key = $1 AND k.owner = $2"
    );
    let values = vec![key.as_str().into(), owner.to_ascii_lowercase().into()];
    db.fetch_optional(&text, values).await?.as_ref().map(grant).transpose()
}

/// A code to be stored.
#[derive(Debug)]
pub(super) struct NewCode<'a> {
    pub hash: &'a TokenHash,
    pub key: &'a KeyId,
    pub redirect_uri: &'a str,
    pub challenge: &'a str,
}

pub(super) async fn put_code(tx: &mut Tx, code: &NewCode<'_>, now: Timestamp) -> Stored<()> {
    let text = "INSERT INTO oauth_codes (hash, key, redirect_uri, challenge, expires_at) VALUES ($1, $2, $3, $4, $5)";
    let values = vec![
        code.hash.as_str().into(),
        code.key.as_str().into(),
        code.redirect_uri.into(),
        code.challenge.into(),
        after(now, CODE_TTL_MS).millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Locks the key of a code's or refresh token's grant until the transaction ends. All that changes the tokens of a grant
/// holds it, so that a family that ends gets no successor at the same time.
async fn lock_key(tx: &mut Tx, table: &str, hash: &TokenHash) -> Stored<()> {
    let lock = tx.engine().for_update_of("k");
    let text = format!("SELECT k.id FROM {table} t JOIN api_keys k ON k.id = t.key WHERE t.hash = $1{lock}");
    tx.fetch_optional(&text, vec![hash.as_str().into()]).await?;
    Ok(())
}

/// Finds a code, and keeps others from using it until the transaction ends.
pub(super) async fn code(tx: &mut Tx, hash: &TokenHash, now: Timestamp) -> Stored<Option<PresentedCode>> {
    lock_key(tx, "oauth_codes", hash).await?;
    let text = format!(
        "SELECT {KEY}, t.redirect_uri, t.challenge, t.expires_at, t.used_at FROM oauth_codes t \
         JOIN oauth_grants g ON g.key = t.key JOIN api_keys k ON k.id = g.key WHERE t.hash = $1"
    );
    let Some(row) = tx.fetch_optional(&text, vec![hash.as_str().into()]).await? else { return Ok(None) };
    Ok(Some(PresentedCode {
        grant: presented(&row, now)?,
        redirect_uri: row.text("redirect_uri")?,
        challenge: row.text("challenge")?,
        expires_at: Timestamp::from_millis(row.whole("expires_at")?),
    }))
}

pub(super) async fn use_code(tx: &mut Tx, hash: &TokenHash, now: Timestamp) -> Stored<()> {
    let text = "UPDATE oauth_codes SET used_at = $2 WHERE hash = $1";
    tx.execute(text, vec![hash.as_str().into(), now.millis().into()]).await?;
    Ok(())
}

/// Finds a refresh token, and keeps others from using it until the transaction ends.
pub(super) async fn refresh_token(
    tx: &mut Tx,
    hash: &TokenHash,
    now: Timestamp,
) -> Stored<Option<PresentedRefresh>> {
    lock_key(tx, "oauth_refresh_tokens", hash).await?;
    let text = format!(
        "SELECT {KEY}, t.family, t.used_at FROM oauth_refresh_tokens t \
         JOIN oauth_grants g ON g.key = t.key JOIN api_keys k ON k.id = g.key WHERE t.hash = $1"
    );
    let Some(row) = tx.fetch_optional(&text, vec![hash.as_str().into()]).await? else { return Ok(None) };
    Ok(Some(PresentedRefresh { grant: presented(&row, now)?, family: row.text("family")? }))
}

pub(super) async fn use_refresh_token(tx: &mut Tx, hash: &TokenHash, now: Timestamp) -> Stored<()> {
    let text = "UPDATE oauth_refresh_tokens SET used_at = $2 WHERE hash = $1";
    tx.execute(text, vec![hash.as_str().into(), now.millis().into()]).await?;
    Ok(())
}

/// Returns true if a refresh token was used; `None` if there is none.
pub(super) async fn is_used(tx: &mut Tx, hash: &TokenHash) -> Stored<Option<bool>> {
    let text = "SELECT used_at FROM oauth_refresh_tokens WHERE hash = $1";
    let Some(row) = tx.fetch_optional(text, vec![hash.as_str().into()]).await? else { return Ok(None) };
    Ok(Some(row.whole_or_null("used_at")?.is_some()))
}

pub(super) async fn put_refresh_token(
    tx: &mut Tx,
    hash: &TokenHash,
    key: &KeyId,
    family: &str,
    now: Timestamp,
) -> Stored<()> {
    let text = "INSERT INTO oauth_refresh_tokens (hash, key, family, created_at) VALUES ($1, $2, $3, $4)";
    let values = vec![hash.as_str().into(), key.as_str().into(), family.into(), now.millis().into()];
    tx.execute(text, values).await?;
    Ok(())
}

/// Stores an access token; `scopes` are those to which the client narrowed it.
pub(super) async fn put_access_token(
    tx: &mut Tx,
    hash: &TokenHash,
    key: &KeyId,
    family: &str,
    scopes: Option<&Scopes>,
    now: Timestamp,
) -> Stored<()> {
    let text =
        "INSERT INTO oauth_access_tokens (hash, key, family, scopes, expires_at) VALUES ($1, $2, $3, $4, $5)";
    let values = vec![
        hash.as_str().into(),
        key.as_str().into(),
        family.into(),
        scopes.map(Scopes::to_string).into(),
        after(now, ACCESS_TTL_MS).millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Finds an access token, expired ones included.
pub(super) async fn access_token(db: &Db, hash: &TokenHash) -> Stored<Option<PresentedAccess>> {
    let text = format!(
        "SELECT {GRANT}, t.scopes AS narrowed, t.expires_at FROM oauth_access_tokens t \
         JOIN oauth_grants g ON g.key = t.key JOIN oauth_clients c ON c.id = g.client WHERE t.hash = $1"
    );
    let Some(row) = db.fetch_optional(&text, vec![hash.as_str().into()]).await? else { return Ok(None) };
    let grant = grant(&row)?;
    let narrowed = row.text_or_null("narrowed")?.map(|text| scopes_of(&text)).transpose()?;
    let scopes =
        narrowed.map_or_else(|| grant.scopes.clone(), |narrowed| narrowed.intersection(&grant.scopes));
    Ok(Some(PresentedAccess { scopes, grant, expires_at: Timestamp::from_millis(row.whole("expires_at")?) }))
}

/// Removes an access token of a client's.
pub(super) async fn delete_access_token(tx: &mut Tx, hash: &TokenHash, client_id: &str) -> Stored<()> {
    let text = "DELETE FROM oauth_access_tokens WHERE hash = $1 \
         AND EXISTS (SELECT 1 FROM oauth_grants g WHERE g.key = oauth_access_tokens.key AND g.client = $2)";
    tx.execute(text, vec![hash.as_str().into(), stored_id(client_id).into()]).await?;
    Ok(())
}

/// Removes all tokens of a family. Returns true if its grant has other families, or a code that becomes one.
pub(super) async fn delete_family(tx: &mut Tx, key: &KeyId, family: &str, now: Timestamp) -> Stored<bool> {
    for table in ["oauth_access_tokens", "oauth_refresh_tokens"] {
        let text = format!("DELETE FROM {table} WHERE key = $1 AND family = $2");
        tx.execute(&text, vec![key.as_str().into(), family.into()]).await?;
    }
    let text = "SELECT 1 AS one FROM oauth_refresh_tokens WHERE key = $1 AND used_at IS NULL \
         UNION ALL SELECT 1 FROM oauth_codes WHERE key = $1 AND used_at IS NULL AND expires_at > $2 LIMIT 1";
    Ok(tx.fetch_optional(text, vec![key.as_str().into(), now.millis().into()]).await?.is_some())
}

/// Deletes what is of no use any more: expired access tokens, codes and used refresh tokens of yesterday, clients without
/// grants. Of a family the refresh token that was used last stays: it gets its successor again. Grants go with their keys.
pub(super) async fn forget_ended(db: &Db, now: Timestamp) -> Stored<u64> {
    let before = |millis| now.checked_sub_millis(millis).unwrap_or(now).millis();
    let statements = [
        ("DELETE FROM oauth_access_tokens WHERE expires_at < $1", now.millis()),
        ("DELETE FROM oauth_codes WHERE expires_at < $1", before(KEPT_CODE_MS)),
        (
            "DELETE FROM oauth_refresh_tokens WHERE used_at < $1 AND EXISTS (SELECT 1 FROM oauth_refresh_tokens n \
             WHERE n.key = oauth_refresh_tokens.key AND n.family = oauth_refresh_tokens.family \
             AND n.used_at > oauth_refresh_tokens.used_at)",
            before(KEPT_USED_MS),
        ),
        (
            "DELETE FROM oauth_clients WHERE authorized_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM oauth_grants g WHERE g.client = oauth_clients.id)",
            before(KEPT_CLIENT_MS),
        ),
    ];
    let mut forgotten = 0;
    for (text, moment) in statements {
        forgotten += db
            .transaction(|mut tx| async move {
                let rows = tx.execute(text, vec![moment.into()]).await?;
                Ok::<_, OauthStoreError>((tx, rows))
            })
            .await?;
    }
    Ok(forgotten)
}

fn after(now: Timestamp, millis: i64) -> Timestamp {
    now.checked_add_millis(millis).unwrap_or(now)
}

fn key_id(row: &Row) -> Stored<KeyId> {
    KeyId::parse(&row.text("key")?).ok_or(OauthStoreError::Corrupt("oauth_grants"))
}

fn scopes_of(text: &str) -> Stored<Scopes> {
    Scopes::parse(text).ok_or(OauthStoreError::Corrupt("oauth_grants"))
}

fn grant(row: &Row) -> Stored<Grant> {
    Ok(Grant {
        key: key_id(row)?,
        client_id: row.text("client_id")?,
        client_name: row.text("name")?,
        resource: row.text("resource")?,
        scopes: scopes_of(&row.text("scopes")?)?,
        granted_at: Timestamp::from_millis(row.whole("granted_at")?),
    })
}

fn presented(row: &Row, now: Timestamp) -> Stored<PresentedGrant> {
    let moment = |column: &str| row.whole_or_null(column).map(|millis| millis.map(Timestamp::from_millis));
    let ends_at = moment("ends_at")?;
    Ok(PresentedGrant {
        key: key_id(row)?,
        owner: row.text("owner")?,
        is_active: moment("revoked_at")?.is_none() && ends_at.is_none_or(|ends_at| now < ends_at),
        ends_at,
        client: row.text("client")?,
        resource: row.text("resource")?,
        scopes: scopes_of(&row.text("scopes")?)?,
        used_at: moment("used_at")?,
    })
}
