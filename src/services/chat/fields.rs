//! Readers of single fields of a request.

use serde_json::{Map, Value, json};

use super::chat_error::ChatError;

/// Describes a syntax error by its position. The message of serde is not used: a later version of it
/// might quote the contents.
pub(super) fn syntax_error(error: &serde_json::Error) -> String {
    let kind = if error.is_eof() { "it ends too early" } else { "there is an error" };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

pub(super) fn boolean(body: &Map<String, Value>, name: &str) -> Result<bool, ChatError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(ChatError::invalid(name, "must be true or false")),
    }
}

pub(super) fn positive_integer(body: &Map<String, Value>, name: &str) -> Result<Option<u64>, ChatError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        // Some languages write whole numbers as 100.0.
        Some(value) => match value.as_u64().or_else(|| whole(value.as_f64()?)) {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => Err(ChatError::invalid(name, "must be a whole number above zero")),
        },
    }
}

/// Returns a number as a whole one, if it is.
fn whole(number: f64) -> Option<u64> {
    format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0)
}

/// Sets `stream_options` so that the upstream reports usage. Returns true if the client asked for usage.
pub(super) fn stream_options(body: &mut Map<String, Value>, stream: bool) -> Result<bool, ChatError> {
    let options = match body.get_mut("stream_options").map(Value::take) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(options)) => options,
        Some(_) => return Err(ChatError::invalid("stream_options", "must be an object")),
    };
    let wants = match options.get("include_usage") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(wants)) => *wants,
        Some(_) => {
            return Err(ChatError::invalid("stream_options.include_usage", "must be true or false"));
        }
    };
    if stream {
        // Nothing else: some servers report the usage of single choices if asked for more.
        body.insert("stream_options".into(), json!({"include_usage": true}));
    } else {
        body.shift_remove("stream_options");
    }
    Ok(stream && wants)
}
