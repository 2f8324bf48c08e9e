//! The shape of `messages`: enough to refuse what no model takes, no more.

use serde_json::{Map, Value};

use super::refusal::ChatError;

/// Longest role, in bytes.
const MAX_ROLE: usize = 64;

/// Checks a conversation. Parts of any type pass, tools and their calls too.
pub(super) fn check(messages: Option<&Value>, limit: usize) -> Result<(), ChatError> {
    let list = match messages {
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ChatError::refused("messages", "must be a list of messages")),
        None => {
            return Err(ChatError::refused("messages", "is missing; send a list of messages"));
        }
    };
    if list.is_empty() {
        return Err(ChatError::refused("messages", "is empty; send at least one message"));
    }
    if list.len() > limit {
        return Err(ChatError::refused("messages", &format!("can have {limit} messages at most")));
    }
    for (index, value) in list.iter().enumerate() {
        message(value, limit)
            .map_err(|(place, what)| ChatError::refused(&format!("messages[{index}]{place}"), &what))?;
    }
    Ok(())
}

type MessageError = (String, String);

fn wrong(place: &str, what: &str) -> MessageError {
    (place.to_owned(), what.to_owned())
}

fn message(value: &Value, limit: usize) -> Result<(), MessageError> {
    let Value::Object(message) = value else {
        return Err(wrong("", "must be an object with `role` and `content`"));
    };
    match message.get("role") {
        Some(Value::String(role)) if (1..=MAX_ROLE).contains(&role.len()) => {}
        Some(_) => return Err(wrong(".role", "must be a string such as \"user\"")),
        None => return Err(wrong(".role", "is missing")),
    }
    match message.get("content") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(list)) => parts(list, limit)?,
        Some(_) => return Err(wrong(".content", "must be a string or a list of parts")),
    }
    tool_calls(message)
}

fn parts(list: &[Value], limit: usize) -> Result<(), MessageError> {
    if list.len() > limit {
        return Err(wrong(".content", &format!("can have {limit} parts at most")));
    }
    for (at, part) in list.iter().enumerate() {
        if !part.is_object() || !part["type"].is_string() {
            return Err(wrong(&format!(".content[{at}]"), "must be an object with a `type`"));
        }
        if part["type"] == "text" && !part["text"].is_string() {
            return Err(wrong(&format!(".content[{at}].text"), "must be a string"));
        }
    }
    Ok(())
}

fn tool_calls(message: &Map<String, Value>) -> Result<(), MessageError> {
    match message.get("tool_calls") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(calls)) if calls.iter().all(Value::is_object) => Ok(()),
        Some(_) => Err(wrong(".tool_calls", "must be a list of objects")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conversations_of_all_kinds_pass() {
        let messages = json!([
            {"role": "developer", "content": "be kind", "name": "x"},
            {"role": "user", "content": [{"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "something_new", "x": 1}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function"}]},
            {"role": "assistant", "tool_calls": null},
            {"role": "tool", "tool_call_id": "1", "content": ""},
        ]);
        check(Some(&messages), 5).expect("valid");
        assert!(check(Some(&messages), 4).is_err());
    }

    #[test]
    fn wrong_shapes_are_named_by_their_place() {
        for (messages, expected) in [
            (json!(null), "`messages` must be a list"),
            (json!("secret"), "`messages` must be a list"),
            (json!([]), "`messages` is empty"),
            (json!(["secret"]), "`messages[0]` must be an object"),
            (json!([{"role": "user"}, {"content": "secret"}]), "`messages[1].role` is missing"),
            (json!([{"role": ""}]), "`messages[0].role` must be"),
            (json!([{"role": "s".repeat(65)}]), "`messages[0].role` must be"),
            (json!([{"role": "user", "content": {"secret": 1}}]), "`messages[0].content` must be"),
            (json!([{"role": "user", "content": ["secret"]}]), "`messages[0].content[0]` must be"),
            (
                json!([{"role": "user", "content": [{"type": "text", "text": 5}]}]),
                "`messages[0].content[0].text` must be",
            ),
            (json!([{"role": "user", "tool_calls": "secret"}]), "`messages[0].tool_calls` must be"),
        ] {
            let error = check(Some(&messages), 9).expect_err("refused").to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        assert!(check(None, 9).is_err());
    }
}
