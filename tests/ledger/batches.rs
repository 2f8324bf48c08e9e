//! Batches: commands that share a commit.

use farebox::ledger::{Capture, CloseOutcome, HoldRequest, Ledger, LedgerError, OpenOutcome, Owed};
use farebox_test_support::db::for_each_engine;
use futures_util::future::join_all;

use crate::*;

fn keyed_request(account: &AccountId, amount: i64, idempotency_key: &str) -> HoldRequest {
    HoldRequest { idempotency_key: Some(idempotency_key.to_owned()), ..opening(account, amount, amount) }
}

#[tokio::test]
async fn a_hold_is_opened_once_under_an_idempotency_key() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let two = [(); 2].map(|()| ledger.open(keyed_request(&account, 10, "once")));
        let opened = join_all(two).await;
        let holds: Vec<_> = opened
            .iter()
            .filter_map(|opened| match opened {
                Ok(OpenOutcome::Open { hold, .. }) => Some(hold.clone()),
                Ok(OpenOutcome::InProgress) => None,
                wrong => panic!("{wrong:?}"),
            })
            .collect();
        assert_eq!(holds.len(), 1);
        // Charged nothing, it may come again; charged something, it may not.
        ledger.close(&holds[0], &details(), NOW).await.unwrap();
        let Ok(OpenOutcome::Open { hold, .. }) = ledger.open(keyed_request(&account, 10, "once")).await
        else {
            panic!("not opened again")
        };
        let capture = capture(&hold, Owed::Exactly(money(3)));
        assert!(matches!(ledger.capture(capture).await, Ok(CloseOutcome::Closed { .. })));
        assert_eq!(ledger.open(keyed_request(&account, 10, "once")).await.unwrap(), OpenOutcome::Charged);
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_free_request_opens_the_account_it_is_counted_on() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let nobody = account("nobody");
        assert!(matches!(ledger.open(opening(&nobody, 1, 1)).await, Ok(OpenOutcome::Short(_))));
        let two = [(); 2].map(|()| ledger.open(opening(&nobody, 0, 0)));
        for opened in join_all(two).await {
            let Ok(OpenOutcome::Open { hold, .. }) = opened else { panic!("{opened:?}") };
            ledger.close(&hold, &details(), NOW).await.unwrap();
        }
        assert_clean(&ledger).await;
    })
    .await;
}

/// A caller that does not know what became of a command may send it again.
#[tokio::test]
async fn attack_11_commands_that_come_again_under_their_ids_are_executed_once() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let request = opening(&account, 60, 60);
        let opened = OpenOutcome::Open { hold: request.hold.clone(), reserved: money(60) };
        assert_eq!(ledger.open(request.clone()).await.unwrap(), opened);
        assert_eq!(ledger.open(request.clone()).await.unwrap(), opened);
        let beside = open(&ledger, opening(&account, 5, 5), 5).await;
        let (again, charged) = tokio::join!(ledger.open(request.clone()), ledger.charge(&beside, money(1)));
        assert_eq!((again.unwrap(), charged.unwrap()), (opened, crate::charged(1)));

        let capture = capture(&request.hold, Owed::Exactly(money(7)));
        let closed = ledger.capture(capture.clone()).await.unwrap();
        assert!(
            matches!(&closed, CloseOutcome::Closed { entry, .. } if entry.amount == money(7)),
            "{closed:?}"
        );
        assert_eq!(ledger.capture(capture).await.unwrap(), closed);
        assert_eq!(ledger.open(request).await.unwrap(), OpenOutcome::Charged);
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 8, 4));
        assert_clean(&ledger).await;
    })
    .await;
}

/// Values that the database would refuse are refused before it, and alone.
#[tokio::test]
async fn what_is_refused_leaves_the_others_of_its_batch_alone() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let (one, two) =
            (opened(&ledger, &account, "r1", 10).await, opened(&ledger, &account, "r2", 10).await);
        let capture = |hold: &HoldId, kind| {
            let details = EntryDetails { kind, ..details() };
            Capture { details, ..crate::capture(hold, Owed::Exactly(money(5))) }
        };
        // Only a credit is one.
        let wrong = ledger.capture(capture(&one, EntryKind::Credit));
        let right = ledger.capture(capture(&two, EntryKind::Usage));
        let unknown = ledger.capture(capture(&HoldId::new(NOW), EntryKind::Usage));
        let (wrong, right, unknown, charged) =
            tokio::join!(wrong, right, unknown, ledger.charge(&one, money(1)));
        assert!(matches!(wrong, Err(LedgerError::Details(_))), "{wrong:?}");
        assert!(matches!(right, Ok(CloseOutcome::Closed { .. })), "{right:?}");
        assert!(matches!(unknown, Err(LedgerError::UnknownHold(_))), "{unknown:?}");
        assert_eq!(charged.unwrap(), crate::charged(1));
        ledger.close(&one, &details(), NOW).await.unwrap();
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, 6, 0));
        assert_clean(&ledger).await;
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_nobody_waits_for_any_more_is_closed() {
    for_each_engine(async |engine| {
        let ledger = Ledger::start(engine.db.clone());
        let account = funded(&ledger, "a", 100).await;
        let mut blocker = engine.connect_again().await.begin().await.unwrap();
        sqlx::query("UPDATE accounts SET credited = credited").execute(blocker.conn()).await.unwrap();
        let waiting = tokio::spawn({
            let (ledger, opening) = (ledger.clone(), opening(&account, 10, 10));
            async move { ledger.open(opening).await }
        });
        while ledger.batch_stats().batches == 0 {
            tokio::task::yield_now().await;
        }
        // Its transaction has begun, and waits for the account.
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        blocker.commit().await.unwrap();
        // What comes later is served after the hold was closed.
        let next = ledger.open(opening(&account, 100, 100)).await;
        assert!(matches!(next, Ok(OpenOutcome::Open { .. })), "{next:?}");
        assert_clean(&ledger).await;
    })
    .await;
}
