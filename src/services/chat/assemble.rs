//! Answers that come in the other form than they were asked for: whole for a stream, and in events for a whole answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::repair::EventRepair;
use super::sse::Parser;

/// Returns true if a body is a stream of events: it does not begin as JSON does.
pub(super) fn is_event_stream(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    [&b"data:"[..], b"event:", b":", b"id:", b"retry:"].iter().any(|name| start.starts_with(name))
}

/// Bytes of a piece of text: about a token, as models send it.
const PIECE_BYTES: usize = 4;
/// Calls, and other items with an index, of one message.
const MAX_ITEMS: u64 = 128;
/// Bytes that are read at once, so that few events wait in memory.
const READ_BYTES: usize = 64 << 10;

/// Writes a whole answer as a stream of events: its texts in at most `pieces` pieces each, as a model would have sent
/// them, because streams are paid by the piece.
pub(super) fn to_events(mut answer: Value, pieces: u64) -> String {
    let mut events = String::new();
    let mut write = |event: &Value| {
        let _ = write!(events, "data: {event}\n\n");
    };
    for choice in answer["choices"].as_array_mut().into_iter().flatten() {
        let index = choice["index"].as_u64().unwrap_or(0);
        let mut delta =
            choice.as_object_mut().and_then(|choice| choice.remove("message")).unwrap_or_default();
        for name in ["reasoning_content", "reasoning", "content"] {
            let Some(Value::String(text)) = delta.get_mut(name).map(Value::take) else { continue };
            let least = text.len().div_ceil(usize::try_from(pieces.max(1)).unwrap_or(usize::MAX));
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let end = rest.ceil_char_boundary(least.max(PIECE_BYTES));
                let (piece, later) = rest.split_at(end);
                write(&json!({"choices": [{"index": index, "delta": {name: piece}}]}));
                rest = later;
            }
        }
        choice["delta"] = delta;
    }
    write(&answer);
    events + "data: [DONE]\n\n"
}

/// Puts a stream of events together to a whole answer of `choices` choices, or to the first error in it; `None` if it is
/// not complete.
pub(super) fn to_whole(body: &[u8], choices: u64) -> Option<Value> {
    let (mut parser, mut repair) = (Parser::default(), EventRepair::default());
    let mut whole = WholeAnswer { choices, is_done: false, members: Map::new(), messages: BTreeMap::new() };
    let mut events = Vec::new();
    for bytes in body.chunks(READ_BYTES) {
        parser.push(bytes, &mut events).ok()?;
        for event in events.drain(..) {
            whole.add(&event.data, &mut repair)?;
        }
    }
    if let Some(event) = parser.finish() {
        whole.add(&event.data, &mut repair)?;
    }
    whole.finish()
}

/// Answer that is put together.
struct WholeAnswer {
    choices: u64,
    is_done: bool,
    members: Map<String, Value>,
    /// Choices by their index.
    messages: BTreeMap<u64, Value>,
}

impl WholeAnswer {
    /// Adds an event; `None` if it is malformed.
    fn add(&mut self, data: &[u8], repair: &mut EventRepair) -> Option<()> {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.is_done = true;
        }
        if self.is_done || data.is_empty() {
            return Some(());
        }
        let mut event = repair.read(data).ok()?;
        let others = event.passed().into_iter().chain(event.reported_usage().map(|usage| ("usage", usage)));
        let others =
            others.chain(event.system_fingerprint.as_ref().map(|value| ("system_fingerprint", value)));
        self.members.extend(others.map(|(name, value)| (name.to_owned(), value.clone())));
        if let Some(error) = event.take_error() {
            self.members.insert("error".into(), error);
            self.is_done = true;
        }
        for choice in event.choices.into_iter().flatten() {
            let index = choice.index();
            if index >= self.choices {
                return None;
            }
            let whole = self.messages.entry(index).or_insert_with(|| json!({"index": index, "message": {}}));
            if let Some(reason) = choice.reason() {
                whole["finish_reason"] = reason.into();
            }
            merge(&mut whole["logprobs"], &choice.logprobs.unwrap_or_default())?;
            merge(&mut whole["message"], &Value::Object(choice.delta.unwrap_or_default()))?;
        }
        Some(())
    }

    fn finish(mut self) -> Option<Value> {
        let has_ended = |choice: &Value| choice["finish_reason"].is_string();
        if self.members.contains_key("error") {
            return Some(Value::Object(self.members));
        }
        if self.messages.is_empty() || !(self.is_done || self.messages.values().all(has_ended)) {
            return None;
        }
        self.members.insert("choices".into(), self.messages.into_values().collect());
        Some(Value::Object(self.members))
    }
}

