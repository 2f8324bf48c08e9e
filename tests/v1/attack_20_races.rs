//! Row 20: many requests on one balance. What is there is spent once, to the unit.

use farebox::keys::Limits;
use serde_json::json;

use crate::harness::{BODY, reply, run};
use crate::shop::{CHAT, PREVIEW, PRICE, at_once, body, money, on_every_engine};

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

/// Several keys of one owner spend one balance, each within its own budget.
#[test]
fn attack_20_budgets_hold_when_requests_race() {
    run(on_every_engine(async |shop| {
        let rich = shop.customer(1_000_000).await;
        let limits = Limits { total: Some(money(3 * 50_000)), ..Limits::default() };
        let limited = shop.key(&rich.owner, limits).await;
        let answers = at_once((0..10).map(|_| reply(shop.post(&limited, PREVIEW, BODY)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (3, 7));
        let limits = Limits { daily: Some(money(50 * PRICE)), ..Limits::default() };
        let limited = shop.key(&rich.owner, limits).await;
        let body = body(&json!({"chunks": 10}), &json!({"max_tokens": 10}));
        let answers = at_once((0..10).map(|_| reply(shop.post(&limited, CHAT, &body)))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(403)), (5, 5));
        assert_eq!(shop.left(&rich).await, 1_000_000 - 150_000 - 50 * PRICE);
    }));
}
