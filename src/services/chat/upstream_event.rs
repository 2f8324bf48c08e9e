//! Events and answers as upstreams write them, and the content in them that is billed.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::privacy::StreamRestorer;

/// Error of data that is not an answer; the text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedEvent(pub(super) &'static str);

/// Event or answer as upstreams write it. Members that are not listed here are not sent
/// to clients.
#[derive(Deserialize)]
pub(super) struct UpstreamEvent {
    pub(super) error: Option<Value>,
    pub(super) usage: Option<Value>,
    pub(super) choices: Option<Vec<UpstreamChoice>>,
    pub(super) system_fingerprint: Option<Value>,
}

/// Choice of an event or an answer.
#[derive(Deserialize)]
pub(super) struct UpstreamChoice {
    index: Option<Value>,
    pub(super) delta: Option<Map<String, Value>>,
    pub(super) message: Option<Map<String, Value>>,
    pub(super) logprobs: Option<Value>,
    finish_reason: Option<Value>,
}

impl UpstreamEvent {
    pub(super) fn read(json: &[u8]) -> Result<Self, MalformedEvent> {
        // serde would also accept a list of the members' values.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(MalformedEvent("not a JSON object"));
        }
        serde_json::from_slice(json).map_err(|error| {
            MalformedEvent(if error.is_data() { "JSON of another shape" } else { "not a JSON object" })
        })
    }
}

impl UpstreamChoice {
    pub(super) fn index(&self) -> u64 {
        self.index.as_ref().and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns the reason for which the choice ended; `None` while it goes on, for which some
    /// servers write `""`.
    pub(super) fn reason(&self) -> Option<&str> {
        self.finish_reason.as_ref().and_then(Value::as_str).filter(|reason| !reason.is_empty())
    }
}

/// Content of a stream's event that is billed: as long as the model wrote it, however
/// long the original values are.
pub(super) struct BillableContent {
    /// True if there is content to pay for.
    pub(super) is_billable: bool,
    /// Bytes of the content.
    pub(super) content_bytes: usize,
    /// Deltas that are held back, by choice.
    pub(super) held_back: Vec<(u64, Map<String, Value>)>,
}

impl BillableContent {
    /// Puts the original values into an event, and returns its billable content. Text that
    /// is held back is free, and billed with the event that releases it: clients never pay
    /// for more than the model wrote, nor for text that they do not get.
    pub(super) fn restore(event: &mut UpstreamEvent, restorer: Option<&mut StreamRestorer>) -> Self {
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        let written: usize =
            choices.iter().filter_map(|choice| choice.delta.as_ref()).map(content_size).sum();
        let logprobs: usize =
            choices.iter().filter_map(|choice| choice.logprobs.as_ref()).map(value_size).sum();
        let Some(restorer) = restorer else {
            let is_billable = written + logprobs > 0;
            return Self { is_billable, content_bytes: written, held_back: Vec::new() };
        };
        let held_before = restorer.held_bytes();
        for choice in choices {
            let (index, is_last) = (choice.index(), choice.reason().is_some());
            restorer.restore_delta(index, choice.delta.get_or_insert_default(), is_last);
        }
        let content_bytes = (written + held_before).saturating_sub(restorer.held_bytes());
        let is_billable = if written > 0 { content_bytes > 0 } else { logprobs > 0 };
        Self { is_billable, content_bytes, held_back: restorer.held_back() }
    }
}

/// Returns the size of a message's or delta's content. All members count but the role:
/// members that future models add must not be free.
pub(super) fn content_size(message: &Map<String, Value>) -> usize {
    message.iter().filter(|(name, _)| *name != "role").map(|(_, value)| value_size(value)).sum()
}

/// Returns the bytes of the text in a value; numbers and booleans count as one.
fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(members) => members.values().map(value_size).sum(),
    }
}
