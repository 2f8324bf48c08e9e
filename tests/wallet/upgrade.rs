//! The migrations that write entries and accounts anew, on a database that has some.

use std::borrow::Cow;
use std::path::Path;

use farebox::db::{Db, Engine};
use farebox::id::{AccountId, HoldId, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{ChargeOutcome, EntryDetails, EntryKind, Ledger};
use farebox::money::Money;
use farebox_test_support::db;
use farebox_test_support::harness::run;
use serde_json::json;
use sqlx::migrate::Migrator;

/// The schema as it was before card payments, brought in by sqlx from the folder.
async fn migrate_to_before_cards(db: &Db) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let all = Migrator::new(folder).await.expect("the folder");
    let before = all.iter().filter(|migration| migration.version < 8).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(before), ..Migrator::DEFAULT };
    migrator.run(&db.pool).await.expect("the schema of before");
    let triggers = match db.engine {
        Engine::Sqlite => include_str!("../../migrations/triggers/sqlite.sql"),
        Engine::Postgres => include_str!("../../migrations/triggers/postgres.sql"),
    };
    sqlx::raw_sql(triggers).execute(&db.pool).await.expect("the triggers of before");
}

/// A wallet of before, in the words of that schema: one charged hold closed, two open, of which one
/// was charged more than it had reserved.
const OLD: &str = "
    INSERT INTO accounts (id, credited, spent, held, created_at) VALUES ('test:old', 1000, 150, 70, 1);
    INSERT INTO credits (source, account, amount, created_at) VALUES ('test:1', 'test:old', 1000, 1);
    INSERT INTO holds (id, account, request_key, reserved, charged, state, created_at, expires_at) VALUES
        ('00000000-0000-4000-8000-000000000001', 'test:old', 'a', 0, 100, 'closed', 1, 2),
        ('00000000-0000-4000-8000-000000000002', 'test:old', 'b', 100, 30, 'open', 1, 2),
        ('00000000-0000-4000-8000-000000000003', 'test:old', 'c', 10, 20, 'open', 1, 2);
    INSERT INTO entries (id, account, hold, kind, amount, service, units, unit_price, meta, created_at) VALUES
        ('00000000-0000-4000-8000-000000000004', 'test:old', '00000000-0000-4000-8000-000000000001', 'usage', 100,
         'model', 1, 100, '{}', 1);";

#[test]
fn what_there_was_is_all_there_and_entries_are_final_after_the_upgrade() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("sqlite://{}", folder.path().join("old.db").display());
        let mut databases = vec![(Db::connect(&file, 2).await.expect("a file"), None)];
        if let Some(database) = db::postgres().await {
            database.execute("DROP SCHEMA public CASCADE").await;
            database.execute("CREATE SCHEMA public").await;
            databases.push((database.connect_again().await, Some(database)));
        }
        for (db, _keep) in databases {
            migrate_to_before_cards(&db).await;
            sqlx::raw_sql(OLD).execute(&db.pool).await.expect("what there was");
            let ledger = Ledger::start(db.clone());
            let account = AccountId::parse("test:old").expect("an account");
            let before = ledger.entries(&account, None, 10).await.expect("a page");
            assert_eq!(before.entries.len(), 2);
            db.migrate().await.expect("the upgrade");
            assert_eq!(ledger.entries(&account, None, 10).await.expect("a page"), before);
            let balance = ledger.balance(&account).await.expect("a balance");
            let sides = [balance.credited(), balance.spent(), balance.held(), balance.available()];
            assert_eq!(sides.map(Money::micros), [1000, 150, 70, 780]);
            assert!(audit(&db).await.expect("it runs").is_clean());
            // What was open goes on, and closes.
            let details = EntryDetails {
                kind: EntryKind::Usage,
                request_id: None,
                service: "model".into(),
                units: 1,
                unit_price: Money::from_micros(10),
                meta: json!({}),
            };
            for (hold, charged) in [(2, 40), (3, 30)] {
                let hold = format!("00000000-0000-4000-8000-00000000000{hold}");
                let hold = HoldId::parse(&hold).expect("a hold");
                let outcome = ledger.charge(&hold, Money::from_micros(10)).await.expect("charged");
                assert_eq!(outcome, ChargeOutcome::Charged { total: Money::from_micros(charged) });
                ledger.close(&hold, &details, Timestamp::now()).await.expect("closed");
            }
            let balance = ledger.balance(&account).await.expect("a balance");
            assert_eq!([balance.spent(), balance.held()].map(Money::micros), [170, 0]);
            assert!(audit(&db).await.expect("it runs").is_clean());
            for change in ["UPDATE entries SET amount = 1", "DELETE FROM entries"] {
                assert!(sqlx::query(change).execute(&db.pool).await.is_err(), "{change}");
            }
            db.migrate().await.expect("again changes nothing");
            db.close().await;
        }
    });
}
