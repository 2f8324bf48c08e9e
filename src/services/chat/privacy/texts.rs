//! Texts of a request that may hold personal data.

use serde_json::{Map, Value};

/// Members of messages and answers that identify or describe something. All other members are text: those that future
/// models add are protected too.
pub(super) const STRUCTURAL_MEMBERS: [&str; 9] =
    ["role", "name", "type", "id", "index", "tool_call_id", "format", "signature", "cache_control"];

/// Fields beside `messages` that hold the client's text. Definitions of tools and schemas are part of the client's
/// program and are not examined.
const OTHER_TEXT_FIELDS: [&str; 5] = ["prediction", "metadata", "user", "safety_identifier", "documents"];

/// Returns all texts of a request, in their order.
pub(super) fn request_texts(body: &mut Map<String, Value>) -> Vec<&mut String> {
    let mut texts = Vec::new();
    for (name, value) in body {
        if name == "messages" || OTHER_TEXT_FIELDS.contains(&name.as_str()) {
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
            let text = members.iter_mut().filter(|(name, _)| !STRUCTURAL_MEMBERS.contains(&name.as_str()));
            text.for_each(|(_, value)| collect(value, texts));
        }
    }
}

/// Returns the bytes of all strings of a request.
pub(super) fn total_bytes(body: &Map<String, Value>) -> usize {
    let mut bytes = 0;
    body.values().for_each(|value| for_each_string(value, &mut |text| bytes += text.len()));
    bytes
}

/// Calls `visit` with every string that a model may get: names of members and values.
pub(super) fn for_each_string(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| for_each_string(item, visit)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            visit(name);
            for_each_string(value, visit);
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
        let mut texts: Vec<String> = request_texts(body.as_object_mut().expect("an object"))
            .into_iter()
            .map(|text| text.clone())
            .collect();
        texts.sort_unstable();
        assert_eq!(texts, ["a", "b", "c", "d", "e", "f", "g", "u"]);
    }
}
