//! The log of SQLite, synced beside the connection that writes it.
//!
//! A commit that syncs keeps the connection waiting for the disk, and everybody behind it. The
//! ledger's commits do not: they are visible to all at once, and durable when the log is synced
//! after them, which one sync does for all that were made before it began. So the next batch is
//! written while the disk is busy with the last. Other connections sync what they commit, and with
//! it all that is in the log before.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::DbError;

/// The log of a database file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Kept open: the system tells each open file once that writing it failed.
    file: File,
}

impl Log {
    /// Of the database in this file, to which somebody is connected.
    pub(super) fn of(database: &Path) -> Result<Self, DbError> {
        // SQLite names its log after what a link leads to.
        let mut path = OsString::from(database.canonicalize().map_err(DbError::Log)?);
        path.push("-wal");
        let path = PathBuf::from(path);
        let file = File::open(&path).map_err(DbError::Log)?;
        Ok(Self { path, file })
    }

    /// Returns when everything is durable that was committed before the call.
    ///
    /// # Errors
    /// [`DbError::Unsynced`] when the disk fails: see [`give_up`].
    pub fn sync(&mut self) -> Result<(), DbError> {
        self.file.sync_data().map_err(DbError::Unsynced)?;
        let held = self.file.metadata().map_err(DbError::Log)?;
        match self.path.metadata() {
            Ok(named) if is_same(&held, &named) => Ok(()),
            // Removed with the last connection, after all of it was copied and synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DbError::Log(error)),
            Ok(_) => {
                self.file = File::open(&self.path).map_err(DbError::Log)?;
                self.file.sync_data().map_err(DbError::Unsynced)
            }
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Ends the program when a file could not be synced. What the system was to write may be lost, and
/// the next sync would not say so: nothing may rest on it. The next start reads what there is.
pub fn give_up(error: &DbError) {
    if matches!(error, DbError::Unsynced(_)) {
        tracing::error!(%error, "the disk failed; ending, for nothing can be called durable any more");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_found_behind_links_and_when_it_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, wal) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Log::of(&file), Err(DbError::Log(_))));
        std::fs::write(&wal, "").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut log = Log::of(&link).unwrap();
        log.sync().unwrap();
        std::fs::remove_file(&wal).unwrap();
        log.sync().unwrap();
        std::fs::write(&wal, "").unwrap();
        log.sync().unwrap();
        assert!(is_same(&log.file.metadata().unwrap(), &wal.metadata().unwrap()));
    }

    #[test]
    fn attack_30_a_sync_that_failed_is_told() {
        // It cannot be synced.
        let file = File::open("/dev/null").unwrap();
        let mut log = Log { path: "/dev/null".into(), file };
        assert!(matches!(log.sync(), Err(DbError::Unsynced(_))));
    }
}
