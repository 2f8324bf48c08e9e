//! Reads of the management API for one wallet with a million entries, a hundred keys and ten thousand channels, over HTTP
//! and with a signature each, as their client sees them.

use std::time::Instant;

use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Result, ensure};
use farebox::db::Engine;
use farebox::id::Timestamp;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{Server, reply};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};

use crate::large::fill::{USAGE, digits, numbers};
use crate::report::{Table, millis, number, percentile, real, title};

/// Another number can be asked for with `FAREBOX_BENCH_ENTRIES`.
const ENTRIES: u64 = 1_000_000;
const KEYS: u64 = 100;
const SERVICES: u64 = 5;
const CHANNELS: u64 = 10_000;
/// Days over which the entries are spread.
const DAYS: u64 = 90;
const DAY_MS: u64 = 86_400_000;
/// Requests of each kind, in turns, and those before that are not counted.
const REQUESTS: usize = 100;
const WARM_UP: usize = 3;
/// Milliseconds that 95 of 100 may take.
const GOAL_MS: f64 = 50.0;

/// Measured request: its name, action, path and parameters.
type Measure = (&'static str, &'static str, &'static str, String);

pub async fn measure() -> Result<()> {
    let wanted = std::env::var("FAREBOX_BENCH_ENTRIES").ok().map(|text| text.parse()).transpose()?;
    let entries: u64 = wanted.unwrap_or(ENTRIES);
    title(&format!(
        "Volume: a wallet with {} entries, {KEYS} keys and {CHANNELS} channels; milliseconds of a request",
        number(real(entries))
    ));
    let mut table = Table::new(&["", "p50", "p95", "bytes", ""]);
    let mut databases = vec![db::sqlite().await];
    databases.extend(db::postgres().await);
    for database in databases {
        let engine = database.db.engine;
        measure_on(database, engine, entries, &mut table).await?;
    }
    table.print();
    println!("  {REQUESTS} requests of each kind, in turns, each with a nonce that is written down first.");
    Ok(())
}

async fn measure_on(database: TestDb, engine: Engine, entries: u64, table: &mut Table) -> Result<()> {
    let wallet = PrivateKeySigner::random();
    let address = format!("{:#x}", wallet.address());
    let now = Timestamp::now();
    let begun = Instant::now();
    fill(&database.url, engine, &address, entries, now.millis()).await?;
    println!("  {engine:?} filled in {:.0} s", begun.elapsed().as_secs_f64());
    // Nothing of this asks the chain.
    let mut server = Server::on(database, "http://127.0.0.1:9", |_| {}).await;
    let measures = measures(now);
    let mut seen: Vec<(Vec<f64>, usize)> = measures.iter().map(|_| (Vec::new(), 0)).collect();
    for round in 0..WARM_UP + REQUESTS {
        for ((name, action, path, more), (times, bytes)) in measures.iter().zip(&mut seen) {
            let url = signed(&server.url, &wallet, action, path, more)?;
            let begun = Instant::now();
            let answer = reply(farebox_test_support::harness::client().get(url)).await;
            let time = millis(begun.elapsed());
            ensure!(answer.status == 200, "{name}: {} {}", answer.status, answer.text);
            if round >= WARM_UP {
                times.push(time);
                *bytes = answer.text.len();
            }
        }
    }
    for ((name, ..), (times, bytes)) in measures.iter().zip(&seen) {
        let p95 = percentile(times, 95);
        let verdict = if p95 > GOAL_MS { "TOO SLOW" } else { "" };
        let bytes = number(real(u64::try_from(*bytes)?));
        let cells = [number(percentile(times, 50)), number(p95), bytes, verdict.to_owned()];
        table.row(&format!("{engine:?}: {name}"), cells);
    }
    server.stop().await;
    Ok(())
}

fn measures(now: Timestamp) -> Vec<Measure> {
    const USAGE: &str = "/api/v1/billing/usage";
    const LEDGER: &str = "/api/v1/billing/ledger";
    let days_ago = |days: i64| {
        let day = now.checked_sub_millis(days * 86_400_000).unwrap_or(now).to_rfc3339();
        day[..10].to_owned()
    };
    let month = format!("&from={}&to={}", days_ago(29), days_ago(0));
    let quarter = format!("&from={}&to={}", days_ago(89), days_ago(0));
    let id = |n: u64| format!("request-{n:08x}");
    vec![
        ("usage by day, 30 days", "ledger", USAGE, month.clone()),
        ("usage by day, 90 days", "ledger", USAGE, quarter),
        (
            "usage by day, service and key, 7 days",
            "ledger",
            USAGE,
            format!("&from={}&by=day,service,key", days_ago(6)),
        ),
        ("usage by day, service and key, 30 days", "ledger", USAGE, format!("{month}&by=day,service,key")),
        ("ledger, first page", "ledger", LEDGER, String::new()),
        ("ledger, a page in the middle", "ledger", LEDGER, format!("&to={}", days_ago(45))),
        ("ledger of a key", "ledger", LEDGER, "&key=benchkey00000042".into()),
        ("ledger of a request", "ledger", LEDGER, format!("&requestId={}", id(1_000))),
        ("keys", "list", "/api/v1/keys", String::new()),
        ("channels, first page", "list", "/api/v1/channels", String::new()),
        ("channels, a page of 1000", "list", "/api/v1/channels", "&limit=1000".into()),
    ]
}

/// Returns the URL of a request, signed by the wallet.
fn signed(
    server: &str,
    wallet: &PrivateKeySigner,
    action: &str,
    path: &str,
    more: &str,
) -> Result<reqwest::Url> {
    let (nonce, ts) = (uuid::Uuid::new_v4(), Timestamp::now().to_rfc3339());
    let message = format!("Pryv API key mgmt | action={action} | keyId= | nonce={nonce} | ts={ts}");
    let signature = wallet.sign_message_sync(message.as_bytes())?;
    let mut url = reqwest::Url::parse(&format!("{server}{path}?{}", more.trim_start_matches('&')))?;
    url.query_pairs_mut()
        .append_pair("walletAddress", &format!("{:#x}", wallet.address()))
        .append_pair("message", &message)
        .append_pair("signature", &alloy::hex::encode_prefixed(signature.as_bytes()));
    Ok(url)
}

/// Fills a migrated database past the program.
async fn fill(url: &str, engine: Engine, wallet: &str, entries: u64, now: i64) -> Result<()> {
    let mut connection = AnyConnection::connect(url).await?;
    for statement in statements(engine, wallet, entries, now) {
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await?;
    }
    connection.close().await?;
    Ok(())
}

fn statements(engine: Engine, wallet: &str, entries: u64, now: i64) -> Vec<String> {
    let digits = |width: usize, value: &str| digits(engine, width, value);
    let (rows, keys, channels) = (numbers(engine, entries), numbers(engine, KEYS), numbers(engine, CHANNELS));
    let (account, span) = (format!("wallet:{wallet}"), DAYS * DAY_MS);
    let begin = now - i64::try_from(span).expect("it fits");
    let moment = format!("{begin} + n * {}", span / entries.max(1));
    let (millis, tail) = (digits(12, &format!("({moment})")), digits(12, "n"));
    let id = format!("substr({millis}, 1, 8) || '-' || substr({millis}, 9, 4) || '-7000-8000-' || {tail}");
    // Neighbours in time are of other keys and services.
    let key = format!("'benchkey' || {}", decimals(engine, &format!("n * 7919 % {KEYS}")));
    let service = format!("'model-' || {}", digits(1, &format!("n / {KEYS} % {SERVICES}")));
    let channel = format!("'0x' || {}", digits(64, "n * 7919"));
    let meta = r#"{"key":"benchkey00000042","end":"complete","promptTokens":123,"completionTokens":45,"reported":true}"#;
    let address = "0x00000000000000000000000000000000000000aa";
    let after = match engine {
        Engine::Sqlite => "SELECT 1",
        Engine::Postgres => {
            "VACUUM ANALYZE accounts, holds, entries, daily_usage, api_keys, channels, vouchers, budgets"
        }
    };
    vec![
        format!(
            "INSERT INTO accounts (id, credited, posted, held, created_at) \
             VALUES ('{account}', {}, {}, 0, {begin})",
            entries * 1000,
            entries * 100
        ),
        format!(
            "INSERT INTO holds (id, account, request_key, reserved, charged, state, created_at, expires_at) {rows} \
             SELECT {id}, '{account}', {id}, 200, 100, 'closed', {moment}, {moment} FROM numbers"
        ),
        format!(
            "INSERT INTO entries (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, \
             created_at, key, prompt_tokens, completion_tokens) {rows} \
             SELECT {id}, '{account}', {id}, 'usage', 100, 'request-' || {}, {service}, 168, 0, '{meta}', {moment}, \
             {key}, 123, 45 FROM numbers",
            digits(8, "n")
        ),
        USAGE.to_owned(),
        format!(
            "INSERT INTO credits (source, account, amount, created_at) VALUES ('fill:1', '{account}', {}, {begin})",
            entries * 1000
        ),
        format!(
            "INSERT INTO api_keys (id, owner, name, hash, created_at, daily_limit) {keys} \
             SELECT 'benchkey' || {}, '{wallet}', 'key', {}, {begin} + n, 1000000 FROM numbers",
            decimals(engine, "n"),
            digits(64, "n")
        ),
        "INSERT INTO budgets (name, day, spent) SELECT key, '', CAST(SUM(cost) AS BIGINT) FROM daily_usage GROUP BY key"
            .to_owned(),
        format!(
            "INSERT INTO accounts (id, credited, posted, held, created_at) {channels} \
             SELECT 'channel:' || {channel}, 1000, 900, 0, {begin} FROM numbers"
        ),
        format!(
            "INSERT INTO channels (id, payer, payee, operator, token, salt, authorized_signer, expiring_nonce_hash, state, \
             deposit, settled, close_requested_at, created_at, active_at, checked_at) {channels} \
             SELECT {channel}, '{wallet}', '{address}', '{address}', '{address}', {channel}, '{address}', {channel}, \
             'closed', 5000, 900, 0, {begin} + n * 1000, {begin} + n * 1000, {begin} + n * 1000 FROM numbers"
        ),
        format!("INSERT INTO vouchers (channel, amount, signature) {channels} SELECT {channel}, 1000, '0x' FROM numbers"),
        after.to_owned(),
    ]
}

/// Returns an SQL expression for a whole number in eight decimal digits.
fn decimals(engine: Engine, value: &str) -> String {
    match engine {
        Engine::Sqlite => format!("printf('%08d', {value})"),
        Engine::Postgres => format!("lpad(CAST({value} AS TEXT), 8, '0')"),
    }
}
