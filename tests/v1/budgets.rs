//! Budgets of keys, per day and in total.

use farebox::id::Timestamp;
use farebox::keys::KeyLimits;
use farebox::ledger::sweep::sweep;
use farebox::ledger::{Estimate, LimitedBy, OpenOutcome};
use farebox_test_support::db;
use farebox_test_support::harness::{BODY, reply, run};
use serde_json::json;

use crate::fixture::{CHAT, Fixture, PREVIEW, PRICE, body, concurrently, money, on_every_engine, refused};

#[test]
fn a_daily_budget_bounds_answers_and_begins_anew_the_next_day() {
    run(on_every_engine(async |fixture| {
        let limits = KeyLimits { daily: Some(money(50 * PRICE)), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(1_000_000, limits).await;
        let transcript = fixture.run(&customer, &json!({"chunks": 30}), &json!({"max_tokens": 30})).await;
        assert_eq!((transcript.texts, transcript.errors.len()), (30, 0));
        fixture.idle().await;
        // Twenty tokens are left of the day.
        let transcript = fixture.run(&customer, &json!({"chunks": 100}), &json!({})).await;
        assert_eq!(transcript.texts, 20);
        fixture.idle().await;
        let over = fixture.complete(&customer, &json!({"chunks": 1}), &json!({})).await;
        let error = refused(&over, 403, "key_limit_reached");
        assert!(error["message"].as_str().expect("text").contains("daily"), "{error}");
        refused(&reply(fixture.post(&customer, PREVIEW, BODY)).await, 403, "key_limit_reached");
        assert_eq!(fixture.available(&customer).await, 1_000_000 - 50 * PRICE);
        // As if all that had been on another day.
        fixture.server.db.execute("UPDATE budgets SET day = '2020-01-01' WHERE day <> ''").await;
        fixture.server.db.execute("UPDATE holds SET day = '2020-01-01' WHERE state = 'open'").await;
        assert_eq!(fixture.complete(&customer, &json!({"chunks": 1}), &json!({})).await.status, 200);
    }));
}

/// A prompt of one-letter words has twice as many tokens as four bytes a token make.
#[test]
fn attack_41_a_budget_is_never_exceeded_by_prompts_that_are_longer_than_estimated() {
    run(async {
        for database in db::engines().await {
            let fixture = Fixture::on(database, |config| {
                config.models[0].price_per_million_input = money(10_000_000);
            })
            .await;
            let owner = fixture.customer(10_000_000).await.owner;
            let prompt = json!([{"role": "system", "content": "a ".repeat(2_000)},
                {"role": "user", "content": "{\"chunks\":1}"}]);
            for stream in [false, true] {
                // The prompt is 2,000 tokens for $0.02, and up to 6,200 for $0.062.
                for (budget, is_served) in
                    [(400_000, true), (100_000, true), (61_000, false), (20_000, false)]
                {
                    let limits = KeyLimits { total: Some(money(budget)), ..KeyLimits::default() };
                    let customer = fixture.key(&owner, limits).await;
                    let more = json!({"stream": stream, "max_tokens": 1, "messages": prompt});
                    let body = body(&json!({}), &more);
                    let answers =
                        concurrently((0..20).map(|_| reply(fixture.post(&customer, CHAT, &body)))).await;
                    fixture.idle().await;
                    let entries = fixture.entries(&customer).await.into_iter();
                    let own = entries.filter(|entry| entry.meta["key"] == customer.id.as_str());
                    let spent: i64 = own.map(|entry| entry.amount.micros()).sum();
                    let served = answers.iter().filter(|answer| answer.status == 200).count();
                    assert!(
                        (served > 0) == is_served && spent <= budget,
                        "{spent} of {budget}, {served} served"
                    );
                    let paid = i64::try_from(served).expect("small") * 20_000;
                    assert!(spent >= paid, "{served} served for {spent}");
                }
            }
            fixture.finish().await;
        }
    });
}

#[test]
fn a_total_budget_survives_rotation_and_counts_what_only_the_sweeper_closed() {
    run(on_every_engine(async |fixture| {
        let limits = KeyLimits { total: Some(money(60_000)), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(1_000_000, limits).await;
        assert_eq!(reply(fixture.post(&customer, PREVIEW, BODY)).await.status, 200);
        refused(&reply(fixture.post(&customer, PREVIEW, BODY)).await, 403, "key_limit_reached");
        let transcript = fixture.run(&customer, &json!({"chunks": 60}), &json!({})).await;
        assert_eq!(transcript.texts, 60, "10,000 are left, 100 tokens");
        fixture.idle().await;
        // A request that nobody came back for, charged 20 tokens.
        let app = &fixture.server.app;
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
        let transcript = fixture.run(&customer, &json!({"chunks": 500}), &json!({})).await;
        assert_eq!(transcript.texts, 20);
        refused(
            &fixture.complete(&customer, &json!({"chunks": 1}), &json!({})).await,
            403,
            "key_limit_reached",
        );
    }));
}
