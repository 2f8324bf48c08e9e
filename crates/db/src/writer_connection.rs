//! Connection for a thread that writes nearly all the time: the ledger's.
//!
//! Most of a batch's time would be spent between threads. So statements on SQLite run on the calling thread
//! (the pools give each connection a thread of its own, and each statement two changes of thread), and the
//! connection does not go back to a pool, which would test it each time.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use sqlx::{AnyConnection, Executor as _};

use super::statements::{self, Row, Statements, Value};
use super::transaction::AttemptError;
use super::wal::Wal;
use super::writes::Writes;
use super::{
    Db, DbError, Engine, POSTGRES_SESSION, SQLITE_SESSION, TxError, is_conflict, pauses, pool_options, wait,
};

/// Settings for statements that find rows by their keys. They are planned while tables may be small or
/// unknown, and a plan that reads a whole table would be kept while that grows.
const POSTGRES_BY_KEY: &str = "SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;";
/// Page cache, in KiB: accounts and holds are looked up by ids in no order.
const SQLITE_CACHE: &str = "PRAGMA cache_size = -64000;";
/// Statements that commit. The first fails in a transaction that has failed, which the second alone would roll back
/// silently.
const POSTGRES_COMMIT: &str = "SELECT 1; COMMIT";
/// Commits do not sync the WAL: see [`wal`](super::wal).
const SQLITE_UNSYNCED: &str = "PRAGMA synchronous = NORMAL;";
/// Prepared statements on SQLite: more than the ledger has texts.
const SQLITE_STATEMENTS: usize = 64;
/// Prepared statements on PostgreSQL: each combination of writes has a text of its own, for each power of two of rows.
const POSTGRES_STATEMENTS: usize = 512;
/// Longest wait for an answer of PostgreSQL: longer than its `statement_timeout`, which rules neither a commit nor
/// the network between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connection that is opened when it is first needed, and again after it was lost. After [`Db::close`] everything
/// fails.
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

/// Reason why a write was not confirmed.
#[derive(Debug)]
pub enum WriteError {
    /// A row was not as expected. Nothing changed.
    Conflict,
    /// The database refused, or is unreachable. Nothing changed.
    Rejected(DbError),
    /// No answer came: the write may be committed, now or later, or not.
    Unknown(DbError),
}

impl From<DbError> for WriteError {
    fn from(error: DbError) -> Self {
        if error.is_rejection() { Self::Rejected(error) } else { Self::Unknown(error) }
    }
}

impl TxError for WriteError {
    fn db(&self) -> Option<&DbError> {
        match self {
            Self::Conflict => None,
            Self::Rejected(error) | Self::Unknown(error) => Some(error),
        }
    }
}

/// Transaction of a [`WriterConnection`].
#[derive(Debug)]
pub struct WriterTransaction<'c>(&'c mut Open);

impl WriterConnection {
    /// Returns the connection to this database, for the calling thread.
    #[must_use]
    pub const fn new(db: Db) -> Self {
        Self { db, open: None }
    }

    /// Returns the WAL that must be synced before commits are durable; `None` on PostgreSQL.
    ///
    /// # Errors
    /// Fails if there is no such file.
    pub fn wal(&self) -> Result<Option<Wal>, DbError> {
        match self.db.engine {
            Engine::Sqlite => Wal::of(&self.db.sqlite_file()?).map(Some),
            Engine::Postgres => Ok(None),
        }
    }

    /// Runs `work` in a transaction, as [`Db::transaction`] does. Commits on SQLite are durable when the
    /// [WAL](Self::wal) is synced after them.
    ///
    /// Work that the database refused, or that lost its connection, runs once more on another connection, which after
    /// a failover may lead to another server.
    ///
    /// # Errors
    /// Those of [`Db::transaction`].
    pub async fn transaction<T, E: TxError>(
        &mut self,
        work: impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (mut pauses, mut is_repeated) = (pauses(), false);
        loop {
            match self.attempt(&work).await {
                Ok(done) => return Ok(done),
                Err(AttemptError::Unchanged(error) | AttemptError::AtCommit(error))
                    if is_conflict(&error) =>
                {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    wait(pause).await;
                }
                Err(AttemptError::Unchanged(error)) if !is_repeated && error.db().is_some() => {
                    let error = error.db().map(ToString::to_string);
                    tracing::warn!(error, "a transaction broke off; trying again on another connection");
                    is_repeated = true;
                }
                Err(AttemptError::Unchanged(error) | AttemptError::AtCommit(error)) => return Err(error),
            }
        }
    }

