//! A client that leaves ends the request upstream.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;

use crate::harness::{shop, until};

#[tokio::test]
async fn attack_18_dropping_a_stream_ends_the_request_upstream() {
    let (shop, scripted) = shop().await;
    let mut stream = shop.stream(&json!({"endless": true, "intervalMs": 10})).await.expect("begins");
    for _ in 0..3 {
        stream.next().await.expect("a chunk").expect("no error");
    }
    assert_eq!(scripted.observed().cancelled, 0);
    let start = Instant::now();
    drop(stream);
    until(&scripted, |seen| seen.cancelled == 1).await;
    assert!(start.elapsed() < Duration::from_millis(500), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn attack_18_leaving_before_the_first_token_ends_the_request_upstream() {
    let (shop, scripted) = shop().await;
    let script = json!({"hangAfter": 0});
    let begin = shop.stream(&script);
    assert!(tokio::time::timeout(Duration::from_millis(100), begin).await.is_err());
    until(&scripted, |seen| seen.requests == 1 && seen.cancelled == 1).await;
}

#[tokio::test]
async fn leaving_a_whole_answer_ends_the_request_upstream() {
    let (shop, scripted) = shop().await;
    let script = json!({"hangAfter": 0});
    let whole = shop.whole(&script);
    assert!(tokio::time::timeout(Duration::from_millis(100), whole).await.is_err());
    until(&scripted, |seen| seen.requests == 1 && seen.cancelled == 1).await;
}
