//! Several statements that write, sent as one where the database is another process: each round trip is a wait, and
//! on a busy machine a wait for the processor too.

use serde::Serialize;

use super::rows::{self, Column};
use super::statements::{Statements, Value};
use super::{DbError, Engine};

/// Division that aborts a statement of PostgreSQL whose parts changed another number of rows than they must. SQL has
/// no other way to make one statement fail, and so undo itself, without a function in the database: see
/// [`Writes::run`], which tells this error (22012) from others. `{changed}` and `{expected}` are to be filled in.
const ABORT_UNLESS_EXPECTED: &str = "1 / CASE {changed} WHEN {expected} THEN 1 ELSE 0 END";

/// Statements that need not see what another of them wrote: on PostgreSQL all of them see the database as it was before
/// the first.
#[derive(Debug, Default)]
pub struct Writes {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    columns: Vec<Column>,
    rows: Value,
    count: usize,
    text: &'static str,
}

impl Writes {
    /// Adds a statement that changes one row for each of `rows`, which it finds as `given`, with these columns: see
    /// [`rows::given`]. Without rows there is nothing to add.
    pub fn add<R: Serialize>(&mut self, columns: &[Column], rows: &[R], text: &'static str) {
        if !rows.is_empty() {
            let (columns, count) = (columns.to_vec(), rows.len());
            self.statements.push(Statement { columns, rows: rows::cells(&rows), count, text });
        }
    }

    /// Runs all statements. Returns false if not every given row changed one, because a row is not as its statement
    /// expects, or is there already. Nothing of the transaction may be kept then, and on PostgreSQL nothing is.
    ///
    /// # Errors
    /// The database fails, or refuses a statement.
    pub async fn run(&self, tx: &mut impl Statements) -> Result<bool, DbError> {
        if self.statements.is_empty() {
            return Ok(true);
        }
        let expected = self.statements.iter().map(|statement| statement.count).sum::<usize>();
        let changed = match tx.engine() {
            Engine::Sqlite => self.run_each(tx).await,
            Engine::Postgres => self.run_as_one(expected, tx).await,
        };
        match changed {
            Ok(changed) => Ok(changed == expected),
            Err(error) if error.is_duplicate() || error.is_division_by_zero() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns how many rows were changed.
    async fn run_each(&self, tx: &mut impl Statements) -> Result<usize, DbError> {
        let mut changed = 0;
        for statement in &self.statements {
            let given = rows::given(Engine::Sqlite, &statement.columns, statement.count);
            let text = format!("{given} {}", statement.text);
            changed += tx.execute(&text, vec![statement.rows.clone()]).await?;
        }
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Returns how many rows were changed: the expected number, because the statement fails at any other.
    async fn run_as_one(&self, expected: usize, tx: &mut impl Statements) -> Result<usize, DbError> {
        let mut values: Vec<_> = self.statements.iter().map(|statement| statement.rows.clone()).collect();
        values.push(i64::try_from(expected).unwrap_or(i64::MAX).into());
        let rows = tx.fetch(&self.text(), values).await?;
        assert_eq!(rows.len(), 1, "a batch of writes answers with one row");
        Ok(expected)
    }

    /// Returns all statements as one for PostgreSQL, which is a transaction by itself.
    fn text(&self) -> String {
        // One bound for all: the fewer texts, the fewer are prepared.
        let most = self.statements.iter().map(|statement| statement.count).max().unwrap_or_default();
        let (mut named, mut counts) = (Vec::new(), Vec::new());
        for (n, statement) in self.statements.iter().enumerate() {
            let given = rows::given_as(Engine::Postgres, n + 1, &statement.columns, most);
            named.push(format!("write{n} AS ({given} {} RETURNING 1)", statement.text));
            counts.push(format!("(SELECT count(*) FROM write{n})"));
        }
        let expected = format!("${}", counts.len() + 1);
        let check =
            ABORT_UNLESS_EXPECTED.replace("{changed}", &counts.join(" + ")).replace("{expected}", &expected);
        format!("WITH {} SELECT {check} AS done", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_become_one() {
        let mut writes = Writes::default();
        writes.add(&[Column::Text("id")], &[["a"], ["b"], ["c"]], "INSERT INTO t SELECT id FROM given");
        writes.add(&[Column::Text("id")], &Vec::<[&str; 1]>::new(), "nothing");
        writes.add(&[Column::Whole("n")], &[[1]], "INSERT INTO u SELECT n FROM given");
        assert_eq!(
            writes.text(),
            "WITH write0 AS (WITH given AS (SELECT value ->> 0 AS id \
             FROM json_array_elements(CAST($1 AS json)) LIMIT 4) INSERT INTO t SELECT id FROM given RETURNING 1), \
             write1 AS (WITH given AS (SELECT CAST(value ->> 0 AS BIGINT) AS n \
             FROM json_array_elements(CAST($2 AS json)) LIMIT 4) INSERT INTO u SELECT n FROM given RETURNING 1) \
             SELECT 1 / CASE (SELECT count(*) FROM write0) + (SELECT count(*) FROM write1) WHEN $3 THEN 1 ELSE 0 END \
             AS done"
        );
    }
}
