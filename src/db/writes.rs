//! Several statements that write, sent in one go where the database is another process: each way
//! there and back is a wait, and on a busy machine a wait for a turn on the processor too.

use serde::Serialize;

use super::rows::{self, Column};
use super::statements::{Statements, Value};
use super::{DbError, Engine};

/// Statements that need not see what another of them wrote: on PostgreSQL all of them see the
/// database as it was before the first.
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
    /// Adds a statement that changes one row for each of `rows`, which it finds as `given`, with
    /// these columns: see [`rows::given`]. Without rows there is nothing to add.
    pub fn add<R: Serialize>(&mut self, columns: &[Column], rows: &[R], text: &'static str) {
        if !rows.is_empty() {
            let (columns, count) = (columns.to_vec(), rows.len());
            self.statements.push(Statement { columns, rows: rows::cells(&rows), count, text });
        }
    }

    /// Runs all, if there are any. False when not every row that was given changed one, and
    /// nothing of the transaction may be kept.
    ///
    /// # Errors
    /// When the database fails or refuses one of them.
    pub async fn run(self, tx: &mut impl Statements) -> Result<bool, DbError> {
        let expected = self.statements.iter().map(|statement| statement.count).sum::<usize>();
        let mut changed = 0;
        match tx.engine() {
            Engine::Sqlite => {
                for statement in self.statements {
                    let given = rows::given(Engine::Sqlite, &statement.columns, statement.count);
                    let text = format!("{given} {}", statement.text);
                    changed += tx.execute(&text, vec![statement.rows]).await?;
                }
            }
            Engine::Postgres if self.statements.is_empty() => {}
            Engine::Postgres => {
                let text = self.text();
                let values = self.statements.into_iter().map(|statement| statement.rows).collect();
                let counted = tx.fetch(&text, values).await?;
                let counted = counted.first().ok_or(sqlx::Error::RowNotFound)?.whole("changed")?;
                changed = u64::try_from(counted).unwrap_or_default();
            }
        }
        Ok(usize::try_from(changed) == Ok(expected))
    }

    /// All in one, for PostgreSQL.
    fn text(&self) -> String {
        // One bound for all: the fewer texts, the fewer are prepared.
        let most = self.statements.iter().map(|statement| statement.count).max().unwrap_or_default();
        let (mut named, mut counts) = (Vec::new(), Vec::new());
        for (n, statement) in self.statements.iter().enumerate() {
            let given = rows::given_as(Engine::Postgres, n + 1, &statement.columns, most);
            named.push(format!("write{n} AS ({given} {} RETURNING 1)", statement.text));
            counts.push(format!("(SELECT count(*) FROM write{n})"));
        }
        format!("WITH {} SELECT {} AS changed", named.join(", "), counts.join(" + "))
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
             SELECT (SELECT count(*) FROM write0) + (SELECT count(*) FROM write1) AS changed"
        );
    }
}
