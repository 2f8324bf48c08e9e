//! Statements that run in more than one kind of transaction: in one of the pools' ([`Tx`]), and in
//! that of the ledger's own connection ([`WriterTransaction`](super::writer_connection::WriterTransaction)).

use std::sync::Arc;

use sqlx::any::{Any, AnyArguments, AnyRow, AnyTypeInfoKind};
use sqlx::query::Query;
use sqlx::{AnyConnection, AssertSqlSafe, Column as _, Row as _, ValueRef as _};

use super::{DbError, Engine, Tx};

/// What a statement is given, and what a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
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

/// A row of an answer. Columns are asked for by their names.
#[derive(Debug, Clone)]
pub struct Row {
    names: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    pub(super) fn new(names: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { names, values }
    }

    /// A text.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn text(&self, column: &str) -> Result<String, DbError> {
        self.text_or_null(column)?.ok_or_else(|| unexpected(column))
    }

    /// A text, or `None` for `NULL`.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn text_or_null(&self, column: &str) -> Result<Option<String>, DbError> {
        match self.value(column)? {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            Value::Whole(_) => Err(unexpected(column)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// When there is no such column, or it holds something else.
    pub fn whole(&self, column: &str) -> Result<i64, DbError> {
        match self.value(column)? {
            Value::Whole(number) => Ok(*number),
            Value::Text(_) | Value::Null => Err(unexpected(column)),
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

/// A transaction in which statements run. The parameters of a text are `$1` and so on.
pub trait Statements: Send {
    /// Which database it is in.
    fn engine(&self) -> Engine;

    /// The rows that a statement answers with.
    fn fetch(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send;

    /// How many rows a statement changed.
    fn execute(
        &mut self,
        text: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, DbError>> + Send;
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

/// [`Statements::fetch`] outside of a transaction.
///
/// # Errors
/// When the database fails.
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
        Value::Whole(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    })
}
