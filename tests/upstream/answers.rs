//! Answers that a client gets, and requests that an upstream gets.

use farebox::services::chat::{ReportedUsage, Usage};
use serde_json::{Value, json};

use crate::fixture::{KEY, MODEL, collect, fixture, streaming, text, value, wait_until};

#[tokio::test]
async fn a_stream_is_delivered_under_our_name() {
    let (fixture, _scripted) = fixture().await;
    let (chunks, error) = collect(fixture.stream(&json!("tell me a story")).await.expect("begins")).await;
    assert_eq!((text(&chunks).as_str(), error), ("tell me a story", None));
    let id = value(&chunks[0])["id"].clone();
    assert!(id.as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{id}");
    let (last, shown) = chunks.split_last().expect("a chunk");
    for chunk in shown {
        let shown = value(chunk);
        assert_eq!((&shown["id"], &shown["model"]), (&id, &json!(MODEL)));
        assert_eq!(shown["object"], "chat.completion.chunk");
    }
    assert_eq!(chunks.iter().filter(|c| c.billable).count(), 4);
    // Usage is told when it is charged.
    assert!(
        last.data.is_empty()
            && last.usage
                == Some(ReportedUsage {
                    prompt: Some(Usage::of_text(4, 0).prompt),
                    completion: Some(Usage::of_text(0, 4).completion),
                })
    );
    assert_eq!(chunks.iter().filter(|c| !c.finished.is_empty()).count(), 1);
}

#[tokio::test]
async fn reasoning_and_tool_calls_are_billable() {
    let (fixture, _scripted) = fixture().await;
    let (chunks, _) =
        collect(fixture.stream(&json!({"chunks": 2, "reasoning": 3})).await.expect("begins")).await;
    assert_eq!(chunks.iter().filter(|c| c.billable).count(), 5);
    let mut body = streaming(&json!({"tool": true}));
    body["tools"] = json!([{"type": "function", "function": {"name": "weather"}}]);
    let stream = fixture.open_stream(&body).await.expect("begins");
    let (chunks, _) = collect(stream).await;
    assert_eq!(chunks.iter().filter(|c| c.billable).count(), 3);
    let name =
        &value(chunks.iter().find(|c| c.billable).expect("a call"))["choices"][0]["delta"]["tool_calls"];
    assert_eq!(name[0]["function"]["name"], "weather");
}

#[tokio::test]
async fn a_whole_answer_is_delivered_under_our_name() {
    let (fixture, _scripted) = fixture().await;
    let completion = fixture.whole(&json!({"chunks": 3, "text": "ab"})).await.expect("an answer");
    assert_eq!(completion.usage.completion.tokens, 3);
    let shown: Value = serde_json::from_slice(&completion.into_json(None)).expect("JSON");
    assert_eq!(shown["choices"][0]["message"]["content"], "ababab");
    assert_eq!((&shown["model"], &shown["object"]), (&json!(MODEL), &json!("chat.completion")));
}

#[tokio::test]
async fn attack_27_an_upstream_sees_the_request_and_nothing_else() {
    let (fixture, scripted) = fixture().await;
    let body = json!({"model": MODEL, "stream": true, "seed": 7, "reasoning": {"b": 1, "a": 2}, "max_tokens": 9000,
        "skip_pii_redaction": true, "urls": [], "messages": [{"role": "user", "content": [
            {"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]}]});
    let stream = fixture.open_stream(&body).await.expect("begins");
    collect(stream).await;
    let seen = scripted.observed();
    let mut expected = body.clone();
    let fields = expected.as_object_mut().expect("an object");
    fields.retain(|name, _| !["skip_pii_redaction", "urls"].contains(&name.as_str()));
    fields.insert("model".into(), json!("vendor/small"));
    fields.insert("max_tokens".into(), json!(500));
    fields.insert("stream_options".into(), json!({"include_usage": true}));
    assert_eq!(seen.body.to_string(), expected.to_string());
    let mut names: Vec<&str> = seen.headers.keys().map(axum::http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "authorization", "content-length", "content-type", "host", "user-agent"]);
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
}

#[tokio::test]
async fn connections_are_used_again() {
    let (fixture, scripted) = fixture().await;
    for n in 1..=5 {
        let (_, error) = collect(fixture.stream(&json!("a b")).await.expect("begins")).await;
        assert_eq!(error, None);
        wait_until(&scripted, |seen| seen.completed == n).await;
        // The pool learns of it in a task of its own.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scripted.observed().connections.len(), 1);
}
