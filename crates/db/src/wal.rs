//! SQLite's write-ahead log (WAL): synced beside the connection that writes it, and copied into the file.
//!
//! A commit that syncs keeps the connection waiting for the disk, and everybody behind it. The
//! ledger's commits do not: they are visible to all at once, and durable when the WAL is synced
//! after them, which one sync does for all that were made before it began. So the next batch is
//! written while the disk is busy with the last. Other connections sync what they commit, and with
//! it all that is in the WAL before.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sqlx::Row as _;

use super::{Db, DbError};

/// Pages of the WAL (4 MB) that are copied into the file at a time.
const PORTION: i64 = 1000;
/// Pages (80 MB) from which on the WAL is made to begin anew, which keeps writers waiting for a moment.
const LONG_WAL: i64 = 20_000;
/// Statement that copies what it can without keeping anybody waiting.
const COPY: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// WAL of a database file.
#[derive(Debug)]
pub struct Wal {
    path: PathBuf,
    /// Kept open: the system tells each open file once that writing it failed.
    file: File,
}

impl Wal {
    /// Opens the WAL of the database in this file, to which somebody is connected.
    pub(super) fn of(database: &Path) -> Result<Self, DbError> {
        // SQLite names its WAL after what a link leads to.
        let mut path = OsString::from(database.canonicalize().map_err(DbError::Wal)?);
        path.push("-wal");
        let path = PathBuf::from(path);
        let file = File::open(&path).map_err(DbError::Wal)?;
        Ok(Self { path, file })
    }

    /// Returns when everything is durable that was committed before the call.
    ///
    /// # Errors
    /// [`DbError::Unsynced`] if the disk fails: see [`abort_process`].
    pub fn sync(&mut self) -> Result<(), DbError> {
        self.file.sync_data().map_err(DbError::Unsynced)?;
        let held = self.file.metadata().map_err(DbError::Wal)?;
        match self.path.metadata() {
            Ok(named) if is_same(&held, &named) => Ok(()),
            // Removed with the last connection, after all of it was copied and synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DbError::Wal(error)),
            Ok(_) => {
                self.file = File::open(&self.path).map_err(DbError::Wal)?;
                self.file.sync_data().map_err(DbError::Unsynced)
            }
        }
    }
}

/// Length of the WAL, and how much of it is copied into the file, in pages.
struct WalProgress {
    pages: i64,
    copied: i64,
}

impl Db {
    /// Copies SQLite's WAL into the file, if it has grown much since the last time. Does nothing on PostgreSQL, which
    /// does so by itself.
    ///
    /// Copies are synced in small portions, because the disk serves nobody else meanwhile. The WAL begins anew
    /// only when all of it is copied; a long one is made to, by copying its last few pages while nobody can write.
    ///
    /// # Errors
    /// Fails if the database does; [`DbError::Unsynced`] if the disk does: see [`abort_process`].
    pub async fn checkpoint(&self) -> Result<(), DbError> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let wal = self.copy("PRAGMA wal_checkpoint(NOOP)").await?;
        let left = wal.pages - wal.copied;
        if left == 0 || (left < PORTION && wal.pages < LONG_WAL) {
            return Ok(());
        }
        self.copy(COPY).await?;
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        synced.map_err(|_| sqlx::Error::WorkerCrashed)?.map_err(DbError::Unsynced)?;
        if wal.pages >= LONG_WAL {
            let _write_lock = self.write_lock().await?;
            self.copy(COPY).await?;
        }
        Ok(())
    }

    async fn copy(&self, how: &'static str) -> Result<WalProgress, DbError> {
        let row = sqlx::query(how).fetch_one(&self.pool).await?;
        Ok(WalProgress { pages: row.try_get("log")?, copied: row.try_get("checkpointed")? })
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Ends the program if `error` says that a file could not be synced. Writes that the system still had may be
/// lost, and the next sync would not say so: nothing may rest on it. The next start reads what there is.
pub fn abort_process(error: &DbError) {
    if matches!(error, DbError::Unsynced(_)) {
        tracing::error!(%error, "the disk failed; ending, for nothing can be called durable any more");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wal_is_found_behind_links_and_when_it_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, wal) = (folder.path().join("a.db"), folder.path().join("a.db-wal"));
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Wal::of(&file), Err(DbError::Wal(_))));
        std::fs::write(&wal, "").unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut opened = Wal::of(&link).unwrap();
        opened.sync().unwrap();
        std::fs::remove_file(&wal).unwrap();
        opened.sync().unwrap();
        std::fs::write(&wal, "").unwrap();
        opened.sync().unwrap();
        assert!(is_same(&opened.file.metadata().unwrap(), &wal.metadata().unwrap()));
    }

    #[tokio::test]
    async fn the_wal_is_copied_when_it_is_much_and_begins_anew_when_it_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::connect(&format!("sqlite://{}", folder.path().join("a.db").display()), 2).await.unwrap();
        let write = async |pages: i64| {
            sqlx::query(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
                 INSERT INTO t SELECT randomblob(4000) FROM n",
            )
            .bind(pages)
            .execute(&db.pool)
            .await
            .unwrap();
            db.checkpoint().await.unwrap();
            db.copy("PRAGMA wal_checkpoint(NOOP)").await.unwrap()
        };
        sqlx::query("CREATE TABLE t (b BLOB)").execute(&db.pool).await.unwrap();
        let short = write(10).await;
        assert!(short.pages > 0 && short.copied == 0);
        let much = write(PORTION).await;
        assert!(much.pages > PORTION && much.copied == much.pages);
        let long = write(LONG_WAL).await;
        assert!(long.pages >= LONG_WAL && long.copied == long.pages);
        assert!(write(1).await.pages < PORTION);
    }

    #[test]
    fn attack_30_a_failed_sync_is_reported() {
        // It cannot be synced.
        let file = File::open("/dev/null").unwrap();
        let mut opened = Wal { path: "/dev/null".into(), file };
        assert!(matches!(opened.sync(), Err(DbError::Unsynced(_))));
    }
}
