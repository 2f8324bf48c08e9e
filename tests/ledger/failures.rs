//! A database that fails, and a ledger that somebody tampered with.

use std::time::Duration;

use farebox::db::Engine;
use farebox::ledger::audit::{Difference, audit};
use farebox::ledger::{ChargeOutcome, CloseOutcome, Ledger, LedgerError};
use farebox_test_support::db::{for_each_engine, postgres, sqlite};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::*;

/// Asserts that every verb that writes ends with a database error: never with `Short`, never with success.
async fn assert_every_write_errs(ledger: &Ledger, account: &AccountId, hold: &HoldId) {
    let database = |error: Option<LedgerError>, verb: &str| {
        assert!(matches!(error, Some(LedgerError::Database(_))), "{verb}: {error:?}");
    };
    let (key, source) = (key("later"), source("later"));
    let (amount, details) = (money(1_000_000), details());
    database(ledger.charge(hold, amount).await.err(), "charge");
    database(ledger.credit(account, amount, &source, NOW).await.err(), "credit");
    database(ledger.hold(account, &key, amount, NOW, LATER).await.err(), "hold");
    database(ledger.close(hold, &details, NOW).await.err(), "close");
    database(ledger.spend(account, amount, &key, &details, NOW).await.err(), "spend");
}

#[tokio::test]
async fn attack_30_a_lost_database_is_an_error_and_never_short() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r", 10).await;

        engine.execute("ALTER TABLE accounts RENAME TO lost").await;
        assert_every_write_errs(&ledger, &account, &hold).await;
        engine.execute("ALTER TABLE lost RENAME TO accounts").await;
        // Nothing was done meanwhile, and the writer is still there.
        assert_eq!(ledger.charge(&hold, money(4)).await.unwrap(), charged(4));
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 4, 6));
        assert_clean(&ledger).await;

        engine.db.close().await;
        assert_every_write_errs(&ledger, &account, &hold).await;
        let balance = ledger.balance(&account).await;
        assert!(matches!(balance, Err(LedgerError::Database(_))), "{balance:?}");
    })
    .await;
}

/// A row that cannot be written fails its own command, and not those that share its commit.
#[tokio::test]
async fn attack_30_a_row_that_cannot_be_written_leaves_other_commands_alone() {
    let engine = sqlite().await;
    let ledger = Ledger::start(engine.db.clone());
    let account = funded(&ledger, "a", 100).await;
    let stuck = opened(&ledger, &account, "stuck", 10).await;
    let mut others = Vec::new();
    for name in 0..8 {
        others.push(opened(&ledger, &account, &format!("r{name}"), 10).await);
    }
    let text = "CREATE TRIGGER stuck BEFORE UPDATE ON holds WHEN OLD.id = '{}'
        BEGIN SELECT RAISE(IGNORE); END";
    engine.execute(&text.replace("{}", &stuck.to_string())).await;
    let (failed, charges) = tokio::join!(
        ledger.charge(&stuck, money(1)),
        join_all(others.iter().map(|hold| ledger.charge(hold, money(1))))
    );
    assert!(matches!(failed, Err(LedgerError::Corrupt(_))), "{failed:?}");
    for charge in charges {
        assert_eq!(charge.unwrap(), charged(1));
    }
    assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 8, 82));
    assert_clean(&ledger).await;
}

#[tokio::test]
async fn attack_20_failed_reservation_fails_closed() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        // The money can be set aside, but the hold cannot be written.
        engine.execute("ALTER TABLE holds RENAME TO lost").await;
        let hold = ledger.hold(&account, &key("r"), money(60), NOW, LATER).await;
        assert!(matches!(hold, Err(LedgerError::Database(_))), "{hold:?}");
        engine.execute("ALTER TABLE lost RENAME TO holds").await;
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 0, 0));
        opened(&ledger, &account, "r", 60).await;
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn attack_30_a_close_that_cannot_be_posted_changes_nothing() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r", 60).await;
        ledger.charge(&hold, money(10)).await.unwrap();
        engine.execute("DROP VIEW statement").await;
        engine.execute("ALTER TABLE entries RENAME TO lost").await;
        ledger.close(&hold, &details(), NOW).await.unwrap_err();
        engine.execute("ALTER TABLE lost RENAME TO entries").await;
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 10, 50));
        let closed = ledger.close(&hold, &details(), NOW).await.unwrap();
        assert!(matches!(closed, CloseOutcome::Closed { .. }));
        assert_clean(&ledger).await;
    })
    .await;
}

/// The server cuts all connections again and again. Every charge that was answered is there; those
/// that ended with an error may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_30_connections_cut_during_charges_lose_no_answered_charge() {
    let Some(engine) = postgres().await else { return };
    let ledger = Ledger::start(engine.db.clone());
    let account = funded(&ledger, "a", 1_000_000).await;
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let hold = opened(&ledger, &account, &format!("r{n}"), 10).await;
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let (mut charged, mut unknown) = (0, 0);
            for _ in 0..100 {
                match ledger.charge(&hold, money(1)).await {
                    Ok(ChargeOutcome::Charged { .. }) => charged += 1,
                    Err(LedgerError::Database(_)) => unknown += 1,
                    other => panic!("{other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            (charged, unknown)
        });
    }
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        engine.execute(cut).await;
    }
    let ends = tasks.join_all().await;
    let charged: i64 = ends.iter().map(|(charged, _)| charged).sum();
    let unknown: i64 = ends.iter().map(|(_, unknown)| unknown).sum();
    let spent = ledger.balance(&account).await.unwrap().spent().micros();
    assert!(charged <= spent && spent <= charged + unknown, "{charged} {spent} {unknown}");
    assert!(charged > 0);
    assert_clean(&ledger).await;
}

