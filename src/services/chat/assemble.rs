//! Answers that come in the other form than they were asked for: whole for a stream, and in events for a whole answer.

use serde_json::{Map, Value, json};

use super::sse::Parser;

/// Returns true if a body is a stream of events: it does not begin as JSON does.
pub(super) fn is_event_stream(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    [&b"data:"[..], b"event:", b":", b"id:", b"retry:"].iter().any(|name| start.starts_with(name))
}

/// Writes a whole answer as a stream of events: each message as one piece.
pub(super) fn to_events(mut answer: Value) -> String {
    for choice in answer["choices"].as_array_mut().into_iter().flatten() {
        if let Some(message) = choice.as_object_mut().and_then(|choice| choice.remove("message")) {
            choice["delta"] = message;
        }
    }
    format!("data: {answer}\n\ndata: [DONE]\n\n")
}

/// Puts a stream of events together to a whole answer, or to the first error in it; `None` if it has neither.
pub(super) fn to_whole(body: &[u8]) -> Option<Value> {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    parser.push(body, &mut events).ok()?;
    events.extend(parser.finish());
    let (mut whole, mut choices) = (Map::new(), Vec::<Value>::new());
    for event in &events {
        let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(&event.data) else { continue };
        if event.get("error").is_some_and(|error| !error.is_null()) {
            return Some(Value::Object(event));
        }
        for choice in event.get("choices").and_then(Value::as_array).into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            let same = |known: &&mut Value| known["index"] == index;
            if choices.iter().all(|known| known["index"] != index) {
                choices.push(json!({"index": index, "message": {"role": "assistant"}}));
            }
            let whole = choices.iter_mut().find(same)?;
            merge(&mut whole["message"], &choice["delta"]);
            for (name, value) in choice.as_object().into_iter().flatten() {
                if !["index", "delta"].contains(&name.as_str()) && !value.is_null() {
                    whole[name] = value.clone();
                }
            }
        }
        whole.extend(event.into_iter().filter(|(name, value)| name != "choices" && !value.is_null()));
    }
    if choices.is_empty() {
        return None;
    }
    whole.insert("choices".into(), choices.into());
    Some(Value::Object(whole))
}

/// Adds a piece of a message to what there is of it: texts follow each other, items of lists have an index.
fn merge(whole: &mut Value, piece: &Value) {
    match (whole, piece) {
        (Value::Object(whole), Value::Object(piece)) => {
            for (name, value) in piece {
                match whole.get_mut(name) {
                    // Not pieces of a text.
                    Some(known) if !["role", "id", "type", "index"].contains(&name.as_str()) => {
                        merge(known, value);
                    }
                    Some(_) => {}
                    None => drop(whole.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::String(whole), Value::String(piece)) => whole.push_str(piece),
        (Value::Array(whole), Value::Array(piece)) => {
            for item in piece {
                let same = |known: &&mut Value| item["index"].is_u64() && known["index"] == item["index"];
                match whole.iter_mut().find(same) {
                    Some(known) => merge(known, item),
                    None => whole.push(item.clone()),
                }
            }
        }
        (whole @ Value::Null, piece) => *whole = piece.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_a_whole_answer_and_back() {
        let body = concat!(
            ": ping\n\n",
            r#"data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
            "\n\n",
            r#"data: {"choices":[{"index":0,"delta":{"content":"one"}},{"index":1,"delta":{"content":"other"}}]}"#,
            "\n\n",
            r#"data: {"choices":[{"index":0,"delta":{"content":" two","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{"}}]}}]}"#,
            "\n\n",
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}"#,
            "\n\n",
            r#"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "\n\ndata: [DONE]\n\n",
        );
        assert!(is_event_stream(body.as_bytes()) && !is_event_stream(b" {\"choices\":[]}"));
        let whole = to_whole(body.as_bytes()).expect("an answer");
        assert_eq!(whole["choices"][0]["message"]["content"], "one two");
        let call = &whole["choices"][0]["message"]["tool_calls"][0];
        assert_eq!((&call["id"], &call["function"]), (&json!("c"), &json!({"name": "f", "arguments": "{}"})));
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(whole["choices"][1]["message"]["content"], "other");
        assert_eq!(whole["usage"]["completion_tokens"], 2);
        let again = to_whole(to_events(whole.clone()).as_bytes()).expect("an answer");
        assert_eq!(again, whole);
        assert_eq!(
            to_whole(b"data: {\"error\":{\"code\":429}}\n\n").expect("an error")["error"]["code"],
            429
        );
        for nothing in [&b"data: [DONE]\n\n"[..], b"", b"data: {}\n\n", b"data: [1]\n\n"] {
            assert_eq!(to_whole(nothing), None);
        }
    }
}
