//! Row 30, the database: gone, full, slow, or lost in the middle of a stream. Nothing is delivered
//! that was not charged, nothing is charged twice, and the same credential works afterwards.

use std::time::Duration;

use farebox::db::Engine;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{self, Reply, eventually, own_chain, reply, run};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, amount, body, on_every_engine};

/// Makes a kind of write fail as on a full disk, in the engine's own words.
async fn fill(db: &TestDb, write: &str, when: &str) {
    const FULL: &str = "database or disk is full";
    if db.db.engine == Engine::Sqlite {
        let body = format!("BEGIN SELECT RAISE(ABORT, '{FULL}'); END");
        return db.execute(&format!("CREATE TRIGGER full_disk BEFORE {write} {when} {body}")).await;
    }
    let raise = format!("BEGIN RAISE EXCEPTION '{FULL}' USING ERRCODE = '53100'; END");
    db.execute(&format!(
        "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $${raise}$$"
    ))
    .await;
    let each = format!("FOR EACH ROW {when} EXECUTE FUNCTION full_disk()");
    db.execute(&format!("CREATE TRIGGER full_disk BEFORE {write} {each}")).await;
}

async fn make_room(db: &TestDb, table: &str) {
    let on = if db.db.engine == Engine::Postgres { format!(" ON {table}") } else { String::new() };
    db.execute(&format!("DROP TRIGGER full_disk{on}")).await;
}

/// An answer that leaves the outcome open: nobody is asked to pay again.
#[track_caller]
fn assert_open(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    assert!(reply.challenges().is_empty());
}

async fn charged(fixture: &Fixture<'_>) -> u64 {
    let sum = "SELECT CAST(coalesce(sum(charged), 0) AS BIGINT) FROM holds";
    u64::try_from(fixture.server.count(sum).await).expect("not negative")
}

#[test]
fn attack_30_no_chunk_arrives_before_its_charge_is_in_the_database() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 1});
        let mut stream = fixture.stream(&payer, payer.open(900 * PRICE), &script).await;
        for texts in 1..=80 {
            stream.text().await.expect("it runs");
            let charged = charged(fixture).await;
            assert!(texts * PRICE <= charged, "{texts} chunks are here, {charged} was charged");
        }
        drop(stream);
        fixture.idle().await;
        let charged = charged(fixture).await;
        assert_eq!((fixture.close(&payer).await, fixture.earned().await), (charged, charged));
    }));
}

#[test]
fn attack_30_a_charge_that_cannot_be_written_delivers_nothing() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
        let room = 20 * PRICE;
        let full = format!("WHEN (new.charged > {room})");
        fill(&fixture.server.db, "UPDATE ON holds", &full).await;
        let script = json!({"chunks": 90, "intervalMs": 2});
        let transcript = fixture.run(&payer, payer.voucher(100 * PRICE), &script).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "ledger_unavailable");
        fixture.idle().await;
        let charged = charged(fixture).await;
        assert!(charged <= room && transcript.done);
        assert_eq!((transcript.texts.len() as u64 * PRICE, transcript.cost()), (charged, charged));
        assert_eq!(amount(&transcript.receipt["spent"]), charged);

        make_room(&fixture.server.db, "holds").await;
        let transcript = fixture.run(&payer, payer.voucher(100 * PRICE), &json!({"chunks": 9})).await;
        assert_eq!((transcript.texts.len(), transcript.cost(), transcript.errors.len()), (9, 9 * PRICE, 0));
        let total = charged + 9 * PRICE;
        assert_eq!((fixture.close(&payer).await, fixture.earned().await), (total, total));
    }));
}

/// Each table that opening a channel and serving on it writes, on a chain that counts what is sent.
#[test]
fn attack_30_a_disk_full_at_each_table_takes_one_deposit_and_one_payment() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, &chain, |_| {}).await;
            for table in ["channels", "vouchers", "credits", "accounts", "holds", "channel_requests"] {
                let payer = fixture.payer(DEPOSIT).await;
                let sent = chain.broadcasts();
                let request = body(&json!({"chunks": 5}), true);
                fill(&fixture.server.db, &format!("INSERT ON {table}"), "").await;
                for _ in 0..2 {
                    assert_open(&fixture.reply(&payer, payer.open(50 * PRICE), &request).await);
                }
                // The channel's row is written before its transaction leaves.
                assert_eq!(chain.broadcasts() - sent, u64::from(table != "channels"), "{table}");
                make_room(&fixture.server.db, table).await;
                let transcript = fixture.run(&payer, payer.open(50 * PRICE), &json!({"chunks": 5})).await;
                assert_eq!(
                    (transcript.texts.len(), transcript.cost(), chain.broadcasts() - sent),
                    (5, 500, 1),
                    "{table}"
                );
                assert_eq!(fixture.close(&payer).await, 5 * PRICE, "{table}");
            }
            fixture.server.stop().await;
        }
        chain.stop().await;
    });
}