/// A writer that another process keeps from the file waits for it, then says so.
#[tokio::test]
async fn attack_30_a_busy_database_is_waited_for() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r", 10).await;
        let mut blocker = engine.connect_again().await.begin().await.unwrap();
        sqlx::query("UPDATE holds SET charged = charged").execute(blocker.conn()).await.unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            blocker.commit().await.unwrap();
        };
        let (charge, ()) = tokio::join!(ledger.charge(&hold, money(4)), release);
        assert_eq!(charge.unwrap(), charged(4));
    })
    .await;
}

#[tokio::test]
async fn an_audit_finds_what_was_tampered_with() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let open = opened(&ledger, &account, "open", 30).await;
        ledger.charge(&open, money(10)).await.unwrap();
        let closed = opened(&ledger, &account, "closed", 30).await;
        ledger.charge(&closed, money(10)).await.unwrap();
        ledger.close(&closed, &details(), NOW).await.unwrap();
        assert_clean(&ledger).await;
        engine
            .execute(match engine.db.engine {
                Engine::Sqlite => "DROP TRIGGER credits_never_change",
                Engine::Postgres => "DROP TRIGGER credits_never_change ON credits",
            })
            .await;

        for (tamper, undo, found) in [
            (
                "UPDATE accounts SET credited = credited + 1",
                "UPDATE accounts SET credited = credited - 1",
                "credited",
            ),
            ("UPDATE accounts SET posted = posted - 1", "UPDATE accounts SET posted = posted + 1", "posted"),
            ("UPDATE accounts SET held = held + 1", "UPDATE accounts SET held = held - 1", "held"),
            ("UPDATE credits SET amount = amount - 5", "UPDATE credits SET amount = amount + 5", "credited"),
            (
                "UPDATE holds SET charged = charged + 1 WHERE state = 'closed'",
                "UPDATE holds SET charged = charged - 1 WHERE state = 'closed'",
                "an entry says what its hold was charged",
            ),
            (
                "UPDATE holds SET charged = 500 WHERE state = 'open'",
                "UPDATE holds SET charged = 10 WHERE state = 'open'",
                "a hold is charged no more than its account was ever credited",
            ),
            (
                "UPDATE holds SET state = 'closed' WHERE charged = 10",
                "UPDATE holds SET state = 'open' WHERE request_key = 'open'",
                "a closed hold has exactly one entry",
            ),
            (
                "UPDATE holds SET state = 'open' WHERE request_key = 'closed'",
                "UPDATE holds SET state = 'closed' WHERE request_key = 'closed'",
                "an entry belongs to a closed hold of the same account",
            ),
        ] {
            engine.execute(tamper).await;
            let report = audit(&engine.db).await.unwrap();
            assert!(!report.is_clean(), "{tamper}");
            assert!(
                report.differences.iter().any(|difference| match difference {
                    Difference::Sum { column, .. } => *column == found,
                    Difference::Record { rule, .. } => *rule == found,
                    Difference::Overdrawn { .. } | Difference::Usage(_) => false,
                }),
                "{tamper}: {report}"
            );
            engine.execute(undo).await;
            assert_clean(&ledger).await;
        }
    })
    .await;
}

/// Even a statement without a condition cannot overdraw.
#[tokio::test]
async fn attack_20_the_schema_refuses_an_overdraw() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        funded(&ledger, "a", 100).await;
        for statement in [
            "UPDATE accounts SET posted = posted + 101",
            "UPDATE accounts SET held = held + 101",
            "UPDATE accounts SET posted = 60, held = 41",
            "UPDATE accounts SET credited = credited - 1000",
            "UPDATE accounts SET posted = -1",
            "UPDATE accounts SET held = -1",
            "UPDATE accounts SET credited = credited + 9223372036854775807",
            "UPDATE accounts SET posted = 9000000000000000000, held = 9000000000000000000",
            "INSERT INTO credits (source, account, amount, created_at) VALUES ('x', 'test:nobody', 1, 0)",
            "INSERT INTO credits (source, account, amount, created_at) VALUES ('x', 'test:a', 0, 0)",
            "INSERT INTO credits (source, account, amount, created_at) VALUES ('tx:a', 'test:a', 1, 0)",
        ] {
            let refused = sqlx::query(statement).execute(&engine.db.pool).await;
            assert!(matches!(refused, Err(sqlx::Error::Database(_))), "{statement}: {refused:?}");
        }
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn attack_30_records_are_final() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        ledger.spend(&account, money(5), &key("r"), &details(), NOW).await.unwrap();
        // Migrating again, as every start does, changes nothing.
        engine.db.migrate().await.unwrap();
        for statement in [
            "UPDATE entries SET amount = 1",
            "UPDATE entries SET meta = '{}'",
            "DELETE FROM entries",
            "UPDATE credits SET amount = 1",
            "DELETE FROM credits",
        ] {
            let refused = sqlx::query(statement).execute(&engine.db.pool).await.unwrap_err();
            assert!(refused.to_string().contains("are final"), "{statement}: {refused}");
        }
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn commits_are_synced() {
    for_each_engine(async |engine| {
        let mut tx = engine.db.begin().await.unwrap();
        let settings: &[(&str, &str)] = match engine.db.engine {
            Engine::Sqlite => &[
                ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2"),
                ("SELECT journal_mode FROM pragma_journal_mode", "wal"),
                ("SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1"),
            ],
            Engine::Postgres => &[
                ("SELECT current_setting('synchronous_commit')", "on"),
                ("SELECT current_setting('transaction_isolation')", "read committed"),
            ],
        };
        for (query, expected) in settings {
            let value: String = sqlx::query_scalar(*query).fetch_one(tx.conn()).await.unwrap();
            assert_eq!(value, *expected, "{query}");
        }
    })
    .await;
}
