//! Table tests of the decision.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const SOON: Timestamp = Timestamp::from_millis(1_000_001);
const PAST: Timestamp = Timestamp::from_millis(999_999);

fn payer() -> Payer {
    Payer::wallet(&format!("0x{}", "a1".repeat(20))).expect("an address")
}

fn settled() -> Settled {
    let (answer, goods) = (None, None);
    Settled { payer: payer(), reference: Some("0x1".into()), answer, goods, receipt: "r".into() }
}

fn broadcast() -> PaymentState {
    let transfer =
        Transfer { reference: "0x1".into(), instruction: "0x".into(), fee_limit: None, valid_before: None };
    let purchase = Purchase { answer: "{}".into(), goods: None };
    PaymentState::Broadcast { payer: payer(), transfer, purchase }
}

fn all_states() -> [PaymentState; 5] {
    [
        PaymentState::Claimed,
        broadcast(),
        PaymentState::Settled(settled()),
        PaymentState::Delivered(settled()),
        PaymentState::Failed { payer: None, reference: None, failure: Failure::Undone },
    ]
}

fn stored(state: PaymentState, submission: Submission) -> Payment {
    Payment {
        id: "c".into(),
        fingerprint: "f".into(),
        method: Method::Tempo,
        network: Network::evm(1337),
        submission,
        pushed: None,
        state,
        resource: "POST /x".into(),
        digest: String::new(),
        amount: Money::ZERO,
        currency: String::new(),
        idempotency_key: None,
        request_id: "r".into(),
        top_up: None,
        expires_at: SOON,
        lease_until: PAST,
        created_at: PAST,
        updated_at: PAST,
    }
}

fn presented(submission: Submission) -> Presented<'static> {
    Presented { is_same: true, submission, idempotency_key: None, expires: SOON }
}

#[test]
fn attack_02_expires_equal_to_now_is_expired() {
    let mut credential = presented(Submission::Pull);
    assert_eq!(decide(None, &credential, NOW), NextStep::Claim);
    for expires in [NOW, PAST] {
        credential.expires = expires;
        assert_eq!(decide(None, &credential, NOW), NextStep::Refuse(RefusalReason::Expired));
        let claimed = stored(PaymentState::Claimed, Submission::Pull);
        assert_eq!(decide(Some(&claimed), &credential, NOW), NextStep::Refuse(RefusalReason::Expired));
        // Whoever pushed may have paid in time: its block says so.
        let pushed = Presented { submission: Submission::Push, ..credential };
        assert_eq!(decide(None, &pushed, NOW), NextStep::Claim);
    }
}

#[test]
fn what_was_paid_in_time_completes_after_the_expiry() {
    let mut credential = presented(Submission::Push);
    credential.expires = PAST;
    let step = |state| decide(Some(&stored(state, Submission::Push)), &credential, NOW);
    assert_eq!(step(PaymentState::Claimed), NextStep::TakeOver);
    assert_eq!(step(broadcast()), NextStep::Reconcile);
    assert_eq!(step(PaymentState::Settled(settled())), NextStep::Deliver);
}

#[test]
fn attack_09_a_settled_credential_never_leads_to_a_new_challenge() {
    let credential = presented(Submission::Pull);
    let mut row = stored(PaymentState::Delivered(settled()), Submission::Pull);
    assert_eq!(decide(Some(&row), &credential, NOW), NextStep::Refuse(RefusalReason::Spent));
    row.idempotency_key = Some("k".into());
    assert_eq!(decide(Some(&row), &credential, NOW), NextStep::Refuse(RefusalReason::Spent));
    let again = Presented { idempotency_key: Some("k"), ..credential };
    assert_eq!(decide(Some(&row), &again, NOW), NextStep::Repeat);
    row.idempotency_key = None;
    assert_eq!(decide(Some(&row), &again, NOW), NextStep::Refuse(RefusalReason::Spent));
}

