//! What a key may spend per day and in total.

use farebox::id::Timestamp;
use farebox::keys::KeyLimits;
use farebox::ledger::sweep::sweep;
use farebox::ledger::{Estimate, LimitedBy, OpenOutcome};
use serde_json::json;

use crate::harness::{BODY, reply, run};
use crate::shop::{PREVIEW, PRICE, money, on_every_engine, refused};

#[test]
fn a_daily_budget_bounds_answers_and_begins_anew_the_next_day() {
    run(on_every_engine(async |shop| {
        let limits = KeyLimits { daily: Some(money(50 * PRICE)), ..KeyLimits::default() };
        let customer = shop.limited(1_000_000, limits).await;
        let transcript = shop.run(&customer, &json!({"chunks": 30}), &json!({"max_tokens": 30})).await;
        assert_eq!((transcript.texts, transcript.errors.len()), (30, 0));
        shop.idle().await;
        // Twenty tokens are left of the day.
        let transcript = shop.run(&customer, &json!({"chunks": 100}), &json!({})).await;
        assert_eq!(transcript.texts, 20);
        shop.idle().await;
        let over = shop.ask(&customer, &json!({"chunks": 1}), &json!({})).await;
        let error = refused(&over, 403, "key_limit_reached");
        assert!(error["message"].as_str().expect("text").contains("daily"), "{error}");
        refused(&reply(shop.post(&customer, PREVIEW, BODY)).await, 403, "key_limit_reached");
        assert_eq!(shop.left(&customer).await, 1_000_000 - 50 * PRICE);
        // As if all that had been on another day.
        shop.server.db.execute("UPDATE budgets SET day = '2020-01-01' WHERE day <> ''").await;
        shop.server.db.execute("UPDATE holds SET day = '2020-01-01' WHERE state = 'open'").await;
        assert_eq!(shop.ask(&customer, &json!({"chunks": 1}), &json!({})).await.status, 200);
    }));
}

#[test]
fn a_total_budget_survives_rotation_and_counts_what_only_the_sweeper_closed() {
    run(on_every_engine(async |shop| {
        let limits = KeyLimits { total: Some(money(60_000)), ..KeyLimits::default() };
        let customer = shop.limited(1_000_000, limits).await;
        assert_eq!(reply(shop.post(&customer, PREVIEW, BODY)).await.status, 200);
        refused(&reply(shop.post(&customer, PREVIEW, BODY)).await, 403, "key_limit_reached");
        let transcript = shop.run(&customer, &json!({"chunks": 60}), &json!({})).await;
        assert_eq!(transcript.texts, 60, "10,000 are left, 100 tokens");
        shop.idle().await;
        // A request that nobody came back for, charged 20 tokens.
        let app = &shop.server.app;
        let key = app.keys.find(&customer.owner, &customer.id).await.expect("the database").expect("a key");
        let now = Timestamp::now();
        let open = async |wanted, least| {
            let estimate = Estimate { wanted: money(wanted), least: money(least) };
            app.ledger.open(key.hold_request(None, estimate, now, now)).await
        };
        let opened = open(5_000, 4_000).await;
        let Ok(OpenOutcome::Open { hold, .. }) = opened else { panic!("{opened:?}") };
        app.ledger.charge(&hold, money(2_000)).await.expect("charged");
        let all_held = open(1, 1).await;
        assert!(
            matches!(all_held, Ok(OpenOutcome::Short(short)) if short.bound == LimitedBy::Total),
            "{all_held:?}"
        );
        sweep(&app.ledger, Timestamp::now(), 10).await.expect("swept");
        let transcript = shop.run(&customer, &json!({"chunks": 500}), &json!({})).await;
        assert_eq!(transcript.texts, 20);
        refused(&shop.ask(&customer, &json!({"chunks": 1}), &json!({})).await, 403, "key_limit_reached");
    }));
}
