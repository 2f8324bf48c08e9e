//! Row 20: many requests on one balance. What is there is spent once, to the unit.

use farebox::id::{AccountId, RequestKey, Timestamp};
use farebox::keys::KeyLimits;
use farebox::ledger::HoldOutcome;
use farebox_test_support::db;
use farebox_test_support::harness::{BODY, reply, run};
use serde_json::json;

use crate::fixture::{CHAT, Fixture, PREVIEW, PRICE, body, concurrently, money, on_every_engine};

const N: usize = 12;
const TOO_MANY: usize = 8;

#[test]
fn attack_20_exactly_as_many_previews_as_are_paid_for() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(50_000 * i64::try_from(N).expect("small")).await;
        let answers =
            concurrently((0..N + TOO_MANY).map(|_| reply(fixture.post(&customer, PREVIEW, BODY)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(402)), (N, TOO_MANY));
        assert_eq!(fixture.available(&customer).await, 0);
    }));
}

/// Each holds what it can cost and costs it: ten tokens.
#[test]
fn attack_20_exactly_as_many_answers_as_are_paid_for() {
    run(on_every_engine(async |fixture| {
        for stream in [true, false] {
            let customer = fixture.customer(10 * PRICE * i64::try_from(N).expect("small")).await;
            let body = body(&json!({"chunks": 10}), &json!({"max_tokens": 10, "stream": stream}));
            let answers =
                concurrently((0..N + TOO_MANY).map(|_| reply(fixture.post(&customer, CHAT, &body)))).await;
            let count = |status| answers.iter().filter(|answer| answer.status == status).count();
            assert_eq!((count(200), count(402)), (N, TOO_MANY));
            let broken = answers.iter().filter(|answer| answer.text.contains("\"error\"")).count();
            assert_eq!(broken, TOO_MANY, "who was let in gets everything");
            assert_eq!(fixture.available(&customer).await, 0);
            let entries = fixture.entries(&customer).await;
            assert_eq!(entries.len(), N);
            assert!(entries.iter().all(|entry| entry.amount == money(10 * PRICE)));
        }
    }));
}

/// Two instances, two hundred clients, one wallet: the balance is for exactly as many answers.
#[test]
fn attack_20_two_instances_and_two_hundred_clients_spend_one_balance_once() {
    const CLIENTS: usize = 200;
    const EACH: usize = 4;
    const PAID: usize = 501;
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, |_| {}).await;
        let mut second_instance = fixture.second_instance().await;
        let generous = || KeyLimits { rpm: Some(1_000_000), tpm: Some(100_000_000), ..KeyLimits::default() };
        let customer =
            fixture.customer_with_limits(10 * PRICE * i64::try_from(PAID).expect("small"), generous()).await;
        let other = fixture.key(&customer.owner, generous()).await;
        let body = |stream| body(&json!({"chunks": 10}), &json!({"max_tokens": 10, "stream": stream}));
        let (non_streaming, streamed) = (body(false), body(true));
        let clients = concurrently((0..CLIENTS).map(|client| {
            let instance = if client % 2 == 0 { &fixture } else { &second_instance };
            let key = if client % 3 == 0 { &other } else { &customer };
            let body = if client % 5 == 0 { &streamed } else { &non_streaming };
            async move {
                let mut paid = 0;
                for _ in 0..EACH {
                    let answer = reply(instance.post(key, CHAT, body)).await;
                    assert!([200, 402].contains(&answer.status), "{}", answer.text);
                    assert_eq!(answer.text.contains("\"error\""), answer.status == 402, "{}", answer.text);
                    paid += usize::from(answer.status == 200);
                }
                paid
            }
        }));
        assert_eq!(clients.await.into_iter().sum::<usize>(), PAID);
        assert_eq!(fixture.available(&customer).await, 0);
        let entries = "SELECT count(*) FROM entries WHERE amount > 0";
        assert_eq!(fixture.server.count(entries).await, i64::try_from(PAID).expect("small"));
        second_instance.server.stop().await;
        fixture.finish().await;
    });
}

/// Several keys of one owner spend one balance, each within its own budget.
#[test]
fn attack_20_budgets_hold_when_requests_race() {
    run(on_every_engine(async |fixture| {
        let rich = fixture.customer(1_000_000).await;
        let limits = KeyLimits { total: Some(money(3 * 50_000)), ..KeyLimits::default() };
        let customer_with_limits = fixture.key(&rich.owner, limits).await;
        let answers =
            concurrently((0..10).map(|_| reply(fixture.post(&customer_with_limits, PREVIEW, BODY)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (3, 7));
        let limits = KeyLimits { daily: Some(money(50 * PRICE)), ..KeyLimits::default() };
        let customer_with_limits = fixture.key(&rich.owner, limits).await;
        let body = body(&json!({"chunks": 10}), &json!({"max_tokens": 10}));
        let answers =
            concurrently((0..10).map(|_| reply(fixture.post(&customer_with_limits, CHAT, &body)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (5, 5));
        assert_eq!(fixture.available(&rich).await, 1_000_000 - 150_000 - 50 * PRICE);
    }));
}

/// What a process that was killed had set aside stayed so for two hours.
#[test]
fn attack_20_money_that_a_killed_process_held_is_free_at_the_next_start() {
    run(async {
        let fixture = Fixture::on(db::sqlite().await, |_| {}).await;
        let customer = fixture.customer(1_000).await;
        let account = AccountId::wallet(&customer.owner).expect("an address");
        let ledger = &fixture.server.app.ledger;
        let (now, mut holds) = (Timestamp::now(), Vec::new());
        let later = now.checked_add_millis(7_200_000).expect("near");
        for n in 0..3 {
            let key = RequestKey::parse(&format!("left-{n}")).expect("a key");
            let opened = ledger.hold(&account, &key, money(200), now, later).await.expect("held");
            let HoldOutcome::Opened(hold) = opened else { panic!("{opened:?}") };
            holds.push(hold);
        }
        ledger.charge(&holds[0], money(30)).await.expect("charged");
        assert_eq!(fixture.balance(&customer).await.available(), money(400));
        // Nobody closes them: as after a kill.
        let fixture = fixture.restart().await;
        assert_eq!(fixture.available(&customer).await, 970);
        let entries = fixture.entries(&customer).await;
        let mut amounts: Vec<_> = entries.iter().map(|entry| entry.amount).collect();
        amounts.sort_unstable();
        assert_eq!(amounts, [0, 0, 30].map(money));
        fixture.finish().await;
    });
}
