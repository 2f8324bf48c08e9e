//! Several statements that write, sent in one go: each way to the database and back is a wait, and
//! on a busy machine a wait for a turn on the processor too.

use serde::Serialize;
use sqlx::any::{Any, AnyArguments};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row as _};

use super::rows::{self, Column};
use super::{DbError, Engine, Tx};

/// Statements that need not see what another of them wrote: on PostgreSQL all of them see the
/// database as it was before the first.
#[derive(Debug, Default)]
pub struct Writes {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    columns: Vec<Column>,
    rows: String,
    count: usize,
    text: &'static str,
}

impl Writes {
    /// Adds a statement that changes one row for each of `rows`, which it finds as `given`, with
    /// these columns: see [`rows::given`]. Without rows there is nothing to add.
    pub fn add<R: Serialize>(&mut self, columns: &[Column], rows: &[R], text: &'static str) {
        if !rows.is_empty() {
            let (columns, count) = (columns.to_vec(), rows.len());
            let rows = serde_json::to_string(rows).expect("texts and numbers are valid JSON");
            self.statements.push(Statement { columns, rows, count, text });
        }
    }

    /// Runs all, if there are any. False when not every row that was given changed one, and
    /// nothing of the transaction may be kept.
    ///
    /// # Errors
    /// When the database fails or refuses one of them.
    pub async fn run(self, tx: &mut Tx) -> Result<bool, DbError> {
        let expected = self.statements.iter().map(|statement| statement.count).sum::<usize>();
        let changed = match (tx.engine(), self.statements.len()) {
            (_, 0) => return Ok(true),
            (Engine::Postgres, 2..) => {
                let counted = self.query(Engine::Postgres).fetch_one(tx.conn()).await?;
                u64::try_from(counted.try_get::<i64, _>(0)?).unwrap_or_default()
            }
            (engine, _) => self.query(engine).execute(tx.conn()).await?.rows_affected(),
        };
        Ok(usize::try_from(changed) == Ok(expected))
    }

    fn query(self, engine: Engine) -> Query<'static, Any, AnyArguments> {
        let text = self.text(engine);
        let rows = self.statements.into_iter().map(|statement| statement.rows);
        rows.fold(sqlx::query(AssertSqlSafe(text)), Query::bind)
    }

    fn text(&self, engine: Engine) -> String {
        // One bound for all: the fewer texts, the fewer are prepared.
        let most = self.statements.iter().map(|statement| statement.count).max().unwrap_or_default();
        let texts: Vec<_> = (1..)
            .zip(&self.statements)
            .map(|(parameter, statement)| {
                let given = rows::given_as(engine, parameter, &statement.columns, most);
                format!("{given} {}", statement.text)
            })
            .collect();
        match engine {
            // The driver runs one after the other and adds up what they changed.
            Engine::Sqlite => texts.join("; "),
            Engine::Postgres if texts.len() == 1 => texts.concat(),
            Engine::Postgres => {
                let named = texts.iter().enumerate();
                let named: Vec<_> =
                    named.map(|(n, text)| format!("write{n} AS ({text} RETURNING 1)")).collect();
                let counts: Vec<_> =
                    (0..texts.len()).map(|n| format!("(SELECT count(*) FROM write{n})")).collect();
                format!("WITH {} SELECT {}", named.join(", "), counts.join(" + "))
            }
        }
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
        let alone = "WITH given AS (SELECT value ->> 0 AS id \
                     FROM json_array_elements(CAST($1 AS json)) LIMIT 4) INSERT INTO t SELECT id FROM given";
        assert_eq!(writes.text(Engine::Postgres), alone);
        writes.add(&[Column::Whole("n")], &[[1]], "INSERT INTO u SELECT n FROM given");
        assert_eq!(
            writes.text(Engine::Sqlite),
            "WITH given AS (SELECT json_extract(value, '$[0]') AS id FROM json_each($1)) \
             INSERT INTO t SELECT id FROM given; \
             WITH given AS (SELECT json_extract(value, '$[0]') AS n FROM json_each($2)) \
             INSERT INTO u SELECT n FROM given"
        );
        assert_eq!(
            writes.text(Engine::Postgres),
            format!(
                "WITH write0 AS ({alone} RETURNING 1), \
                 write1 AS (WITH given AS (SELECT CAST(value ->> 0 AS BIGINT) AS n \
                 FROM json_array_elements(CAST($2 AS json)) LIMIT 4) INSERT INTO u SELECT n FROM given RETURNING 1) \
                 SELECT (SELECT count(*) FROM write0) + (SELECT count(*) FROM write1)"
            )
        );
    }
}
