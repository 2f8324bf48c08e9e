//! Sign-ins of people in browsers.
//!
//! A session begins with a wallet's signature ([`crate::wallet_auth::sign_in`]) and is known by the secret in its cookie,
//! of which the server keeps the SHA-256. It ends when it is not used for a while, after a day, or when its owner ends it.
//! What it may do is decided by the gate: to see, to begin a card payment, to revoke and to lower. Whatever gives more
//! authority needs a signature of its own.

pub mod event_streams;
pub mod passkeys;
mod secret;

use std::time::Duration;

use crate::config::{Config, DashboardConfig};
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, Timestamp};

pub use secret::{MintedSession, SessionHash};

/// Sessions that a wallet can have at once; the oldest ends for a new one.
const MAX_SESSIONS: i64 = 50;
/// Characters of a browser's name that are kept.
const MAX_USER_AGENT: usize = 200;
/// Time for which the last use of a session is not written again, in milliseconds.
const SEEN_INTERVAL_MS: i64 = 60_000;

const END: &str = "DELETE FROM browser_sessions WHERE account = $1 AND id = $2";
const COLUMNS: &str = "id, account, user_agent, created_at, seen_at, expires_at";

/// Store of sessions. Clones share the database.
#[derive(Debug, Clone)]
pub struct BrowserSessions {
    db: Db,
    /// Time after which an unused session ends, in milliseconds.
    idle_ms: i64,
    /// Time after which every session ends, in milliseconds.
    age_ms: i64,
}

/// A living session: proof that a browser presented its secret. Only [`BrowserSessions`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSession {
    /// Public name.
    pub id: String,
    pub account: AccountId,
    pub user_agent: String,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    /// Latest moment at which it can still be used.
    pub expires_at: Timestamp,
}

/// Start of a session.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    pub minted: &'a MintedSession,
    pub account: &'a AccountId,
    pub user_agent: &'a str,
    /// Session that the same browser had before; it ends.
    pub replaces: Option<&'a BrowserSession>,
}

impl BrowserSession {
    /// Returns the wallet's address, lower case.
    #[must_use]
    pub fn wallet(&self) -> &str {
        self.account.as_str().trim_start_matches("wallet:")
    }
}

impl BrowserSessions {
    /// Makes the store of a configuration.
    #[must_use]
    pub fn new(config: &Config, db: Db) -> Self {
        let DashboardConfig { idle_minutes, session_hours, .. } = config.dashboard;
        Self { db, idle_ms: i64::from(idle_minutes) * 60_000, age_ms: i64::from(session_hours) * 3_600_000 }
    }

    /// Returns the longest time that a session can be used.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.age_ms.unsigned_abs())
    }

    /// Begins a session, in the transaction that consumes the nonce of the signature.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin(
        &self,
        tx: &mut Tx,
        new: NewSession<'_>,
        now: Timestamp,
    ) -> Result<BrowserSession, DbError> {
        let NewSession { minted, account, user_agent, replaces } = new;
        if let Some(earlier) = replaces {
            tx.execute(END, vec![earlier.account.as_str().into(), earlier.id.as_str().into()]).await?;
        }
        let session = BrowserSession {
            id: minted.id.clone(),
            account: account.clone(),
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect(),
            created_at: now,
            seen_at: now,
            expires_at: now.checked_add_millis(self.age_ms).unwrap_or(now),
        };
        let text =
            format!("INSERT INTO browser_sessions (hash, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
        let values = vec![
            minted.hash.as_str().into(),
            session.id.as_str().into(),
            account.as_str().into(),
            session.user_agent.as_str().into(),
            now.millis().into(),
            now.millis().into(),
            session.expires_at.millis().into(),
        ];
        tx.execute(&text, values).await?;
        let text = "DELETE FROM browser_sessions WHERE account = $1 AND id NOT IN (SELECT id FROM browser_sessions \
             WHERE account = $1 ORDER BY created_at DESC, id LIMIT $2)";
        tx.execute(text, vec![account.as_str().into(), MAX_SESSIONS.into()]).await?;
        Ok(session)
    }

    /// Returns the living session of a secret, and records that it was used.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn authenticate(
        &self,
        hash: &SessionHash,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, DbError> {
        let text = format!("SELECT {COLUMNS} FROM browser_sessions WHERE hash = $1");
        let found = self.db.fetch_optional(&text, vec![hash.as_str().into()]).await?;
        let session = found.as_ref().map(read).transpose()?.filter(|session| self.is_alive(session, now));
        if let Some(session) = &session
            && now.checked_millis_since(session.seen_at).is_some_and(|age| age >= SEEN_INTERVAL_MS)
        {
            let text = "UPDATE browser_sessions SET seen_at = $1 WHERE id = $2 AND seen_at < $1";
            self.db.execute(text, vec![now.millis().into(), session.id.as_str().into()]).await?;
        }
        Ok(session)
    }

    /// Returns true if a session has not ended since it was authenticated.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn lives(&self, session: &BrowserSession, now: Timestamp) -> Result<bool, DbError> {
        let text = format!("SELECT {COLUMNS} FROM browser_sessions WHERE id = $1");
        let found = self.db.fetch_optional(&text, vec![session.id.as_str().into()]).await?;
        let found = found.as_ref().map(read).transpose()?;
        Ok(found.is_some_and(|session| self.is_alive(&session, now)))
    }

    /// Returns the living sessions of an account, the latest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn list(&self, account: &AccountId, now: Timestamp) -> Result<Vec<BrowserSession>, DbError> {
        let text =
            format!("SELECT {COLUMNS} FROM browser_sessions WHERE account = $1 ORDER BY created_at DESC, id");
        let found = self.db.fetch(&text, vec![account.as_str().into()]).await?;
        let sessions: Vec<_> = found.iter().map(read).collect::<Result<_, _>>()?;
        Ok(sessions.into_iter().filter(|session| self.is_alive(session, now)).collect())
    }

    /// Ends a session of an account. Returns false if there is none of that name.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end(&self, account: &AccountId, id: &str) -> Result<bool, DbError> {
        Ok(self.db.execute(END, vec![account.as_str().into(), id.into()]).await? == 1)
    }

    /// Forgets sessions that have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_ended(&self, now: Timestamp) -> Result<u64, DbError> {
        let unused = now.millis().saturating_sub(self.idle_ms);
        let text = "DELETE FROM browser_sessions WHERE expires_at <= $1 OR seen_at <= $2";
        self.db.execute(text, vec![now.millis().into(), unused.into()]).await
    }

    fn is_alive(&self, session: &BrowserSession, now: Timestamp) -> bool {
        let idle = now.checked_millis_since(session.seen_at).unwrap_or(i64::MAX);
        now < session.expires_at && idle < self.idle_ms
    }
}

fn read(row: &Row) -> Result<BrowserSession, DbError> {
    let time = |column| row.whole(column).map(Timestamp::from_millis);
    Ok(BrowserSession {
        id: row.text("id")?,
        account: account(row)?,
        user_agent: row.text("user_agent")?,
        created_at: time("created_at")?,
        seen_at: time("seen_at")?,
        expires_at: time("expires_at")?,
    })
}

/// Reads the account of a row.
fn account(row: &Row) -> Result<AccountId, DbError> {
    AccountId::parse(&row.text("account")?).map_err(|_| unreadable("account"))
}

/// Error of a row that this module does not write.
fn unreadable(column: &str) -> DbError {
    let source = "it is not as this program writes it".into();
    sqlx::Error::ColumnDecode { index: column.to_owned(), source }.into()
}