/// The charge is known by then; only the entry is missing, and the next request writes it.
#[test]
fn attack_30_a_hold_that_cannot_be_closed_is_closed_by_the_next_request() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 60 * PRICE).await;
        fill(&fixture.server.db, "INSERT ON entries", "").await;
        let transcript = fixture.run(&payer, payer.voucher(60 * PRICE), &json!({"chunks": 8})).await;
        assert_eq!((transcript.texts.len(), transcript.cost()), (8, 8 * PRICE));
        assert_eq!(amount(&transcript.receipt["spent"]), 8 * PRICE);
        assert_eq!(fixture.open_holds().await, 1);
        make_room(&fixture.server.db, "entries").await;
        let transcript = fixture.run(&payer, payer.voucher(60 * PRICE), &json!({"chunks": 2})).await;
        assert_eq!((transcript.texts.len(), amount(&transcript.receipt["spent"])), (2, 10 * PRICE));
        fixture.idle().await;
        let units = "SELECT CAST(sum(units) AS BIGINT) FROM entries";
        assert_eq!((fixture.server.count(units).await, fixture.close(&payer).await), (10, 10 * PRICE));
    }));
}

#[test]
fn attack_30_a_database_that_is_gone_is_503_for_every_action() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let fixture = Fixture::on(database, &chain, |_| {}).await;
            let open = fixture.opened(DEPOSIT, 30 * PRICE).await;
            let new = fixture.payer(DEPOSIT).await;
            let sent = chain.broadcasts();
            fixture.server.app.db.close().await;
            let request = body(&json!({"chunks": 3}), true);
            for (payer, payload) in [
                (&new, new.open(40 * PRICE)),
                (&open, open.voucher(40 * PRICE)),
                (&open, open.top_up(PRICE)),
                (&open, open.close(30 * PRICE)),
            ] {
                assert_open(&fixture.manage(payer, payload.clone()).await);
                let head = fixture.server.request(Method::HEAD, CHAT);
                assert_open(&reply(head.header("authorization", payer.authorization(payload))).await);
            }
            assert_open(&fixture.reply(&new, new.open(40 * PRICE), &request).await);
            assert_open(&fixture.reply(&open, open.voucher(40 * PRICE), &request).await);
            assert_eq!((chain.broadcasts(), fixture.upstream.observed().requests), (sent, 0));
            // Asking writes nothing, so it goes on.
            fixture.challenge().await;

            let fixture = fixture.restart(|_| {}).await;
            for (payer, payload) in [(&new, new.open(40 * PRICE)), (&open, open.voucher(40 * PRICE))] {
                let transcript = fixture.run(payer, payload, &json!({"chunks": 3})).await;
                assert_eq!((transcript.texts.len(), transcript.cost()), (3, 3 * PRICE));
                assert_eq!(fixture.close(payer).await, 3 * PRICE);
            }
            assert_eq!(fixture.earned().await, 6 * PRICE);
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

/// Keeps every charge waiting until it is dropped.
async fn locked(other: &farebox::db::Db) -> farebox::db::Tx {
    let mut tx = other.begin().await.expect("the writer's lock");
    if other.engine == Engine::Postgres {
        let rows = sqlx::query("SELECT id FROM holds FOR UPDATE").fetch_all(tx.conn()).await;
        rows.expect("the holds are locked");
    }
    tx
}

/// The texts that come until `pause` goes by without one.
async fn texts_until_silent(stream: &mut sse::Stream, pause: Duration) -> u64 {
    let texts = futures_util::stream::unfold(stream, |stream| async {
        let text = tokio::time::timeout(pause, stream.text()).await.ok().flatten();
        text.map(|text| (text, stream))
    });
    texts.count().await as u64
}

