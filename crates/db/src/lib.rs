//! The database: SQLite in a file, or PostgreSQL. One SQL text serves both.
//!
//! Rules that hold on both engines:
//! * a commit that was answered survives a crash of the machine (`synchronous=FULL`,
//!   `synchronous_commit=on`); [`writer_connection`] is for who does without, and says so;
//! * a transaction that writes is opened with [`Db::begin`] or, better, run by
//!   [`Db::transaction`], which tries again when the engine asked for it;
//! * nothing waits without a bound: connections, locks and statements all time out.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod error;
mod lock;
pub mod migrations;
pub mod notify;
pub mod rows;
pub mod statements;
mod transaction;
pub mod wal;
pub mod writer_connection;
pub mod writes;

use std::fmt;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use error::{DbError, TxError};
pub use lock::{LockError, SqliteLock};

/// Longest wait for a connection, which on SQLite also means for the write lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts at a transaction before a conflict becomes an error.
const ATTEMPTS: usize = 5;
/// Pause before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Settings of every SQLite connection. A commit that finds `wal_autocheckpoint` pages in the WAL (400 MB) copies
/// them into the file, and waits until they are synced. [`Db::checkpoint`] keeps the WAL far below that.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 100000;
    PRAGMA fullfsync = ON;
    PRAGMA cache_size = -16000;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = ON;";
/// Settings of every PostgreSQL connection.
const POSTGRES_SESSION: &str = "SET synchronous_commit = on;
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '15s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '30s';";

/// Key of the advisory lock of whoever renews the triggers: any number that nothing else uses.
const TRIGGERS_LOCK: i64 = 0x6661_7265_626f_7801;

/// Kind of database behind a [`Db`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file next to the program: one process, one writer at a time.
    Sqlite,
    /// A PostgreSQL server, which several instances may share.
    Postgres,
}

impl Engine {
    /// Returns the end of a `SELECT` that keeps others from changing the rows it reads until the transaction
    /// ends. SQLite knows no row locks and needs none: its write transactions run one after the
    /// other. On PostgreSQL rows that refer to the locked ones can still be written: with a plain
    /// `FOR UPDATE`, two transactions that each insert such a row first would end in a deadlock.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR NO KEY UPDATE",
        }
    }

    /// Returns [`for_update`](Self::for_update) for the rows of one table, or of its alias, in a `SELECT` that reads
    /// others too.
    #[must_use]
    pub fn for_update_of(self, table: &str) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!("{} OF {table}", self.for_update()),
        }
    }

    /// Returns [`for_update`](Self::for_update) for the rows that no other transaction has locked; the others are
    /// passed over.
    #[must_use]
    pub const fn for_update_of_free(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR NO KEY UPDATE SKIP LOCKED",
        }
    }

    /// Returns the statement that begins a transaction that may write.
    const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

/// Connections to the database. Clones share them.
#[derive(Debug, Clone)]
pub struct Db {
    /// Connections for reading, and for single statements that need no transaction.
    pub pool: AnyPool,
    /// Connections of transactions that write.
    writer: AnyPool,
    /// Lock that writers on SQLite take first: it allows one at a time, and they queue here, first come first served,
    /// instead of polling the file's lock.
    writing: Arc<Mutex<()>>,
    /// SQLite's database file, to be synced. Never closed: that would take the locks away which SQLite has
    /// on it (POSIX gives them to the process, and takes them with any descriptor of the file).
    file: Option<Arc<ManuallyDrop<File>>>,
    /// Address of the database, for connections beside the pools.
    url: Url,
    /// Kind of this database.
    pub engine: Engine,
}

/// Address of the database. It may hold a password, so Debug hides it.
#[derive(Clone)]
struct Url(Arc<str>);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[url]")
    }
}

/// Open transaction: rolled back when dropped, durable when [`Tx::commit`] returns.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Any>,
    engine: Engine,
    /// Released last.
    _write_lock: Option<OwnedMutexGuard<()>>,
}

