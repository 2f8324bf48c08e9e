//! Rows in the memory of one instance that another has changed since.

use farebox::ledger::{
    Budget, ChargeOutcome, CloseOutcome, HoldRequest, Ledger, LimitedBy, OpenOutcome, Owed, SpendingLimit,
};
use farebox_test_support::db::for_each_engine;

use crate::*;

fn short(affordable: i64) -> OpenOutcome {
    OpenOutcome::Short(SpendingLimit { affordable: money(affordable), bound: LimitedBy::Balance })
}

#[tokio::test]
async fn attack_20_money_that_another_instance_spent_is_not_spent_again() {
    for_each_engine(async |engine| {
        let here = Ledger::start(engine.db.clone());
        let there = Ledger::start(engine.connect_again().await);
        let account = funded(&here, "a", 100).await;
        let first = open(&here, opening(&account, 10, 10), 10).await;
        let other = open(&there, opening(&account, 60, 60), 60).await;
        // 90 are left as far as this instance remembers, and 30 in truth.
        assert_eq!(here.open(opening(&account, 80, 80)).await.unwrap(), short(30));
        let rest = open(&here, opening(&account, 80, 5), 30).await;
        assert_eq!(here.charge(&first, money(11)).await.unwrap(), ChargeOutcome::Short { by: money(1) });
        // What the other frees is there at once.
        there.capture(capture(&other, Owed::Exactly(money(20)))).await.unwrap();
        assert_eq!(here.charge(&first, money(11)).await.unwrap(), charged(11));
        let last = open(&here, opening(&account, 39, 39), 39).await;
        for (hold, owed) in [(first, 0), (rest, 30), (last, 39)] {
            let closed = here.capture(capture(&hold, Owed::Exactly(money(owed)))).await.unwrap();
            assert!(matches!(closed, CloseOutcome::Closed { .. }), "{closed:?}");
        }
        assert_eq!(here.balance(&account).await.unwrap(), balance(100, 100, 0));
        assert_clean(&here).await;
    })
    .await;
}

#[tokio::test]
async fn credit_that_another_instance_gave_pays_all_that_is_owed() {
    for_each_engine(async |engine| {
        let here = Ledger::start(engine.db.clone());
        let there = Ledger::start(engine.connect_again().await);
        let account = funded(&here, "a", 10).await;
        let (one, two) =
            (open(&here, opening(&account, 5, 5), 5).await, open(&here, opening(&account, 5, 5), 5).await);
        there.credit(&account, money(90), &source("more"), NOW).await.unwrap();
        // No less is charged, and no less is set aside, than there is by now.
        let CloseOutcome::Closed { entry, .. } =
            here.capture(capture(&one, Owed::AtMost(money(25)))).await.unwrap()
        else {
            panic!("not closed")
        };
        assert_eq!(entry.amount, money(25));
        there.credit(&account, money(100), &source("again"), NOW).await.unwrap();
        assert_eq!(here.charge_ahead(&two, money(6), money(150)).await.unwrap(), charged(6));
        assert_eq!(here.balance(&account).await.unwrap(), balance(200, 31, 150));
        assert_clean(&here).await;
    })
    .await;
}

#[tokio::test]
async fn attack_18_a_hold_that_another_instance_charged_or_closed_is_looked_up() {
    for_each_engine(async |engine| {
        let here = Ledger::start(engine.db.clone());
        let there = Ledger::start(engine.connect_again().await);
        let account = funded(&here, "a", 100).await;
        let hold = open(&here, opening(&account, 50, 50), 50).await;
        assert_eq!(here.charge(&hold, money(1)).await.unwrap(), charged(1));
        assert_eq!(there.charge(&hold, money(10)).await.unwrap(), charged(11));
        assert_eq!(here.charge(&hold, money(1)).await.unwrap(), charged(12));
        // Others of its batch are none the worse.
        let beside = open(&here, opening(&account, 5, 5), 5).await;
        there.close(&hold, &details(), NOW).await.unwrap();
        let (gone, zero, kept, again) = tokio::join!(
            here.charge(&hold, money(1)),
            here.charge(&hold, money(0)),
            here.charge(&beside, money(2)),
            here.capture(capture(&hold, Owed::AtMost(money(9)))),
        );
        assert_eq!((gone.unwrap(), zero.unwrap()), (ChargeOutcome::Closed, ChargeOutcome::Closed));
        assert_eq!(kept.unwrap(), charged(2));
        let Ok(CloseOutcome::AlreadyClosed { entry }) = again else { panic!("{again:?}") };
        assert_eq!(entry.amount, money(12));
        here.close(&beside, &details(), NOW).await.unwrap();
        assert_eq!(here.balance(&account).await.unwrap(), balance(100, 14, 0));
        assert_clean(&here).await;
    })
    .await;
}

/// Spending within a budget is counted from the first request on, for a limit that comes later.
#[tokio::test]
async fn budgets_without_limits_count_what_budgets_with_limits_see() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let within = |total: Option<i64>, wanted| HoldRequest {
            budget: Some(Budget::on("key", NOW, None, total.map(money))),
            ..opening(&account, wanted, wanted)
        };
        let hold = open(&ledger, within(None, 10), 10).await;
        ledger.capture(capture(&hold, Owed::Exactly(money(7)))).await.unwrap();
        open(&ledger, within(None, 10), 10).await;
        let limit = SpendingLimit { affordable: money(3), bound: LimitedBy::Total };
        assert_eq!(ledger.open(within(Some(20), 4)).await.unwrap(), OpenOutcome::Short(limit));
        open(&ledger, within(Some(20), 3), 3).await;
        assert_clean(&ledger).await;
    })
    .await;
}
