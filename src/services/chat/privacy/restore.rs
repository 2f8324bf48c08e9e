//! Restorer of an answer: puts original values in place of placeholders, chunk by chunk.
//!
//! Each text of an answer has a location: a choice, and in it a member such as `content`, or the arguments of one tool
//! call. The end of a text that may be the beginning of a placeholder is held back until the next delta of the location,
//! or until its choice ends. Only a few bytes are ever held back: see [`Originals::push`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::texts::STRUCTURAL_MEMBERS;
use farebox_pii::{Escape, Originals};

/// Largest number of locations with text held back. An answer has a few; the limit bounds the memory that an upstream can
/// make this server use.
const MAX_HELD_LOCATIONS: usize = 256;

/// Restorer of an answer.
#[derive(Debug, Clone)]
pub(in super::super) struct AnswerRestorer {
    originals: Arc<Originals>,
    /// True if `content` is JSON, as the request demands.
    is_json: bool,
}

/// Restorer of a streamed answer, with the texts that it holds back.
#[derive(Debug)]
pub(in super::super) struct StreamRestorer {
    restorer: AnswerRestorer,
    held: BTreeMap<TextLocation, String>,
}

/// Location of a text: the index of its choice, and the path within it.
type TextLocation = (u64, Vec<PathStep>);

/// Step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PathStep {
    Member(String),
    /// Item of a list, by its member `index` if it has one, else by its position.
    Item(u64),
}

/// Path to the value that is being visited; it is copied only for text that is held back.
#[derive(Clone, Copy)]
struct BorrowedPath<'p> {
    parent: Option<&'p BorrowedPath<'p>>,
    step: BorrowedStep<'p>,
}

/// Step of a [`BorrowedPath`].
#[derive(Clone, Copy)]
enum BorrowedStep<'p> {
    Member(&'p str),
    Item(u64),
}

impl AnswerRestorer {
    pub(super) fn new(originals: Arc<Originals>, is_json: bool) -> Self {
        Self { originals, is_json }
    }

    /// Creates a restorer that replaces `[EMAIL_ADDRESS_1]` by `jane@example.com`.
    #[cfg(test)]
    pub(in super::super) fn of_jane() -> Self {
        let mut text = "jane@example.com".to_owned();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let engine = farebox_pii::PiiEngine::new();
        let (all, taken) = Default::default();
        let concealed = farebox_pii::conceal(&engine, &all, &taken, &mut [&mut text], &stop);
        Self::new(Arc::new(concealed.expect("not stopped").originals), false)
    }

    /// Restores the message of a non-streaming answer.
    pub(in super::super) fn restore_message(&self, message: &mut Map<String, Value>) {
        visit_members(message, None, &mut |path, text| {
            if text.contains('[') {
                *text = self.originals.restore(text, self.escape(path));
            }
        });
    }

    /// Returns the restorer of a streamed answer.
    pub(in super::super) fn into_stream(self) -> StreamRestorer {
        StreamRestorer { restorer: self, held: BTreeMap::new() }
    }

    /// Returns the escape for values that are put into the text at `path`: arguments of functions are JSON.
    fn escape(&self, path: BorrowedPath<'_>) -> Escape {
        match path.step {
            BorrowedStep::Member("arguments") => Escape::Json,
            BorrowedStep::Member("content") if self.is_json && path.parent.is_none() => Escape::Json,
            BorrowedStep::Member(_) | BorrowedStep::Item(_) => Escape::None,
        }
    }
}

impl StreamRestorer {
    /// Restores the next delta of a choice; the last one also gets the text that is held back.
    pub(in super::super) fn restore_delta(
        &mut self,
        choice: u64,
        delta: &mut Map<String, Value>,
        is_last: bool,
    ) {
        let Self { restorer, held } = self;
        visit_members(delta, None, &mut |path, text| {
            if held.is_empty() && !text.contains('[') {
                return;
            }
            let location = (choice, path.steps());
            let mut tail = held.remove(&location).unwrap_or_default();
            let mut restored = restorer.originals.push(&mut tail, text, restorer.escape(path));
            if held.len() < MAX_HELD_LOCATIONS {
                if !tail.is_empty() {
                    held.insert(location, tail);
                }
            } else {
                restored.push_str(&tail);
            }
            *text = restored;
        });
        if is_last {
            self.release(choice, delta);
        }
    }

    /// Returns the bytes held back, all locations together.
    pub(in super::super) fn held_bytes(&self) -> usize {
        self.held.values().map(String::len).sum()
    }

    /// Returns the text held back, as a delta for each choice: the last ones if the answer ended here.
    pub(in super::super) fn held_back(&self) -> Vec<(u64, Map<String, Value>)> {
        let mut deltas: Vec<(u64, Map<String, Value>)> = Vec::new();
        for ((choice, steps), text) in &self.held {
            if deltas.last().is_none_or(|(last, _)| last != choice) {
                deltas.push((*choice, Map::new()));
            }
            if let Some((_, delta)) = deltas.last_mut() {
                append(delta, steps, text);
            }
        }
        deltas
    }

