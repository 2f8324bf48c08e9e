//! Time limits and lengths.

use std::time::{Duration, Instant};

use farebox::config::UpstreamConfig;
use farebox::services::chat::{TimeoutKind, UpstreamError};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::fixture::{
    Fixture, LONGEST, collect, events, fixture, fixture_with, fixture_with_raw_upstream, streaming, text,
    upstream, wait_until,
};

#[tokio::test]
async fn attack_21_an_upstream_that_falls_silent_is_left() {
    let (fixture, _scripted) = fixture_with(|limits| limits.idle_timeout_ms = 200).await;
    let start = Instant::now();
    let (chunks, error) =
        collect(fixture.stream(&json!({"chunks": 5, "hangAfter": 2})).await.expect("begins")).await;
    assert_eq!(
        (text(&chunks).as_str(), error),
        (" word0 word1", Some(UpstreamError::Timeout(TimeoutKind::Idle)))
    );
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn silence_after_the_end_is_no_failure() {
    let chunk = br#"data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
    let pieces = vec![
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5000\r\n\r\n".to_vec(),
        [&chunk[..], b"\n\n"].concat(),
    ];
    let fixture = fixture_with_raw_upstream(pieces, |limits| limits.idle_timeout_ms = 200).await;
    let (chunks, error) = collect(fixture.stream(&json!("x")).await.expect("begins")).await;
    assert_eq!((text(&chunks).as_str(), error), ("a", None));
}

#[tokio::test]
async fn comments_count_as_life_until_the_answer_takes_too_long() {
    let chunk = &b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"[..];
    let mut pieces = vec![events(chunk)];
    pieces.extend(std::iter::repeat_n(b": still here\n\n".to_vec(), 2000));
    let limit =
        |limits: &mut UpstreamConfig| (limits.idle_timeout_ms, limits.total_timeout_ms) = (200, 1_000);
    let fixture = fixture_with_raw_upstream(pieces, limit).await;
    let start = Instant::now();
    let (_, error) = collect(fixture.stream(&json!("x")).await.expect("begins")).await;
    assert_eq!(error, Some(UpstreamError::Timeout(TimeoutKind::Total)));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_first_token_that_does_not_come_is_not_awaited_for_ever() {
    let (fixture, scripted) = fixture_with(|limits| limits.first_token_timeout_ms = 200).await;
    for script in [json!({"hangAfter": 0}), json!({"firstMs": 60_000})] {
        let error = fixture.stream(&script).await.expect_err("too late");
        assert_eq!(error, UpstreamError::Timeout(TimeoutKind::FirstToken));
    }
    wait_until(&scripted, |seen| seen.cancelled == 2).await;
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_not_awaited_for_ever() {
    // It accepts, and never answers the TLS greeting.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("https://{}/v1", listener.local_addr().expect("an address"));
    let mut limited = upstream("only", base_url);
    limited.connect_timeout_ms = 200;
    let fixture = Fixture::new(&[limited]);
    let error = fixture.stream(&json!("x")).await.expect_err("too late");
    assert_eq!(error, UpstreamError::Timeout(TimeoutKind::Connect));
}

#[tokio::test]
async fn every_answer_has_an_end() {
    let (fixture, _scripted) = fixture_with(|limits| limits.total_timeout_ms = 400).await;
    let script = json!({"endless": true, "intervalMs": 50});
    let (_, error) = collect(fixture.stream(&script).await.expect("begins")).await;
    assert_eq!(error, Some(UpstreamError::Timeout(TimeoutKind::Total)));
    let error = fixture.whole(&json!({"hangAfter": 0})).await.expect_err("too late");
    assert_eq!(error, UpstreamError::Timeout(TimeoutKind::Total));
}

#[tokio::test]
async fn attack_21_an_endless_answer_is_cut_at_what_the_request_allows() {
    let (fixture, scripted) = fixture().await;
    let mut body = streaming(&json!({"endless": true}));
    body["max_tokens"] = json!(10);
    let stream = fixture.open_stream(&body).await.expect("begins");
    let (chunks, error) = collect(stream).await;
    // As the upstream should have ended it.
    assert_eq!(error, None);
    assert_eq!(chunks.iter().filter(|chunk| chunk.billable).count(), 10);
    let last = chunks.last().expect("an end");
    assert!(String::from_utf8_lossy(&last.data).contains(r#""finish_reason":"length""#));
    assert_eq!(last.finished, [0]);
    wait_until(&scripted, |seen| seen.cancelled == 1).await;
}

#[tokio::test]
async fn attack_21_an_endless_stream_of_nothing_is_cut() {
    let nothing = b"data: {\"choices\":[{\"delta\":{}}]}\n\n".repeat(100);
    let mut pieces = vec![events(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")];
    pieces.extend(std::iter::repeat_n(nothing, 100));
    let fixture = fixture_with_raw_upstream(pieces, |_| {}).await;
    let (_, error) = collect(fixture.stream(&json!("x")).await.expect("begins")).await;
    assert_eq!(error, Some(UpstreamError::TooLong));
}

#[tokio::test]
async fn silence_counts_only_while_somebody_waits() {
    let (fixture, _scripted) = fixture_with(|limits| limits.idle_timeout_ms = 300).await;
    let mut stream = fixture.stream(&json!({"chunks": 3, "intervalMs": 20})).await.expect("begins");
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk.expect("no time-out"));
        // Longer than an upstream may be silent: a client that has yet to pay.
        tokio::time::sleep(Duration::from_millis(350)).await;
    }
    assert_eq!(text(&chunks), " word0 word1 word2");
}

#[tokio::test]
async fn attack_18_a_client_that_never_reads_holds_the_upstream_back() {
    let (fixture, scripted) = fixture().await;
    let text = "x".repeat(64 << 10);
    let stream = fixture.stream(&json!({"endless": true, "text": text})).await.expect("begins");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = scripted.observed().sent;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scripted.observed().sent, sent, "the upstream goes on sending");
    assert!(sent * (64 << 10) < 32 << 20, "{sent} pieces were taken");
    drop(stream);
}

/// Whoever asked for fewer tokens pays for fewer, and gets what it pays for.
#[tokio::test]
async fn attack_21_a_whole_answer_longer_than_asked_for_is_cut_at_it() {
    let words = "word ".repeat(2 * usize::try_from(LONGEST).expect("small"));
    for reported in [json!(2 * LONGEST), json!(null)] {
        let mut answer = json!({ "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": words.repeat(2) } }] });
        if reported.is_u64() {
            answer["usage"] = json!({ "prompt_tokens": 5, "completion_tokens": reported });
        }
        let body = answer.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let pieces = vec![head.into_bytes(), body.into_bytes()];
        let fixture = fixture_with_raw_upstream(pieces, |_| {}).await;
        let whole = fixture.whole(&json!("x")).await.expect("an answer");
        assert_eq!((whole.usage.completion.tokens, whole.usage.is_estimated), (LONGEST, reported.is_null()));
        let shown: serde_json::Value = serde_json::from_slice(&whole.into_json(None)).expect("JSON");
        assert_eq!(shown["choices"][0]["finish_reason"], "length");
        let text = shown["choices"][0]["message"]["content"].as_str().expect("text");
        assert!(!text.is_empty() && text.len() <= words.len(), "{} of {} bytes", text.len(), words.len());
        assert_eq!(shown["usage"]["completion_tokens"], LONGEST);
    }
}
