//! The ledger on both engines: every verb and outcome, a long random run against a model, races,
//! and a database that fails.

#[path = "ledger/batches.rs"]
mod batches;
#[path = "ledger/failures.rs"]
mod failures;
#[path = "ledger/lost.rs"]
mod lost;
#[path = "ledger/model.rs"]
mod model;
#[path = "ledger/races.rs"]
mod races;
#[path = "ledger/row_cache.rs"]
mod row_cache;
#[path = "ledger/usage.rs"]
mod usage;
#[path = "ledger/verbs.rs"]
mod verbs;

use farebox::id::{AccountId, EntryId, HoldId, RequestId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::{
    Balance, Capture, ChargeOutcome, EntryDetails, EntryKind, Estimate, HoldOutcome, HoldRequest, Ledger,
    OpenOutcome, Owed, audit::audit,
};
use farebox::money::Money;

/// A moment like any other.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Later than every moment of these tests.
const LATER: Timestamp = Timestamp::from_millis(1_767_312_000_000);

fn money(micros: i64) -> Money {
    Money::from_micros(micros)
}

fn account(name: &str) -> AccountId {
    AccountId::parse(&format!("test:{name}")).unwrap()
}

fn source(name: &str) -> SourceRef {
    SourceRef::parse(&format!("tx:{name}")).unwrap()
}

fn key(name: &str) -> RequestKey {
    RequestKey::parse(name).unwrap()
}

fn details() -> EntryDetails {
    EntryDetails {
        kind: EntryKind::Usage,
        request_id: RequestId::from_client("req-1"),
        service: "dev-model".into(),
        units: 7,
        unit_price: money(10),
        meta: serde_json::json!({"tokens": 7}),
    }
}

/// An account with this much, under a source of its own.
async fn funded(ledger: &Ledger, name: &str, amount: i64) -> AccountId {
    let account = account(name);
    ledger.credit(&account, money(amount), &source(name), NOW).await.unwrap();
    account
}

/// An open hold with this much set aside.
async fn opened(ledger: &Ledger, account: &AccountId, name: &str, estimate: i64) -> HoldId {
    match ledger.hold(account, &key(name), money(estimate), NOW, LATER).await.unwrap() {
        HoldOutcome::Opened(hold) => hold,
        other => panic!("{other:?}"),
    }
}

/// Wants a hold for a new request.
fn opening(account: &AccountId, wanted: i64, least: i64) -> HoldRequest {
    HoldRequest {
        hold: HoldId::new(NOW),
        account: account.clone(),
        idempotency_key: None,
        budget: None,
        estimate: Estimate { wanted: money(wanted), least: money(least) },
        now: NOW,
        expires_at: LATER,
    }
}

/// The hold of an opening for which this much is set aside.
async fn open(ledger: &Ledger, opening: HoldRequest, reserved: i64) -> HoldId {
    match ledger.open(opening).await.unwrap() {
        OpenOutcome::Open { hold, reserved: set_aside } => {
            assert_eq!(set_aside, money(reserved));
            hold
        }
        other => panic!("{other:?}"),
    }
}

/// Charges this for a hold, and closes it.
fn capture(hold: &HoldId, owed: Owed) -> Capture {
    Capture { hold: hold.clone(), entry: EntryId::new(NOW), owed, details: details(), now: NOW }
}

fn balance(credited: i64, spent: i64, held: i64) -> Balance {
    Balance::new(money(credited), money(spent), money(held)).unwrap()
}

fn charged(total: i64) -> ChargeOutcome {
    ChargeOutcome::Charged { total: money(total) }
}

async fn assert_clean(ledger: &Ledger) {
    let report = audit(ledger.db()).await.unwrap();
    assert!(report.is_clean(), "{report}");
}
