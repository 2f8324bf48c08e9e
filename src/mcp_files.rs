//! Files of the MCP server's tools, which pass beside the conversation: bytes in it cost tokens, and models corrupt them.
//!
//! ```text
//! create_upload -> PUT /mcp/files/{token} -> redact_file -> GET /mcp/files/{token}
//! ```
//!
//! They are in the database, so that any instance serves any step, for minutes, and a few for each account.

#![expect(clippy::disallowed_methods, reason = "tokens of files are drawn here and nowhere else")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx, TxError};
use crate::id::{AccountId, Timestamp};
use crate::ledger::{self, LedgerError};

/// Time for which a file is kept, in milliseconds.
const LIFETIME_MS: i64 = 15 * 60_000;
/// Files that an account has at a time.
pub const MAX_FILES: i64 = 4;

/// Secret part of a file's URL: 32 random bytes in base64url.
#[derive(Clone)]
pub struct FileToken(String);

impl FileToken {
    /// Makes a random token.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the last part of a URL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// Returns the text for a URL; nothing else may hold it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the id of its file, which may be known.
    #[must_use]
    pub fn file_id(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }
}

impl std::fmt::Debug for FileToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[token]")
    }
}

/// File with its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct McpFile {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// Omits the content.
impl std::fmt::Debug for McpFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpFile").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Reason for which a file is not kept, or not there.
#[derive(Debug, thiserror::Error)]
pub enum McpFileError {
    #[error(
        "the account has {MAX_FILES} files in transfer, the most it can have; use them, or wait for a quarter of an hour"
    )]
    TooMany,
    #[error("there is no such upload for this account, or it has expired")]
    Unknown,
    #[error("nothing was uploaded yet; PUT the file to the upload URL first")]
    Empty,
    #[error("files in transfer cannot be read or written: {0}")]
    Database(#[from] DbError),
    #[error("files in transfer cannot be counted: {0}")]
    Ledger(#[from] LedgerError),
}

impl TxError for McpFileError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::Ledger(error) => error.db(),
            Self::TooMany | Self::Unknown | Self::Empty => None,
        }
    }
}

/// Files in transfer.
#[derive(Debug, Clone)]
pub struct McpFiles {
    db: Db,
}

impl McpFiles {
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Opens an upload. Returns the moment at which it expires.
    ///
    /// # Errors
    /// [`McpFileError::TooMany`], or the database fails.
    pub async fn open(
        &self,
        token: &FileToken,
        account: &AccountId,
        now: Timestamp,
    ) -> Result<Timestamp, McpFileError> {
        let (id, expires_at) = (token.file_id(), expiry(now));
        let id = &id;
        self.db
            .transaction(|mut tx| async move {
                // Two at once count one after the other, once there is money to spend.
                ledger::lock(&mut tx, account).await?;
                let text = "SELECT count(*) AS files FROM mcp_files WHERE account = $1 AND expires_at > $2";
                let files = tx.fetch_one(text, vec![account.as_str().into(), now.millis().into()]).await?;
                if files.whole("files")? >= MAX_FILES {
                    return Err(McpFileError::TooMany);
                }
                insert(&mut tx, id, account, ("upload", None), expires_at).await?;
                Ok((tx, ()))
            })
            .await?;
        Ok(expires_at)
    }