    /// Appends the text held back for a choice to its last delta.
    fn release(&mut self, choice: u64, delta: &mut Map<String, Value>) {
        self.held.retain(|(held_choice, steps), text| {
            let is_other = *held_choice != choice;
            if !is_other {
                append(delta, steps, text);
            }
            is_other
        });
    }
}

impl BorrowedPath<'_> {
    fn steps(self) -> Vec<PathStep> {
        let mut steps = self.parent.map_or_else(Vec::new, |parent| parent.steps());
        steps.push(match self.step {
            BorrowedStep::Member(name) => PathStep::Member(name.to_owned()),
            BorrowedStep::Item(index) => PathStep::Item(index),
        });
        steps
    }
}

/// Calls `visit` with every text of an object and the path to it.
fn visit_members(
    members: &mut Map<String, Value>,
    parent: Option<&BorrowedPath<'_>>,
    visit: &mut impl FnMut(BorrowedPath<'_>, &mut String),
) {
    for (name, value) in members.iter_mut() {
        if !STRUCTURAL_MEMBERS.contains(&name.as_str()) {
            visit_value(value, BorrowedPath { parent, step: BorrowedStep::Member(name) }, visit);
        }
    }
}

fn visit_value(
    value: &mut Value,
    path: BorrowedPath<'_>,
    visit: &mut impl FnMut(BorrowedPath<'_>, &mut String),
) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => visit(path, text),
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                let index = index_of(item).unwrap_or(position as u64);
                let step = BorrowedStep::Item(index);
                visit_value(item, BorrowedPath { parent: Some(&path), step }, visit);
            }
        }
        Value::Object(members) => visit_members(members, Some(&path), visit),
    }
}

fn index_of(item: &Value) -> Option<u64> {
    item.get("index").and_then(Value::as_u64)
}

/// Appends text to the text at a path, whose missing values are created.
fn append(delta: &mut Map<String, Value>, steps: &[PathStep], text: &str) {
    let Some((PathStep::Member(name), rest)) = steps.split_first() else { return };
    append_to_value(delta.entry(name.as_str()).or_insert(Value::Null), rest, text);
}

fn append_to_value(value: &mut Value, steps: &[PathStep], text: &str) {
    match steps.split_first() {
        None => match value {
            Value::String(before) => before.push_str(text),
            _ => *value = Value::from(text),
        },
        Some((PathStep::Member(_), _)) => {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            if let Value::Object(members) = value {
                append(members, steps, text);
            }
        }
        Some((PathStep::Item(index), rest)) => {
            if !value.is_array() {
                *value = Value::Array(Vec::new());
            }
            if let Value::Array(items) = value {
                append_to_value(item_at(items, *index), rest, text);
            }
        }
    }
}

