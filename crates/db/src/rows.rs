//! Many rows in one statement, as one parameter.
//!
//! A parameter for each cell would take the driver work that grows with the
//! square of their number, and a statement of its own for each number of rows.

use serde::Serialize;

use super::Engine;
use super::statements::Value;

/// Column of a table of given rows, and the type of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text.
    Text(&'static str),
    /// A whole number.
    Whole(&'static str),
}

/// Returns `WITH given AS (...)`: the rows that [`cells`] gives a statement, as `given` with these
/// columns. They are the statement's parameter `$1`. `rows` is their number: PostgreSQL cannot see
/// it, and plans for a hundred.
#[must_use]
pub fn given(engine: Engine, columns: &[Column], rows: usize) -> String {
    given_as(engine, 1, columns, rows)
}

/// Returns [`given`] for another parameter than `$1`.
pub(super) fn given_as(engine: Engine, parameter: usize, columns: &[Column], rows: usize) -> String {
    let cell = |(n, column): (usize, &Column)| match (engine, *column) {
        (Engine::Sqlite, Column::Text(name) | Column::Whole(name)) => {
            format!("json_extract(value, '$[{n}]') AS {name}")
        }
        (Engine::Postgres, Column::Text(name)) => format!("value ->> {n} AS {name}"),
        (Engine::Postgres, Column::Whole(name)) => format!("CAST(value ->> {n} AS BIGINT) AS {name}"),
    };
    let cells: Vec<_> = columns.iter().enumerate().map(cell).collect();
    let source = match engine {
        Engine::Sqlite => format!("json_each(${parameter})"),
        // Few statements: each is prepared once.
        Engine::Postgres => {
            let rows = rows.next_power_of_two();
            format!("json_array_elements(CAST(${parameter} AS json)) LIMIT {rows}")
        }
    };
    format!("WITH given AS (SELECT {} FROM {source})", cells.join(", "))
}

/// Returns rows as one parameter: arrays or tuples of one cell for each column.
#[must_use]
pub fn cells(rows: &impl Serialize) -> Value {
    Value::Text(serde_json::to_string(rows).expect("texts and numbers are valid JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_as_one_parameter() {
        let columns = [Column::Text("id"), Column::Whole("amount")];
        assert_eq!(
            given(Engine::Sqlite, &columns, 3),
            "WITH given AS (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS amount \
             FROM json_each($1))"
        );
        assert_eq!(
            given(Engine::Postgres, &columns, 3),
            "WITH given AS (SELECT value ->> 0 AS id, CAST(value ->> 1 AS BIGINT) AS amount \
             FROM json_array_elements(CAST($1 AS json)) LIMIT 4)"
        );
    }
}
