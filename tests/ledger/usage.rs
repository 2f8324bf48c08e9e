//! Usage: entries added up by day, service, key and kind, whoever posts them.

use farebox::ledger::audit::Difference;
use farebox::ledger::sweep::sweep;
use farebox::ledger::{
    Budget, Day, Filter, Ledger, LedgerError, SpendOutcome, UsageGrouping, UsageOutcome, UsageQuery, UsageRow,
};
use farebox_test_support::db::for_each_engine;
use serde_json::json;
use tokio::task::JoinSet;

use crate::*;

const ALL: UsageGrouping = UsageGrouping { by_day: true, by_service: true, by_key: true };
const DAY_MS: i64 = 86_400_000;

fn query(grouping: UsageGrouping) -> UsageQuery {
    let last = Day::of(NOW.checked_add_millis(365 * DAY_MS).unwrap());
    UsageQuery { first: Day::of(NOW), last, grouping, limit: 10_000 }
}

async fn rows(ledger: &Ledger, account: &AccountId, query: &UsageQuery) -> Vec<UsageRow> {
    match ledger.usage(account, query).await.unwrap() {
        UsageOutcome::Rows(rows) => rows,
        UsageOutcome::TooMany => panic!("too many rows"),
    }
}

/// A row in short: day after the first, service, key, kind, requests, tokens of prompt and completion, cost.
fn short(row: &UsageRow) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "*".to_owned());
    let sums = row.sums;
    format!(
        "{} {} [{}] {} {} {} {} {}",
        row.day.map_or_else(|| "*".to_owned(), |day| day.to_string()),
        text(&row.service),
        text(&row.key),
        row.kind.as_str(),
        sums.requests,
        sums.prompt_tokens,
        sums.completion_tokens,
        sums.cost.micros()
    )
}

fn shorts(rows: &[UsageRow]) -> Vec<String> {
    rows.iter().map(short).collect()
}

fn used(kind: EntryKind, service: &str, meta: serde_json::Value) -> EntryDetails {
    EntryDetails { kind, service: service.into(), meta, ..details() }
}

