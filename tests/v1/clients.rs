//! What clients and servers of OpenAI's API do otherwise: errors keep their meaning, and harmless oddities are read.

use farebox_test_support::harness::{reply, run};
use serde_json::{Value, json};

use crate::fixture::{CHAT, Fixture, body, on_every_engine, refused};

/// Errors that clients act on: shorten the conversation, wait, or give up.
#[test]
fn errors_of_a_models_server_keep_their_meaning() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        for (status, error, expected, code) in [
            (400, json!({"code": "context_length_exceeded", "message": "x"}), 400, "context_length_exceeded"),
            (400, json!({"message": "prompt is too long: 210000 tokens"}), 400, "context_length_exceeded"),
            (400, json!({"code": "string_above_max_length"}), 400, "string_above_max_length"),
            (400, json!({"code": "content_filter"}), 400, "content_filter"),
            (400, json!({"code": "content_policy_violation"}), 400, "content_policy_violation"),
            (400, json!({"message": "wrong"}), 400, "invalid_params"),
            (429, json!({"message": "slow down"}), 429, "upstream_busy"),
            (503, json!({}), 503, "upstream_unavailable"),
            (529, json!({"type": "overloaded_error"}), 503, "upstream_unavailable"),
            (500, json!({}), 502, "upstream_failed"),
        ] {
            for stream in [true, false] {
                let script = json!({"status": status, "error": error});
                let answer = fixture.complete(&customer, &script, &json!({"stream": stream})).await;
                let told = refused(&answer, expected, code);
                let waits = answer.header("retry-after").is_some();
                assert_eq!(waits, [429, 503].contains(&expected), "{status}: {:?}", answer.headers);
                if code == "context_length_exceeded" {
                    let message = told["message"].as_str().expect("text");
                    assert!(message.contains("maximum context length"), "{message}");
                    assert_eq!(told["param"], "messages");
                }
            }
        }
        // The same where this server sees it before.
        let long = json!({"messages": [{"role": "user", "content": "word ".repeat(60_000)}]});
        let answer = fixture.complete(&customer, &json!({}), &long).await;
        let told = refused(&answer, 400, "context_length_exceeded");
        assert!(told["message"].as_str().is_some_and(|text| text.contains("32768 tokens")), "{told}");
        assert_eq!(fixture.available(&customer).await, 1_000_000);
        let nowhere = reply(fixture.get(&customer, "/v1/embeddings")).await;
        let told = refused(&nowhere, 404, "not_found");
        assert!(told["message"].as_str().is_some_and(|text| text.contains("chat/completions")), "{told}");
    }));
}

/// Text of a stream, its tool calls, and whether it ended as it must.
async fn streamed(fixture: &Fixture, raw: &str) -> (String, Vec<Value>, bool) {
    let customer = fixture.customer(1_000_000).await;
    let more = json!({"stream": true});
    let request = fixture.post(&customer, CHAT, &body(&json!({ "raw": raw }), &more));
    let answer = reply(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (mut text, mut calls) = (String::new(), Vec::new());
    let events: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    for event in events.iter().filter(|event| **event != "[DONE]") {
        let event: Value = serde_json::from_str(event).unwrap_or_else(|_| panic!("{event}"));
        assert!(event.get("error").is_none(), "{event} of {raw}");
        let delta = &event["choices"][0]["delta"];
        text += delta["content"].as_str().unwrap_or_default();
        calls.extend(delta["tool_calls"].as_array().into_iter().flatten().cloned());
    }
    (text, calls, events.last() == Some(&"[DONE]"))
}

#[test]
fn harmless_oddities_of_a_stream_do_not_end_it() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let piece = |content: &str| {
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n")
        };
        let end =
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let (one, two) = (piece("one "), piece("two"));
        for oddity in [
            "data: {\"type\":\"ping\"}\n\n",
            "event: ping\ndata: {}\n\n",
            "data:\n\n",
            "data: \n\n",
            ": OPENROUTER PROCESSING\n\n",
            "data: {\"choices\":null}\n\n",
            "data: {\"choices\":[]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":null}]}\n\n",
            "id: 7\nretry: 10\n\n",
        ] {
            let told = streamed(&fixture, &format!("{oddity}{one}{oddity}{two}{oddity}{end}")).await;
            assert_eq!(told, ("one two".to_owned(), Vec::new(), true), "{oddity}");
        }
        // A character that is split between its two escapes.
        let told = streamed(&fixture, &format!("{}{}{end}", piece("a \\ud83d"), piece("\\ude00 b"))).await;
        assert_eq!(told.0, "a \u{1f600} b");
        // Pieces of tool calls without an index.
        let call = |call: Value| {
            format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
        };
        let calls = [
            call(json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
            call(json!({"function": {"arguments": "{}"}})),
            call(json!({"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}})),
        ];
        let (_, calls, _) = streamed(&fixture, &format!("{}{end}", calls.concat())).await;
        let indices: Vec<_> = calls.iter().map(|call| call["index"].as_u64().expect("an index")).collect();
        assert_eq!(indices, [0, 0, 1]);
        // A whole answer for a stream.
        let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "all of it"},
            "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 3}});
        assert_eq!(streamed(&fixture, &whole.to_string()).await, ("all of it".to_owned(), Vec::new(), true));
        // A stream for a whole answer.
        let customer = fixture.customer(1_000_000).await;
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
        let raw = json!({"raw": format!("{one}{two}{usage}{end}")});
        let answer = fixture.complete(&customer, &raw, &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "one two");
        assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
        assert_eq!(answer.json()["usage"]["completion_tokens"], 2);
        fixture.finish().await;
    });
}
