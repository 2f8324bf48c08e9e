//! Public keys of passkeys.
//!
//! A passkey says its credential id and signs, but does not say its public key, from which its wallet's address follows.
//! Whoever signs in on a new device asks for the key here. What is answered is public and gives no authority: a signature
//! counts for the address that follows from its own key.

use alloy::primitives::{Address, keccak256};

use super::account;
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};

/// Passkeys that a wallet can have here: each has another credential id for the same key.
const MAX_PASSKEYS: i64 = 10;
/// Longest credential id, in characters of base64url (WebAuthn allows 1023 bytes).
const MAX_CREDENTIAL_ID: usize = 1364;
/// Longest label, in characters.
pub const MAX_LABEL: usize = 60;

const COLUMNS: &str = "credential_id, public_key, account, label, created_at";

/// A passkey's public part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// base64url.
    pub credential_id: String,
    pub public_key: PublicKey,
    pub account: AccountId,
    pub label: String,
    pub created_at: Timestamp,
}

/// Uncompressed P-256 point: 0x04, x and y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 65]);

impl PublicKey {
    /// Reads `0x04` and 128 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text.strip_prefix("0x")?).ok()?;
        let point: [u8; 65] = bytes.try_into().ok()?;
        (point[0] == 4).then_some(Self(point))
    }

    /// Returns the wallet that follows from it, as Tempo derives it: the end of the Keccak-256 of x and y.
    #[must_use]
    pub fn wallet(&self) -> Address {
        Address::from_slice(&keccak256(&self.0[1..])[12..])
    }

    /// Returns it as it is read.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("0x{}", hex::encode(self.0))
    }
}

/// Returns true for a text that can be a credential id.
#[must_use]
pub fn is_credential_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (16..=MAX_CREDENTIAL_ID).contains(&text.len()) && text.bytes().all(plain)
}

/// Returns the passkey of a credential id.
///
/// # Errors
/// If the database fails.
pub async fn find(db: &Db, credential_id: &str) -> Result<Option<Passkey>, DbError> {
    let text = format!("SELECT {COLUMNS} FROM passkeys WHERE credential_id = $1");
    db.fetch_optional(&text, vec![credential_id.into()]).await?.as_ref().map(read).transpose()
}

/// Returns the passkeys of an account, the earliest first.
///
/// # Errors
/// If the database fails.
pub async fn list(db: &Db, account: &AccountId) -> Result<Vec<Passkey>, DbError> {
    let text =
        format!("SELECT {COLUMNS} FROM passkeys WHERE account = $1 ORDER BY created_at, credential_id");
    db.fetch(&text, vec![account.as_str().into()]).await?.iter().map(read).collect()
}

/// Result of keeping a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Yes,
    /// The account has as many as it can have.
    TooMany,
    /// The credential id is another account's.
    Taken,
}

/// Keeps a passkey, or its new label.
///
/// # Errors
/// If the database fails.
pub async fn keep(tx: &mut Tx, passkey: &Passkey) -> Result<Kept, DbError> {
    let account = passkey.account.as_str();
    let count =
        "SELECT CAST(COUNT(*) AS BIGINT) AS kept FROM passkeys WHERE account = $1 AND credential_id <> $2";
    let others = tx.fetch_one(count, vec![account.into(), passkey.credential_id.as_str().into()]).await?;
    if others.whole("kept")? >= MAX_PASSKEYS {
        return Ok(Kept::TooMany);
    }
    let text = format!(
        "INSERT INTO passkeys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (credential_id) DO UPDATE SET \
         label = excluded.label WHERE passkeys.account = excluded.account"
    );
    let values = vec![
        passkey.credential_id.as_str().into(),
        passkey.public_key.to_text().into(),
        account.into(),
        passkey.label.as_str().into(),
        passkey.created_at.millis().into(),
    ];
    Ok(if tx.execute(&text, values).await? == 1 { Kept::Yes } else { Kept::Taken })
}

/// Forgets a passkey. Returns false if the account has none of that credential id.
///
/// # Errors
/// If the database fails.
pub async fn forget(db: &Db, account: &AccountId, credential_id: &str) -> Result<bool, DbError> {
    let text = "DELETE FROM passkeys WHERE account = $1 AND credential_id = $2";
    Ok(db.execute(text, vec![account.as_str().into(), credential_id.into()]).await? == 1)
}

fn read(row: &Row) -> Result<Passkey, DbError> {
    let unreadable = || super::unreadable("public_key");
    Ok(Passkey {
        credential_id: row.text("credential_id")?,
        public_key: PublicKey::parse(&row.text("public_key")?).ok_or_else(unreadable)?,
        account: account(row)?,
        label: row.text("label")?,
        created_at: Timestamp::from_millis(row.whole("created_at")?),
    })
}