#[test]
fn attack_30_a_slow_database_holds_the_stream_and_loses_nothing() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"chunks": 120, "intervalMs": 2});
        let mut stream = fixture.stream(&payer, payer.open(200 * PRICE), &script).await;
        stream.text().await.expect("it runs");
        let other = fixture.server.db.connect_again().await;
        let lock = locked(&other).await;
        let charged = charged(fixture).await;
        // Far longer than the model takes for all of its answer.
        let texts = 1 + texts_until_silent(&mut stream, Duration::from_millis(700)).await;
        assert!(texts < 120 && texts * PRICE <= charged, "{texts} of {charged} before the commit");
        drop(lock);
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((texts + transcript.texts.len() as u64, transcript.cost()), (120, 120 * PRICE));
        assert!(transcript.errors.is_empty() && transcript.done, "{:?}", transcript.errors);
        other.close().await;
        assert_eq!((fixture.close(&payer).await, fixture.earned().await), (120 * PRICE, 120 * PRICE));
    }));
}

/// Connections on which a charge waits for its hold.
const BLOCKED_CHARGES: &str = "FROM pg_stat_activity WHERE datname = current_database() \
    AND wait_event_type = 'Lock' AND query LIKE '%UPDATE holds%'";

/// `PostgreSQL` ends the connection on which a charge is being written. It was not committed, so it is
/// charged on another.
#[test]
fn attack_30_a_connection_lost_within_a_charge_charges_nothing_twice() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, harness::shared_chain().await, |_| {}).await;
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"chunks": 200, "intervalMs": 2});
        let mut stream = fixture.stream(&payer, payer.open(900 * PRICE), &script).await;
        for _ in 0..5 {
            stream.text().await.expect("it runs");
        }
        let other = fixture.server.db.connect_again().await;
        let lock = locked(&other).await;
        eventually("a charge waits", async || {
            let waiting = sqlx::AssertSqlSafe(format!("SELECT count(*) {BLOCKED_CHARGES}"));
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&other.pool).await.expect("a number");
            (waiting > 0).then_some(())
        })
        .await;
        fixture.server.db.execute(&format!("SELECT pg_terminate_backend(pid) {BLOCKED_CHARGES}")).await;
        drop(lock);
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.errors.len()), (195, 0));
        fixture.idle().await;
        let charged = charged(&fixture).await;
        assert_eq!(charged, 200 * PRICE);
        assert_eq!((transcript.cost(), amount(&transcript.receipt["spent"])), (charged, charged));
        let transcript = fixture.run(&payer, payer.voucher(900 * PRICE), &json!({"chunks": 4})).await;
        assert_eq!((transcript.texts.len(), transcript.errors.len()), (4, 0));
        other.close().await;
        assert_eq!(fixture.close(&payer).await, charged + 4 * PRICE);
        fixture.finish().await;
    });
}

/// A whole answer that is charged must leave: sent again, the request would be charged again.
#[test]
fn attack_30_an_answer_that_was_charged_is_delivered_though_the_channel_cannot_be_read() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, harness::shared_chain().await, |config| {
            config.models[0].max_output_tokens = 10;
        })
        .await;
        let request = body(&json!({"chunks": 3, "firstMs": 600}), false);
        let challenge = reply(fixture.server.post(CHAT, &request)).await.challenge();
        let payer = Payer::prepare(fixture.agent().await, challenge, DEPOSIT);
        fixture.done(&payer, payer.open(10 * PRICE)).await;
        let other = fixture.server.db.connect_again().await;
        let lock = async {
            eventually("the model is asked", async || {
                (fixture.upstream.observed().requests == 1).then_some(())
            })
            .await;
            let mut tx = other.begin().await.expect("a transaction");
            let lock = sqlx::query("LOCK TABLE channels IN ACCESS EXCLUSIVE MODE").execute(tx.conn()).await;
            lock.expect("the table is locked");
            tx
        };
        let (lock, answer) = tokio::join!(lock, fixture.reply(&payer, payer.voucher(10 * PRICE), &request));
        drop(lock);
        fixture.idle().await;
        assert_eq!(fixture.channel_amounts(&payer).await.2, 3 * PRICE);
        assert_eq!(answer.status, 200, "charged and not delivered: {}", answer.text);
        let receipt: Value = answer.receipt();
        assert_eq!((&receipt["units"], amount(&receipt["spent"])), (&json!(3), 3 * PRICE));
        other.close().await;
        assert_eq!(fixture.close(&payer).await, 3 * PRICE);
        fixture.finish().await;
    });
}
