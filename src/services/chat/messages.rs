//! Shape of `messages`: only requests that no model would accept are refused.

use serde_json::{Map, Value};

use super::chat_error::ChatError;
use crate::fetch::{FetchError, refuse_passed_url};

/// Length of the longest role, in bytes.
const MAX_ROLE_BYTES: usize = 64;

/// Fields of parts that hold prose, which may begin like a URL.
const TEXTS: [&str; 4] = ["text", "refusal", "thinking", "reasoning"];

/// Checks the messages of a conversation; `limit` is the largest number of messages, and of parts in
/// a message. Parts of unknown types are accepted.
///
/// # Errors
/// [`ChatError::InvalidField`] with the position of the field.
pub(super) fn check(messages: Option<&Value>, limit: usize) -> Result<(), ChatError> {
    let list = match messages {
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ChatError::invalid("messages", "must be a list of messages")),
        None => {
            return Err(ChatError::invalid("messages", "is missing; send a list of messages"));
        }
    };
    if list.is_empty() {
        return Err(ChatError::invalid("messages", "is empty; send at least one message"));
    }
    if list.len() > limit {
        return Err(ChatError::invalid("messages", &format!("has too many messages: send at most {limit}")));
    }
    for (index, value) in list.iter().enumerate() {
        check_message(value, limit)
            .map_err(|(place, problem)| ChatError::invalid(&format!("messages[{index}]{place}"), &problem))?;
    }
    Ok(())
}

/// Position of a field within its message, and the problem with it.
type MessageError = (String, String);

fn invalid(place: &str, problem: &str) -> MessageError {
    (place.to_owned(), problem.to_owned())
}

fn check_message(value: &Value, limit: usize) -> Result<(), MessageError> {
    let Value::Object(message) = value else {
        return Err(invalid("", "must be an object with `role` and `content`"));
    };
    match message.get("role") {
        Some(Value::String(role)) if (1..=MAX_ROLE_BYTES).contains(&role.len()) => {}
        Some(_) => return Err(invalid(".role", "must be a string such as \"user\"")),
        None => return Err(invalid(".role", "is missing")),
    }
    match message.get("content") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(list)) => check_parts(list, limit)?,
        Some(_) => return Err(invalid(".content", "must be a string or a list of parts")),
    }
    check_tool_calls(message)
}

fn check_parts(list: &[Value], limit: usize) -> Result<(), MessageError> {
    if list.len() > limit {
        return Err(invalid(".content", &format!("has too many parts: send at most {limit}")));
    }
    for (index, part) in list.iter().enumerate() {
        if !part.is_object() || !part["type"].is_string() {
            return Err(invalid(&format!(".content[{index}]"), "must be an object with a `type`"));
        }
        if part["type"] == "text" && !part["text"].is_string() {
            return Err(invalid(&format!(".content[{index}].text"), "must be a string"));
        }
    }
    Ok(())
}

/// Checks the URLs in messages that have passed [`check`], in whatever field of a part: a model's server may ask for them,
/// from where it stands.
///
/// # Errors
/// [`ChatError::InvalidField`] with the position of the part.
pub(super) fn check_urls(messages: Option<&Value>) -> Result<(), ChatError> {
    let messages = messages.and_then(Value::as_array).into_iter().flatten().enumerate();
    for (index, message) in messages {
        let parts = message["content"].as_array().into_iter().flatten().enumerate();
        for (part, value) in parts.filter(|(_, value)| value["type"] != "text") {
            if let Some(error) = refused_url(value) {
                let place = format!("messages[{index}].content[{part}]");
                return Err(ChatError::invalid(&place, &format!("has a URL that {error}")));
            }
        }
    }
    Ok(())
}

fn refused_url(part: &Value) -> Option<FetchError> {
    let mut open = vec![part];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => {
                if let Err(error) = refuse_passed_url(text) {
                    return Some(error);
                }
            }
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                open.extend(
                    fields.iter().filter(|(name, _)| !TEXTS.contains(&name.as_str())).map(|(_, value)| value),
                );
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    None
}

fn check_tool_calls(message: &Map<String, Value>) -> Result<(), MessageError> {
    match message.get("tool_calls") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(calls)) if calls.iter().all(Value::is_object) => Ok(()),
        Some(_) => Err(invalid(".tool_calls", "must be a list of objects")),
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

    fn image(url: &str) -> Value {
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    }

    #[test]
    fn wrong_shapes_are_named_by_their_position() {
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

    #[test]
    fn urls_are_named_by_their_position() {
        for (url, expected) in [
            (
                "http://169.254.169.254/secret",
                "`messages[0].content[0]` has a URL that has no public address",
            ),
            ("file:///etc/secret", "`messages[0].content[0]` has a URL that must begin with https://"),
        ] {
            let error = check_urls(Some(&image(url))).expect_err("refused").to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        check_urls(Some(&image("https://example.com/secret"))).expect("public");
    }
}
