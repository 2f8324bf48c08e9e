//! Requests and tokens a minute.

use std::time::Duration;

use farebox::id::Timestamp;
use farebox::keys::KeyLimits;
use farebox_test_support::db;
use farebox_test_support::harness::{Reply, reply, run};
use serde_json::json;

use crate::fixture::{CHAT, Fixture, body, concurrently, on_every_engine, refused};

/// Waits until a whole test fits into the minute.
async fn early_in_a_minute() {
    let within = Timestamp::now().millis().rem_euclid(60_000);
    if within > 45_000 {
        let rest = u64::try_from(60_050 - within).expect("positive");
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}

fn number(reply: &Reply, name: &str) -> u64 {
    let text = reply.header(name).unwrap_or_else(|| panic!("{name} is missing: {:?}", reply.headers));
    text.trim_end_matches('s').parse().expect("a number")
}

#[test]
fn requests_a_minute_are_counted_and_reported() {
    run(on_every_engine(async |fixture| {
        early_in_a_minute().await;
        let customer =
            fixture.customer_with_limits(1_000_000, KeyLimits { rpm: Some(3), ..KeyLimits::default() }).await;
        for left in [2, 1, 0] {
            let answer = reply(fixture.get(&customer, "/v1/models")).await;
            assert_eq!(answer.status, 200);
            for (name, value) in [
                ("X-RateLimit-Limit-RPM", 3),
                ("X-RateLimit-Remaining-RPM", left),
                ("X-RateLimit-Limit-TPM", 1_000_000),
                ("X-RateLimit-Remaining-TPM", 1_000_000),
                ("x-ratelimit-limit-requests", 3),
                ("x-ratelimit-remaining-requests", left),
                ("x-ratelimit-remaining-tokens", 1_000_000),
            ] {
                assert_eq!(number(&answer, name), value, "{name}");
            }
            for name in ["X-RateLimit-Reset-RPM", "X-RateLimit-Reset-TPM", "x-ratelimit-reset-requests"] {
                assert!((1..=60).contains(&number(&answer, name)), "{name}");
            }
        }
        for request in [
            fixture.get(&customer, "/v1/models"),
            fixture.post(&customer, CHAT, &body(&json!({}), &json!({"stream": true}))),
        ] {
            let answer = reply(request).await;
            refused(&answer, 429, "rate_limit_exceeded_rpm");
            assert_eq!(number(&answer, "retry-after"), number(&answer, "X-RateLimit-Reset-RPM"));
            assert_eq!(number(&answer, "X-RateLimit-Remaining-RPM"), 0);
        }
        let other = fixture.key(&customer.owner, KeyLimits::default()).await;
        assert_eq!(reply(fixture.get(&other, "/v1/models")).await.status, 200, "keys do not share");
    }));
}

#[test]
fn tokens_are_set_aside_and_given_back() {
    run(on_every_engine(async |fixture| {
        early_in_a_minute().await;
        let customer = fixture
            .customer_with_limits(1_000_000, KeyLimits { tpm: Some(1_000), ..KeyLimits::default() })
            .await;
        let script = json!({"chunks": 10});
        // It may need more than a minute has: it gets the whole minute, and gives back the rest.
        let non_streaming = fixture.complete(&customer, &script, &json!({})).await;
        assert_eq!(non_streaming.status, 200, "{}", non_streaming.text);
        fixture.idle().await;
        let left = number(&reply(fixture.get(&customer, "/v1/models")).await, "X-RateLimit-Remaining-TPM");
        assert!((980..=990).contains(&left), "{left}");
        // While one runs, what it may need is not there for others.
        let slow = json!({"chunks": 50, "intervalMs": 20});
        let mut stream = fixture.stream(&customer, &slow, &json!({"max_tokens": 900})).await;
        for name in ["x-ratelimit-limit-rpm", "x-ratelimit-remaining-tpm", "x-ratelimit-reset-tokens"] {
            assert!(stream.response.headers().contains_key(name), "{name} on a stream");
        }
        let refusal = fixture.complete(&customer, &script, &json!({"max_tokens": 500})).await;
        let error = refused(&refusal, 429, "rate_limit_exceeded_tpm");
        assert_eq!(error["type"], "rate_limit_error");
        assert!((1..=60).contains(&number(&refusal, "retry-after")));
        assert_eq!(crate::fixture::read_to_end(&mut stream).await.texts, 50);
        fixture.idle().await;
        assert_eq!(fixture.complete(&customer, &script, &json!({"max_tokens": 500})).await.status, 200);
        // A request that fails needs none.
        fixture.complete(&customer, &json!({"status": 503}), &json!({"max_tokens": 900})).await;
        let left = number(&reply(fixture.get(&customer, "/v1/models")).await, "X-RateLimit-Remaining-TPM");
        assert!((880..=930).contains(&left), "{left}");
    }));
}

/// Few answers are as long as they may be: what is likely is set aside, not the model's maximum.
#[test]
fn a_key_serves_several_requests_at_once() {
    run(on_every_engine(async |fixture| {
        early_in_a_minute().await;
        let limits = KeyLimits { tpm: Some(10_000), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(10_000_000, limits).await;
        // The model's answers may have 4,096 tokens.
        let (script, usual) = (json!({"chunks": 20, "intervalMs": 20}), json!({}));
        let answers = concurrently((0..4).map(|_| fixture.complete(&customer, &script, &usual))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        // Several choices are several answers.
        let many = fixture.complete(&customer, &script, &json!({"n": 10})).await;
        let error = refused(&many, 429, "rate_limit_exceeded_tpm");
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains("beginning of a minute")),
            "{error}"
        );
        // What can never fit says so, and not when to try again.
        let long = json!({"messages": [{"role": "user", "content": "word ".repeat(20_000)}]});
        let never = fixture.complete(&customer, &script, &long).await;
        let error = refused(&never, 400, "invalid_params");
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains("it can never be served")),
            "{error}"
        );
        assert_eq!(never.header("retry-after"), None);
    }));
}

