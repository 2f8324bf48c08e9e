use farebox_types::id::{EntryId, Timestamp};
use farebox_types::money::Money;

use super::super::account::{Account, Hold};
use super::super::holds::{Estimate, Owed};
use super::super::statement::{EntryDetails, EntryKind};
use super::super::working_set::HoldChange;
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

type Accounts = BTreeMap<AccountId, (Money, Money)>;
type Holds = BTreeMap<HoldId, HoldChange>;

fn money(micros: i64) -> Money {
    Money::from_micros(micros)
}

fn amounts(reserved: i64, charged: i64) -> Hold {
    Hold { reserved: money(reserved), charged: money(charged) }
}

fn account() -> AccountId {
    AccountId::parse("test:a").unwrap()
}

fn new_holds<const N: usize>() -> [HoldId; N] {
    [(); N].map(|()| HoldId::new(NOW))
}

/// Locked rows of one account.
fn locked(credited: i64, held: i64, holds: &[(&HoldId, i64, bool)]) -> WorkingSet {
    let stored = |reserved, is_open| StoredHold {
        account: account(),
        hold: amounts(reserved, 0),
        is_open,
        budget: None,
    };
    let holds = holds.iter().map(|(hold, reserved, is_open)| ((*hold).clone(), stored(*reserved, *is_open)));
    WorkingSet {
        is_locked: true,
        accounts: [(account(), Account::new(money(credited), Money::ZERO, money(held)).unwrap())].into(),
        holds: holds.collect(),
        ..WorkingSet::default()
    }
}

fn cached(credited: i64, held: i64, holds: &[(&HoldId, i64, bool)]) -> WorkingSet {
    WorkingSet { is_locked: false, ..locked(credited, held, holds) }
}

fn changes(decision: &Decision) -> (Accounts, Holds) {
    let accounts = decision.rows.account_changes().map(|(id, by)| (id.clone(), by)).collect();
    (accounts, decision.rows.hold_changes().map(|(id, change)| (id.clone(), change)).collect())
}

fn charge(hold: &HoldId, amount: i64, ahead: i64) -> Charge {
    Charge { hold: hold.clone(), amount: money(amount), ahead: money(ahead), reached: None }
}

fn charges(charges: Vec<Charge>) -> Batch {
    Batch { charges, ..Batch::default() }
}

fn details() -> EntryDetails {
    EntryDetails {
        kind: EntryKind::Usage,
        request_id: None,
        service: "model".to_owned(),
        units: 1,
        unit_price: money(1),
        meta: serde_json::json!({}),
    }
}

fn capture(hold: &HoldId, owed: Owed) -> Capture {
    Capture { hold: hold.clone(), entry: EntryId::new(NOW), owed, details: details(), now: NOW }
}

fn captures(captures: Vec<Capture>) -> Batch {
    Batch { captures, ..Batch::default() }
}

fn opening(wanted: i64, least: i64) -> HoldRequest {
    HoldRequest {
        hold: HoldId::new(NOW),
        account: account(),
        idempotency_key: None,
        budget: None,
        estimate: Estimate { wanted: money(wanted), least: money(least) },
        now: NOW,
        expires_at: NOW,
    }
}

#[test]
fn attack_20_those_that_fit_succeed_in_order_of_arrival() {
    let [one, two, gone, unknown] = new_holds();
    let total = |total| Some(ChargeOutcome::Charged { total: money(total) });
    let expected = [
        (&one, 10, total(10)),
        (&two, 11, Some(ChargeOutcome::Short { by: money(1) })),
        (&two, 10, total(10)),
        (&one, 1, Some(ChargeOutcome::Short { by: money(1) })),
        (&one, 0, total(10)),
        (&gone, 1, Some(ChargeOutcome::Closed)),
        (&unknown, 1, None),
    ];
    let batch = charges(expected.iter().map(|(hold, amount, _)| charge(hold, *amount, 0)).collect());
    let decision = decide(&batch, locked(20, 5, &[(&one, 5, true), (&two, 0, true), (&gone, 0, false)]));
    for (result, (hold, amount, outcome)) in decision.results.charges.iter().zip(expected) {
        assert_eq!(result.clone().unwrap().ok(), outcome, "{hold} {amount}");
    }
    let changed =
        |reserved| HoldChange { found: amounts(reserved, 0), now: amounts(reserved, 10), closes: false };
    let (accounts, holds) = changes(&decision);
    assert_eq!(holds, [(one.clone(), changed(5)), (two.clone(), changed(0))].into());
    assert_eq!(accounts, [(account(), (money(0), money(15)))].into());
}

