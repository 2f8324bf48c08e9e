//! The migration that writes the entries anew, on a database that has some.

use std::borrow::Cow;

use farebox::db::{Db, Engine};
use farebox::id::{AccountId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{EntryDetails, EntryKind, Ledger};
use farebox::money::Money;
use serde_json::json;
use sqlx::migrate::Migrator;

use crate::db;
use crate::harness::run;

/// The schema as it was before card payments.
async fn migrate_to_before_cards(db: &Db) {
    let all = sqlx::migrate!();
    let before = all.iter().filter(|migration| migration.version < 8).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(before), ..Migrator::DEFAULT };
    migrator.run(&db.pool).await.expect("the schema of before");
    let triggers = match db.engine {
        Engine::Sqlite => include_str!("../../migrations/triggers/sqlite.sql"),
        Engine::Postgres => include_str!("../../migrations/triggers/postgres.sql"),
    };
    sqlx::raw_sql(triggers).execute(&db.pool).await.expect("the triggers of before");
}

#[test]
fn entries_of_before_are_all_there_and_final_after_the_upgrade() {
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
            let ledger = Ledger::start(db.clone());
            let account = AccountId::parse("test:old").expect("an account");
            let (source, now) = (SourceRef::parse("test:1").expect("a source"), Timestamp::now());
            ledger.credit(&account, Money::from_micros(1000), &source, now).await.expect("credited");
            for index in 0..3 {
                let details = EntryDetails {
                    kind: EntryKind::Usage,
                    request_id: None,
                    service: format!("model {index}"),
                    units: 1,
                    unit_price: Money::from_micros(100),
                    meta: json!({ "index": index }),
                };
                let key = RequestKey::new(now);
                let spent = ledger.spend(&account, Money::from_micros(100), &key, &details, now).await;
                assert!(spent.is_ok(), "{spent:?}");
            }
            let before = ledger.entries(&account, None, 10).await.expect("a page");
            db.migrate().await.expect("the upgrade");
            assert_eq!(ledger.entries(&account, None, 10).await.expect("a page"), before);
            assert!(audit(&db).await.expect("it runs").is_clean());
            for change in ["UPDATE entries SET amount = 1", "DELETE FROM entries"] {
                assert!(sqlx::query(change).execute(&db.pool).await.is_err(), "{change}");
            }
            db.migrate().await.expect("again changes nothing");
            db.close().await;
        }
    });
}
