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
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::db::statements::{Statements as _, Value};
use crate::db::{Db, DbError, Tx, TxError};
use crate::id::{AccountId, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::permits::{MemoryPermit, MemoryPermits};

/// Time for which a file is kept, in milliseconds.
const LIFETIME_MS: i64 = 15 * 60_000;
/// Time for which a result is kept once it was asked for, in milliseconds: it may not have arrived whole.
const AFTER_FETCH_MS: i64 = 2 * 60_000;
/// Uploads that an account has at a time.
const MAX_UPLOADS: i64 = 4;
/// Results that an account has at a time.
const MAX_RESULTS: i64 = 8;
/// Files that all accounts have at a time.
const MAX_FILES: i64 = 256;
/// Copies of a file that serving it takes, at the most: base64, bytes, JSON.
const COPIES: usize = 4;

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

/// File.
#[derive(Clone, PartialEq, Eq)]
pub struct McpFile {
    pub media_type: String,
    /// Base64.
    pub content: String,
}

impl McpFile {
    /// Wraps bytes.
    #[must_use]
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), content: STANDARD.encode(bytes) }
    }

    /// Returns the bytes; none if the content is no base64.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.content).unwrap_or_default()
    }
}

/// Omits the content.
impl std::fmt::Debug for McpFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpFile").field("length", &self.content.len()).finish_non_exhaustive()
    }
}

/// Redacted file of a preview, and what the preview says of it.
#[derive(Debug)]
pub struct PreviewedFile {
    pub file: McpFile,
    /// Findings by entity.
    pub counts: serde_json::Value,
    /// Pages of a PDF.
    pub pages: Option<u64>,
}

/// Answer of a preview of one file, as far as the file.
#[derive(Deserialize)]
struct FileAnswer {
    #[serde(default)]
    images: Vec<ExaminedFile>,
    #[serde(default)]
    pdfs: Vec<ExaminedFile>,
    counts: serde_json::Value,
}

#[derive(Deserialize)]
struct ExaminedFile {
    redacted: Option<String>,
    pages: Option<u64>,
}

impl PreviewedFile {
    /// Reads the answer of a preview of one file; `None` if it has none.
    #[must_use]
    pub fn of_preview(answer: &str) -> Option<Self> {
        let FileAnswer { images, pdfs, counts } = serde_json::from_str(answer).ok()?;
        let examined = images.into_iter().chain(pdfs).next()?;
        let redacted = examined.redacted?;
        let (media_type, content) = redacted.strip_prefix("data:")?.split_once(";base64,")?;
        let file = McpFile { media_type: media_type.to_owned(), content: content.to_owned() };
        Some(Self { file, counts, pages: examined.pages })
    }
}

/// Place of a result: its account and token, and the request that it answers, under which there is one at a time.
#[derive(Debug)]
pub struct ResultPlace {
    pub token: FileToken,
    pub account: AccountId,
    /// Hash of the key and its idempotency key.
    request: Option<String>,
}

impl ResultPlace {
    /// Returns a place with a new token. `idempotency_key` is the client's, which means something for its `key` alone.
    #[must_use]
    pub fn new(account: AccountId, key: &str, idempotency_key: Option<&str>) -> Self {
        let request = idempotency_key.map(|text| hex::encode(Sha256::digest(format!("{key}\n{text}"))));
        Self { token: FileToken::random(), account, request }
    }
}

