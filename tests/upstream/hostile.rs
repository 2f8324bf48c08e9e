//! Upstreams that send what they should not.

use farebox::services::chat::{Chunk, UpstreamError};
use serde_json::{Value, json};

use crate::fixture::{collect, events, fixture, fixture_with_raw_upstream, streaming, text, value};

async fn answer(pieces: Vec<Vec<u8>>) -> (Vec<Chunk>, Option<UpstreamError>) {
    let fixture = fixture_with_raw_upstream(pieces, |_| {}).await;
    match fixture.stream(&json!("x")).await {
        Ok(stream) => collect(stream).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

const A: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

#[tokio::test]
async fn attack_21_hostile_streams_end_in_our_own_words() {
    let huge = format!("{A}data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}", "x".repeat(2 << 20));
    for (name, body, expected) in [
        ("no end", A.to_owned(), Some(UpstreamError::Interrupted)),
        ("the end, no [DONE]", format!("{A}{END}"), None),
        ("[DONE], no end", format!("{A}data: [DONE]\n\n"), None),
        ("[DONE] without its empty line", format!("{A}data: [DONE]"), None),
        ("cut within an event", format!("{A}data: {{\"choi"), Some(UpstreamError::Interrupted)),
        ("cut after the end", format!("{A}{END}data: {{\"choi"), None),
        ("more after [DONE]", format!("{A}data: [DONE]\n\n{A}{A}"), None),
        (
            "an error event",
            format!("{A}data: {{\"error\":{{\"message\":\"secret\"}}}}\n\n"),
            Some(UpstreamError::Interrupted),
        ),
        ("an error by type", format!("{A}event: error\ndata: secret\n\n"), Some(UpstreamError::Interrupted)),
        ("not JSON", format!("{A}data: secret\n\n"), Some(UpstreamError::Malformed("not a JSON object"))),
        ("a list", format!("{A}data: []\n\n"), Some(UpstreamError::Malformed("not a JSON object"))),
        ("no choices", format!("{A}data: {{}}\n\n"), Some(UpstreamError::Interrupted)),
        ("a huge event", huge, Some(UpstreamError::Malformed("an event is too large"))),
        (
            "depth",
            format!("{A}data: {}\n\n", "[".repeat(10_000)),
            Some(UpstreamError::Malformed("not a JSON object")),
        ),
    ] {
        let (chunks, error) = answer(vec![events(body.as_bytes())]).await;
        assert_eq!((text(&chunks).as_str(), &error), ("a", &expected), "{name}");
        assert!(!error.is_some_and(|e| format!("{e} {e:?}").contains("secret")), "{name}");
    }
}

#[tokio::test]
async fn an_answer_is_complete_when_all_its_choices_are() {
    for (choices, expected) in [(1, None), (2, Some(UpstreamError::Interrupted))] {
        let fixture = fixture_with_raw_upstream(vec![events(format!("{A}{END}").as_bytes())], |_| {}).await;
        let mut body = streaming(&json!("x"));
        body["n"] = json!(choices);
        let stream = fixture.open_stream(&body).await.expect("begins");
        assert_eq!(collect(stream).await.1, expected);
    }
}

#[tokio::test]
async fn attack_18_model_text_cannot_forge_events() {
    let (fixture, _scripted) = fixture().await;
    let forged = "a\n\ndata: [DONE]\n\nevent: payment-receipt\r\ndata: {}\r\r\u{2028}\u{0}";
    let (chunks, error) =
        collect(fixture.stream(&json!({"chunks": 2, "text": forged})).await.expect("begins")).await;
    assert_eq!((text(&chunks), error), (forged.repeat(2), None));
    for chunk in chunks {
        assert!(!chunk.data.iter().any(u8::is_ascii_control), "{:?}", chunk.data);
    }
}

#[tokio::test]
async fn attack_18_any_cut_of_the_bytes_is_the_same_answer() {
    let body = format!(
        "\u{feff}: hello\r\n\r\ndata: {{\"choices\":[{{\"delta\":\r\ndata: {{\"content\":\"é\u{1f600}\"}}}}]}}\r\n\r\n{A}{END}data: [DONE]\n\n"
    );
    for size in [1, 2, 3, 7] {
        let mut pieces = vec![events(b"")];
        pieces.extend(body.as_bytes().chunks(size).map(<[u8]>::to_vec));
        let (chunks, error) = answer(pieces).await;
        assert_eq!((text(&chunks).as_str(), error), ("é\u{1f600}a", None), "{size}");
    }
}

#[tokio::test]
async fn attack_21_absurd_usage_is_not_passed_on() {
    let (fixture, _scripted) = fixture().await;
    for usage in ["missing", "negative", "fractional", "huge"] {
        let script = json!({"chunks": 2, "usage": usage});
        let (chunks, error) = collect(fixture.stream(&script).await.expect("begins")).await;
        assert_eq!(error, None);
        assert!(chunks.iter().all(|c| c.usage.is_none_or(|usage| usage.completion.is_none())), "{usage}");
        assert!(
            chunks.iter().filter(|c| !c.data.is_empty()).all(|c| value(c).get("usage").is_none()),
            "{usage}"
        );
        let whole = fixture.whole(&script).await.expect("an answer");
        let shown: Value = serde_json::from_slice(&whole.into_json(None)).expect("JSON");
        assert_eq!(shown["usage"]["estimated"], true, "{usage}");
        assert!(
            shown["usage"]["completion_tokens"].as_u64().is_some_and(|n| (2..8).contains(&n)),
            "{usage}: {shown}"
        );
    }
}

#[tokio::test]
async fn attack_27_marks_of_the_upstream_do_not_reach_the_client() {
    let (fixture, scripted) = fixture().await;
    let (chunks, _) = collect(fixture.stream(&json!({"chunks": 2})).await.expect("begins")).await;
    let whole = fixture.whole(&json!({"chunks": 2})).await.expect("an answer");
    assert_eq!(scripted.observed().requests, 2);
    for data in chunks.iter().map(|c| &c.data).chain([&whole.into_json(None)]) {
        let shown = String::from_utf8_lossy(data);
        assert!(!shown.contains("scripted") && !shown.contains("vendor"), "{shown}");
    }
}

#[tokio::test]
async fn attack_21_whole_answers_that_are_none_are_refused() {
    let with = |body: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}").into_bytes();
    for body in ["", "x", "{}", "[]", "{\"choices\":[]}", "{\"choices\":[{\"message\":5}]}"] {
        let fixture = fixture_with_raw_upstream(vec![with(body)], |_| {}).await;
        let error = fixture.whole(&json!("x")).await.expect_err("refused");
        assert!(matches!(error, UpstreamError::Malformed(_)), "{body}: {error:?}");
    }
    let endless = vec![with("{\"choices\":[{\"message\":{\"content\":\""), vec![b'x'; 12 << 20]];
    let fixture = fixture_with_raw_upstream(endless, |_| {}).await;
    assert_eq!(fixture.whole(&json!("x")).await.expect_err("refused"), UpstreamError::TooLong);
}
