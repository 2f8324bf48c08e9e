//! Row 20: many requests on one balance. What is there is spent once, to the unit.

use farebox::keys::KeyLimits;
use serde_json::json;

use crate::harness::{BODY, reply, run};
use crate::shop::{CHAT, PREVIEW, PRICE, Shop, at_once, body, money, on_every_engine};

const N: usize = 12;
const TOO_MANY: usize = 8;

#[test]
fn attack_20_exactly_as_many_previews_as_are_paid_for() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(50_000 * i64::try_from(N).expect("small")).await;
        let answers = at_once((0..N + TOO_MANY).map(|_| reply(shop.post(&customer, PREVIEW, BODY)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(402)), (N, TOO_MANY));
        assert_eq!(shop.left(&customer).await, 0);
    }));
}

/// Each holds what it can cost and costs it: ten tokens.
#[test]
fn attack_20_exactly_as_many_answers_as_are_paid_for() {
    run(on_every_engine(async |shop| {
        for stream in [true, false] {
            let customer = shop.customer(10 * PRICE * i64::try_from(N).expect("small")).await;
            let body = body(&json!({"chunks": 10}), &json!({"max_tokens": 10, "stream": stream}));
            let answers = at_once((0..N + TOO_MANY).map(|_| reply(shop.post(&customer, CHAT, &body)))).await;
            let count = |status| answers.iter().filter(|answer| answer.status == status).count();
            assert_eq!((count(200), count(402)), (N, TOO_MANY));
            let broken = answers.iter().filter(|answer| answer.text.contains("\"error\"")).count();
            assert_eq!(broken, TOO_MANY, "who was let in gets everything");
            assert_eq!(shop.left(&customer).await, 0);
            let entries = shop.entries(&customer).await;
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
        let Some(database) = crate::db::postgres().await else { return };
        let shop = Shop::on(database, |_| {}).await;
        let mut twin = shop.twin().await;
        let generous = || KeyLimits { rpm: Some(1_000_000), tpm: Some(100_000_000), ..KeyLimits::default() };
        let customer = shop.limited(10 * PRICE * i64::try_from(PAID).expect("small"), generous()).await;
        let other = shop.key(&customer.owner, generous()).await;
        let body = |stream| body(&json!({"chunks": 10}), &json!({"max_tokens": 10, "stream": stream}));
        let (whole, streamed) = (body(false), body(true));
        let clients = at_once((0..CLIENTS).map(|client| {
            let instance = if client % 2 == 0 { &shop } else { &twin };
            let key = if client % 3 == 0 { &other } else { &customer };
            let body = if client % 5 == 0 { &streamed } else { &whole };
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
        assert_eq!(shop.left(&customer).await, 0);
        let entries = "SELECT count(*) FROM entries WHERE amount > 0";
        assert_eq!(shop.server.count(entries).await, i64::try_from(PAID).expect("small"));
        twin.server.stop().await;
        shop.finish().await;
    });
}

/// Several keys of one owner spend one balance, each within its own budget.
#[test]
fn attack_20_budgets_hold_when_requests_race() {
    run(on_every_engine(async |shop| {
        let rich = shop.customer(1_000_000).await;
        let limits = KeyLimits { total: Some(money(3 * 50_000)), ..KeyLimits::default() };
        let limited = shop.key(&rich.owner, limits).await;
        let answers = at_once((0..10).map(|_| reply(shop.post(&limited, PREVIEW, BODY)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (3, 7));
        let limits = KeyLimits { daily: Some(money(50 * PRICE)), ..KeyLimits::default() };
        let limited = shop.key(&rich.owner, limits).await;
        let body = body(&json!({"chunks": 10}), &json!({"max_tokens": 10}));
        let answers = at_once((0..10).map(|_| reply(shop.post(&limited, CHAT, &body)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (5, 5));
        assert_eq!(shop.left(&rich).await, 1_000_000 - 150_000 - 50 * PRICE);
    }));
}
