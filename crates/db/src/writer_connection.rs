//! A connection for a thread that writes nearly all the time: the ledger's.
//!
//! Of a batch's time most would be spent between threads. So statements on SQLite run right here
//! (the pools give each connection a thread of its own, and each statement two changes of thread),
//! and no connection goes back to a pool, which asks for a sign of life each time.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use sqlx::{AnyConnection, Executor as _};

use super::statements::{self, Row, Statements, Value};
use super::wal::Wal;
use super::writes::Writes;
use super::{
    Db, DbError, Engine, POSTGRES_SESSION, SQLITE_SESSION, TxError, is_conflict, pauses, pool_options, wait,
};

/// For statements that find rows by their keys. They are planned while tables may be small or
/// unknown, and a plan that reads a whole table would be kept while that grows.
const POSTGRES_BY_KEY: &str = "SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;";
/// In KiB: accounts and holds are looked up by ids in no order.
const SQLITE_CACHE: &str = "PRAGMA cache_size = -64000;";
/// The first statement fails in a transaction that failed, of which the second would make a silent
/// rollback.
const POSTGRES_COMMIT: &str = "SELECT 1; COMMIT";
/// See [`wal`](super::log).
const SQLITE_UNSYNCED: &str = "PRAGMA synchronous = NORMAL;";
/// More than the ledger has texts.
const STATEMENTS: usize = 64;
/// On PostgreSQL each combination of them has a text of its own, for each power of two of rows.
const POSTGRES_STATEMENTS: usize = 512;
/// How long PostgreSQL may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection. It is opened when it is first needed, and again after it was lost; after
/// [`Db::close`] it is no more.
#[derive(Debug)]
pub struct WriterConnection {
    db: Db,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Sqlite(rusqlite::Connection),
    Postgres(AnyConnection),
}

/// Why something was not written.
#[derive(Debug)]
pub enum Unwritten {
    /// A row was not there, or not as it was expected. Nothing changed.
    Unexpected,
    /// The database refused. Nothing changed.
    Refused(DbError),
    /// The database is not there. Nothing changed.
    Unreachable(DbError),
    /// There was no answer: it may have been.
    Unknown(DbError),
}

impl From<DbError> for Unwritten {
    fn from(error: DbError) -> Self {
        Self::Unknown(error)
    }
}

impl TxError for Unwritten {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Unexpected => None,
            Self::Refused(error) | Self::Unreachable(error) | Self::Unknown(error) => Some(error),
        }
    }
}

/// A transaction of it.
#[derive(Debug)]
pub struct WriterTransaction<'c>(&'c mut Open);