#[test]
fn attack_11_one_worker_at_a_time() {
    for state in [PaymentState::Claimed, broadcast()] {
        let mut row = stored(state, Submission::Pull);
        row.lease_until = SOON;
        assert_eq!(
            decide(Some(&row), &presented(Submission::Pull), NOW),
            NextStep::Refuse(RefusalReason::InProgress)
        );
    }
}

#[test]
fn attack_11_one_delivery_at_a_time() {
    let mut row = stored(PaymentState::Settled(settled()), Submission::Pull);
    row.lease_until = SOON;
    let step = |row: &Payment| decide(Some(row), &presented(Submission::Pull), NOW);
    assert_eq!(step(&row), NextStep::Refuse(RefusalReason::InProgress));
    // It never left, and who was to hand it over is gone.
    row.lease_until = PAST;
    assert_eq!(step(&row), NextStep::Deliver);
}

#[test]
fn an_answer_for_goods_can_always_be_fetched_again() {
    let goods = Settled { goods: Some("{}".into()), answer: Some("{}".into()), ..settled() };
    for state in [PaymentState::Settled(goods.clone()), PaymentState::Delivered(goods.clone())] {
        let mut row = stored(state, Submission::Pull);
        assert_eq!(decide(Some(&row), &presented(Submission::Pull), NOW), NextStep::Repeat);
        let other = Presented { is_same: false, ..presented(Submission::Pull) };
        let used = NextStep::Refuse(RefusalReason::UsedChallenge);
        assert_eq!(decide(Some(&row), &other, NOW), used);
        row.state = PaymentState::Delivered(Settled { answer: None, ..goods.clone() });
        let spent = NextStep::Refuse(RefusalReason::Spent);
        assert_eq!(decide(Some(&row), &presented(Submission::Pull), NOW), spent);
    }
}

#[test]
fn attack_31_goods_of_a_push_are_shown_again_only_while_the_challenge_lives() {
    let goods = Settled { goods: Some("{}".into()), answer: Some("{}".into()), ..settled() };
    let mut row = stored(PaymentState::Delivered(goods), Submission::Push);
    let step = |row: &Payment, expires, idempotency_key| {
        let credential = Presented { idempotency_key, expires, ..presented(Submission::Push) };
        decide(Some(row), &credential, NOW)
    };
    assert_eq!(step(&row, SOON, None), NextStep::Repeat);
    assert_eq!(step(&row, NOW, None), NextStep::Refuse(RefusalReason::Spent));
    // A key of the buyer's own is no public thing.
    row.idempotency_key = Some("k".into());
    assert_eq!(step(&row, NOW, Some("k")), NextStep::Repeat);
}

#[test]
fn attack_30_a_clock_that_is_set_back_leaves_no_payment_leased_for_long() {
    for (state, step) in [(PaymentState::Claimed, NextStep::TakeOver), (broadcast(), NextStep::Reconcile)] {
        let mut row = stored(state, Submission::Pull);
        for (ahead, expected) in [
            (1, NextStep::Refuse(RefusalReason::InProgress)),
            (LONGEST_LEASE_MS, NextStep::Refuse(RefusalReason::InProgress)),
            (3_600_000, step),
        ] {
            row.lease_until = NOW.checked_add_millis(ahead).expect("soon");
            assert_eq!(decide(Some(&row), &presented(Submission::Pull), NOW), expected, "{ahead}");
        }
    }
}

#[test]
fn another_credential_for_a_used_challenge() {
    for state in all_states() {
        let row = stored(state, Submission::Pull);
        let step = |submission| {
            let other = Presented { is_same: false, ..presented(submission) };
            decide(Some(&row), &other, NOW)
        };
        assert_eq!(step(Submission::Pull), NextStep::Refuse(RefusalReason::UsedChallenge));
        let pushed = match row.state {
            PaymentState::Claimed => RefusalReason::UsedChallenge,
            _ => RefusalReason::Spent,
        };
        assert_eq!(step(Submission::Push), NextStep::Refuse(pushed));
    }
}