impl Db {
    /// Connects to `sqlite://path` (the file is created when missing) or to an existing
    /// PostgreSQL database `postgres://user:password@host/name`.
    ///
    /// # Errors
    /// Fails if the URL has another form, or no usable database answers there.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let (engine, url) = parse_url(url)?;
        let (pool, writer) = match engine {
            Engine::Sqlite => {
                let writer = open_pool(engine, &url, 1).await?;
                let readers = max_connections.saturating_sub(1).max(1);
                (open_pool(engine, &url, readers).await?, writer)
            }
            Engine::Postgres => {
                let pool = open_pool(engine, &url, max_connections.max(1)).await?;
                (pool.clone(), pool)
            }
        };
        let mut db = Self { pool, writer, writing: Arc::default(), file: None, url: Url(url.into()), engine };
        if engine == Engine::Sqlite {
            let file = File::open(db.sqlite_file()?).map_err(DbError::Wal)?;
            db.file = Some(Arc::new(ManuallyDrop::new(file)));
        }
        Ok(db)
    }

    /// Returns the path of SQLite's file, read from the URL as the pools read it.
    fn sqlite_file(&self) -> Result<PathBuf, DbError> {
        let options: SqliteConnectOptions = self.url.0.parse()?;
        Ok(options.get_filename().to_owned())
    }

    /// Waits for the right to write, where only one writer can.
    async fn write_lock(&self) -> Result<Option<OwnedMutexGuard<()>>, DbError> {
        match self.engine {
            Engine::Sqlite => {
                let lock = tokio::time::timeout(ACQUIRE_TIMEOUT, Arc::clone(&self.writing).lock_owned());
                Ok(Some(lock.await.map_err(|_| sqlx::Error::PoolTimedOut)?))
            }
            Engine::Postgres => Ok(None),
        }
    }

    /// Brings the schema up to date with the migrations built into the program, then renews the
    /// triggers that keep records final: the one thing that the engines spell differently.
    ///
    /// # Errors
    /// Fails if a migration does, or if the database was migrated by a newer program.
    pub async fn migrate(&self) -> Result<(), DbError> {
        let mut connection = self.writer.acquire().await?;
        if self.engine == Engine::Postgres {
            // A large table may take longer to write anew than a request may take.
            sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
        }
        let migrated = migrations::migrator().run(&mut *connection).await;
        // With it ends what was set for the migrations alone.
        connection.close().await?;
        migrated?;
        let triggers = match self.engine {
            Engine::Sqlite => include_str!("../../../migrations/triggers/sqlite.sql"),
            Engine::Postgres => include_str!("../../../migrations/triggers/postgres.sql"),
        };
        let mut tx = self.begin().await?;
        if self.engine == Engine::Postgres {
            // Instances that start together would change the same rows of PostgreSQL's own tables.
            let text = "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked";
            sqlx::query(text).bind(TRIGGERS_LOCK).execute(tx.conn()).await?;
        }
        tx.conn().execute(sqlx::raw_sql(triggers)).await?;
        tx.commit().await
    }

    /// Returns true if the schema is of this program, and neither older nor newer.
    ///
    /// # Errors
    /// Fails if the database does, or if it was never migrated.
    pub async fn is_current(&self) -> Result<bool, DbError> {
        let mut connection = self.pool.acquire().await?;
        let text = "SELECT CAST(MAX(version) AS BIGINT) AS version FROM _sqlx_migrations";
        let rows = statements::fetch(&mut connection, text, Vec::new()).await?;
        Ok(rows.first().is_some_and(|row| row.whole("version").is_ok_and(|is| is == migrations::newest())))
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// Fails if it does not.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Waits for running statements, then closes every connection of the pools. Everything fails from then on.
    pub async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
    }

    /// Opens a transaction that may write. On SQLite it is the only one until it ends, so keep it
    /// short, wait for nothing else inside it, and never open a second one within it.
    ///
    /// # Errors
    /// Fails if the database is unreachable or no connection became free in time.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let write_lock = self.write_lock().await?;
        let begin = self.engine.begin();
        let inner = match self.writer.begin_with(begin).await {
            // The server hung up on the connection since it was last used, and there are others.
            Err(sqlx::Error::Io(_) | sqlx::Error::Database(_)) if self.engine == Engine::Postgres => {
                self.writer.begin_with(begin).await
            }
            begun => begun,
        };
        Ok(Tx { inner: inner?, engine: self.engine, _write_lock: write_lock })
    }

    /// Opens a transaction that only reads, and reads everything as it was at one moment, while
    /// others go on writing.
    ///
    /// # Errors
    /// Fails if the database is unreachable or no connection became free in time.
    pub async fn snapshot(&self) -> Result<Tx, DbError> {
        let inner = self.pool.begin_with(match self.engine {
            Engine::Sqlite => "BEGIN DEFERRED",
            Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        });
        Ok(Tx { inner: inner.await?, engine: self.engine, _write_lock: None })
    }
}