/// Reason for which a file is not kept, or not there.
#[derive(Debug, thiserror::Error)]
pub enum McpFileError {
    #[error(
        "the account has {MAX_UPLOADS} open uploads, the most it can have; use them, or wait for a quarter of an hour"
    )]
    TooManyUploads,
    #[error(
        "the account has {MAX_RESULTS} redacted files, the most it can have; fetch them, and try again in two minutes"
    )]
    TooManyResults,
    #[error("too many files are in transfer at the moment; try again in a few minutes")]
    Full,
    #[error("too many large files are in work at the moment; try again")]
    NoMemory,
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
            Self::TooManyUploads
            | Self::TooManyResults
            | Self::Full
            | Self::NoMemory
            | Self::Unknown
            | Self::Empty => None,
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
    /// [`McpFileError::TooManyUploads`], [`McpFileError::Full`], or the database fails.
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
                if count(&mut tx, account, "upload", now).await? >= MAX_UPLOADS {
                    return Err(McpFileError::TooManyUploads);
                }
                let all = tx.fetch_one("SELECT count(*) AS files FROM mcp_files", Vec::new()).await?;
                if all.whole("files")? >= MAX_FILES {
                    return Err(McpFileError::Full);
                }
                insert(&mut tx, id, account, ("upload", None, None), expires_at).await?;
                Ok((tx, ()))
            })
            .await?;
        Ok(expires_at)
    }

    /// Checks that one more result can be kept for an account.
    ///
    /// # Errors
    /// [`McpFileError::TooManyResults`], or the database fails.
    pub async fn check_room(&self, account: &AccountId, now: Timestamp) -> Result<(), McpFileError> {
        self.db
            .transaction(|mut tx| async move {
                let results = count(&mut tx, account, "result", now).await?;
                if results >= MAX_RESULTS { Err(McpFileError::TooManyResults) } else { Ok((tx, ())) }
            })
            .await
    }

    /// Takes the bytes of an upload, once.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`] if it is not open any more, or the database fails.
    pub async fn fill(&self, token: &FileToken, file: &McpFile, now: Timestamp) -> Result<(), McpFileError> {
        let id = &token.file_id();
        self.db
            .transaction(|mut tx| async move {
                let text = "UPDATE mcp_files SET media_type = $2, content = $3 \
                     WHERE id = $1 AND direction = 'upload' AND content IS NULL AND expires_at > $4";
                let values = vec![
                    id.as_str().into(),
                    file.media_type.as_str().into(),
                    file.content.as_str().into(),
                    now.millis().into(),
                ];
                let filled = tx.execute(text, values).await?;
                if filled == 1 { Ok((tx, ())) } else { Err(McpFileError::Unknown) }
            })
            .await
    }

    /// Returns an account's upload, and the memory that it takes. It stays until it is removed: what fails may be tried
    /// again.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`], [`McpFileError::Empty`], [`McpFileError::NoMemory`], or the database fails.
    pub async fn uploaded(
        &self,
        id: &str,
        account: &AccountId,
        memory: &MemoryPermits,
        now: Timestamp,
    ) -> Result<(McpFile, MemoryPermit), McpFileError> {
        let condition = "id = $1 AND account = $2 AND direction = 'upload' AND expires_at > $3";
        self.read(condition, &[id.into(), account.as_str().into(), now.millis().into()], memory).await
    }

    /// Returns a result, and the memory that it takes. It can be asked for again for two minutes.
    ///
    /// # Errors
    /// [`McpFileError::Unknown`], [`McpFileError::NoMemory`], or the database fails.
    pub async fn fetch(
        &self,
        token: &FileToken,
        memory: &MemoryPermits,
        now: Timestamp,
    ) -> Result<(McpFile, MemoryPermit), McpFileError> {
        let id = &token.file_id();
        let condition = "id = $1 AND direction = 'result' AND expires_at > $2";
        let found = self.read(condition, &[id.as_str().into(), now.millis().into()], memory).await?;
        let until = now.checked_add_millis(AFTER_FETCH_MS).unwrap_or(now);
        self.db
            .transaction(|mut tx| async move {
                let text = "UPDATE mcp_files SET expires_at = $2 WHERE id = $1 AND expires_at > $2";
                tx.execute(text, vec![id.as_str().into(), until.millis().into()]).await?;
                Ok::<_, DbError>((tx, ()))
            })
            .await?;
        Ok(found)
    }

    async fn read(
        &self,
        condition: &str,
        values: &[Value],
        memory: &MemoryPermits,
    ) -> Result<(McpFile, MemoryPermit), McpFileError> {
        let text = format!("SELECT length(content) AS length FROM mcp_files WHERE {condition}");
        let row = self.db.fetch_optional(&text, values.to_vec()).await?.ok_or(McpFileError::Unknown)?;
        let length = row.whole_or_null("length")?.ok_or(McpFileError::Empty)?;
        let mut permit = MemoryPermit::default();
        let copies = usize::try_from(length).unwrap_or(usize::MAX).saturating_mul(COPIES);
        if !memory.try_raise(&mut permit, copies) {
            return Err(McpFileError::NoMemory);
        }
        let text = format!("SELECT media_type, content FROM mcp_files WHERE {condition}");
        let row = self.db.fetch_optional(&text, values.to_vec()).await?.ok_or(McpFileError::Unknown)?;
        let file = row.text_or_null("media_type")?.zip(row.text_or_null("content")?);
        let (media_type, content) = file.ok_or(McpFileError::Empty)?;
        Ok((McpFile { media_type, content }, permit))
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

/// Keeps a result. An earlier one of the same request is replaced.
///
/// # Errors
/// If the database fails.
pub async fn keep(tx: &mut Tx, place: &ResultPlace, file: &McpFile, now: Timestamp) -> Result<(), DbError> {
    if let Some(request) = &place.request {
        tx.execute("DELETE FROM mcp_files WHERE request = $1", vec![request.as_str().into()]).await?;
    }
    let (id, request) = (place.token.file_id(), place.request.as_deref());
    insert(tx, &id, &place.account, ("result", Some(file), request), expiry(now)).await
}

/// Returns the end of a file that is kept now.
#[must_use]
pub fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add_millis(LIFETIME_MS).unwrap_or(now)
}

async fn count(tx: &mut Tx, account: &AccountId, direction: &str, now: Timestamp) -> Result<i64, DbError> {
    let text = "SELECT count(*) AS files FROM mcp_files \
         WHERE account = $1 AND direction = $2 AND expires_at > $3";
    let row =
        tx.fetch_one(text, vec![account.as_str().into(), direction.into(), now.millis().into()]).await?;
    row.whole("files")
}

async fn insert(
    tx: &mut Tx,
    id: &str,
    account: &AccountId,
    (direction, file, request): (&str, Option<&McpFile>, Option<&str>),
    expires_at: Timestamp,
) -> Result<(), DbError> {
    let text = "INSERT INTO mcp_files (id, account, direction, request, media_type, content, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = vec![
        id.into(),
        account.as_str().into(),
        direction.into(),
        request.map(str::to_owned).into(),
        file.map(|file| file.media_type.clone()).into(),
        file.map(|file| file.content.clone()).into(),
        expires_at.millis().into(),
    ];
    tx.execute(text, values).await.map(drop)
}
