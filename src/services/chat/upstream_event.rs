//! Events and answers as upstreams write them, and what there is to pay for in them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::privacy::Restorer;

/// What came is not an answer; the text says in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// An event or an answer as upstreams write it. What is not named here is not
/// passed on.
#[derive(Deserialize)]
pub(super) struct UpstreamEvent {
    pub(super) error: Option<Value>,
    pub(super) usage: Option<Value>,
    pub(super) choices: Option<Vec<UpstreamChoice>>,
    pub(super) system_fingerprint: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct UpstreamChoice {
    index: Option<Value>,
    pub(super) delta: Option<Map<String, Value>>,
    pub(super) message: Option<Map<String, Value>>,
    pub(super) logprobs: Option<Value>,
    finish_reason: Option<Value>,
}

impl UpstreamEvent {
    pub(super) fn read(json: &[u8]) -> Result<Self, Malformed> {
        // A derived reader would also take a list, member by member.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(Malformed("not a JSON object"));
        }
        serde_json::from_slice(json).map_err(|error| {
            Malformed(if error.is_data() { "JSON of another shape" } else { "not a JSON object" })
        })
    }
}

impl UpstreamChoice {
    pub(super) fn index(&self) -> u64 {
        self.index.as_ref().and_then(Value::as_u64).unwrap_or(0)
    }

    /// Why it ended, if it did; some servers write `""` until then.
    pub(super) fn reason(&self) -> Option<&str> {
        self.finish_reason.as_ref().and_then(Value::as_str).filter(|reason| !reason.is_empty())
    }
}

/// What there is to pay for in a piece of a stream: what the model said of it,
/// however long the originals are.
pub(super) struct Billable {
    pub(super) billable: bool,
    pub(super) content_bytes: usize,
    /// What is held back, by choice.
    pub(super) rest: Vec<(u64, Map<String, Value>)>,
}

impl Billable {
    /// Restores the piece, too. A chunk of which all is held back is free, and
    /// counts when its text leaves with the next one; so there is never more to
    /// pay for than was said, and nothing is paid for that does not leave.
    pub(super) fn of(event: &mut UpstreamEvent, restorer: Option<&mut Restorer>) -> Self {
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        let said: usize = choices.iter().filter_map(|choice| choice.delta.as_ref()).map(billable).sum();
        let logprobs: usize = choices.iter().filter_map(|choice| choice.logprobs.as_ref()).map(weight).sum();
        let Some(restorer) = restorer else {
            return Self { billable: said + logprobs > 0, content_bytes: said, rest: Vec::new() };
        };
        let before = restorer.held();
        for choice in choices {
            let (index, is_last) = (choice.index(), choice.reason().is_some());
            restorer.piece(index, choice.delta.get_or_insert_default(), is_last);
        }
        let content_bytes = (said + before).saturating_sub(restorer.held());
        let billable = if said > 0 { content_bytes > 0 } else { logprobs > 0 };
        Self { billable, content_bytes, rest: restorer.rest() }
    }
}

/// How much there is to pay for in a message or a part of one. Everything counts
/// but the role: members that future models add are not to be free.
pub(super) fn billable(message: &Map<String, Value>) -> usize {
    message.iter().filter(|(name, _)| *name != "role").map(|(_, value)| weight(value)).sum()
}

/// Bytes of text; numbers and the like count as one.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.values().map(weight).sum(),
    }
}