impl Tx {
    /// Returns the connection on which statements run: `query.execute(tx.conn())`.
    pub fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Returns the kind of database this transaction is in.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Makes the transaction durable.
    ///
    /// # Errors
    /// Fails if the database refused or is unreachable. In the second case it may have happened or not.
    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.inner.commit().await?)
    }

    /// Undoes the transaction now; dropping it does the same a little later.
    ///
    /// # Errors
    /// Fails if the database is unreachable, which undoes it as well.
    pub async fn rollback(self) -> Result<(), DbError> {
        Ok(self.inner.rollback().await?)
    }
}

/// Returns the pause before each further attempt.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_PAUSE), |pause| Some(*pause * 2)).take(ATTEMPTS - 1)
}

fn is_conflict(error: &impl TxError) -> bool {
    error.db().is_some_and(DbError::is_conflict)
}

async fn wait(pause: Duration) {
    tracing::debug!(?pause, "transaction conflict, trying again");
    tokio::time::sleep(pause).await;
}

/// Tells the engine of a URL and adds what we need to it.
fn parse_url(url: &str) -> Result<(Engine, String), DbError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok((Engine::Postgres, url.to_owned()));
    }
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Err(DbError::Url(
            "the database URL must begin with sqlite:// or postgres://, \
             for example sqlite://farebox.db or postgres://user:password@localhost/farebox",
        ));
    };
    if path.is_empty() || path.starts_with('?') {
        return Err(DbError::Url("the sqlite:// URL names no file: write for example sqlite://farebox.db"));
    }
    if path.starts_with(":memory:") || path.contains("mode=memory") {
        return Err(DbError::Url(
            "a database in memory forgets other people's money: name a file, such as sqlite://farebox.db",
        ));
    }
    let joint = if path.contains('?') { '&' } else { '?' };
    Ok((
        Engine::Sqlite,
        if path.contains("mode=") { url.to_owned() } else { format!("{url}{joint}mode=rwc") },
    ))
}

fn pool_options(engine: Engine, connections: u32, session: &'static [&'static str]) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file does not hang up; a server may have, and then a fresh connection is wanted.
        .test_before_acquire(engine == Engine::Postgres)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for settings in session {
                    connection.execute(sqlx::raw_sql(*settings)).await?;
                }
                Ok(())
            })
        })
}

async fn open_pool(engine: Engine, url: &str, connections: u32) -> Result<AnyPool, DbError> {
    let session: &[_] = match engine {
        Engine::Sqlite => &[SQLITE_SESSION],
        Engine::Postgres => &[POSTGRES_SESSION],
    };
    let opened = pool_options(engine, connections, session).connect(url).await;
    match opened {
        // The pool only says that it gave up; one more try says why.
        Err(sqlx::Error::PoolTimedOut) => match AnyConnection::connect(url).await {
            Ok(_) => Err(sqlx::Error::PoolTimedOut.into()),
            Err(reason) => Err(reason.into()),
        },
        opened => Ok(opened?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_apart() {
        for (url, engine, used) in [
            ("sqlite://a.db", Engine::Sqlite, "sqlite://a.db?mode=rwc"),
            ("sqlite:///var/a.db", Engine::Sqlite, "sqlite:///var/a.db?mode=rwc"),
            ("sqlite://a.db?mode=rw", Engine::Sqlite, "sqlite://a.db?mode=rw"),
            ("postgres://u:p@h/d", Engine::Postgres, "postgres://u:p@h/d"),
            ("postgresql://h/d", Engine::Postgres, "postgresql://h/d"),
        ] {
            assert_eq!(parse_url(url).unwrap(), (engine, used.to_owned()));
        }
        for wrong in ["", "a.db", "mysql://h/d", "sqlite:a.db", "sqlite://", "sqlite://:memory:"] {
            assert!(matches!(parse_url(wrong), Err(DbError::Url(_))), "{wrong}");
        }
    }
}
