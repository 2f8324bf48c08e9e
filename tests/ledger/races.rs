//! Many at once, from several instances, on the same money.

use std::collections::HashSet;
use std::time::Duration;

use farebox::ledger::sweep::sweep;
use farebox::ledger::{ChargeOutcome, CloseOutcome, Credited, HoldOutcome, Ledger, SpendOutcome};
use farebox_test_support::db::{TestDb, for_each_engine};
use tokio::task::JoinSet;

use crate::*;

/// Two instances of the program on one database.
async fn instances(engine: &TestDb) -> [Ledger; 2] {
    [Ledger::start(engine.db.clone()), Ledger::start(engine.connect_again().await)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_20_check_then_spend_races_on_one_balance() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let account = funded(&ledgers[0], "a", 1000).await;
        let mut holds = Vec::new();
        for n in 0..4 {
            holds.push(opened(&ledgers[0], &account, &format!("r{n}"), 50).await);
        }
        // Twice as much as there is, in charges of uneven size, through both instances.
        let mut tasks = JoinSet::new();
        for n in 0..200_usize {
            let (ledger, hold) = (ledgers[n % 2].clone(), holds[n % 4].clone());
            let amount = 5 + i64::try_from(n % 11).unwrap();
            tasks.spawn(async move {
                match ledger.charge(&hold, money(amount)).await.unwrap() {
                    ChargeOutcome::Charged { .. } => amount,
                    ChargeOutcome::Short { .. } => 0,
                    ChargeOutcome::Closed => panic!("closed"),
                }
            });
        }
        let spent: i64 = tasks.join_all().await.into_iter().sum();
        let after = ledgers[0].balance(&account).await.unwrap();
        assert_eq!(after.spent(), money(spent));
        assert!(spent <= 1000);
        assert!(after.available() < money(5), "what fits was charged: {after:?}");
        assert_clean(&ledgers[1]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_20_holds_and_payments_race_on_one_balance() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let account = funded(&ledgers[0], "a", 100).await;
        let mut tasks = JoinSet::new();
        for n in 0..40_usize {
            let (ledger, account) = (ledgers[n % 2].clone(), account.clone());
            let name = key(&format!("r{n}"));
            tasks.spawn(async move {
                if n % 4 < 2 {
                    let spend = ledger.spend(&account, money(7), &name, &details(), NOW).await;
                    matches!(spend.unwrap(), SpendOutcome::Spent(_))
                } else {
                    let hold = ledger.hold(&account, &name, money(7), NOW, LATER).await;
                    matches!(hold.unwrap(), HoldOutcome::Opened(_))
                }
            });
        }
        let done = tasks.join_all().await.into_iter().filter(|done| *done).count();
        assert_eq!(done, 14, "14 times 7 fits into 100, 15 times does not");
        assert_clean(&ledgers[0]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_11_one_request_key_opens_one_hold() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let account = funded(&ledgers[0], "a", 1000).await;
        let mut tasks = JoinSet::new();
        for n in 0..16_usize {
            let (ledger, account) = (ledgers[n % 2].clone(), account.clone());
            tasks.spawn(async move {
                match ledger.hold(&account, &key("same"), money(10), NOW, LATER).await.unwrap() {
                    HoldOutcome::Opened(hold) => (true, hold),
                    HoldOutcome::Existing(hold) => (false, hold),
                    HoldOutcome::Short { .. } => panic!("short"),
                }
            });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|(new, _)| *new).count(), 1);
        assert_eq!(outcomes.iter().map(|(_, hold)| hold).collect::<HashSet<_>>().len(), 1);
        assert_eq!(ledgers[0].balance(&account).await.unwrap(), balance(1000, 0, 10));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_22_concurrent_credits_of_one_source_apply_once() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let mut tasks = JoinSet::new();
        for n in 0..24_usize {
            let ledger = ledgers[n % 2].clone();
            // A third of them claims the same payment for somebody else.
            let account = account(if n % 3 == 0 { "thief" } else { "owner" });
            tasks.spawn(async move { ledger.credit(&account, money(10), &source("same"), NOW).await.ok() });
        }
        let applied = tasks.join_all().await;
        let count = |outcome| applied.iter().filter(|done| **done == outcome).count();
        assert_eq!(count(Some(Credited::Applied)), 1);
        assert!(count(None) > 0, "another account's claim is an error");
        let owner = ledgers[0].balance(&account("owner")).await.unwrap().credited();
        let thief = ledgers[0].balance(&account("thief")).await.unwrap().credited();
        assert_eq!(owner.checked_add(thief), Some(money(10)));
        assert_clean(&ledgers[0]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_16_closes_charges_and_sweepers_race() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let account = funded(&ledgers[0], "a", 1_000_000).await;
        for round in 0..10 {
            let hold = opened(&ledgers[0], &account, &format!("r{round}"), 100).await;
            let mut charges = JoinSet::new();
            for n in 0..20_usize {
                let (ledger, hold) = (ledgers[n % 2].clone(), hold.clone());
                charges.spawn(async move { ledger.charge(&hold, money(9)).await.unwrap() });
            }
            let mut ends = JoinSet::new();
            for n in 0..4_usize {
                let (ledger, hold) = (ledgers[n % 2].clone(), hold.clone());
                ends.spawn(async move {
                    if n < 2 {
                        return u32::from(sweep(&ledger, LATER, 10).await.unwrap().closed > 0);
                    }
                    let closed = ledger.close(&hold, &details(), NOW).await.unwrap();
                    u32::from(matches!(closed, CloseOutcome::Closed { .. }))
                });
            }
            let outcomes = charges.join_all().await;
            assert_eq!(ends.join_all().await.into_iter().sum::<u32>(), 1, "closed once");
            let CloseOutcome::AlreadyClosed { entry } =
                ledgers[0].close(&hold, &details(), NOW).await.unwrap()
            else {
                panic!("still open");
            };
            let paid = outcomes.iter().filter(|c| matches!(c, ChargeOutcome::Charged { .. }));
            assert_eq!(entry.amount, money(9).checked_mul(paid.count() as u64).unwrap());
        }
        assert_clean(&ledgers[0]).await;
    })
    .await;
}

/// Batches of two instances that touch the same accounts in different order: row locks are taken
/// in one order, so nobody is sacrificed to a deadlock for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_many_accounts_do_not_deadlock() {
    for_each_engine(async |engine| {
        let ledgers = instances(engine).await;
        let mut holds = Vec::new();
        for n in 0..12 {
            let account = funded(&ledgers[0], &format!("a{n}"), 10_000).await;
            holds.push((account.clone(), opened(&ledgers[0], &account, "r", 100).await));
        }
        let mut tasks = JoinSet::new();
        for n in 0..1200_usize {
            let pick = if n % 2 == 0 { n / 2 % 12 } else { 11 - (n / 2 % 12) };
            let (ledger, (account, hold)) = (ledgers[n % 2].clone(), holds[pick].clone());
            tasks.spawn(async move {
                if n % 50 == 7 {
                    let name = source(&format!("more{n}"));
                    ledger.credit(&account, money(1), &name, NOW).await.unwrap();
                }
                assert!(matches!(
                    ledger.charge(&hold, money(3)).await.unwrap(),
                    ChargeOutcome::Charged { .. }
                ));
            });
        }
        tasks.join_all().await;
        for (account, _) in &holds {
            assert_eq!(ledgers[0].balance(account).await.unwrap().spent(), money(300));
        }
        let stats = [ledgers[0].batch_stats(), ledgers[1].batch_stats()];
        assert_eq!(stats[0].charges + stats[1].charges, 1200);
        assert!(stats[0].batches < 600 && stats[0].largest > 1, "commits are shared: {stats:?}");
        assert_clean(&ledgers[0]).await;
    })
    .await;
}