#[test]
fn deciding_is_a_function() {
    let [one, two] = new_holds();
    let batch = Batch {
        captures: vec![capture(&one, Owed::Exactly(money(3)))],
        openings: vec![opening(4, 4)],
        charges: vec![charge(&two, 1, 0)],
    };
    let rows = || locked(20, 5, &[(&one, 5, true), (&two, 0, true)]);
    let [first, second] = [decide(&batch, rows()), decide(&batch, rows())];
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

#[test]
fn a_charge_of_nothing_still_asks_for_an_open_hold() {
    let [hold] = new_holds();
    let decision = decide(&charges(vec![charge(&hold, 0, 0)]), locked(20, 5, &[(&hold, 5, true)]));
    let same = HoldChange { found: amounts(5, 0), now: amounts(5, 0), closes: false };
    assert_eq!(changes(&decision), (Accounts::new(), [(hold, same)].into()));
}

#[test]
fn charges_beyond_a_hold_set_aside_for_what_comes_next() {
    for (reserved, wanted, charged, risen, held) in [
        (0, [(3, 10), (4, 10)], 7, 13, 13),
        // Within what the hold has, nothing more is taken.
        (5, [(3, 10), (2, 10)], 5, 0, 0),
        // No more than there is.
        (5, [(6, 100), (2, 100)], 8, 15, 15),
    ] {
        let [hold] = new_holds();
        let batch = charges(wanted.map(|(amount, ahead)| charge(&hold, amount, ahead)).into());
        let decision = decide(&batch, locked(20, reserved, &[(&hold, reserved, true)]));
        let now = amounts(reserved + risen, charged);
        let (accounts, holds) = changes(&decision);
        let change = HoldChange { found: amounts(reserved, 0), now, closes: false };
        assert_eq!(holds, [(hold, change)].into());
        let held = (held > 0).then_some((account(), (money(0), money(held))));
        assert_eq!(accounts, held.into_iter().collect());
    }
}

#[test]
fn a_hold_is_captured_once_and_as_far_as_it_can_be_paid() {
    for (owed, expected) in [
        (Owed::Exactly(money(4)), Ok((4, 2))),
        (Owed::Exactly(money(9)), Ok((9, 0))),
        (Owed::Exactly(money(11)), Err(1)),
        (Owed::AtMost(money(11)), Ok((10, 0))),
        (Owed::NOTHING, Ok((0, 6))),
        (Owed::InAll(money(4)), Ok((4, 2))),
        (Owed::InAll(money(11)), Ok((10, 0))),
    ] {
        let [hold, unknown] = new_holds();
        let batch = captures([&hold, &hold, &unknown].map(|hold| capture(hold, owed)).into());
        let decision = decide(&batch, locked(10, 6, &[(&hold, 6, true)]));
        let (accounts, holds) = changes(&decision);
        let [first, second, third] = decision.results.captures.try_into().unwrap();
        let first = first.unwrap().unwrap();
        match expected {
            Ok((charged, released)) => {
                let CloseOutcome::Closed { entry, released: left } = first else { panic!("{first:?}") };
                assert_eq!((entry.amount, left), (money(charged), money(released)));
                assert_eq!(entry.id, batch.captures[0].entry.to_string());
                assert_eq!(second.unwrap().unwrap(), CloseOutcome::AlreadyClosed { entry });
                assert_eq!(accounts, [(account(), (money(charged), money(-6)))].into());
                let now = amounts(6, charged);
                assert_eq!(holds, [(hold, HoldChange { found: amounts(6, 0), now, closes: true })].into());
            }
            Err(by) => {
                let short = CloseOutcome::Short { by: money(by) };
                assert_eq!((first, second.unwrap().unwrap()), (short.clone(), short));
                assert_eq!((accounts, holds), (Accounts::new(), Holds::new()));
            }
        }
        assert!(matches!(third, Some(Err(LedgerError::UnknownHold(_)))), "{third:?}");
    }
}

#[test]
fn what_was_charged_beyond_a_sum_is_given_back_when_a_hold_closes() {
    for (sum, charged) in [(0, 0), (3, 3), (5, 5), (8, 8), (20, 10)] {
        let [hold] = new_holds();
        let charges = vec![charge(&hold, 5, 0)];
        let batch = Batch { charges, ..captures(vec![capture(&hold, Owed::InAll(money(sum)))]) };
        // Captures are decided first: the charge of the same batch finds the hold closed.
        let mut rows = locked(10, 6, &[(&hold, 6, true)]);
        rows.holds.get_mut(&hold).unwrap().hold.charged = money(5);
        let decision = decide(&batch, rows);
        let Some(Ok(CloseOutcome::Closed { entry, .. })) = &decision.results.captures[0] else { panic!() };
        assert_eq!(entry.amount, money(charged));
        assert_eq!(changes(&decision).0, [(account(), (money(charged), money(-6)))].into());
        assert!(matches!(decision.results.charges[0], Some(Ok(ChargeOutcome::Closed))));
    }
}

#[test]
fn an_estimate_that_is_set_aside_is_held() {
    let batch = Batch { openings: vec![opening(6, 6), opening(6, 6)], ..Batch::default() };
    let decision = decide(&batch, locked(10, 0, &[]));
    let [first, second] = [&decision.results.openings[0], &decision.results.openings[1]];
    let hold = batch.openings[0].hold.clone();
    assert!(matches!(first, Some(Ok(open)) if *open == OpenOutcome::Open { hold, reserved: money(6) }));
    assert!(matches!(second, Some(Ok(OpenOutcome::Short(left))) if left.affordable == money(4)));
    assert_eq!(changes(&decision).0, [(account(), (money(0), money(6)))].into());
}

#[test]
fn an_opening_that_comes_again_opens_one_hold() {
    let again = opening(6, 6);
    let batch = Batch { openings: vec![again.clone(), again.clone()], ..Batch::default() };
    let decision = decide(&batch, cached(10, 0, &[]));
    let open = OpenOutcome::Open { hold: again.hold.clone(), reserved: money(6) };
    let outcomes: Vec<_> =
        decision.results.openings.iter().cloned().map(|result| result.unwrap().unwrap()).collect();
    assert_eq!(outcomes, [open.clone(), OpenOutcome::InProgress]);
    assert_eq!(decision.new_rows(), 1);
    // Also if it is found: open, closed, and on another account.
    let other = HoldRequest { account: AccountId::parse("test:b").unwrap(), ..again.clone() };
    for (opening, is_open, expected) in
        [(&again, true, Some(open)), (&again, false, Some(OpenOutcome::Charged)), (&other, true, None)]
    {
        let batch = Batch { openings: vec![opening.clone()], ..Batch::default() };
        let mut decision = decide(&batch, locked(10, 6, &[(&again.hold, 6, is_open)]));
        assert_eq!(decision.results.openings.pop().flatten().unwrap().ok(), expected);
        assert_eq!((changes(&decision), decision.new_rows()), ((Accounts::new(), Holds::new()), 0));
    }
}

#[test]
fn attack_20_nobody_is_refused_from_rows_that_may_be_out_of_date() {
    let [rich, closed] = new_holds();
    let batch = Batch {
        captures: vec![capture(&closed, Owed::NOTHING)],
        openings: vec![
            opening(30, 5),
            HoldRequest { idempotency_key: Some("key".to_owned()), ..opening(1, 1) },
        ],
        charges: vec![charge(&rich, 5, 0), charge(&rich, 90, 0), charge(&rich, 1, 0)],
    };
    let rows = || cached(20, 5, &[(&rich, 5, true), (&closed, 0, false)]);
    let decision = decide(&batch, rows());
    // All are deferred, and with them those that come after them on the account.
    assert!(decision.results.captures.iter().all(Option::is_none));
    assert!(decision.results.openings.iter().all(Option::is_none));
    assert!(decision.results.charges.iter().all(Option::is_none));
    assert_eq!((changes(&decision), decision.new_rows()), ((Accounts::new(), Holds::new()), 0));
    // Those that come before are not.
    let decision = decide(&charges(batch.charges), rows());
    assert_eq!(
        decision.results.charges.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, false]
    );
    let change = HoldChange { found: amounts(5, 0), now: amounts(5, 5), closes: false };
    assert_eq!(changes(&decision), (Accounts::new(), [(rich, change)].into()));
}

