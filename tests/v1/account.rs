//! What a key says of itself: credits, limits and spending, for clients that have no wallet.

use farebox::id::Timestamp;
use farebox::keys::KeyLimits;
use farebox_test_support::harness::{reply, run};
use serde_json::json;

use crate::fixture::{PRICE, money, on_every_engine, refused};

#[test]
fn a_key_tells_what_is_left() {
    run(on_every_engine(async |fixture| {
        let limits = KeyLimits {
            daily: Some(money(200_000)),
            total: Some(money(700_000)),
            rpm: Some(50),
            ..KeyLimits::default()
        };
        let customer = fixture.customer_with_limits(1_000_000, limits).await;
        let other = fixture.key(&customer.owner, KeyLimits::default()).await;
        for (key, chunks) in [(&customer, 30), (&other, 20)] {
            fixture.run(key, &json!({"chunks": chunks}), &json!({})).await;
        }
        fixture.idle().await;
        let read = async |key, path| {
            let answer = reply(fixture.get(key, path)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.header("cache-control"), Some("private, max-age=5"));
            assert!(answer.header("vary").is_some_and(|vary| vary.contains("authorization")));
            assert!(answer.header("x-ratelimit-limit-rpm").is_some());
            answer.json()
        };
        let credits = read(&customer, "/v1/credits").await;
        assert_eq!(
            credits["data"],
            json!({"total_credits": 1.0, "total_usage": 0.005, "reserved": 0.0, "available": 0.995})
        );
        let key = read(&customer, "/v1/key").await["data"].take();
        assert_eq!((&key["id"], &key["label"]), (&json!(customer.id.as_str()), &json!("test")));
        assert_eq!((&key["usage"], &key["usage_daily"]), (&json!(0.003), &json!(0.003)));
        assert_eq!((&key["limit"], &key["limit_remaining"]), (&json!(0.7), &json!(0.697)));
        assert_eq!((&key["daily_limit"], &key["daily_limit_remaining"]), (&json!(0.2), &json!(0.197)));
        assert_eq!((&key["rpm"], &key["models"]), (&json!(50), &json!(null)));
        let free = read(&other, "/v1/key").await["data"].take();
        assert_eq!((&free["limit"], &free["usage"]), (&json!(null), &json!(0.002)));

        let today: String = Timestamp::now().to_rfc3339().chars().take(10).collect();
        let usage = read(&customer, "/v1/usage").await;
        assert_eq!(usage["total_cost"], json!(0.003));
        assert_eq!(usage["data"], json!([{"date": today, "cost": 0.003}]));
        let past = read(&customer, "/v1/usage?from=2020-01-01&to=2020-12-30").await;
        assert_eq!((&past["data"], &past["total_cost"]), (&json!([]), &json!(0.0)));
    }));
}

/// A request that runs counts as used, by the most that it may cost.
#[test]
fn a_running_request_is_counted() {
    run(on_every_engine(async |fixture| {
        let limits = KeyLimits { total: Some(money(10_000_000)), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(10_000_000, limits).await;
        let script = json!({"chunks": 100, "intervalMs": 20});
        let mut stream = fixture.stream(&customer, &script, &json!({"max_tokens": 500})).await;
        let key = reply(fixture.get(&customer, "/v1/key")).await.json()["data"].take();
        let most = 500.0 * f64::from(u32::try_from(PRICE).expect("small")) / 1e6;
        assert!((key["usage"].as_f64().expect("a number") - most).abs() < 1e-9, "{key}");
        crate::fixture::read_to_end(&mut stream).await;
        fixture.idle().await;
    }));
}

#[test]
fn questions_that_cannot_be_answered_name_the_field() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(0).await;
        for (query, field) in [
            ("from=yesterday", "from"),
            ("to=2026-13-01", "to"),
            ("from=2026-02-01&to=2026-01-01", "from"),
            ("from=2020-01-01&to=2026-01-01", "from"),
        ] {
            let answer = reply(fixture.get(&customer, &format!("/v1/usage?{query}"))).await;
            let error = refused(&answer, 400, "invalid_params");
            assert_eq!(error["param"], field, "{query}");
        }
        for path in ["/v1/credits", "/v1/key", "/v1/usage"] {
            refused(&reply(fixture.server.get(path)).await, 401, "missing_api_key");
        }
    }));
}