/// Adds a piece of a message to what there is of it: texts follow each other, items of lists have an index. `None` if it
/// has more items than a message can have.
fn merge(whole: &mut Value, piece: &Value) -> Option<()> {
    match (whole, piece) {
        (Value::Object(whole), Value::Object(piece)) => {
            for (name, value) in piece {
                match whole.get_mut(name) {
                    // Not pieces of a text.
                    Some(known) if !["role", "id", "type", "index"].contains(&name.as_str()) => {
                        merge(known, value)?;
                    }
                    Some(_) => {}
                    None => drop(whole.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::String(whole), Value::String(piece)) => whole.push_str(piece),
        (Value::Array(whole), Value::Array(piece)) => {
            for item in piece {
                let Some(index) = item["index"].as_u64() else {
                    whole.push(item.clone());
                    continue;
                };
                if index >= MAX_ITEMS {
                    return None;
                }
                match whole.iter_mut().find(|known| known["index"] == index) {
                    Some(known) => merge(known, item)?,
                    None => whole.push(item.clone()),
                }
            }
        }
        (whole @ Value::Null, piece) => *whole = piece.clone(),
        _ => {}
    }
    Some(())
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
        let whole = to_whole(body.as_bytes(), 2).expect("an answer");
        assert_eq!(whole["choices"][0]["message"]["content"], "one two");
        let call = &whole["choices"][0]["message"]["tool_calls"][0];
        assert_eq!((&call["id"], &call["function"]), (&json!("c"), &json!({"name": "f", "arguments": "{}"})));
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(whole["choices"][1]["message"]["content"], "other");
        assert_eq!(whole["usage"]["completion_tokens"], 2);
        let events = to_events(whole.clone(), 1_000);
        assert_eq!(events.matches("\"content\":\"").count(), 4, "{events}");
        assert_eq!(to_events(whole.clone(), 1).matches("\"content\":\"").count(), 2);
        let again = to_whole(events.as_bytes(), 2).expect("an answer");
        for (index, choice) in again["choices"].as_array().expect("choices").iter().enumerate() {
            assert_eq!(choice["message"]["content"], whole["choices"][index]["message"]["content"]);
            assert_eq!(choice["message"]["tool_calls"], whole["choices"][index]["message"]["tool_calls"]);
            assert_eq!(choice["finish_reason"], whole["choices"][index]["finish_reason"]);
        }
        let error = to_whole(b"data: {\"error\":{\"code\":429}}\n\n", 1).expect("an error");
        assert_eq!(error["error"]["code"], 429);
    }

    #[test]
    fn attack_21_events_that_are_no_whole_answer_are_refused() {
        let piece = |index: u64| {
            format!("data: {}\n\n", json!({"choices": [{"index": index, "delta": {"content": "a"}}]}))
        };
        let call = json!({"choices": [{"delta": {"tool_calls": [{"index": 128}]}}]});
        let calls = format!("data: {call}\n\n").repeat(2);
        for (name, body) in [
            ("nothing", "data: [DONE]\n\n".to_owned()),
            ("empty", String::new()),
            ("no choices", "data: {}\n\ndata: [DONE]\n\n".to_owned()),
            ("a list", "data: [1]\n\n".to_owned()),
            ("cut off", piece(0)),
            ("malformed in between", format!("{}data: {{\n\n{}data: [DONE]\n\n", piece(0), piece(0))),
            ("a choice too many", format!("{}data: [DONE]\n\n", piece(1))),
            ("a call too many", format!("{calls}data: [DONE]\n\n")),
        ] {
            assert_eq!(to_whole(body.as_bytes(), 1), None, "{name}");
        }
        // What is split between two pieces is put together here too.
        let halves = r#"data: {"choices":[{"delta":{"content":"\ud83d"}}]}"#.to_owned()
            + "\n\n"
            + r#"data: {"choices":[{"delta":{"content":"\ude00"},"finish_reason":"stop"}]}"#
            + "\n\n";
        let whole = to_whole(halves.as_bytes(), 1).expect("an answer");
        assert_eq!(whole["choices"][0]["message"]["content"], "\u{1f600}");
    }
}
