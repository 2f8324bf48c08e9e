//! Errors of a database, and what they say about the work that they ended.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Reason why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL names no usable database.
    #[error("{0}")]
    Url(&'static str),
    /// The database refused, failed or is unreachable.
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    /// SQLite refused or failed.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file of SQLite's cannot be synced: writes to it may be lost.
    #[error("the disk failed: the database cannot be synced ({0})")]
    Unsynced(std::io::Error),
    /// A file of SQLite's cannot be opened.
    #[error("the database's files cannot be opened: {0}")]
    Wal(std::io::Error),
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl DbError {
    /// Returns true if the engine gave up the transaction in favour of another, so that the same work may succeed if
    /// it is tried again. Such an error never leaves part of the work behind.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => {
                // PostgreSQL: serialisation failure, deadlock, lock time-out.
                // SQLite: busy, locked, busy recovering, busy because of a newer snapshot.
                let conflicts = ["40001", "40P01", "55P03", "5", "6", "261", "517"];
                error.code().is_some_and(|code| conflicts.contains(&&*code))
            }
            Self::Sqlite(error) => matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked)),
            Self::Url(_) | Self::Sqlx(_) | Self::Unsynced(_) | Self::Wal(_) | Self::Migrate(_) => false,
        }
    }

    /// Returns true if nothing was done, because the database refused or no connection to it was to be had. The last
    /// message of PostgreSQL, or of a proxy in front of it, as it ends a connection (`FATAL`, `PANIC`, or a code that
    /// means this) is no refusal: the commit may have been made.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(_)) => self.postgres().is_none_or(|error| {
                let is_the_end = ["08", "57P", "40003"].iter().any(|code| error.code().starts_with(code));
                error.severity() == PgSeverity::Error && !is_the_end
            }),
            Self::Sqlx(sqlx::Error::PoolClosed | sqlx::Error::PoolTimedOut) | Self::Sqlite(_) => true,
            Self::Url(_) | Self::Sqlx(_) | Self::Unsynced(_) | Self::Wal(_) | Self::Migrate(_) => false,
        }
    }

    /// Returns true if the database is away, or on its way to another server, and may be back soon: what it was asked
    /// may succeed later. What was being committed may have been.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(_)) => self.postgres().is_some_and(|error| {
                // Connection lost; shut down, or not up yet; outcome unknown; too many connections; a server that only
                // reads, because another one writes by now.
                ["08", "57P", "40003", "53300", "25006"].iter().any(|code| error.code().starts_with(code))
            }),
            Self::Sqlx(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Sqlite(_) | Self::Url(_) | Self::Unsynced(_) | Self::Wal(_) | Self::Migrate(_) => false,
        }
    }

    /// Returns true if a row with a unique value is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
                [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE].contains(&error.extended_code)
            }
            Self::Sqlx(sqlx::Error::Database(error)) => error.is_unique_violation(),
            _ => false,
        }
    }

    /// Returns true if PostgreSQL divided by zero.
    pub(super) fn is_division_by_zero(&self) -> bool {
        self.postgres().is_some_and(|error| error.code() == "22012")
    }

    fn postgres(&self) -> Option<&PgDatabaseError> {
        let Self::Sqlx(sqlx::Error::Database(error)) = self else { return None };
        error.try_downcast_ref()
    }
}

/// Error with which work inside a transaction may end.
pub trait TxError: From<DbError> {
    /// Returns the database error inside, if that is what it is.
    fn db(&self) -> Option<&DbError>;
}

impl TxError for DbError {
    fn db(&self) -> Option<&DbError> {
        Some(self)
    }
}