#[test]
fn rows_that_are_corrupt_are_errors_of_their_own_commands() {
    let [sound, corrupt] = new_holds();
    let mut rows = locked(20, 5, &[(&sound, 5, true)]);
    rows.corrupt.insert(corrupt.to_string(), LedgerError::Corrupt("test".to_owned()));
    let batch = charges(vec![charge(&corrupt, 1, 0), charge(&sound, 1, 0)]);
    let [first, second] = decide(&batch, rows).results.charges.try_into().unwrap();
    assert!(matches!(first, Some(Err(LedgerError::Corrupt(_)))), "{first:?}");
    assert!(matches!(second, Some(Ok(ChargeOutcome::Charged { .. }))), "{second:?}");
}

#[test]
fn entries_that_cannot_be_recorded_are_refused_alone() {
    let [one, two] = new_holds();
    for (wrong, is_expected) in [
        (EntryDetails { kind: EntryKind::Credit, ..details() }, "`credit`"),
        (EntryDetails { service: "a\0b".to_owned(), ..details() }, "NUL"),
        (EntryDetails { unit_price: money(-1), ..details() }, "-"),
        (EntryDetails { units: u64::MAX, ..details() }, "exceeds"),
    ] {
        let wrong = Capture { details: wrong, ..capture(&one, Owed::NOTHING) };
        let batch = captures(vec![wrong, capture(&two, Owed::NOTHING)]);
        let decision = decide(&batch, locked(20, 10, &[(&one, 5, true), (&two, 5, true)]));
        let [first, second] = decision.results.captures.try_into().unwrap();
        let error = first.unwrap().unwrap_err().to_string();
        assert!(error.contains(is_expected), "{error}");
        assert!(matches!(second, Some(Ok(CloseOutcome::Closed { .. }))), "{second:?}");
    }
}

