//! What can go wrong with a database.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The URL names no database we can use.
    #[error("{0}")]
    Url(&'static str),
    /// The database refused, failed or is gone.
    #[error("database: {0}")]
    Sqlx(#[from] sqlx::Error),
    /// SQLite refused or failed.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A file of SQLite's cannot be synced: what was written may be lost.
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
    /// Whether the engine gave up the transaction in favour of another, so that the same work
    /// may succeed when tried again. Such an error never leaves part of the work behind.
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

    /// Whether the database is there and said no, so that nothing was done. What PostgreSQL, or a
    /// proxy in front of it, says as it ends the connection (`FATAL`, `PANIC`, or a code that means
    /// this) is no answer: the commit may have been made.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Sqlx(sqlx::Error::Database(_)) => self.postgres().is_none_or(|error| {
                let is_the_end = ["08", "57P", "40003"].iter().any(|code| error.code().starts_with(code));
                error.severity() == PgSeverity::Error && !is_the_end
            }),
            Self::Sqlite(_) => true,
            Self::Url(_) | Self::Sqlx(_) | Self::Unsynced(_) | Self::Wal(_) | Self::Migrate(_) => false,
        }
    }

    /// Whether PostgreSQL refused for a reason that says nothing about what it was asked: it only
    /// reads, has no room, was too slow or fails.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        let classes = ["25", "53", "57", "58"];
        self.postgres().is_some_and(|error| classes.iter().any(|class| error.code().starts_with(class)))
    }

    /// Whether PostgreSQL was made to divide by zero.
    pub(super) fn is_division_by_zero(&self) -> bool {
        self.postgres().is_some_and(|error| error.code() == "22012")
    }

    /// What PostgreSQL said.
    fn postgres(&self) -> Option<&PgDatabaseError> {
        let Self::Sqlx(sqlx::Error::Database(error)) = self else { return None };
        error.try_downcast_ref()
    }
}

/// An error type that work inside a transaction may end with.
pub trait TxError: From<DbError> {
    /// The database error inside, if that is what it is.
    fn db(&self) -> Option<&DbError>;
}

impl TxError for DbError {
    fn db(&self) -> Option<&DbError> {
        Some(self)
    }
}
