//! Every verb, every outcome.

use farebox::db::DbError;
use farebox::ledger::account::LARGEST;
use farebox::ledger::sweep::{Swept, sweep};
use farebox::ledger::{
    self, ChargeOutcome, CloseOutcome, Credited, EntryDetails, EntryKind, HoldOutcome, Ledger, LedgerError,
    SpendOutcome,
};
use farebox_test_support::db::for_each_engine;

use crate::*;

#[tokio::test]
async fn a_source_is_credited_once() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let (one, two) = (account("one"), account("two"));
        for (account, amount, source, expected) in [
            (&one, 100, "a", Ok(Credited::Applied)),
            (&one, 100, "a", Ok(Credited::Replayed)),
            (&one, 100, "b", Ok(Credited::Applied)),
            (&one, 101, "a", Err("already credited")),
            (&two, 100, "a", Err("already credited")),
            (&two, 0, "c", Err("not an amount")),
            (&two, -5, "c", Err("not an amount")),
            (&two, 5, "c", Ok(Credited::Applied)),
        ] {
            let source = crate::source(source);
            match (ledger.credit(account, money(amount), &source, NOW).await, expected) {
                (Ok(done), Ok(expected)) => assert_eq!(done, expected, "{source}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (done, expected) => panic!("{source}: {done:?} instead of {expected:?}"),
            }
        }
        assert_eq!(ledger.balance(&one).await.unwrap(), balance(200, 0, 0));
        assert_eq!(ledger.balance(&two).await.unwrap(), balance(5, 0, 0));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_hold_sets_money_aside_once_per_request() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r1", 60).await;
        for (name, estimate, expected) in [
            ("r1", 60, HoldOutcome::Existing(hold.clone())),
            ("r1", 1, HoldOutcome::Existing(hold.clone())),
            ("r2", 41, HoldOutcome::Short { by: money(1) }),
            ("r2", i64::MAX, HoldOutcome::Short { by: money(i64::MAX - 40) }),
        ] {
            let done = ledger.hold(&account, &key(name), money(estimate), NOW, LATER).await;
            assert_eq!(done.unwrap(), expected, "{name} {estimate}");
        }
        opened(&ledger, &account, "r2", 40).await;
        opened(&ledger, &account, "r3", 0).await;
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 0, 100));

        let closed = ledger.close(&hold, &details(), NOW).await.unwrap();
        assert!(matches!(closed, CloseOutcome::Closed { released, .. } if released == money(60)));
        let again = ledger.hold(&account, &key("r1"), money(60), NOW, LATER).await.unwrap();
        assert_eq!(again, HoldOutcome::Existing(hold), "a closed hold is not opened again");

        let negative = ledger.hold(&account, &key("r4"), money(-1), NOW, LATER).await;
        assert!(matches!(negative, Err(LedgerError::Amount(_))));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_nobody_credited_has_nothing() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = account("new");
        let short = ledger.hold(&account, &key("r"), money(5), NOW, LATER).await.unwrap();
        assert_eq!(short, HoldOutcome::Short { by: money(5) });
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(0, 0, 0));
        let hold = opened(&ledger, &account, "r", 0).await;
        let charge = ledger.charge(&hold, money(3)).await.unwrap();
        assert_eq!(charge, ChargeOutcome::Short { by: money(3) });
        assert_eq!(ledger.charge(&hold, Money::ZERO).await.unwrap(), charged(0));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn charges_draw_on_the_hold_then_on_what_is_available() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r1", 30).await;
        opened(&ledger, &account, "r2", 20).await;
        for (amount, outcome, after) in [
            (10, charged(10), balance(100, 10, 40)),
            (0, charged(10), balance(100, 10, 40)),
            (40, charged(50), balance(100, 50, 20)),
            (31, ChargeOutcome::Short { by: money(1) }, balance(100, 50, 20)),
            (30, charged(80), balance(100, 80, 20)),
            (1, ChargeOutcome::Short { by: money(1) }, balance(100, 80, 20)),
            (i64::MAX, ChargeOutcome::Short { by: money(i64::MAX) }, balance(100, 80, 20)),
        ] {
            assert_eq!(ledger.charge(&hold, money(amount)).await.unwrap(), outcome, "{amount}");
            assert_eq!(ledger.balance(&account).await.unwrap(), after, "{amount}");
        }
        let unknown = ledger.charge(&HoldId::new(NOW), money(1)).await;
        assert!(matches!(unknown, Err(LedgerError::UnknownHold(_))));
        let negative = ledger.charge(&hold, money(-1)).await;
        assert!(matches!(negative, Err(LedgerError::Amount(_))));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_close_posts_one_entry_and_frees_the_rest() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r1", 30).await;
        ledger.charge(&hold, money(12)).await.unwrap();
        let CloseOutcome::Closed { entry, released } = ledger.close(&hold, &details(), NOW).await.unwrap()
        else {
            panic!("closed before");
        };
        assert_eq!((entry.amount, released), (money(12), money(18)));
        assert_eq!((entry.kind, entry.units, entry.unit_price), (EntryKind::Usage, 7, money(10)));
        assert_eq!((entry.request_id.clone(), entry.created_at), (details().request_id, NOW));
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 12, 0));

        let other = EntryDetails { service: "other".into(), ..details() };
        let again = ledger.close(&hold, &other, LATER).await.unwrap();
        assert_eq!(again, CloseOutcome::AlreadyClosed { entry });
        assert_eq!(ledger.charge(&hold, money(1)).await.unwrap(), ChargeOutcome::Closed);
        assert_eq!(ledger.charge(&hold, Money::ZERO).await.unwrap(), ChargeOutcome::Closed);
        assert!(!ledger.extend(&hold, LATER).await.unwrap());
        let unknown = ledger.close(&HoldId::new(NOW), &details(), NOW).await;
        assert!(matches!(unknown, Err(LedgerError::UnknownHold(_))));

        // A request that delivered nothing leaves an entry of nothing.
        let hold = opened(&ledger, &account, "r2", 88).await;
        let closed = ledger.close(&hold, &details(), NOW).await.unwrap();
        assert!(matches!(closed, CloseOutcome::Closed { entry, .. } if entry.amount.is_zero()));
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 12, 0));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_known_price_is_spent_once_per_request() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let open = opened(&ledger, &account, "open", 10).await;
        let purchase = EntryDetails { kind: EntryKind::Purchase, ..details() };
        let spend =
            async |amount, name| ledger.spend(&account, money(amount), &key(name), &purchase, NOW).await;
        let SpendOutcome::Spent(entry) = spend(50, "r1").await.unwrap() else { panic!() };
        assert_eq!((entry.amount, entry.kind), (money(50), EntryKind::Purchase));
        assert_eq!(spend(50, "r1").await.unwrap(), SpendOutcome::Replayed(entry.clone()));
        assert_eq!(spend(9, "r1").await.unwrap(), SpendOutcome::Replayed(entry));
        assert_eq!(spend(41, "r2").await.unwrap(), SpendOutcome::Short { by: money(1) });
        assert!(matches!(spend(1, "open").await, Err(LedgerError::StillOpen(_))));
        assert!(matches!(spend(-1, "r3").await, Err(LedgerError::Amount(_))));
        assert!(matches!(spend(0, "r3").await, Ok(SpendOutcome::Spent(_))));
        ledger.close(&open, &details(), NOW).await.unwrap();
        assert!(matches!(spend(1, "open").await, Ok(SpendOutcome::Replayed(_))));
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 50, 0));

        let outsider = crate::account("outsider");
        let short = ledger.spend(&outsider, money(5), &key("r"), &purchase, NOW).await.unwrap();
        assert_eq!(short, SpendOutcome::Short { by: money(5) });
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn verbs_combine_in_one_transaction_or_not_at_all() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = account("a");
        let pay = async |fail: bool| -> Result<(), LedgerError> {
            let account = &account;
            ledger
                .db()
                .transaction(|mut tx| async move {
                    ledger::credit(&mut tx, account, money(50), &source("a"), NOW).await?;
                    ledger::spend(&mut tx, account, money(50), &key("r"), &details(), NOW).await?;
                    if fail {
                        return Err(DbError::from(sqlx::Error::WorkerCrashed).into());
                    }
                    Ok((tx, ()))
                })
                .await
        };
        pay(true).await.unwrap_err();
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(0, 0, 0));
        pay(false).await.unwrap();
        pay(false).await.unwrap();
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(50, 50, 0));

        ledger.credit(&account, money(9), &source("b"), NOW).await.unwrap();
        let hold = opened(&ledger, &account, "hold", 4).await;
        let (ledger, hold) = (&ledger, &hold);
        let charge_and_close = ledger.db().transaction(|mut tx| async move {
            let over = ledger::charge(&mut tx, hold, money(10)).await?;
            assert_eq!(over, ChargeOutcome::Short { by: money(1) });
            assert_eq!(ledger::charge(&mut tx, hold, money(9)).await?, charged(9));
            let closed = ledger::close(&mut tx, hold, &details(), NOW).await?;
            Ok::<_, LedgerError>((tx, closed))
        });
        let closed = charge_and_close.await.unwrap();
        assert!(matches!(closed, CloseOutcome::Closed { entry, .. } if entry.amount == money(9)));
        assert_clean(ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_statement_is_read_page_by_page() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        funded(&ledger, "b", 100).await;
        for n in 1..=6 {
            // Pairs of the same moment, to be told apart by their ids.
            let now = NOW.checked_add_millis(n / 2).unwrap();
            let key = key(&format!("r{n}"));
            ledger.spend(&account, money(n), &key, &details(), now).await.unwrap();
        }
        let all = ledger.entries(&account, None, 1000).await.unwrap();
        assert_eq!((all.entries.len(), all.next), (7, None));
        assert!(all.entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry.created_at)));
        let oldest = all.entries.iter().find(|entry| entry.kind == EntryKind::Credit).unwrap();
        assert_eq!((oldest.amount, oldest.source.clone()), (money(100), Some(source("a"))));

        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = ledger.entries(&account, cursor.as_ref(), 2).await.unwrap();
            assert!(page.entries.len() <= 2);
            pages.extend(page.entries);
            match page.next {
                Some(next) => cursor = farebox::ledger::StatementCursor::parse(&next.to_string()),
                None => break,
            }
        }
        assert_eq!(pages, all.entries);
        assert_eq!(ledger.entries(&account, None, 0).await.unwrap().entries.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn attack_20_leaked_holds_do_not_cause_false_insufficient() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let soon = NOW.checked_add_millis(1000).unwrap();
        for n in 0..5 {
            let key = key(&format!("lost{n}"));
            ledger.hold(&account, &key, money(20), NOW, soon).await.unwrap();
        }
        let lost = ledger.hold(&account, &key("lost0"), money(20), NOW, soon).await.unwrap();
        let HoldOutcome::Existing(lost) = lost else { panic!("{lost:?}") };
        let kept = ledger.hold(&account, &key("lost1"), money(20), NOW, soon).await.unwrap();
        let HoldOutcome::Existing(kept) = kept else { panic!("{kept:?}") };
        ledger.charge(&lost, money(7)).await.unwrap();
        let next = ledger.hold(&account, &key("next"), money(50), NOW, LATER).await.unwrap();
        assert_eq!(next, HoldOutcome::Short { by: money(50) });

        assert!(ledger.extend(&kept, LATER).await.unwrap());
        let before = soon.checked_sub_millis(1).unwrap();
        assert_eq!(sweep(&ledger, before, 10).await.unwrap(), Swept { closed: 0, more: false });
        assert_eq!(sweep(&ledger, soon, 3).await.unwrap(), Swept { closed: 3, more: true });
        assert_eq!(sweep(&ledger, soon, 3).await.unwrap(), Swept { closed: 1, more: false });
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 7, 20));
        opened(&ledger, &account, "next", 50).await;
        let late = ledger.close(&lost, &details(), LATER).await.unwrap();
        assert!(matches!(late, CloseOutcome::AlreadyClosed { entry }
            if entry.kind == EntryKind::Expired && entry.amount == money(7)));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn attack_05_sums_beyond_the_largest_are_refused() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = account("a");
        let credit =
            async |amount: i64, name: &str| ledger.credit(&account, money(amount), &source(name), NOW).await;
        assert!(matches!(credit(i64::MAX, "a").await, Err(LedgerError::Overflow)));
        assert!(matches!(credit(LARGEST.micros(), "a").await, Ok(Credited::Applied)));
        assert!(matches!(credit(1, "b").await, Err(LedgerError::Overflow)));
        assert!(matches!(credit(i64::MAX, "b").await, Err(LedgerError::Overflow)));
        let hold = opened(&ledger, &account, "r", LARGEST.micros()).await;
        assert_eq!(ledger.charge(&hold, LARGEST).await.unwrap(), charged(LARGEST.micros()));
        let more = ledger.charge(&hold, money(i64::MAX)).await.unwrap();
        assert_eq!(more, ChargeOutcome::Short { by: money(i64::MAX) });
        ledger.close(&hold, &details(), NOW).await.unwrap();
        let units = EntryDetails { units: u64::MAX, ..details() };
        let spend = ledger.spend(&account, Money::ZERO, &key("s"), &units, NOW).await;
        assert!(matches!(spend, Err(LedgerError::Overflow)));
        assert_clean(&ledger).await;
    })
    .await;
}
