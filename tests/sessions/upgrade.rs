//! Upgrades from the schema of each earlier migration, with rows of every kind in it.
//!
//! One server of today serves some of everything. Its rows are written into each earlier schema as that one had them
//! (`as_of` takes back what migrations did, the newest first), and the program is started on the result: nothing may be
//! lost, the audits are clean, and all that was sold is served.
//!
//! A new migration needs a line in `take_back` if it renames or moves what was there. A column or table that it adds
//! needs nothing: earlier schemas lack it.

use std::collections::BTreeMap;
use std::sync::Arc;

use farebox::config::{ChainConfig, Config, Secret};
use farebox::db::{Db, migrations};
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::channel::Phase;
use farebox::id::{AccountId, SourceRef, Timestamp};
use farebox::keys::{self, KeyLimits, KeysError, NewKey};
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{Server, eventually, funded, own_chain, reply, run, send_raw};
use farebox_test_support::payer::Payer;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};

use crate::fixture::{DEPOSIT, Fixture, MODEL, PRICE};

/// Rows of all tables, each by its columns. A cell is NULL, a number or a text.
type Tables = BTreeMap<String, Vec<BTreeMap<String, Value>>>;
/// Columns of all tables; true for those of numbers.
type Schema = BTreeMap<String, BTreeMap<String, bool>>;

/// Tables that others refer to, in the order in which they are filled.
const FIRST: [&str; 8] = [
    "accounts",
    "holds",
    "api_keys",
    "channels",
    "card_checkouts",
    "payments",
    "oauth_clients",
    "oauth_grants",
];
const CARD_ACCOUNT: &str = "wallet:0xcacacacacacacacacacacacacacacacacacacaca";