#[tokio::test]
async fn every_entry_is_counted_whoever_posts_it() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 10_000).await;
        funded(&ledger, "b", 10_000).await;
        let tomorrow = NOW.checked_add_millis(DAY_MS).unwrap();
        // At once, with a key that the details name.
        let meta = json!({"key": "k1", "promptTokens": 3, "completionTokens": 4});
        let spent = used(EntryKind::Purchase, "preview", meta.clone());
        for (name, moment) in [("s1", NOW), ("s2", NOW), ("s3", tomorrow)] {
            ledger.spend(&account, money(10), &key(name), &spent, moment).await.unwrap();
        }
        // Again: nothing is charged, and nothing counted.
        let again = ledger.spend(&account, money(10), &key("s1"), &spent, tomorrow).await.unwrap();
        assert!(matches!(again, SpendOutcome::Replayed(_)));
        // By the batch writer, and in a transaction.
        let hold = open(&ledger, opening(&account, 100, 100), 100).await;
        let details = used(EntryKind::Usage, "model", meta);
        ledger.capture(Capture { details, ..capture(&hold, Owed::Exactly(money(70))) }).await.unwrap();
        let hold = opened(&ledger, &account, "h", 5).await;
        ledger.close(&hold, &used(EntryKind::Usage, "model", json!({})), tomorrow).await.unwrap();
        // By the sweeper, which knows the key by the budget.
        let budget = Some(Budget::on("k2", NOW, None, None));
        let lost = open(&ledger, HoldRequest { budget, ..opening(&account, 9, 9) }, 9).await;
        ledger.charge(&lost, money(9)).await.unwrap();
        assert_eq!(sweep(&ledger, LATER, 10).await.unwrap().closed, 1);
        // Taken back: no use.
        let refund = used(EntryKind::Refund, "card", json!({}));
        ledger.spend(&account, money(1_000), &key("r"), &refund, NOW).await.unwrap();

        let found = rows(&ledger, &account, &query(ALL)).await;
        let [first, second] = ["2026-01-01", "2026-01-02"];
        assert_eq!(
            shorts(&found),
            [
                format!("{first} model [k1] usage 1 3 4 70"),
                format!("{first} preview [k1] purchase 2 6 8 20"),
                format!("{second}  [k2] expired 1 0 0 9"),
                format!("{second} model [] usage 1 0 0 0"),
                format!("{second} preview [k1] purchase 1 3 4 10"),
            ]
        );
        for (grouping, expected) in [
            (
                UsageGrouping::default(),
                vec!["* * [*] expired 1 0 0 9", "* * [*] purchase 3 9 12 30", "* * [*] usage 2 3 4 70"],
            ),
            (
                UsageGrouping { by_key: true, ..UsageGrouping::default() },
                vec![
                    "* * [] usage 1 0 0 0",
                    "* * [k1] purchase 3 9 12 30",
                    "* * [k1] usage 1 3 4 70",
                    "* * [k2] expired 1 0 0 9",
                ],
            ),
        ] {
            assert_eq!(shorts(&rows(&ledger, &account, &query(grouping)).await), expected);
        }
        let one_day = UsageQuery { last: Day::of(NOW), ..query(ALL) };
        assert_eq!(rows(&ledger, &account, &one_day).await.len(), 2);
        let few = UsageQuery { limit: 4, ..query(ALL) };
        assert_eq!(ledger.usage(&account, &few).await.unwrap(), UsageOutcome::TooMany);
        assert_eq!(rows(&ledger, &account, &UsageQuery { limit: 5, ..few }).await.len(), 5);
        assert_eq!(rows(&ledger, &crate::account("b"), &query(ALL)).await, []);
        // The statement knows the key of the lost request as well.
        let of_key = Filter { key: Some("k2".into()), ..Filter::default() };
        let page = ledger.matching(&account, &of_key, None, 10).await.unwrap();
        assert_eq!((page.entries.len(), &page.entries[0].meta["key"]), (1, &json!("k2")));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn the_audit_finds_usage_that_entries_do_not_add_up_to() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let details = used(EntryKind::Usage, "m", json!({"key": "k", "promptTokens": 5}));
        ledger.spend(&account, money(7), &key("r"), &details, NOW).await.unwrap();
        assert_clean(&ledger).await;
        for (tamper, undo, found) in [
            ("SET requests = requests + 1", "SET requests = requests - 1", [1, 0, 0, 0]),
            ("SET prompt_tokens = 0", "SET prompt_tokens = 5", [0, -5, 0, 0]),
            ("SET completion_tokens = 2", "SET completion_tokens = 0", [0, 0, 2, 0]),
            ("SET cost = cost + 3", "SET cost = cost - 3", [0, 0, 0, 3]),
        ] {
            engine.execute(&format!("UPDATE daily_usage {tamper}")).await;
            let report = audit(&engine.db).await.unwrap();
            let [Difference::Usage(difference)] = report.differences.as_slice() else { panic!("{report}") };
            let by = difference.by;
            let by = [by.requests, by.prompt_tokens, by.completion_tokens, by.cost.micros()];
            assert_eq!((by, difference.key.as_str(), difference.service.as_str()), (found, "k", "m"));
            assert!(report.to_string().contains("usage of 2026-01-01, service \"m\", key \"k\", usage: "));
            engine.execute(&format!("UPDATE daily_usage {undo}")).await;
            assert_clean(&ledger).await;
        }
        // A day or a key of its own is two differences, a row that is missing one.
        for (tamper, differences) in [
            ("UPDATE daily_usage SET day = day + 1", 2),
            ("UPDATE daily_usage SET day = day - 1, key = 'other'", 2),
            ("DELETE FROM daily_usage", 1),
        ] {
            engine.execute(tamper).await;
            assert_eq!(audit(&engine.db).await.unwrap().differences.len(), differences, "{tamper}");
        }
    })
    .await;
}