/// What was written by a command whose answer was lost is not done again, and not refused.
#[test]
fn attack_30_commands_that_come_again_recognise_what_they_did() {
    let [one, two, three] = new_holds();
    let found = || locked(20, 15, &[(&one, 5, true), (&two, 5, true), (&three, 5, true)]);
    let first = Batch {
        captures: vec![capture(&one, Owed::Exactly(money(4)))],
        openings: vec![opening(1, 1)],
        charges: vec![charge(&two, 1, 0), charge(&three, 7, 2), charge(&two, 0, 0), charge(&two, 2, 0)],
    };
    let decision = decide(&first, found());
    let again = first.again(&decision.results);
    let results = format!("{:?}", decision.results);

    // It was not written: all of it is done now.
    assert_eq!(format!("{:?}", decide(&again, found()).results), results);

    // It was, and an account without a penny is no reason to refuse it.
    let mut written = found();
    written.accounts.insert(account(), Account::new(money(20), money(20), Money::ZERO).unwrap());
    for (id, change) in changes(&decision).1 {
        let stored = written.holds.get_mut(&id).unwrap();
        (stored.hold, stored.is_open) = (change.now, !change.closes);
    }
    written.holds.extend(decision.new_holds.clone());
    let Some(Ok(CloseOutcome::Closed { entry, .. })) = &decision.results.captures[0] else { panic!() };
    written.entries.insert(one.clone(), entry.clone());
    let repeated = decide(&again, written);
    assert_eq!(format!("{:?}", repeated.results), results);
    assert!(changes(&repeated).0.is_empty() && repeated.new_rows() == 0);
    assert!(changes(&repeated).1.values().all(|change| change.now == change.found && !change.closes));

    // Somebody else closed the hold, under another entry.
    let Entry { id, .. } = entry;
    let mut closed = locked(20, 0, &[(&one, 5, false)]);
    closed.entries.insert(one.clone(), Entry { id: format!("not {id}"), ..entry.clone() });
    let [result] = decide(&captures(again.captures), closed).results.captures.try_into().unwrap();
    assert!(matches!(result, Some(Ok(CloseOutcome::AlreadyClosed { .. }))), "{result:?}");
}

impl Decision {
    fn new_rows(&self) -> usize {
        self.new_holds.len()
    }
}
