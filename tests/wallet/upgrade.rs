//! The migrations that write entries and accounts anew, on a database that has some.

use std::borrow::Cow;
use std::path::Path;

use farebox::db::{Db, Engine};
use farebox::id::{AccountId, HoldId, RequestId, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{
    ChargeOutcome, Day, EntryDetails, EntryKind, Filter, Ledger, UsageGrouping, UsageOutcome, UsageQuery,
    UsageSums,
};
use farebox::money::Money;
use farebox_test_support::db;
use farebox_test_support::harness::run;
use serde_json::json;
use sqlx::migrate::Migrator;

/// The schema as it was before a migration, brought in by sqlx from the folder.
async fn migrate_to_before(db: &Db, version: i64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let all = Migrator::new(folder).await.expect("the folder");
    let before = all.iter().filter(|migration| migration.version < version).cloned().collect();
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

/// Requests of before: with a key that the details name, with one that the hold names, and without; of two days, and
/// with counts and texts that mislead a hasty reader.
const OLD_USAGE: &str = r#"
    INSERT INTO accounts (id, credited, posted, held, created_at) VALUES ('test:old', 1000, 150, 0, 1);
    INSERT INTO credits (source, account, amount, created_at) VALUES ('test:1', 'test:old', 1000, 1);
    INSERT INTO holds (id, account, request_key, reserved, charged, state, created_at, expires_at, budget, day) VALUES
        ('00000000-0000-4000-8000-000000000001', 'test:old', 'a', 0, 100, 'closed', 1, 2, 'kb', '1970-01-01'),
        ('00000000-0000-4000-8000-000000000002', 'test:old', 'b', 0, 30, 'closed', 1, 2, 'kb', '1970-01-01'),
        ('00000000-0000-4000-8000-000000000003', 'test:old', 'c', 0, 15, 'closed', 1, 2, NULL, NULL),
        ('00000000-0000-4000-8000-000000000004', 'test:old', 'd', 0, 5, 'closed', 1, 2, NULL, NULL);
    INSERT INTO entries (id, account, hold, kind, amount, request_id, service, units, unit_price, meta, created_at) VALUES
        ('00000000-0000-4000-8000-000000000011', 'test:old', '00000000-0000-4000-8000-000000000001', 'usage', 100, 'r-1',
         'model', 1, 100, '{"key":"ka","end":"complete","promptTokens":12,"completionTokens":34,"items":[{"item":"input","tokens":12}]}', 86399999),
        ('00000000-0000-4000-8000-000000000012', 'test:old', '00000000-0000-4000-8000-000000000002', 'expired', 30, NULL,
         '', 0, 0, '{}', 86400000),
        ('00000000-0000-4000-8000-000000000013', 'test:old', '00000000-0000-4000-8000-000000000003', 'purchase', 15, 'r-3',
         'model', 1, 15, '{"note":"\"key\":\"thief\",\"promptTokens\":7 é","promptTokens":18446744073709551615,"completionTokens":null}', 86400001),
        ('00000000-0000-4000-8000-000000000014', 'test:old', '00000000-0000-4000-8000-000000000004', 'usage', 5, 'r-1',
         'it''s <b>', 1, 5, '{"completionTokens":999999999,"digest":"","key":"ka"}', 1);"#;

#[test]
fn entries_of_before_are_counted_and_found_by_their_keys() {
    run(async {
        for engine in db::engines_before(26).await {
            sqlx::raw_sql(OLD_USAGE).execute(&engine.db.pool).await.expect("what there was");
            engine.db.migrate().await.expect("the upgrade");
            let report = audit(&engine.db).await.expect("it runs");
            assert!(report.is_clean(), "{report}");
            let ledger = Ledger::start(engine.db.clone());
            let account = AccountId::parse("test:old").expect("an account");
            let query = UsageQuery {
                first: Day::parse("1970-01-01").expect("a day"),
                last: Day::parse("1970-01-02").expect("a day"),
                grouping: UsageGrouping { by_day: true, by_service: true, by_key: true },
                limit: 100,
            };
            let found = ledger.usage(&account, &query).await.expect("rows");
            let UsageOutcome::Rows(rows) = found else { panic!("{found:?}") };
            let mut shown: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    let UsageSums { requests, prompt_tokens, completion_tokens, cost } = row.sums;
                    let (day, service, key) = (row.day.expect("asked"), row.service.expect("asked"), row.key);
                    let (key, cost, kind) = (key.expect("asked"), cost.micros(), row.kind.as_str());
                    format!(
                        "{day} {service} [{key}] {kind} {requests} {prompt_tokens} {completion_tokens} {cost}"
                    )
                })
                .collect();
            shown.sort();
            assert_eq!(
                shown,
                [
                    "1970-01-01 it's <b> [ka] usage 1 0 999999999 5",
                    "1970-01-01 model [ka] usage 1 12 34 100",
                    "1970-01-02  [kb] expired 1 0 0 30",
                    "1970-01-02 model [] purchase 1 1000000000 0 15",
                ]
            );
            for (key, request, count) in [
                (Some("ka"), None, 2),
                (Some("kb"), None, 1),
                (Some("thief"), None, 0),
                (None, Some("r-1"), 2),
            ] {
                let request_id = request.and_then(RequestId::from_client);
                let filter = Filter { key: key.map(str::to_owned), request_id, ..Filter::default() };
                let page = ledger.matching(&account, &filter, None, 10).await.expect("a page");
                assert_eq!(page.entries.len(), count, "{key:?} {request:?}");
            }
            for change in ["UPDATE entries SET key = 'other'", "DELETE FROM entries"] {
                assert!(sqlx::query(change).execute(&engine.db.pool).await.is_err(), "{change}");
            }
            engine.db.close().await;
        }
    });
}

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
            migrate_to_before(&db, 8).await;
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
