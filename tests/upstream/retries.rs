//! Retries: a request that has cost nothing is sent to the same upstream again, before the first byte of an answer.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use farebox::config::UpstreamConfig;
use farebox::services::chat::UpstreamError;
use serde_json::json;

use crate::doubles::{OpenaiDouble, VendorDouble, json_answer};
use crate::fixture::{Fixture, collect, streaming, text, upstream};

/// An upstream that answers the first `failures` requests with this status, and its configuration.
async fn failing(failures: usize, status: u16) -> (VendorDouble, UpstreamConfig) {
    failing_with(failures, move || json_answer(status, &json!({"error": {"message": "not now"}}))).await
}

async fn failing_with(
    failures: usize,
    failure: impl Fn() -> Response + Send + Sync + Clone + 'static,
) -> (VendorDouble, UpstreamConfig) {
    let double = VendorDouble::start(move |request, number| {
        if number < failures { failure() } else { OpenaiDouble::answer_any_key(request) }
    })
    .await;
    let config = upstream("only", format!("{}/v1", double.origin()));
    (double, config)
}

fn later(seconds: &'static str) -> impl Fn() -> Response + Send + Sync + Clone + 'static {
    move || (axum::http::StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds)], "{}").into_response()
}

#[tokio::test]
async fn what_has_cost_nothing_is_sent_again() {
    for status in [429, 502, 503, 529] {
        let (double, config) = failing(2, status).await;
        let fixture = Fixture::new(&[config]);
        let (chunks, error) = collect(fixture.stream(&json!("one two")).await.expect("begins")).await;
        assert_eq!((text(&chunks).as_str(), error), ("one two", None), "{status}");
        assert_eq!(double.seen().len(), 3, "{status}");
        let bodies: Vec<_> = double.seen().into_iter().map(|request| request.body).collect();
        assert_eq!((&bodies[0], &bodies[1]), (&bodies[1], &bodies[2]));
    }
    let (double, config) = failing(1, 503).await;
    Fixture::new(&[config]).whole(&json!("one")).await.expect("an answer");
    assert_eq!(double.seen().len(), 2);
}

/// The upstream may have read the prompt, which is on the operator's bill.
#[tokio::test]
async fn attack_38_what_may_have_cost_something_is_sent_once() {
    for status in [400, 401, 403, 404, 408, 500, 504] {
        let (double, config) = failing(9, status).await;
        Fixture::new(&[config]).whole(&json!("one")).await.expect_err("an error");
        assert_eq!(double.seen().len(), 1, "{status}");
    }
    let (double, mut config) = failing_with(9, || {
        // Silence, as far as the client can wait.
        json_answer(200, &json!({"choices": []}))
    })
    .await;
    config.retries = 5;
    Fixture::new(&[config]).whole(&json!("one")).await.expect_err("no answer");
    assert_eq!(double.seen().len(), 1);
}

#[tokio::test]
async fn retries_have_an_end() {
    for retries in [0, 1, 2] {
        let (double, config) = failing(99, 502).await;
        let fixture = Fixture::new(&[UpstreamConfig { retries, ..config }]);
        let error = fixture.whole(&json!("one")).await.expect_err("an error");
        assert_eq!(error, UpstreamError::Unreachable);
        assert_eq!(double.seen().len(), 1 + retries as usize);
    }
    // Further than clients wait: they are told.
    let (double, config) = failing_with(99, later("6")).await;
    let error = Fixture::new(&[config]).whole(&json!("one")).await.expect_err("an error");
    assert_eq!((error, double.seen().len()), (UpstreamError::Overloaded { retry_after: Some(6) }, 1));
}

#[tokio::test]
async fn an_upstream_is_asked_again_when_it_wants_to_be() {
    let (double, config) = failing_with(1, later("1")).await;
    let began = std::time::Instant::now();
    Fixture::new(&[config]).whole(&json!("one")).await.expect("an answer");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(double.seen().len(), 2);
}

/// Another upstream has no reason to wait.
#[tokio::test]
async fn the_other_upstreams_are_asked_first() {
    let ((first, one), (second, two)) = (failing(1, 503).await, failing(0, 503).await);
    let two = UpstreamConfig { name: "second".into(), ..two };
    Fixture::new(&[one, two]).whole(&json!("one")).await.expect("an answer");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    let ((first, one), (second, two)) = (failing(1, 503).await, failing(9, 500).await);
    let two = UpstreamConfig { name: "second".into(), ..two };
    Fixture::new(&[one, two]).whole(&json!("one")).await.expect("an answer");
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));
}

/// One that has failed for long gets no more requests than there are.
#[tokio::test]
async fn an_upstream_that_is_down_is_not_asked_more_often_for_it() {
    let (double, config) = failing_with(99, later("30")).await;
    let fixture = Fixture::new(&[UpstreamConfig { retries: 5, ..config }]);
    for _ in 0..10 {
        fixture.whole(&json!("one")).await.expect_err("an error");
    }
    assert_eq!(double.seen().len(), 10);
}

#[tokio::test]
async fn attack_18_a_client_that_leaves_while_a_retry_waits_owes_nothing_and_ends_it() {
    let (double, config) = failing_with(99, later("1")).await;
    let fixture = Fixture::new(&[config]);
    let request = fixture.request(&streaming(&json!("one"))).await;
    let delivery = request.delivery().clone();
    {
        let mut start = std::pin::pin!(fixture.start(&request));
        tokio::select! {
            _ = &mut start => panic!("it waits for the retry"),
            taken = delivery.changed(false) => assert!(taken, "the first attempt"),
        }
        tokio::select! {
            _ = &mut start => panic!("it waits for the retry"),
            taken = delivery.changed(true) => assert!(!taken, "it has failed"),
        }
    }
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    assert_eq!((double.seen().len(), delivery.is_taken()), (1, false));
}
