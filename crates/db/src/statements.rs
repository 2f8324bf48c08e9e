//! Statements that run in more than one kind of transaction: in one of the pools' ([`Tx`]), and in
//! that of the ledger's connection ([`WriterTransaction`](super::writer_connection::WriterTransaction)).

use std::sync::Arc;

use sqlx::any::{Any, AnyArguments, AnyRow, AnyTypeInfoKind};
use sqlx::query::Query;
use sqlx::{AnyConnection, AssertSqlSafe, Column as _, Row as _, ValueRef as _};

use super::{Db, DbError, Engine, Tx};

/// Parameter of a statement, or cell of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NULL`; as a parameter, one of type text.
    Null,
    /// `NULL` as a parameter in place of a whole number: PostgreSQL prepares a statement for the types
    /// of its parameters.
    NullWhole,
    /// A whole number.
    Whole(i64),
    /// Text.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::NullWhole, Self::Whole)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// Row of a result. Columns are named.
#[derive(Debug, Clone)]
pub struct Row {
    names: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(super) fn new(names: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { names, values }
    }

    /// Returns a text.
    ///
    /// # Errors
    /// Fails if there is no such column, or it holds something else.
    pub fn text(&self, column: &str) -> Result<String, DbError> {
        self.text_or_null(column)?.ok_or_else(|| unexpected(column))
    }

    /// Returns a text, or `None` for `NULL`.
    ///
    /// # Errors
    /// Fails if there is no such column, or it holds something else.
    pub fn text_or_null(&self, column: &str) -> Result<Option<String>, DbError> {
        match self.value(column)? {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Null | Value::NullWhole => Ok(None),
            Value::Whole(_) => Err(unexpected(column)),
        }
    }

    /// Returns a whole number.
    ///
    /// # Errors
    /// Fails if there is no such column, or it holds something else.
    pub fn whole(&self, column: &str) -> Result<i64, DbError> {
        self.whole_or_null(column)?.ok_or_else(|| unexpected(column))
    }

    /// A whole number, or `None` for `NULL`.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn whole_or_null(&self, column: &str) -> Result<Option<i64>, DbError> {
        match self.value(column)? {
            Value::Whole(number) => Ok(Some(*number)),
            Value::Null | Value::NullWhole => Ok(None),
            Value::Text(_) => Err(unexpected(column)),
        }
    }

    fn value(&self, column: &str) -> Result<&Value, DbError> {
        let at = self.names.iter().position(|name| name == column);
        let value = at.and_then(|at| self.values.get(at));
        value.ok_or_else(|| sqlx::Error::ColumnNotFound(column.to_owned()).into())
    }
}

fn unexpected(column: &str) -> DbError {
    let source = "it holds something else than it is read as".into();
    sqlx::Error::ColumnDecode { index: column.to_owned(), source }.into()
}

fn value(row: &AnyRow, at: usize) -> Result<Value, sqlx::Error> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    Ok(match value.type_info().kind() {
        AnyTypeInfoKind::Text => Value::Text(row.try_get(at)?),
        _ => Value::Whole(row.try_get(at)?),
    })
}

/// Transaction in which statements run. The parameters of a text are `$1` and so on.
pub trait Statements: Send {
    /// Returns the kind of database it is in.
    fn engine(&self) -> Engine;

    /// Returns the rows of a statement.
    fn fetch(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send;

    /// Runs a statement and returns the number of rows that it changed.
    fn execute(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, DbError>> + Send;

    /// Returns the first row that a statement answers with, if any.
    fn fetch_optional(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, DbError>> + Send {
        async move { Ok(self.fetch(text, values).await?.into_iter().next()) }
    }

    /// Returns the first row that a statement answers with; none is an error.
    fn fetch_one(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Row, DbError>> + Send {
        async move { Ok(self.fetch_optional(text, values).await?.ok_or(sqlx::Error::RowNotFound)?) }
    }
}

/// Single statements, each on a connection of the pool and outside of a transaction.
impl Db {
    /// Returns the rows that a statement answers with.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn fetch(&self, text: &str, values: Vec<Value>) -> Result<Vec<Row>, DbError> {
        let mut connection = self.pool.acquire().await?;
        fetch(&mut connection, text, values).await
    }

    /// Returns the first row that a statement answers with, if any.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn fetch_optional(&self, text: &str, values: Vec<Value>) -> Result<Option<Row>, DbError> {
        Ok(self.fetch(text, values).await?.into_iter().next())
    }

    /// Returns the first row that a statement answers with; none is an error.
    ///
    /// # Errors
    /// If there is no row, or the database fails.
    pub async fn fetch_one(&self, text: &str, values: Vec<Value>) -> Result<Row, DbError> {
        Ok(self.fetch_optional(text, values).await?.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// Runs a statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn execute(&self, text: &str, values: Vec<Value>) -> Result<u64, DbError> {
        let mut connection = self.pool.acquire().await?;
        execute(&mut connection, text, values).await
    }
}

impl Statements for Tx {
    fn engine(&self) -> Engine {
        Self::engine(self)
    }

    async fn fetch(&mut self, text: &str, values: Vec<Value>) -> Result<Vec<Row>, DbError> {
        fetch(self.conn(), text, values).await
    }

    async fn execute(&mut self, text: &str, values: Vec<Value>) -> Result<u64, DbError> {
        execute(self.conn(), text, values).await
    }
}

/// Returns the rows of a statement outside of a transaction.
///
/// # Errors
/// Fails if the database fails.
pub async fn fetch(
    connection: &mut AnyConnection,
    text: &str,
    values: Vec<Value>,
) -> Result<Vec<Row>, DbError> {
    let rows = query(text, values).fetch_all(connection).await?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let names: Arc<[String]> = first.columns().iter().map(|column| column.name().to_owned()).collect();
    let read = |row: &AnyRow| {
        let values = (0..names.len()).map(|at| value(row, at)).collect::<Result<_, _>>()?;
        Ok(Row::new(Arc::clone(&names), values))
    };
    rows.iter().map(read).collect()
}

pub(super) async fn execute(
    connection: &mut AnyConnection,
    text: &str,
    values: Vec<Value>,
) -> Result<u64, DbError> {
    Ok(query(text, values).execute(connection).await?.rows_affected())
}

fn query(text: &str, values: Vec<Value>) -> Query<'static, Any, AnyArguments> {
    let query = sqlx::query(AssertSqlSafe(text.to_owned()));
    values.into_iter().fold(query, |query, value| match value {
        Value::Null => query.bind(None::<String>),
        Value::NullWhole => query.bind(None::<i64>),
        Value::Whole(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}
