//! A client that leaves ends the request upstream.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;

use crate::fixture::{fixture, wait_until};

#[tokio::test]
async fn attack_18_dropping_a_stream_ends_the_request_upstream() {
    let (fixture, scripted) = fixture().await;
    let mut stream = fixture.stream(&json!({"endless": true, "intervalMs": 10})).await.expect("begins");
    for _ in 0..3 {
        stream.next().await.expect("a chunk").expect("no error");
    }
    assert_eq!(scripted.observed().cancelled, 0);
    let start = Instant::now();
    drop(stream);
    wait_until(&scripted, |seen| seen.cancelled == 1).await;
    assert!(start.elapsed() < Duration::from_millis(500), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn attack_18_leaving_before_the_first_token_ends_the_request_upstream() {
    let (fixture, scripted) = fixture().await;
    let script = json!({"hangAfter": 0});
    let begin = fixture.stream(&script);
    assert!(tokio::time::timeout(Duration::from_millis(100), begin).await.is_err());
    wait_until(&scripted, |seen| seen.requests == 1 && seen.cancelled == 1).await;
}

#[tokio::test]
async fn leaving_a_whole_answer_ends_the_request_upstream() {
    let (fixture, scripted) = fixture().await;
    let script = json!({"hangAfter": 0});
    let whole = fixture.whole(&script);
    assert!(tokio::time::timeout(Duration::from_millis(100), whole).await.is_err());
    wait_until(&scripted, |seen| seen.requests == 1 && seen.cancelled == 1).await;
}