/// A charge that was answered is visible to everybody, hence committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_18_a_charge_is_answered_after_its_commit() {
    for_each_engine(async |engine| {
        let [ledger, observer] = instances(engine).await;
        let account = funded(&ledger, "a", 100_000).await;
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let (ledger, observer, account) = (ledger.clone(), observer.clone(), account.clone());
            tasks.spawn(async move {
                let hold = opened(&ledger, &account, &format!("r{n}"), 0).await;
                for _ in 0..20 {
                    let before = observer.balance(&account).await.unwrap().spent();
                    ledger.charge(&hold, money(5)).await.unwrap();
                    let after = observer.balance(&account).await.unwrap().spent();
                    assert!(after >= before.checked_add(money(5)).unwrap());
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100_000, 800, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_18_those_who_stop_waiting_corrupt_nothing() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100_000).await;
        let hold = opened(&ledger, &account, "r", 50).await;
        let mut tasks = JoinSet::new();
        for n in 0..300_u64 {
            let (ledger, hold) = (ledger.clone(), hold.clone());
            tasks.spawn(async move {
                let charge = ledger.charge(&hold, money(10));
                let patience = Duration::from_micros(n % 7 * 150);
                tokio::time::timeout(patience, charge).await.map(Result::unwrap).is_ok()
            });
        }
        let answered = tasks.join_all().await.into_iter().filter(|answered| *answered).count();
        let last = ledger.charge(&hold, money(10)).await.unwrap();
        let ChargeOutcome::Charged { total } = last else { panic!("{last:?}") };
        let answered = i64::try_from(answered + 1).unwrap() * 10;
        assert!(total >= money(answered) && total <= money(3010), "{total} {answered}");
        assert_eq!(ledger.balance(&account).await.unwrap().spent(), total);
        assert_clean(&ledger).await;
    })
    .await;
}

/// The writer is kept busy by one charge while another is queued and given up.
#[tokio::test]
async fn attack_18_a_charge_given_up_in_the_queue_is_not_made() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let hold = opened(&ledger, &account, "r", 0).await;
        let mut blocker = engine.connect_again().await.begin().await.unwrap();
        sqlx::query("UPDATE accounts SET credited = credited").execute(blocker.conn()).await.unwrap();
        let pause = Duration::from_millis(100);
        let first = tokio::spawn({
            let (ledger, hold) = (ledger.clone(), hold.clone());
            async move { ledger.charge(&hold, money(1)).await.unwrap() }
        });
        tokio::time::sleep(pause).await;
        tokio::time::timeout(pause, ledger.charge(&hold, money(50))).await.unwrap_err();
        blocker.commit().await.unwrap();
        assert_eq!(first.await.unwrap(), charged(1));
        assert_eq!(ledger.charge(&hold, money(1)).await.unwrap(), charged(2));
    })
    .await;
}

/// A hold whose request was answered that it is open is not swept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_20_a_sweep_looks_again_before_it_closes() {
    for_each_engine(async |engine| {
        let [ledger, sweeper] = instances(engine).await;
        let account = funded(&ledger, "a", 1_000_000).await;
        for round in 0..40 {
            let name = key(&format!("r{round}"));
            let mut holds = Vec::new();
            for other in ["a", "b", "c"] {
                let name = key(&format!("{name}{other}"));
                match ledger.hold(&account, &name, money(1), NOW, NOW).await.unwrap() {
                    HoldOutcome::Opened(hold) => holds.push(hold),
                    other => panic!("{other:?}"),
                }
            }
            let sweeping = tokio::spawn({
                let sweeper = sweeper.clone();
                async move { sweep(&sweeper, NOW, 10).await.unwrap() }
            });
            // The last of them is the last the sweeper comes to.
            let lives_on = ledger.extend(&holds[2], LATER).await.unwrap();
            sweeping.await.unwrap();
            let charge = ledger.charge(&holds[2], money(1)).await.unwrap();
            assert_eq!(charge, if lives_on { charged(1) } else { ChargeOutcome::Closed });
        }
        assert_clean(&ledger).await;
    })
    .await;
}
