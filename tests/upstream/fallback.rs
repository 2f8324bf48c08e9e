//! Several upstreams: another one is called only before the first byte of an answer.

use farebox::services::chat::scripted::ScriptedUpstream;
use farebox::services::chat::{UpstreamError, UpstreamRefusal};
use serde_json::{Value, json};

use crate::fixture::{Fixture, collect, events, fixture, raw, text, upstream, wait_until};

async fn scripted() -> ScriptedUpstream {
    ScriptedUpstream::start().await.expect("a port")
}

/// The failures of a first upstream that happen before the first byte.
async fn failing() -> Vec<(&'static str, String)> {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}/v1", listener.local_addr().expect("an address"))
    };
    let error = br#"data: {"error":{"code":502,"message":"secret"}}"#;
    let answer = |head: &str| {
        let body = "{\"error\":{\"message\":\"secret\"}}";
        let length = body.len();
        format!("HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    };
    vec![
        ("connection refused", gone),
        ("connection closed", raw(vec![]).await),
        ("not HTTP", raw(vec![b"hello\r\n\r\n".to_vec()]).await),
        ("500", raw(vec![answer("500 Oops")]).await),
        ("503", raw(vec![answer("503 Busy")]).await),
        ("401, the operator's key", raw(vec![answer("401 Unauthorized")]).await),
        ("404, the operator's model name", raw(vec![answer("404 Not Found")]).await),
        ("429", raw(vec![answer("429 Too Many Requests")]).await),
        ("redirect", raw(vec![answer("307 Go\r\nlocation: http://127.0.0.1:1/")]).await),
        ("an error as the first event", raw(vec![events(&[error, &b"\n\n"[..]].concat())]).await),
        ("nothing but [DONE]", raw(vec![events(b"data: [DONE]\n\n")]).await),
        ("nothing at all", raw(vec![events(b"")]).await),
        (
            "a role and then the end",
            raw(vec![events(b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n")]).await,
        ),
        ("status 200, not a stream", raw(vec![answer("200 OK")]).await),
        ("not JSON", raw(vec![events(b"data: hello\n\n")]).await),
    ]
}

#[tokio::test]
async fn the_next_upstream_is_called_before_the_first_byte() {
    for (name, base_url) in failing().await {
        let second = scripted().await;
        let fixture = Fixture::new(&[upstream("first", base_url), upstream("second", second.base_url())]);
        let (chunks, error) = collect(fixture.stream(&json!("one two")).await.expect(name)).await;
        assert_eq!((text(&chunks).as_str(), error), ("one two", None), "{name}");
        assert_eq!(second.observed().requests, 1, "{name}");
    }
}

#[tokio::test]
async fn whole_answers_fall_back_too() {
    let broken = raw(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"choices\"".to_vec()]).await;
    let second = scripted().await;
    let fixture = Fixture::new(&[upstream("first", broken), upstream("second", second.base_url())]);
    let completion = fixture.whole(&json!("one two")).await.expect("an answer");
    assert!(String::from_utf8_lossy(&completion.into_json(None)).contains("one two"));
}

#[tokio::test]
async fn a_slow_start_is_a_failure() {
    let (first, second) = (scripted().await, scripted().await);
    let mut slow = upstream("first", first.base_url());
    slow.first_token_timeout_ms = 100;
    let fixture = Fixture::new(&[slow, upstream("second", second.base_url())]);
    let (chunks, _) =
        collect(fixture.stream(&json!({"firstMs": 200, "chunks": 2})).await.expect("begins")).await;
    assert_eq!(text(&chunks), " word0 word1");
    assert_eq!((first.observed().requests, second.observed().requests), (1, 1));
    wait_until(&first, |seen| seen.cancelled == 1).await;
}

/// Nobody waits for an upstream that kept somebody waiting a moment ago.
#[tokio::test]
async fn an_upstream_that_failed_rests() {
    let (first, second) = (scripted().await, scripted().await);
    let mut slow = upstream("first", first.base_url());
    slow.first_token_timeout_ms = 100;
    slow.whole_timeout_ms = 100;
    let fixture = Fixture::new(&[slow.clone(), upstream("second", second.base_url())]);
    for asked in 1..=4 {
        collect(fixture.stream(&json!({"firstMs": 200, "chunks": 2})).await.expect("begins")).await;
        fixture.whole(&json!({"firstMs": 200, "chunks": 2})).await.expect("an answer");
        assert_eq!((first.observed().requests, second.observed().requests), (1, 2 * asked));
    }
    // Alone, it is asked all the same; one that is quick again rests no more.
    let alone = Fixture::new(&[slow]);
    alone.stream(&json!({"firstMs": 200})).await.expect_err("too late");
    collect(alone.stream(&json!({"chunks": 1})).await.expect("begins")).await;
    assert_eq!(first.observed().requests, 3);
}

#[tokio::test]
async fn attack_21_nobody_else_is_asked_once_something_was_said() {
    for (script, expected) in [
        (json!({"chunks": 9, "cutAfter": 3}), UpstreamError::Interrupted),
        (json!({"chunks": 9, "errorAfter": 3}), UpstreamError::Interrupted),
        (
            json!({"chunks": 9, "errorAfter": 3, "error": {"code": 429}}),
            UpstreamError::Busy { retry_after: None },
        ),
    ] {
        let (first, second) = (scripted().await, scripted().await);
        let fixture =
            Fixture::new(&[upstream("first", first.base_url()), upstream("second", second.base_url())]);
        let (chunks, error) = collect(fixture.stream(&script).await.expect("begins")).await;
        assert_eq!((text(&chunks).as_str(), error), (" word0 word1 word2", Some(expected)), "{script}");
        assert_eq!(second.observed().requests, 0, "{script}");
    }
}

async fn refused(script: Value) -> UpstreamError {
    let (first, second) = (scripted().await, scripted().await);
    let fixture = Fixture::new(&[upstream("first", first.base_url()), upstream("second", second.base_url())]);
    let streamed = fixture.stream(&script).await.expect_err("refused");
    assert_eq!(fixture.whole(&script).await.expect_err("refused"), streamed);
    assert_eq!(second.observed().requests, 0);
    streamed
}

#[tokio::test]
async fn errors_that_callers_can_fix_are_described_without_the_upstreams_text() {
    for (script, reason, field) in [
        (
            json!({"status": 400, "error": {"message": "secret", "param": "messages"}}),
            UpstreamRefusal::Invalid,
            Some("messages"),
        ),
        (
            json!({"status": 400, "error": {"message": "secret", "param": "secret"}}),
            UpstreamRefusal::Invalid,
            None,
        ),
        (
            json!({"status": 400, "error": {"code": "context_length_exceeded"}}),
            UpstreamRefusal::ContextLength,
            None,
        ),
        (json!({"status": 413, "error": {"message": "secret"}}), UpstreamRefusal::TooLarge, None),
    ] {
        let error = refused(script).await;
        assert_eq!(error, UpstreamError::Refused { reason, field: field.map(str::to_owned) });
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn when_all_are_busy_the_caller_learns_when_to_come_back() {
    let (fixture, _scripted) = fixture().await;
    let error = fixture.stream(&json!({"status": 429})).await.expect_err("busy");
    assert_eq!(error, UpstreamError::Busy { retry_after: Some(7) });
}
