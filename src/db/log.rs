//! The log of SQLite, synced beside the connection that writes it.
//!
//! A commit that syncs keeps the connection waiting for the disk, and everybody behind it. The
//! ledger's commits do not: they are visible to all at once, and durable when the log is synced
//! after them, which one sync does for all that were made before it began. So the next batch is
//! written while the disk is busy with the last. Other connections sync what they commit, and with
//! it all that is in the log before.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::DbError;

/// The log of a database file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// After a sync that failed the system may have forgotten what it was to write, and the next
    /// sync may not say so. Nothing is durable any more until the program starts again.
    is_lost: bool,
}

impl Log {
    /// Of the database in this file, which exists.
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        // SQLite names its log after what a link leads to.
        let mut path = OsString::from(database.canonicalize()?);
        path.push("-wal");
        Ok(Self { path: path.into(), is_lost: false })
    }

    /// Returns when everything is durable that was committed before the call.
    ///
    /// # Errors
    /// When the disk fails, and for ever after.
    pub fn sync(&mut self) -> Result<(), DbError> {
        if self.is_lost {
            return Err(DbError::Unsynced(io::ErrorKind::BrokenPipe.into()));
        }
        // By its name: where connections were closed and opened, the log may be another file. The one
        // before was copied and synced when it was removed.
        let log = File::open(&self.path).map_err(DbError::Unsynced)?;
        let synced = log.sync_data();
        self.is_lost = synced.is_err();
        synced.map_err(DbError::Unsynced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_found_behind_links_and_missed_when_it_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (file, wal) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&wal, "").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut log = Log::of(&link).unwrap();
        log.sync().unwrap();
        std::fs::remove_file(&wal).unwrap();
        assert!(matches!(log.sync(), Err(DbError::Unsynced(_))));
        // Nothing was given to the disk, so nothing can have been lost.
        std::fs::write(&wal, "").unwrap();
        log.sync().unwrap();
    }

    #[test]
    fn attack_30_after_a_sync_that_failed_nothing_is_called_durable() {
        // It cannot be synced.
        let mut log = Log { path: "/dev/null".into(), is_lost: false };
        assert!(matches!(log.sync(), Err(DbError::Unsynced(_))));
        let folder = tempfile::tempdir().unwrap();
        log.path = folder.path().join("a.db-wal");
        std::fs::write(&log.path, "").unwrap();
        assert!(matches!(log.sync(), Err(DbError::Unsynced(_))));
    }
}