#[test]
fn errors_tell_how_the_key_stands_too() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(0).await;
        for (more, status) in [(json!({"max_tokens": 0}), 400), (json!({}), 402)] {
            let answer = fixture.complete(&customer, &json!({}), &more).await;
            assert_eq!(answer.status, status, "{}", answer.text);
            assert!(number(&answer, "X-RateLimit-Limit-RPM") == 600, "{:?}", answer.headers);
        }
        fixture.finish().await;
    });
}

#[test]
fn guesses_are_limited_by_address_and_keys_are_not() {
    run(async {
        let fixture = Fixture::with_config(|config| config.keys.anonymous_rpm = 5).await;
        let customer = fixture.customer(1_000).await;
        let guess =
            async || reply(fixture.server.get("/v1/models").header("authorization", "Bearer pryv_x")).await;
        for _ in 0..5 {
            refused(&guess().await, 401, "invalid_api_key");
        }
        let answer = guess().await;
        refused(&answer, 429, "rate_limit_exceeded_rpm");
        assert!((1..=13).contains(&number(&answer, "retry-after")));
        assert_eq!(reply(fixture.get(&customer, "/v1/models")).await.status, 200);
        fixture.finish().await;
    });
}

/// The promise of `keys::Rates`: never more than the limit altogether, and no more than a slice for
/// each other instance unused.
#[test]
fn instances_on_one_database_share_a_limit() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        early_in_a_minute().await;
        let fixture = Fixture::on(database, |_| {}).await;
        let mut second_instance = fixture.second_instance().await;
        let customer = fixture
            .customer_with_limits(1_000_000, KeyLimits { rpm: Some(40), ..KeyLimits::default() })
            .await;
        let mut served = 0;
        for _ in 0..6 {
            let both = [&fixture, &second_instance].into_iter().flat_map(|fixture| {
                (0..5).map(|_| reply(fixture.get(&customer, "/v1/models"))).collect::<Vec<_>>()
            });
            let answers = concurrently(both).await;
            assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)));
            served += answers.iter().filter(|answer| answer.status == 200).count();
        }
        assert!((36..=40).contains(&served), "{served}");
        let requests = fixture.server.count("SELECT max(requests) FROM key_minutes").await;
        assert_eq!(requests, 40);
        second_instance.server.stop().await;
        fixture.finish().await;
    });
}

/// A request that was accepted before the minute ended and is counted after it.
#[test]
fn a_late_request_does_not_take_a_minute_back() {
    run(on_every_engine(async |fixture| {
        let customer =
            fixture.customer_with_limits(1_000, KeyLimits { rpm: Some(10), ..KeyLimits::default() }).await;
        let key = fixture.server.app.keys.find(&customer.owner, &customer.id).await;
        let key = key.expect("the database answers").expect("it is there");
        let boundary = (Timestamp::now().millis() / 60_000 + 1) * 60_000;
        let times = [boundary, boundary - 1].map(Timestamp::from_millis);
        let rates = &fixture.server.app.rates;
        for _ in 0..5 {
            for now in times {
                assert!(rates.take_request(&key, now).await.expect("the database answers"));
            }
        }
        for now in times {
            assert!(!rates.take_request(&key, now).await.expect("the database answers"));
        }
    }));
}
