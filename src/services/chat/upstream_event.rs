//! Events and answers as upstreams write them, and the content in them that is billed.

use std::collections::BTreeMap;

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
    error: Option<Value>,
    pub(super) usage: Option<Value>,
    /// Groq's place of usage.
    x_groq: Option<Value>,
    pub(super) choices: Option<Vec<UpstreamChoice>>,
    pub(super) system_fingerprint: Option<Value>,
    /// Members that models have which search, of use to clients.
    citations: Option<Value>,
    search_results: Option<Value>,
    related_questions: Option<Value>,
}

/// Choice of an event or an answer.
#[derive(Deserialize)]
pub(super) struct UpstreamChoice {
    index: Option<Value>,
    pub(super) delta: Option<Map<String, Value>>,
    pub(super) message: Option<Map<String, Value>>,
    pub(super) logprobs: Option<Value>,
    finish_reason: Option<Value>,
    /// Moonshot's place of usage.
    usage: Option<Value>,
    /// `OpenRouter`'s place of an error of the server behind it.
    error: Option<Value>,
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

    /// Takes the error that it reports: of its own, or of a choice that did not come to its end.
    pub(super) fn take_error(&mut self) -> Option<Value> {
        let of_choice = |choice: &mut UpstreamChoice| {
            let has_failed = choice.reason() == Some("error");
            choice.error.take().or_else(|| has_failed.then(|| Value::Object(Map::new())))
        };
        let choices = self.choices.as_deref_mut().unwrap_or_default();
        self.error.take().or_else(|| choices.iter_mut().find_map(of_choice))
    }

    /// Returns the members that are sent to clients as they are.
    pub(super) fn passed(&self) -> BTreeMap<&'static str, &Value> {
        let members = [
            ("citations", &self.citations),
            ("search_results", &self.search_results),
            ("related_questions", &self.related_questions),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect()
    }

    /// Returns the usage that it reports, in any of the places that servers write it to.
    pub(super) fn reported_usage(&self) -> Option<&Value> {
        let of_choices = self.choices.iter().flatten().filter_map(|choice| choice.usage.as_ref());
        let places = self.usage.iter().chain(self.x_groq.as_ref().and_then(|groq| groq.get("usage")));
        places.chain(of_choices).find(|usage| usage.as_object().is_some_and(|members| !members.is_empty()))
    }
}

impl UpstreamChoice {
    /// Returns the text of its delta, if there is any.
    fn text(&self) -> Option<ChoiceText> {
        let text = self.delta.as_ref().map(text_of).filter(|text| !text.is_empty())?;
        Some(ChoiceText { choice: self.index(), text })
    }

    pub(super) fn index(&self) -> u64 {
        self.index.as_ref().and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns the reason for which the choice ended; `None` while it goes on, for which some
    /// servers write `""`.
    pub(super) fn reason(&self) -> Option<&str> {
        self.finish_reason.as_ref().and_then(Value::as_str).filter(|reason| !reason.is_empty())
    }
}

/// Text of one choice, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceText {
    pub choice: u64,
    pub text: String,
}

/// Content of a stream's event that is billed: as long as the model wrote it, however
/// long the original values are.
pub(super) struct BillableContent {
    /// True if there is content to pay for.
    pub(super) is_billable: bool,
    /// Bytes of its text.
    pub(super) text_bytes: usize,
    /// Text as the model wrote it.
    pub(super) texts: Vec<ChoiceText>,
    /// Deltas that are held back, by choice.
    pub(super) held_back: Vec<(u64, Map<String, Value>)>,
}

impl BillableContent {
    /// Puts the original values into an event, and returns its billable content. Text that
    /// is held back is free, and billed with the event that releases it: clients never pay
    /// for more than the model wrote, nor for text that they do not get.
    pub(super) fn restore(event: &mut UpstreamEvent, restorer: Option<&mut StreamRestorer>) -> Self {
        let choices = event.choices.as_deref_mut().unwrap_or_default();
        let texts: Vec<ChoiceText> = choices.iter().filter_map(UpstreamChoice::text).collect();
        let written: usize = texts.iter().map(|choice| choice.text.len()).sum();
        // Images, sounds and what future models add are content without being text.
        let deltas = choices.iter().filter_map(|choice| choice.delta.as_ref());
        let others = deltas.map(content_size).sum::<usize>().saturating_sub(written);
        let logprobs: usize =
            choices.iter().filter_map(|choice| choice.logprobs.as_ref()).map(value_size).sum();
        let has_other = others + logprobs > 0;
        let Some(restorer) = restorer else {
            let is_billable = written > 0 || has_other;
            return Self { is_billable, text_bytes: written, texts, held_back: Vec::new() };
        };
        let held_before = restorer.held_bytes();
        for choice in choices {
            let (index, is_last) = (choice.index(), choice.reason().is_some());
            restorer.restore_delta(index, choice.delta.get_or_insert_default(), is_last);
        }
        let text_bytes = (written + held_before).saturating_sub(restorer.held_bytes());
        let is_billable = if written > 0 { text_bytes > 0 } else { has_other };
        Self { is_billable, text_bytes, texts, held_back: restorer.held_back() }
    }
}

/// Members of a message that are text.
const TEXT_MEMBERS: [&str; 2] = ["content", "refusal"];
/// Names of reasoning, which some servers send under several of them.
const REASONING_MEMBERS: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// Calls `found` with each text of a message or a delta: content, reasoning, refusals, tool calls and transcripts, but
/// no images, sounds, signatures or ids, whose bytes say nothing of their tokens.
pub(super) fn for_each_text(message: &Map<String, Value>, found: &mut impl FnMut(&str)) {
    let reasoning = REASONING_MEMBERS
        .into_iter()
        .filter_map(|name| message.get(name))
        .find(|value| !value.is_null() && **value != "");
    let texts = TEXT_MEMBERS.into_iter().filter_map(|name| message.get(name));
    for text in reasoning.into_iter().chain(texts) {
        match text {
            Value::String(text) => found(text),
            Value::Array(parts) => parts.iter().for_each(|part| {
                let texts = ["text", "refusal", "thinking", "reasoning"]
                    .into_iter()
                    .filter_map(|name| part[name].as_str());
                texts.for_each(&mut *found);
            }),
            _ => {}
        }
    }
    let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let calls = calls
        .iter()
        .flat_map(|call| [&call["function"], &call["custom"]])
        .chain(message.get("function_call"));
    for call in calls {
        for value in ["name", "arguments", "input"].map(|name| &call[name]) {
            match value {
                Value::String(text) => found(text),
                Value::Object(_) => found(&value.to_string()),
                _ => {}
            }
        }
    }
    if let Some(transcript) = message.get("audio").and_then(|audio| audio["transcript"].as_str()) {
        found(transcript);
    }
}

/// Returns the text of a message.
pub(super) fn text_of(message: &Map<String, Value>) -> String {
    let mut text = String::new();
    for_each_text(message, &mut |part| text.push_str(part));
    text
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
