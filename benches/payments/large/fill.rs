//! A ledger with a year behind it, written past the program: its rows, made by the engine itself.
//!
//! Ids begin with their moments, as the program's do. Accounts come in no order.

use anyhow::Result;
use farebox::db::Engine;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

/// Accounts that share nine tenths of the entries. The last tenth is one account's.
pub const ACCOUNTS: u64 = 100_000;
/// A year, in milliseconds.
const YEAR: u64 = 365 * 24 * 3600 * 1000;

/// Every so many entries one is of the account with many.
const BUSY_EVERY: u64 = 10;
/// The rest of every address.
const ADDRESS: &str = "5eed5eed5eed5eed5eed5eed5eed5eed";

/// One of the accounts that have few entries.
pub fn account(index: u64) -> String {
    format!("wallet:0x{:08x}{ADDRESS}", index % ACCOUNTS * (0xffff_ffff / ACCOUNTS))
}

/// The account with many.
pub fn busy() -> String {
    format!("wallet:0xffffffff{ADDRESS}")
}

/// Fills an empty, migrated database to which nobody is connected.
pub async fn fill(url: &str, engine: Engine, entries: u64, now: i64) -> Result<()> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    for statement in statements(engine, entries, now) {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    }
    connection.close().await?;
    Ok(())
}

fn statements(engine: Engine, entries: u64, now: i64) -> Vec<String> {
    // Rows that are right are not checked one by one; the audit does that afterwards, all at once.
    // What can be is indexed at the end.
    let (before, after): (&[&str], &[&str]) = match engine {
        Engine::Sqlite => (
            &[
                "PRAGMA foreign_keys = OFF",
                "PRAGMA journal_mode = OFF",
                "PRAGMA synchronous = OFF",
                "PRAGMA cache_size = -2000000",
            ],
            &[],
        ),
        Engine::Postgres => (
            &[
                "SET session_replication_role = replica",
                "SET synchronous_commit = off",
                "SET maintenance_work_mem = '1GB'",
                "ALTER TABLE holds DROP CONSTRAINT holds_account_request_key_key",
            ],
            &[
                "ALTER TABLE holds ADD UNIQUE (account, request_key)",
                "VACUUM ANALYZE accounts, credits, holds, entries, daily_usage",
                "CHECKPOINT",
            ],
        ),
    };
    let own = |statements: &[&str]| statements.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut all = own(before);
    all.extend(own(&[
        "DROP INDEX entries_by_account",
        "DROP INDEX entries_by_key",
        "DROP INDEX entries_by_request",
    ]));
    all.extend(rows(engine, entries, now));
    all.extend(own(&INDEXES));
    all.push(USAGE.to_owned());
    all.extend(own(after));
    all
}

/// Indexes of entries, as the migrations make them.
const INDEXES: [&str; 3] = [
    "CREATE INDEX entries_by_account ON entries (account, created_at, id)",
    "CREATE INDEX entries_by_key ON entries (key, created_at, id) WHERE key IS NOT NULL",
    "CREATE INDEX entries_by_request ON entries (request_id) WHERE request_id IS NOT NULL",
];

/// Statement that adds entries up as usage.
pub const USAGE: &str = "INSERT INTO daily_usage (account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost) \
     SELECT account, created_at / 86400000, service, COALESCE(key, ''), kind, COUNT(*), \
     CAST(SUM(prompt_tokens) AS BIGINT), CAST(SUM(completion_tokens) AS BIGINT), CAST(SUM(amount) AS BIGINT) \
     FROM entries GROUP BY account, created_at / 86400000, service, COALESCE(key, ''), kind";

/// Returns an SQL expression for a whole number in hexadecimal digits.
pub fn digits(engine: Engine, width: usize, value: &str) -> String {
    match engine {
        Engine::Sqlite => format!("printf('%0{width}x', {value})"),
        Engine::Postgres => format!("lpad(to_hex(CAST({value} AS BIGINT)), {width}, '0')"),
    }
}

/// Returns `WITH numbers(n)`: the whole numbers below `count`.
pub fn numbers(engine: Engine, count: u64) -> String {
    match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})"
        ),
        Engine::Postgres => {
            format!("WITH numbers(n) AS (SELECT generate_series(CAST(0 AS BIGINT), {count} - 1))")
        }
    }
}

/// Holds, their entries, and accounts with what those add up to.
fn rows(engine: Engine, entries: u64, now: i64) -> [String; 4] {
    let digits = |width: usize, value: &str| digits(engine, width, value);
    let numbers = numbers(engine, entries);
    let begin = now - i64::try_from(YEAR).expect("it fits");
    let moment = format!("{begin} + n * {}", YEAR / entries.max(1));
    let (millis, tail) = (digits(12, &format!("({moment})")), digits(12, "n"));
    let head = format!("substr({millis}, 1, 8) || '-' || substr({millis}, 9, 4)");
    let id = format!("{head} || '-7000-8000-' || {tail}");
    let request_key = format!("{head} || '-7000-9000-' || {tail}");
    let few = digits(8, &format!("n * 7919 % {ACCOUNTS} * {}", 0xffff_ffff / ACCOUNTS));
    let account = format!(
        "CASE WHEN n % {BUSY_EVERY} = 0 THEN '{}' ELSE 'wallet:0x' || {few} || '{ADDRESS}' END",
        busy()
    );
    let amount = "(n % 500 + 1) * 100";
    let meta = r#"{"key":"abcdefghijklmnop","prompt_tokens":123,"price_in":100,"price_out":400}"#;
    [
        format!(
            "INSERT INTO holds (id, account, request_key, reserved, charged, state, created_at, expires_at) {numbers} \
             SELECT {id}, {account}, {request_key}, {amount} + 1000, {amount}, 'closed', {moment}, {moment} + 600000 \
             FROM numbers"
        ),
        format!(
            "INSERT INTO entries (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, \
             created_at, key) {numbers} SELECT {id}, {account}, {id}, 'usage', {amount}, {request_key}, 'model', \
             n % 500 + 1, 100, '{meta}', {moment}, 'abcdefghijklmnop' FROM numbers"
        ),
        format!(
            "INSERT INTO accounts (id, credited, posted, held, created_at) \
             SELECT account, CAST(SUM(amount) AS BIGINT) + 1000000000, CAST(SUM(amount) AS BIGINT), 0, {begin} \
             FROM entries GROUP BY account"
        ),
        format!(
            "INSERT INTO credits (source, account, amount, created_at) \
             SELECT 'fill:' || id, id, credited, {begin} FROM accounts"
        ),
    ]
}
