//! Ownership of a SQLite file by one process.

use std::fs::{File, TryLockError};

/// Lock on a SQLite database, held as long as this value lives and gone with the process, however that ends.
#[derive(Debug)]
pub struct SqliteLock {
    _file: File,
}

/// Reason a database cannot be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("{path} is in use by another farebox process; only PostgreSQL can be shared")]
    InUse {
        /// The lock file.
        path: String,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// Error of the file system.
        source: std::io::Error,
    },
}

impl SqliteLock {
    /// Locks the database behind `url` by a file of its own beside it; `None` where instances may share the database.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(url: &str) -> Result<Option<Self>, LockError> {
        let Some(path) = url.strip_prefix("sqlite://") else {
            return Ok(None);
        };
        let path = format!("{}.lock", path.split('?').next().unwrap_or(path));
        let failed = |source| LockError::Io { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_owner_and_a_server_may_have_many() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("a.db").display());
        let owned = SqliteLock::acquire(&url).expect("nobody has it");
        assert!(owned.is_some());
        let error = SqliteLock::acquire(&url).expect_err("somebody has it").to_string();
        assert!(error.contains("a.db.lock is in use by another farebox process"), "{error}");
        drop(owned);
        assert!(SqliteLock::acquire(&url).expect("nobody has it any more").is_some());
        assert!(SqliteLock::acquire("postgres://127.0.0.1/x").expect("shared").is_none());
    }
}