impl WriterConnection {
    /// Of this database, for the thread that calls.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self { db, open: None }
    }

    /// What must be synced before its commits are durable; nothing on PostgreSQL.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn log(&self) -> Result<Option<Wal>, DbError> {
        match self.db.engine {
            Engine::Sqlite => Wal::of(&self.db.sqlite_file()?).map(Some),
            Engine::Postgres => Ok(None),
        }
    }

    /// The same as [`Db::transaction`]. What is committed on SQLite is durable when the
    /// [log](Self::log) is synced after it.
    ///
    /// # Errors
    /// Those of [`Db::transaction`].
    pub async fn transaction<T, E: TxError>(
        &mut self,
        work: impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        for pause in pauses() {
            match self.attempt(&work).await {
                Err(error) if is_conflict(&error) => wait(pause).await,
                settled => return settled,
            }
        }
        self.attempt(&work).await
    }

    async fn attempt<T, E: TxError>(
        &mut self,
        work: &impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = self.db.turn().await?;
        let mut open = self.begin().await?;
        match work(&mut WriterTransaction(&mut open)).await {
            Ok(done) => {
                open.run(match self.db.engine {
                    Engine::Sqlite => "COMMIT",
                    Engine::Postgres => POSTGRES_COMMIT,
                })
                .await?;
                self.open = Some(open);
                Ok(done)
            }
            Err(error) => {
                if is_usable_after(error.db()) && open.run("ROLLBACK").await.is_ok() {
                    self.open = Some(open);
                }
                Err(error)
            }
        }
    }

    /// Reads, with a single statement, without a transaction around it.
    ///
    /// # Errors
    /// What `work` returned.
    pub async fn read<T, E: TxError>(
        &mut self,
        work: impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut open = self.take().await?;
        let read = work(&mut WriterTransaction(&mut open)).await;
        if is_usable_after(read.as_ref().err().and_then(TxError::db)) {
            self.open = Some(open);
        }
        read
    }

    /// Writes, in a transaction of its own: on PostgreSQL in one way there and back.
    ///
    /// # Errors
    /// [`Unwritten`].
    pub async fn write(&mut self, writes: &Writes) -> Result<(), Unwritten> {
        if self.db.engine == Engine::Sqlite {
            let begun = Cell::new(false);
            let done = self.transaction(async |tx| {
                begun.set(true);
                written(writes.run(tx).await)
            });
            return match done.await {
                Err(Unwritten::Unknown(error)) if !begun.get() => Err(Unwritten::Unreachable(error)),
                done => done,
            };
        }
        let mut open = self.take().await.map_err(Unwritten::Unreachable)?;
        let mut pauses = pauses();
        loop {
            let written = written(writes.run(&mut WriterTransaction(&mut open)).await);
            match (&written, pauses.next()) {
                (Err(error), Some(pause)) if is_conflict(error) => wait(pause).await,
                _ => {
                    if is_usable_after(written.as_ref().err().and_then(TxError::db)) {
                        self.open = Some(open);
                    }
                    return written;
                }
            }
        }
    }

    /// A connection in a transaction. Not kept meanwhile: one that is not given back is closed.
    async fn begin(&mut self) -> Result<Open, DbError> {
        let begin = self.db.engine.begin();
        let mut open = self.take().await?;
        match open.run(begin).await {
            Ok(()) => return Ok(open),
            Err(error) if error.is_conflict() => {
                self.open = Some(open);
                return Err(error);
            }
            // The server hung up since it was last used.
            Err(_) => {}
        }
        let mut open = Open::new(&self.db).await?;
        open.run(begin).await?;
        Ok(open)
    }

    /// The connection. Not kept meanwhile either.
    async fn take(&mut self) -> Result<Open, DbError> {
        let open = self.open.take();
        if self.db.writer.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        match open {
            Some(open) => Ok(open),
            None => Open::new(&self.db).await,
        }
    }
}

/// Whether a connection is good for more. After [trouble](DbError::is_trouble) another one may lead to
/// a server without.
fn is_usable_after(error: Option<&DbError>) -> bool {
    error.is_none_or(|error| error.is_refusal() && !error.is_trouble())
}

/// What comes of a statement to PostgreSQL, which may fall silent: longer than it may take by its own
/// `statement_timeout`, which rules neither a commit nor what is between here and there.
async fn answer<T>(of: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let silence = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(PATIENCE, of).await.map_err(silence)?
}

/// What became of what was [run](Writes::run).
fn written(run: Result<bool, DbError>) -> Result<(), Unwritten> {
    match run {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unwritten::Unexpected),
        Err(error) if error.is_refusal() => Err(Unwritten::Refused(error)),
        Err(error) => Err(Unwritten::Unknown(error)),
    }
}

impl Open {
    async fn new(db: &Db) -> Result<Self, DbError> {
        match db.engine {
            Engine::Sqlite => {
                let connection = rusqlite::Connection::open(db.sqlite_file()?)?;
                connection.execute_batch(SQLITE_SESSION)?;
                connection.execute_batch(SQLITE_CACHE)?;
                connection.execute_batch(SQLITE_UNSYNCED)?;
                connection.set_prepared_statement_cache_capacity(STATEMENTS);
                Ok(Self::Sqlite(connection))
            }
            Engine::Postgres => {
                // A pool waits for a server that is being started again.
                let session = &[POSTGRES_SESSION, POSTGRES_BY_KEY];
                let joint = if db.url.0.contains('?') { '&' } else { '?' };
                let url = format!("{}{joint}statement-cache-capacity={POSTGRES_STATEMENTS}", db.url.0);
                let pool = pool_options(db.engine, 1, session).connect(&url).await?;
                Ok(Self::Postgres(pool.acquire().await?.detach()))
            }
        }
    }

    async fn run(&mut self, text: &'static str) -> Result<(), DbError> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(text)?,
            Self::Postgres(connection) => {
                answer(async { Ok(connection.execute(sqlx::raw_sql(text)).await?) }).await?;
            }
        }
        Ok(())
    }
}