/// Returns the item with this index, which is created where it is missing.
fn item_at(items: &mut Vec<Value>, index: u64) -> &mut Value {
    let has_index = |(position, item): (usize, &Value)| index_of(item).unwrap_or(position as u64) == index;
    let position = items.iter().enumerate().position(has_index).unwrap_or(items.len());
    if position == items.len() {
        items.push(serde_json::json!({ "index": index }));
    }
    &mut items[position]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use farebox_pii::{ExistingPlaceholders, PiiEngine, Selection, conceal};

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFO\n-----END PRIVATE KEY-----";

    /// Creates a restorer of `[EMAIL_ADDRESS_1]` and of `[PRIVATE_KEY_1]`, which has several lines.
    fn restorer(is_json: bool) -> AnswerRestorer {
        let mut text = format!("jane@example.com {KEY}");
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (engine, selection, taken) =
            (PiiEngine::new(), Selection::default(), ExistingPlaceholders::default());
        let concealed = conceal(&engine, &selection, &taken, &mut [&mut text], &stop).expect("not stopped");
        assert_eq!(text, "[EMAIL_ADDRESS_1] [PRIVATE_KEY_1]");
        AnswerRestorer::new(Arc::new(concealed.originals), is_json)
    }

    fn message(content: &str, reasoning: &str, arguments: [&str; 2]) -> Map<String, Value> {
        let call = |(index, arguments): (usize, &str)| {
            json!({"index": index, "id": "[EMAIL_ADDRESS_1]", "type": "function",
                "function": {"name": "[EMAIL_ADDRESS_1]", "arguments": arguments}})
        };
        let calls: Vec<Value> = arguments.into_iter().enumerate().map(call).collect();
        let message = json!({"role": "assistant", "content": content, "reasoning_content": reasoning,
            "refusal": null, "tool_calls": calls});
        message.as_object().expect("an object").clone()
    }

    #[test]
    fn originals_are_restored_everywhere_but_in_names() {
        let mut whole = message(
            "to [EMAIL_ADDRESS_1]: [PRIVATE_KEY_1]",
            "[EMAIL_ADDRESS_1]?",
            [r#"{"to":"[EMAIL_ADDRESS_1]","key":"[PRIVATE_KEY_1]"}"#, "[US_SSN_1]"],
        );
        restorer(false).restore_message(&mut whole);
        assert_eq!(whole["content"], format!("to jane@example.com: {KEY}"));
        assert_eq!(whole["reasoning_content"], "jane@example.com?");
        let function = &whole["tool_calls"][0]["function"];
        assert_eq!(function["name"], "[EMAIL_ADDRESS_1]");
        let arguments: Value =
            serde_json::from_str(function["arguments"].as_str().expect("text")).expect("JSON");
        assert_eq!(arguments, json!({"to": "jane@example.com", "key": KEY}));
        assert_eq!(whole["tool_calls"][1]["function"]["arguments"], "[US_SSN_1]", "unknown: left as it is");
        let mut json = message(r#"{"key":"[PRIVATE_KEY_1]"}"#, "", ["", ""]);
        restorer(true).restore_message(&mut json);
        let content: Value = serde_json::from_str(json["content"].as_str().expect("text")).expect("JSON");
        assert_eq!(content["key"], KEY);
    }

    /// Texts that a client assembles from the deltas of one choice.
    fn assembled(deltas: &[Map<String, Value>]) -> [String; 4] {
        let mut texts: [String; 4] = Default::default();
        for delta in deltas {
            for (at, name) in ["content", "reasoning_content"].into_iter().enumerate() {
                texts[at].push_str(delta.get(name).and_then(Value::as_str).unwrap_or_default());
            }
            for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                let at = usize::try_from(call["index"].as_u64().expect("an index")).expect("small");
                texts[2 + at].push_str(call["function"]["arguments"].as_str().unwrap_or_default());
            }
        }
        texts
    }

    fn delta(field: usize, text: &str) -> Map<String, Value> {
        let delta = match field {
            0 => json!({ "content": text }),
            1 => json!({ "reasoning_content": text }),
            _ => json!({"tool_calls": [{"index": field - 2, "function": {"arguments": text}}]}),
        };
        delta.as_object().expect("an object").clone()
    }

    #[test]
    fn the_last_delta_gets_the_text_held_back() {
        let mut restorer = restorer(false).into_stream();
        let mut pieces = [delta(0, "a[EMAIL_"), delta(2, "{[PRIV"), delta(3, "x")];
        for piece in &mut pieces {
            restorer.restore_delta(0, piece, false);
        }
        let mut other = delta(0, "[");
        restorer.restore_delta(1, &mut other, false);
        assert_eq!((&pieces[0]["content"], restorer.held_bytes()), (&json!("a"), 7 + 5 + 1));
        let rest = restorer.held_back();
        assert_eq!(
            (rest.len(), &rest[0].1["content"], &rest[1].1["content"]),
            (2, &json!("[EMAIL_"), &json!("["))
        );
        let mut last = Map::new();
        restorer.restore_delta(0, &mut last, true);
        assert_eq!(
            Value::Object(last),
            json!({"content": "[EMAIL_",
            "tool_calls": [{"index": 0, "function": {"arguments": "[PRIV"}}]})
        );
        assert_eq!(restorer.held_back().len(), 1, "the other choice goes on");
    }

    #[test]
    fn attack_21_the_text_held_back_is_bounded() {
        let mut restorer = restorer(false).into_stream();
        for index in 0..10_000 {
            let mut piece = json!({"tool_calls": [{"index": index, "function": {"arguments": "[EMAIL_"}}]});
            restorer.restore_delta(0, piece.as_object_mut().expect("an object"), false);
        }
        assert_eq!(restorer.held_bytes(), 7 * MAX_HELD_LOCATIONS);
    }

    proptest! {
        /// For any division into deltas, any order of them, and answers that end properly or break off.
        #[test]
        fn a_stream_has_the_texts_of_a_non_streaming_answer(
            pieces in proptest::collection::vec((0_u64..2, 0_usize..4,
                r#"\[|\[EMAIL|_ADDRESS_1|_1\]|\]|\[PRIVATE_KEY_1\]|[a-zé😀"\\]{0,3}"#), 0..40),
            ends in any::<bool>(),
        ) {
            let whole_restorer = restorer(false);
            let mut restorer = whole_restorer.clone().into_stream();
            let mut received: [Vec<Map<String, Value>>; 2] = Default::default();
            let mut whole: [[String; 4]; 2] = Default::default();
            for (choice, field, text) in &pieces {
                let at = usize::from(*choice > 0);
                let mut piece = delta(*field, text);
                restorer.restore_delta(*choice, &mut piece, false);
                whole[at][*field].push_str(text);
                received[at].push(piece);
            }
            for (at, choice) in [0_u64, 1].into_iter().enumerate().filter(|_| ends) {
                let mut last = Map::new();
                restorer.restore_delta(choice, &mut last, true);
                received[at].push(last);
            }
            prop_assert!(!ends || restorer.held_back().is_empty());
            for (choice, rest) in restorer.held_back() {
                received[usize::from(choice > 0)].push(rest);
            }
            for (texts, received) in whole.iter().zip(&received) {
                let mut message = message(&texts[0], &texts[1], [&texts[2], &texts[3]]);
                whole_restorer.restore_message(&mut message);
                prop_assert_eq!(assembled(&[message]), assembled(received));
            }
        }
    }
}