    /// Keeps a result, in place of the upload that it was made of. Returns the moment at which its link expires.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep(
        &self,
        token: &FileToken,
        account: &AccountId,
        file: &McpFile,
        upload: Option<&str>,
        now: Timestamp,
    ) -> Result<Timestamp, McpFileError> {
        let (id, expires_at) = (token.file_id(), expiry(now));
        let id = &id;
        self.db
            .transaction(|mut tx| async move {
                if let Some(upload) = upload {
                    tx.execute("DELETE FROM mcp_files WHERE id = $1", vec![upload.into()]).await?;
                }
                insert(&mut tx, id, account, ("result", Some(file)), expires_at).await?;
                Ok::<_, McpFileError>((tx, ()))
            })
            .await?;
        Ok(expires_at)
    }

    /// Takes the bytes of an upload, once.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`] if it is not open any more, or the database fails.
    pub async fn fill(&self, token: &FileToken, file: &McpFile, now: Timestamp) -> Result<(), McpFileError> {
        let (id, content) = (token.file_id(), STANDARD.encode(&file.bytes));
        let (id, content) = (&id, &content);
        self.db
            .transaction(|mut tx| async move {
                let text = "UPDATE mcp_files SET media_type = $2, content = $3 \
                     WHERE id = $1 AND direction = 'upload' AND content IS NULL AND expires_at > $4";
                let values = vec![
                    id.as_str().into(),
                    file.media_type.as_str().into(),
                    content.as_str().into(),
                    now.millis().into(),
                ];
                let filled = tx.execute(text, values).await?;
                if filled == 1 { Ok((tx, ())) } else { Err(McpFileError::Unknown) }
            })
            .await
    }

    /// Returns an account's upload. It stays until it is removed: what fails may be tried again.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`], [`McpFileError::Empty`], or the database fails.
    pub async fn uploaded(
        &self,
        id: &str,
        account: &AccountId,
        now: Timestamp,
    ) -> Result<McpFile, McpFileError> {
        let text = "SELECT media_type, content FROM mcp_files \
             WHERE id = $1 AND account = $2 AND direction = 'upload' AND expires_at > $3";
        let values = vec![id.into(), account.as_str().into(), now.millis().into()];
        let row = self.db.fetch_optional(text, values).await?.ok_or(McpFileError::Unknown)?;
        read(&row)?.ok_or(McpFileError::Empty)
    }

    /// Returns a result.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`], or the database fails.
    pub async fn result(&self, token: &FileToken, now: Timestamp) -> Result<McpFile, McpFileError> {
        let text = "SELECT media_type, content FROM mcp_files \
             WHERE id = $1 AND direction = 'result' AND expires_at > $2";
        let row = self.db.fetch_optional(text, vec![token.file_id().into(), now.millis().into()]).await?;
        read(&row.ok_or(McpFileError::Unknown)?)?.ok_or(McpFileError::Unknown)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove(&self, id: &str) -> Result<(), DbError> {
        self.db
            .transaction(|mut tx| async move {
                tx.execute("DELETE FROM mcp_files WHERE id = $1", vec![id.into()]).await?;
                Ok((tx, ()))
            })
            .await
    }

    /// Removes what has expired.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget(&self, now: Timestamp) -> Result<u64, DbError> {
        self.db
            .transaction(|mut tx| async move {
                let text = "DELETE FROM mcp_files WHERE expires_at <= $1";
                let forgotten = tx.execute(text, vec![now.millis().into()]).await?;
                Ok((tx, forgotten))
            })
            .await
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add_millis(LIFETIME_MS).unwrap_or(now)
}

async fn insert(
    tx: &mut Tx,
    id: &str,
    account: &AccountId,
    (direction, file): (&str, Option<&McpFile>),
    expires_at: Timestamp,
) -> Result<(), DbError> {
    let text = "INSERT INTO mcp_files (id, account, direction, media_type, content, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    let values = vec![
        id.into(),
        account.as_str().into(),
        direction.into(),
        file.map(|file| file.media_type.clone()).into(),
        file.map(|file| STANDARD.encode(&file.bytes)).into(),
        expires_at.millis().into(),
    ];
    tx.execute(text, values).await.map(drop)
}

/// Reads a file; `None` if it was not uploaded yet.
fn read(row: &Row) -> Result<Option<McpFile>, McpFileError> {
    let (media_type, content) = (row.text_or_null("media_type")?, row.text_or_null("content")?);
    Ok(media_type.zip(content).and_then(|(media_type, content)| {
        let bytes = STANDARD.decode(content).ok()?;
        Some(McpFile { media_type, bytes })
    }))
}
