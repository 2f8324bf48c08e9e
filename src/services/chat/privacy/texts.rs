//! Where a request holds text that could be personal.

use serde_json::{Map, Value};

/// Members of messages and answers that say what something is or belongs to. Everything else is text: what future
/// models add is protected before anyone has heard of it.
pub(super) const STRUCTURE: [&str; 9] =
    ["role", "name", "type", "id", "index", "tool_call_id", "format", "signature", "cache_control"];

/// Fields beside `messages` that hold the caller's text. Definitions of tools and schemas are the program's own words
/// and are left alone.
const BESIDES: [&str; 5] = ["prediction", "metadata", "user", "safety_identifier", "documents"];

/// All texts of a request, in their order.
pub(super) fn of_request(body: &mut Map<String, Value>) -> Vec<&mut String> {
    let mut texts = Vec::new();
    for (name, value) in body {
        if name == "messages" || BESIDES.contains(&name.as_str()) {
            collect(value, &mut texts);
        }
    }
    texts
}

fn collect<'v>(value: &'v mut Value, texts: &mut Vec<&'v mut String>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter_mut().for_each(|item| collect(item, texts)),
        Value::Object(members) => {
            let text = members.iter_mut().filter(|(name, _)| !STRUCTURE.contains(&name.as_str()));
            text.for_each(|(_, value)| collect(value, texts));
        }
    }
}

/// Bytes of all texts of a request, about.
pub(super) fn length(body: &Map<String, Value>) -> usize {
    let mut length = 0;
    body.values().for_each(|value| each(value, &mut |text| length += text.len()));
    length
}

/// Calls `see` with every string that a model may get to see.
pub(super) fn each(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each(item, see)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            see(name);
            each(value, see);
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_of_a_conversation_and_no_structure() {
        let mut body = json!({
            "model": "no", "user": "u", "tools": [{"type": "function", "function": {"name": "no", "description": "no"}}],
            "messages": [
                {"role": "no", "name": "no", "content": "a"},
                {"role": "no", "content": [{"type": "text", "text": "b", "cache_control": {"type": "no"}}]},
                {"role": "no", "content": null, "reasoning_content": "c", "tool_calls": [
                    {"id": "no", "type": "no", "index": 0, "function": {"name": "no", "arguments": "d"}}]},
                {"role": "no", "tool_call_id": "no", "content": "e", "something_new": {"x": ["f", 1, true]}},
            ],
            "prediction": {"type": "no", "content": "g"},
        });
        let mut texts: Vec<String> = of_request(body.as_object_mut().expect("an object"))
            .into_iter()
            .map(|text| text.clone())
            .collect();
        texts.sort_unstable();
        assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "g", "u"]);
    }
}