    async fn attempt<T, E: TxError>(
        &mut self,
        work: &impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, AttemptError<E>> {
        let unchanged = |error: DbError| AttemptError::Unchanged(error.into());
        let _write_lock = self.db.write_lock().await.map_err(unchanged)?;
        let mut open = self.begin().await.map_err(unchanged)?;
        match work(&mut WriterTransaction(&mut open)).await {
            Ok(done) => {
                let commit = match self.db.engine {
                    Engine::Sqlite => "COMMIT",
                    Engine::Postgres => POSTGRES_COMMIT,
                };
                open.run(commit).await.map_err(|error| AttemptError::AtCommit(error.into()))?;
                self.open = Some(open);
                Ok(done)
            }
            Err(error) => {
                if is_usable_after(error.db()) && open.run("ROLLBACK").await.is_ok() {
                    self.open = Some(open);
                }
                Err(AttemptError::Unchanged(error))
            }
        }
    }

    /// Reads, with a single statement, without a transaction around it. A read whose connection was lost is repeated
    /// on another.
    ///
    /// # Errors
    /// Returns the error of `work`, or that of connecting.
    pub async fn read<T, E: TxError>(
        &mut self,
        work: impl AsyncFn(&mut WriterTransaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut open = self.take().await?;
        let mut read = work(&mut WriterTransaction(&mut open)).await;
        if read.as_ref().err().and_then(TxError::db).is_some_and(|error| !error.is_rejection()) {
            open = Open::new(&self.db).await?;
            read = work(&mut WriterTransaction(&mut open)).await;
        }
        self.keep(open, read.as_ref().err().and_then(TxError::db));
        read
    }

    /// Writes, in a transaction of its own: on PostgreSQL in one round trip.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write(&mut self, writes: &Writes) -> Result<(), WriteError> {
        match self.db.engine {
            Engine::Sqlite => self.transaction(async |tx| checked(writes.run(tx).await)).await,
            Engine::Postgres => self.write_in_one_statement(writes).await,
        }
    }

    /// Sends one statement, which is a transaction by itself. One that PostgreSQL refuses is sent once more on another
    /// connection, as in [`transaction`](Self::transaction).
    async fn write_in_one_statement(&mut self, writes: &Writes) -> Result<(), WriteError> {
        let mut open = self.take().await.map_err(WriteError::Rejected)?;
        let (mut pauses, mut is_repeated) = (pauses(), false);
        loop {
            let run = writes.run(&mut WriterTransaction(&mut open)).await;
            match &run {
                Err(error) if error.is_conflict() => {
                    if let Some(pause) = pauses.next() {
                        wait(pause).await;
                        continue;
                    }
                }
                Err(error) if error.is_rejection() && !is_repeated => {
                    tracing::warn!(%error, "a statement was refused; trying again on another connection");
                    is_repeated = true;
                    open = Open::new(&self.db).await.map_err(WriteError::Rejected)?;
                    continue;
                }
                _ => {}
            }
            self.keep(open, run.as_ref().err());
            return checked(run);
        }
    }

    fn keep(&mut self, open: Open, error: Option<&DbError>) {
        if is_usable_after(error) {
            self.open = Some(open);
        }
    }

    /// Takes the connection and begins a transaction on it. One that is not given back is closed.
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

    /// Takes the connection. One that is not given back is closed.
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

/// Returns true if a connection can be used again: after all is well, or a conflict that PostgreSQL reported on it.
/// After anything else another one may lead to a server without the trouble.
fn is_usable_after(error: Option<&DbError>) -> bool {
    error.is_none_or(DbError::is_conflict)
}

/// Waits for the answer of PostgreSQL to a statement, but not for ever.
async fn answer<T>(statement: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let silence = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(ANSWER_TIMEOUT, statement).await.map_err(silence)?
}

/// Turns the result of [`Writes::run`] into an error if a row was not as expected.
fn checked(run: Result<bool, DbError>) -> Result<(), WriteError> {
    if run? { Ok(()) } else { Err(WriteError::Conflict) }
}

impl Open {
    async fn new(db: &Db) -> Result<Self, DbError> {
        match db.engine {
            Engine::Sqlite => {
                let connection = rusqlite::Connection::open(db.sqlite_file()?)?;
                connection.execute_batch(SQLITE_SESSION)?;
                connection.execute_batch(SQLITE_CACHE)?;
                connection.execute_batch(SQLITE_UNSYNCED)?;
                connection.set_prepared_statement_cache_capacity(SQLITE_STATEMENTS);
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
        let mut connection = WriterConnection::new(db.clone());
        let written = connection.transaction(async |tx| {
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

        let undone = connection.transaction(async |tx| {
            tx.execute("DELETE FROM t", Vec::new()).await?;
            Err::<(), _>(DbError::Url("given up"))
        });
        assert!(undone.await.is_err());
        let kept =
            connection.transaction(async |tx| tx.fetch("SELECT n FROM t", Vec::new()).await).await.unwrap();
        assert_eq!(kept.len(), 2);
        let mut writes = Writes::default();
        writes.add(&[Column::Whole("n")], &[[8]], "INSERT INTO t (n) SELECT n FROM given");
        writes.add(&[Column::Whole("n")], &[[1], [7]], "DELETE FROM t WHERE n IN (SELECT n FROM given)");
        let written = connection.write(&writes).await;
        assert!(matches!(written, Err(WriteError::Conflict)), "{written:?}");
        let count = async |tx: &mut WriterTransaction<'_>| tx.fetch("SELECT n FROM t", Vec::new()).await;
        assert_eq!(connection.read(count).await.unwrap().len(), 2);
        db.close().await;
        assert!(matches!(connection.write(&writes).await, Err(WriteError::Rejected(_))));
        let late = connection.transaction(async |tx| tx.fetch("SELECT n FROM t", Vec::new()).await).await;
        assert!(matches!(late, Err(DbError::Sqlx(sqlx::Error::PoolClosed))));
    }
}