impl Statements for WriterTransaction<'_> {
    fn engine(&self) -> Engine {
        match self.0 {
            Open::Sqlite(_) => Engine::Sqlite,
            Open::Postgres(_) => Engine::Postgres,
        }
    }

    async fn fetch(&mut self, text: &str, values: Vec<Value>) -> Result<Vec<Row>, DbError> {
        match self.0 {
            Open::Sqlite(connection) => fetch(connection, text, &values),
            Open::Postgres(connection) => answer(statements::fetch(connection, text, values)).await,
        }
    }

    async fn execute(&mut self, text: &str, values: Vec<Value>) -> Result<u64, DbError> {
        match self.0 {
            Open::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(text)?;
                bind(&mut statement, &values)?;
                Ok(statement.raw_execute()? as u64)
            }
            Open::Postgres(connection) => answer(statements::execute(connection, text, values)).await,
        }
    }
}

fn fetch(connection: &rusqlite::Connection, text: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
    let mut statement = connection.prepare_cached(text)?;
    let names: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    bind(&mut statement, values)?;
    let (mut found, mut rows) = (Vec::new(), statement.raw_query());
    while let Some(row) = rows.next()? {
        let value = |at: usize| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Whole(number),
                ValueRef::Text(_) => Value::Text(row.get(at)?),
                other => {
                    let name = names[at].clone();
                    return Err(rusqlite::Error::InvalidColumnType(at, name, other.data_type()));
                }
            })
        };
        let values = (0..names.len()).map(value).collect::<Result<_, rusqlite::Error>>()?;
        found.push(Row::new(Arc::clone(&names), values));
    }
    Ok(found)
}

/// SQLite takes `$2` for a name: its parameters are numbered as they come.
fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<(), rusqlite::Error> {
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name[1..].parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        match value.ok_or(rusqlite::Error::InvalidParameterCount(values.len(), at))? {
            Value::Null | Value::NullWhole => statement.raw_bind_parameter(at, rusqlite::types::Null)?,
            Value::Whole(number) => statement.raw_bind_parameter(at, number)?,
            Value::Text(text) => statement.raw_bind_parameter(at, text)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rows::Column;
    use super::*;

    #[tokio::test]
    async fn both_kinds_of_connection_open_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a%20b.db?mode=rwc").display());
        let db = Db::connect(&url, 2).await.unwrap();
        sqlx::query("CREATE TABLE t (n BIGINT, word TEXT)").execute(&db.pool).await.unwrap();
        let mut own = WriterConnection::new(db.clone());
        let written = own.transaction(async |tx| {
            // Parameters go by their numbers, not by where they come.
            let text = "INSERT INTO t (word, n) VALUES ($2, $1)";
            tx.execute(text, vec![7.into(), "seven".into()]).await?;
            tx.execute(text, vec![Value::Null, Value::Null]).await
        });
        assert_eq!(written.await.unwrap(), 1);
        let mut tx = db.begin().await.unwrap();
        let rows = tx.fetch("SELECT word, n FROM t ORDER BY n DESC", Vec::new()).await.unwrap();
        assert_eq!((rows[0].text("word").unwrap(), rows[0].whole("n").unwrap()), ("seven".to_owned(), 7));
        assert_eq!(rows[1].text_or_null("word").unwrap(), None);
        assert!(rows[1].whole("n").is_err() && rows[0].text("gone").is_err());
        drop(tx);

        let undone = own.transaction(async |tx| {
            tx.execute("DELETE FROM t", Vec::new()).await?;
            Err::<(), _>(DbError::Url("given up"))
        });
        assert!(undone.await.is_err());
        let kept = own.transaction(async |tx| tx.fetch("SELECT n FROM t", Vec::new()).await).await.unwrap();
        assert_eq!(kept.len(), 2);
        let mut writes = Writes::default();
        writes.add(&[Column::Whole("n")], &[[8]], "INSERT INTO t (n) SELECT n FROM given");
        writes.add(&[Column::Whole("n")], &[[1], [7]], "DELETE FROM t WHERE n IN (SELECT n FROM given)");
        let unwritten = own.write(&writes).await;
        assert!(matches!(unwritten, Err(Unwritten::Unexpected)), "{unwritten:?}");
        let count = async |tx: &mut WriterTransaction<'_>| tx.fetch("SELECT n FROM t", Vec::new()).await;
        assert_eq!(own.read(count).await.unwrap().len(), 2);
        db.close().await;
        assert!(matches!(own.write(&writes).await, Err(Unwritten::Unreachable(_))));
        let late = own.transaction(async |tx| tx.fetch("SELECT n FROM t", Vec::new()).await).await;
        assert!(matches!(late, Err(DbError::Sqlx(sqlx::Error::PoolClosed))));
    }
}