/// Both write the same rows of usage, of several accounts, some without a change of the account, in whatever order the
/// requests end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_30_two_instances_count_at_once_and_nothing_is_lost() {
    for_each_engine(async |engine| {
        let ledgers = [Ledger::start(engine.db.clone()), Ledger::start(engine.connect_again().await)];
        let mut accounts = Vec::new();
        for n in 0..4 {
            accounts.push(funded(&ledgers[0], &format!("a{n}"), 1_000_000).await);
        }
        let mut tasks = JoinSet::new();
        for n in 0..400_usize {
            // Each instance goes through accounts and services the other way round.
            let at = if n % 2 == 0 { n / 2 } else { 1_000 - n / 2 };
            let (ledger, account) = (ledgers[n % 2].clone(), accounts[at % 4].clone());
            let meta = json!({"key": format!("k{}", at % 5), "promptTokens": 2, "completionTokens": 1});
            let details = used(EntryKind::Usage, &format!("s{}", at % 7), meta);
            tasks.spawn(async move {
                let cost = i64::try_from(n % 3).unwrap();
                if n % 5 == 0 {
                    ledger.spend(&account, money(cost), &key(&format!("r{n}")), &details, NOW).await.unwrap();
                } else {
                    let hold = open(&ledger, opening(&account, cost, cost), cost).await;
                    let owed = Owed::Exactly(money(cost));
                    ledger.capture(Capture { details, ..capture(&hold, owed) }).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let mut requests = 0;
        for account in &accounts {
            for row in rows(&ledgers[0], account, &query(UsageGrouping::default())).await {
                requests += row.sums.requests;
                assert_eq!(row.sums.prompt_tokens, 2 * row.sums.completion_tokens);
            }
        }
        assert_eq!(requests, 400);
        assert_clean(&ledgers[1]).await;
    })
    .await;
}

/// An upstream may report any number of tokens, and a service may have any name: neither keeps a request from its end, nor
/// other requests of its batch.
#[tokio::test]
async fn attack_21_absurd_counts_and_hostile_names_are_counted() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 1_000).await;
        let hostile = "'; DROP TABLE daily_usage; --\u{202e}<script>\"\\\n\u{1f600}";
        for n in 0..3 {
            let meta = json!({"key": "k'\"", "promptTokens": u64::MAX, "completionTokens": i64::MAX});
            let details = used(EntryKind::Usage, hostile, meta);
            ledger.spend(&account, money(1), &key(&format!("r{n}")), &details, NOW).await.unwrap();
        }
        let found = rows(&ledger, &account, &query(ALL)).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].service.as_deref(), Some(hostile));
        assert_eq!(found[0].sums.prompt_tokens, 3_000_000_000);
        for (service, key_name) in
            [("s".repeat(513), "k".to_owned()), ("s".into(), "k".repeat(129)), ("s".into(), "a\0b".into())]
        {
            let details = used(EntryKind::Usage, &service, json!({"key": key_name}));
            let refused = ledger.spend(&account, money(1), &key("long"), &details, NOW).await;
            assert!(matches!(refused, Err(LedgerError::Details(_))), "{refused:?}");
        }
        // The longest that there can be, all of it random, as no compression makes it smaller.
        let service: String = (0..512_u32).map(|n| char::from(b'!' + (n * n * 7 % 89) as u8)).collect();
        let details = used(EntryKind::Usage, &service, json!({"key": "k".repeat(128)}));
        ledger.spend(&account, money(1), &key("longest"), &details, NOW).await.unwrap();
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_with_a_thousand_services_is_read_in_part() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 10_000).await;
        let requests = (0..1_000).map(async |n| {
            let hold = open(&ledger, opening(&account, 1, 1), 1).await;
            let details = used(EntryKind::Usage, &format!("service-{n}"), json!({}));
            ledger.capture(Capture { details, ..capture(&hold, Owed::Exactly(money(1))) }).await.unwrap();
        });
        futures_util::future::join_all(requests).await;
        let limited = UsageQuery { limit: 999, ..query(ALL) };
        assert_eq!(ledger.usage(&account, &limited).await.unwrap(), UsageOutcome::TooMany);
        assert_eq!(rows(&ledger, &account, &query(ALL)).await.len(), 1_000);
        let by_day = UsageGrouping { by_day: true, ..UsageGrouping::default() };
        assert_eq!(
            shorts(&rows(&ledger, &account, &query(by_day)).await),
            ["2026-01-01 * [*] usage 1000 0 0 1000"]
        );
        assert_clean(&ledger).await;
    })
    .await;
}