/// Rows that no request of this test makes: a card payment with a part refunded, its failed refund and a debt, a key that
/// was sold by a contract, a payment without credit, a settlement that is held back.
const MORE: &str = "
    INSERT INTO accounts (id, credited, posted, held, created_at) VALUES
        ('wallet:0xcacacacacacacacacacacacacacacacacacacaca', 5000000, 1000000, 70, 1),
        ('wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 10000000, 0, 120, 1);
    INSERT INTO credits (source, account, amount, created_at) VALUES
        ('card:pi_1', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca', 5000000, 1),
        ('sale:0xabababababababababababababababababababab:0x0707070707070707070707070707070707070707070707070707070707070707:0',
         'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 10000000, 1);
    INSERT INTO holds (id, account, request_key, reserved, charged, state, created_at, expires_at) VALUES
        ('00000000-0000-4000-8000-000000000001', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca', 'a', 0, 1000000, 'closed', 1, 2),
        ('00000000-0000-4000-8000-000000000002', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca', 'b', 70, 30, 'open', 1, 9000000000000),
        ('00000000-0000-4000-8000-000000000003', 'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 'c', 10, 120, 'open', 1, 9000000000000);
    INSERT INTO entries (id, account, hold, kind, amount, service, units, unit_price, meta, created_at) VALUES
        ('00000000-0000-4000-8000-000000000004', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca',
         '00000000-0000-4000-8000-000000000001', 'refund', 1000000, 'card', 1, 1000000, '{}', 1);
    INSERT INTO daily_usage (account, day, service, key, kind, requests, prompt_tokens, completion_tokens, cost) VALUES
        ('wallet:0xcacacacacacacacacacacacacacacacacacacaca', 0, 'card', '', 'refund', 1, 0, 0, 1000000);
    INSERT INTO card_checkouts (id, account, pack, price, credits, nonce, request_id, session, state, created_at) VALUES
        ('00000000-0000-4000-8000-000000000005', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca', '', 5000000, 5000000,
         'n', 'r', 'cs_1', 'paid', 1);
    INSERT INTO card_payments (payment, checkout, account, paid, credited, refunded, disputed, taken, created_at, updated_at)
        VALUES ('pi_1', '00000000-0000-4000-8000-000000000005', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca',
         5000000, 5000000, 1000500, 0, 1000000, 1, 1);
    INSERT INTO card_refunds (refund, payment, amount, failed) VALUES ('re_1', 'pi_1', 1000500, 0);
    INSERT INTO debts (source, account, amount, created_at, updated_at) VALUES
        ('card:pi_1', 'wallet:0xcacacacacacacacacacacacacacacacacacacaca', 500, 1, 1);
    INSERT INTO api_keys (id, owner, name, hash, source, buyer, created_at) VALUES
        ('sold', '0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 'bought on the chain',
         '0101010101010101010101010101010101010101010101010101010101010101',
         'sale:0xabababababababababababababababababababab:0x0707070707070707070707070707070707070707070707070707070707070707:0',
         '0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 1);
    INSERT INTO chain_cursors (name, next_block, next_log_index, seen, proven_block, proven_seen, updated_at) VALUES
        ('key_sale:1337:0xabababababababababababababababababababab', 7, 1, 1, 5, 0, 1);
    INSERT INTO uncredited_payments (source, owner, amount, why, created_at) VALUES
        ('log:0x08:0', '0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 5, 'refused', 1);
    INSERT INTO held_back_settlements (reference, channel, amount, claim, created_at) VALUES ('0x09', '0x0a', 5, '0x', 1);
    INSERT INTO key_minutes (key, minute, requests, tokens) VALUES ('sold', 1, 1, 5);
    INSERT INTO key_sale_origins (name) VALUES ('key_sale:1337:0xabababababababababababababababababababab');
    INSERT INTO leases (name, owner, until) VALUES ('channels', 'a server of before', 1);
    INSERT INTO sponsor_days (day, payer, reserved) VALUES ('2026-01-31', '', 5);
    INSERT INTO oauth_clients (id, client_id, name, redirect_uris, authorized_at) VALUES ('0c', 'https://c.example', 'c', '[]', 1);
    INSERT INTO oauth_grants (key, client, resource, scopes, granted_at) VALUES ('sold', '0c', 'https://a.example', 'chat', 1);
    INSERT INTO oauth_codes (hash, key, redirect_uri, challenge, expires_at) VALUES ('0d', 'sold', 'https://c.example', '0e', 1);
    INSERT INTO oauth_refresh_tokens (hash, key, family, created_at) VALUES ('0f', 'sold', '0d', 1);
    INSERT INTO oauth_access_tokens (hash, key, family, expires_at) VALUES ('10', 'sold', '0d', 1);
    INSERT INTO mcp_files (id, account, direction, expires_at) VALUES
        ('11', 'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 'upload', 1);
    INSERT INTO browser_sessions (id, hash, account, user_agent, created_at, seen_at, expires_at) VALUES
        ('12', '13', 'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', '', 1, 1, 1);
    INSERT INTO passkeys (credential_id, public_key, account, label, created_at) VALUES
        ('14', '0x04', 'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', '', 1);
    INSERT INTO wallet_nonces (nonce, account, action, used_at, kept_until) VALUES
        ('0b', 'wallet:0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0', 'list', 1, 9000000000000);";

/// What a server of today served before it was stopped.
struct Seed {
    tables: Tables,
    schema: Schema,
    config: Config,
    upstream: Arc<ScriptedUpstream>,
    /// Of open channels, each of which has paid for two chunks: one for each upgrade, for a channel closes once.
    payers: Vec<Payer>,
    /// Of a payment whose answer left, and of one whose transaction was just sent.
    delivered: Value,
    sent: Value,
    /// Text of a key with a budget, and what it spent, in millionths of a dollar.
    key: String,
    spent: i64,
}

#[test]
fn every_earlier_schema_is_upgraded_and_served() {
    run(async {
        let chain = own_chain().await;
        let upgrades = 2 * usize::try_from(migrations::newest()).expect("positive");
        let mut seed = Seed::new(&chain, upgrades).await;
        for version in 1..migrations::newest() {
            let engines = db::engines_before(version + 1).await;
            let schema = schema(&engines[0].db).await;
            let payers = seed.payers.split_off(seed.payers.len() - engines.len());
            let upgraded = engines.into_iter().zip(&payers).map(async |(database, payer)| {
                println!("version {version}, {:?}", database.db.engine);
                seed.write(&database.db, &schema, version).await;
                seed.upgrade(database, &chain, &schema, version, payer).await;
            });
            join_all(upgraded).await;
        }
        chain.stop().await;
    });
}

/// The clock that wrote all moments was an hour ahead, and has been set back: nothing waits for an hour, and a payer that
/// asks the chain for a close meanwhile gets it within its grace period.
#[test]
fn attack_30_what_a_clock_that_was_ahead_has_written_is_served() {
    const MOMENTS: [&str; 10] = [
        "created_at",
        "updated_at",
        "expires_at",
        "lease_until",
        "until",
        "active_at",
        "checked_at",
        "settlement_tried_at",
        "last_used_at",
        "used_at",
    ];
    run(async {
        let chain = own_chain().await;
        let mut seed = Seed::new(&chain, 2).await;
        // Entries stay on the days on which they are counted.
        let tables = seed.tables.iter_mut().filter(|(table, _)| *table != "entries");
        for row in tables.flat_map(|(_, rows)| rows) {
            for moment in MOMENTS {
                if let Some(cell) = row.get_mut(moment).filter(|cell| cell.is_number()) {
                    *cell = json!(number(cell) + 3_600_000);
                }
            }
        }
        let (newest, schema) = (migrations::newest(), seed.schema.clone());
        for (database, payer) in db::engines_before(newest + 1).await.into_iter().zip(&seed.payers) {
            seed.write(&database.db, &schema, newest).await;
            let mut fixture = seed.boot(database, &chain).await;
            fixture.assert_audit().await;
            seed.use_payments(&fixture).await;
            chat(&fixture, &seed.key).await;
            send_raw(&chain, &payer.request_close()).await;
            eventually("the worker closes it", async || {
                (fixture.channel(payer).await.phase == Phase::Closed).then_some(())
            })
            .await;
            assert_eq!(fixture.closed(payer).await, 2 * PRICE);
            fixture.server.stop().await;
        }
        chain.stop().await;
    });
}

impl Seed {
    /// Serves some of everything, and opens a channel for each of so many upgrades.
    async fn new(chain: &Devnet, upgrades: usize) -> Self {
        let mut fixture = Fixture::on(db::sqlite().await, chain, |config| {
            config.chain.confirm_timeout_ms = 500;
        })
        .await;
        let opened = stream::iter(0..upgrades).map(async |_| {
            let payer = fixture.payer(DEPOSIT).await;
            fixture.run(&payer, payer.open(2 * PRICE), &json!({"chunks": 2})).await;
            payer
        });
        let payers = opened.buffer_unordered(8).collect().await;
        let key = key_with_budget(&fixture.server).await;
        let spent = chat(&fixture, &key).await;
        let server = &fixture.server;
        let (agent, challenge) = (funded(chain).await, server.challenge().await);
        let delivered = agent.pull(&challenge);
        server.pay(&delivered).await.assert_paid();
        server.delivered(&challenge.id).await;
        let sent = funded(chain).await.pull(&server.challenge().await);
        chain.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
        chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        server.pay(&sent).await.assert(503, "settlement_pending");
        let mut config = server.app.config.clone();
        config.chain.confirm_timeout_ms = ChainConfig::default().confirm_timeout_ms;
        fixture.server.stop().await;
        chain.faults().clear();
        let db = fixture.server.db.connect_again().await;
        sqlx::raw_sql(MORE).execute(&db.pool).await.expect("more rows");
        // Nobody works on it any more.
        sqlx::raw_sql("UPDATE payments SET lease_until = 0").execute(&db.pool).await.expect("a lease ends");
        let schema = schema(&db).await;
        let tables = read(&db, &schema).await;
        let empty: Vec<_> =
            tables.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table).collect();
        assert!(empty.is_empty(), "without a row: add some to MORE: {empty:?}");
        db.close().await;
        Self { tables, schema, config, upstream: fixture.upstream, payers, delivered, sent, key, spent }
    }

    /// Writes the rows into an earlier schema.
    async fn write(&self, db: &Db, schema: &Schema, version: i64) {
        let tables = restricted(as_of(&self.tables, version), schema);
        let others = tables.keys().map(String::as_str).filter(|table| !FIRST.contains(table));
        let mut statements = Vec::new();
        for table in FIRST.into_iter().chain(others) {
            for row in tables.get(table).into_iter().flatten() {
                let columns: Vec<_> = row.keys().map(String::as_str).collect();
                let cells: Vec<_> = row.values().map(literal).collect();
                let (columns, cells) = (columns.join(", "), cells.join(", "));
                statements.push(format!("INSERT INTO {table} ({columns}) VALUES ({cells});"));
            }
        }
        let written = sqlx::raw_sql(AssertSqlSafe(statements.concat())).execute(&db.pool).await;
        written.unwrap_or_else(|error| panic!("version {version}: {error}"));
    }

    /// Upgrades a database by starting the program on it, and uses everything.
    async fn upgrade(&self, database: TestDb, chain: &Devnet, schema: &Schema, version: i64, payer: &Payer) {
        database.db.migrate().await.expect("the upgrade");
        let mut now = restricted(as_of(&read(&database.db, &self.schema).await, version), schema);
        let mut before = restricted(as_of(&self.tables, version), schema);
        for tables in [&mut now, &mut before] {
            if version < 11 {
                // Read from the chain anew (0011).
                tables.remove("chain_cursors");
            }
            for rows in tables.values_mut() {
                rows.sort_by_key(|row| format!("{row:?}"));
            }
            tables.retain(|_, rows| !rows.is_empty());
        }
        assert_eq!(now, before, "version {version}");

        let mut fixture = self.boot(database, chain).await;
        fixture.assert_audit().await;
        if version >= 2 {
            self.use_payments(&fixture).await;
        }
        if version >= 3 {
            assert_eq!(fixture.close(payer).await, 2 * PRICE);
        }
        if version >= 6 {
            assert_eq!(
                chat(&fixture, &self.key).await,
                2 * self.spent,
                "a budget counts what was spent before"
            );
        }
        fixture.assert_audit().await;
        fixture.server.stop().await;
    }
}

impl Seed {
    /// Starts the program on a database.
    async fn boot<'a>(&self, database: TestDb, chain: &'a Devnet) -> Fixture<'a> {
        let mut config = self.config.clone();
        config.database.url = Secret::from(database.url.as_str());
        let server = Server::boot(database, config).await;
        Fixture { server, upstream: Arc::clone(&self.upstream), chain }
    }

    /// Presents what was paid before again.
    async fn use_payments(&self, fixture: &Fixture<'_>) {
        fixture.server.pay(&self.delivered).await.assert(403, "credential_spent");
        let paid = eventually("an answer", async || {
            let again = fixture.server.pay(&self.sent).await;
            assert!([200, 409, 503].contains(&again.status), "{}", again.text);
            (again.status == 200).then_some(again)
        });
        paid.await.assert_paid();
    }
}

/// Rows of today as a program of an earlier schema had them.
fn as_of(tables: &Tables, version: i64) -> Tables {
    let mut tables = tables.clone();
    for undone in (version + 1..=migrations::newest()).rev() {
        take_back(&mut tables, undone);
    }
    tables
}

/// Makes rows those of the schema before a migration, where that is more than the lack of a table or a column.
fn take_back(tables: &mut Tables, migration: i64) {
    match migration {
        17 => {
            rename(tables, "chain_cursors", "next_log_index", "next_log");
            rename_table(tables, "uncredited_payments", "uncredited_sales");
            for (table, column) in [("credits", "source"), ("api_keys", "source")] {
                let named = |cell: &Value| {
                    cell.as_str()?.strip_prefix("sale:")?.split_once(':').map(|named| named.1.to_owned())
                };
                for cell in tables.get_mut(table).into_iter().flatten().filter_map(|row| row.get_mut(column))
                {
                    if let Some(transaction) = named(cell) {
                        *cell = json!(format!("log:{transaction}"));
                    }
                }
            }
        }
        16 => {
            rename(tables, "payments", "reference", "tx_hash");
            rename(tables, "payments", "instruction", "raw_tx");
        }
        14 => {
            let holds = tables.get("holds").cloned().unwrap_or_default();
            for account in tables.get_mut("accounts").into_iter().flatten() {
                let open =
                    holds.iter().filter(|hold| hold["account"] == account["id"] && hold["state"] == "open");
                let charged: i64 = open.map(|hold| number(&hold["charged"])).sum();
                let posted = account.remove("posted").expect("a sum");
                account.insert("spent".into(), json!(number(&posted) + charged));
                account.insert("held".into(), json!(number(&account["held"]) - charged));
            }
        }
        13 => {
            rename_table(tables, "budgets", "key_spend");
            rename(tables, "key_spend", "name", "key");
        }
        9 => retain(tables, "payments", |payment| payment["goods"].is_null()),
        8 => {
            for table in ["credits", "holds", "entries"] {
                retain(tables, table, |row| row["account"] != CARD_ACCOUNT);
            }
            retain(tables, "accounts", |account| account["id"] != CARD_ACCOUNT);
        }
        6 => retain(tables, "payments", |payment| payment["account"].is_null()),
        _ => {}
    }
}

fn rename(tables: &mut Tables, table: &str, from: &str, to: &str) {
    for row in tables.get_mut(table).into_iter().flatten() {
        let cell = row.remove(from).unwrap_or_else(|| panic!("{table}.{from}"));
        row.insert(to.to_owned(), cell);
    }
}

fn rename_table(tables: &mut Tables, from: &str, to: &str) {
    let rows = tables.remove(from).unwrap_or_else(|| panic!("{from}"));
    tables.insert(to.to_owned(), rows);
}

fn retain(tables: &mut Tables, table: &str, keep: impl Fn(&BTreeMap<String, Value>) -> bool) {
    tables.get_mut(table).into_iter().for_each(|rows| rows.retain(&keep));
}

/// The tables and columns that a schema has.
fn restricted(mut tables: Tables, schema: &Schema) -> Tables {
    tables.retain(|table, _| schema.contains_key(table));
    for (table, rows) in &mut tables {
        for row in rows {
            row.retain(|column, _| schema[table].contains_key(column));
        }
    }
    tables
}

fn number(cell: &Value) -> i64 {
    cell.as_i64().expect("a number")
}

fn literal(cell: &Value) -> String {
    match cell {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        cell => cell.to_string(),
    }
}

/// The tables of an SQLite database, with their columns.
async fn schema(db: &Db) -> Schema {
    let text = "SELECT m.name AS \"table\", c.name AS name, c.type AS type \
         FROM sqlite_master m CROSS JOIN pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations'";
    let mut schema = Schema::new();
    for row in sqlx::query(text).fetch_all(&db.pool).await.expect("the schema") {
        let (table, name, kind): (String, String, String) =
            (row.get("table"), row.get("name"), row.get("type"));
        schema.entry(table).or_default().insert(name, kind == "BIGINT");
    }
    schema
}

/// All rows of a database of this schema.
async fn read(db: &Db, schema: &Schema) -> Tables {
    let mut tables = Tables::new();
    for (table, columns) in schema {
        let names: Vec<_> = columns.keys().map(String::as_str).collect();
        let text = format!("SELECT {} FROM {table}", names.join(", "));
        let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(&db.pool).await.expect("rows");
        let read = rows.iter().map(|row| {
            let cell = |(name, is_number): (&String, &bool)| {
                let cell = if *is_number {
                    json!(row.get::<Option<i64>, _>(name.as_str()))
                } else {
                    json!(row.get::<Option<String>, _>(name.as_str()))
                };
                (name.clone(), cell)
            };
            columns.iter().map(cell).collect()
        });
        tables.insert(table.clone(), read.collect());
    }
    tables
}

/// The text of a new key that may spend a dollar.
async fn key_with_budget(server: &Server) -> String {
    let owner = &format!("{:#x}", Agent::random().address());
    let account = AccountId::wallet(owner).expect("an address");
    let source = SourceRef::parse("test:budget").expect("a token");
    let credit = Money::from_micros(1_000_000);
    server.app.ledger.credit(&account, credit, &source, Timestamp::now()).await.expect("credited");
    let minted = &server.app.keys.mint();
    let limits = &KeyLimits { daily: Some(credit), total: Some(credit), ..KeyLimits::default() };
    let stored = server.app.db.transaction(|mut tx| async move {
        let new =
            NewKey { id: &minted.id, owner, name: "budget", limits, expires_at: None, hash: &minted.hash };
        keys::create(&mut tx, &new, Timestamp::now()).await?;
        Ok::<_, KeysError>((tx, ()))
    });
    stored.await.expect("the key is stored");
    minted.text.expose().to_owned()
}

/// Uses a key; returns what it has spent ever, in millionths of a dollar.
async fn chat(fixture: &Fixture<'_>, key: &str) -> i64 {
    let content = json!({"chunks": 3}).to_string();
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 10});
    let answer = reply(fixture.server.post("/v1/chat/completions", &body.to_string()).bearer_auth(key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let open = "SELECT count(*) FROM holds WHERE state = 'open' AND budget IS NOT NULL";
    eventually("it is charged", async || (fixture.server.count(open).await == 0).then_some(())).await;
    let shown = reply(fixture.server.get("/v1/key").bearer_auth(key)).await.json();
    #[expect(clippy::cast_possible_truncation, reason = "a few cents")]
    let spent = (shown["data"]["usage"].as_f64().expect("dollars") * 1e6).round() as i64;
    spent
}
