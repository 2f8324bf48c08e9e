//! Originals back into an answer, chunk by chunk.
//!
//! Each text of an answer has its own place: a choice, and in it a member such as `content`, or the arguments of one
//! tool call. A place holds back what may be the beginning of a placeholder until its next piece, or until its choice
//! ends. Nothing is ever held back for long: see [`Originals::push`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::texts::STRUCTURE;
use farebox_pii::{Escape, Originals};

/// Places that may hold something back at once. An answer has a few; what an upstream makes us remember is bounded.
const MOST_PLACES: usize = 256;

/// What restores one answer.
#[derive(Debug, Clone)]
pub(in super::super) struct Restoring {
    originals: Arc<Originals>,
    /// Whether `content` is JSON, as the request asked for.
    json_content: bool,
}

/// The same for one that comes in pieces, with what it holds back.
#[derive(Debug)]
pub(in super::super) struct Restorer {
    restoring: Restoring,
    held: BTreeMap<TextPlace, String>,
}

/// A choice, and the way to a text in it.
type TextPlace = (u64, Vec<PathStep>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PathStep {
    Member(String),
    /// By its `index` where it has one.
    Item(u64),
}

/// A way as it is walked: nothing is copied where nothing is held back.
#[derive(Clone, Copy)]
struct BorrowedPath<'w> {
    before: Option<&'w BorrowedPath<'w>>,
    here: TreeWalk<'w>,
}

#[derive(Clone, Copy)]
enum TreeWalk<'w> {
    Member(&'w str),
    Item(u64),
}

impl Restoring {
    pub(super) fn new(originals: Arc<Originals>, json_content: bool) -> Self {
        Self { originals, json_content }
    }

    /// Of an answer in which `[EMAIL_ADDRESS_1]` is Jane's.
    #[cfg(test)]
    pub(in super::super) fn of_jane() -> Self {
        let mut text = "jane@example.com".to_owned();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let engine = farebox_pii::PiiEngine::new();
        let (all, taken) = Default::default();
        let concealed = farebox_pii::conceal(&engine, &all, &taken, &mut [&mut text], &stop);
        Self::new(Arc::new(concealed.expect("not stopped").originals), false)
    }

    /// Restores a whole message.
    pub(in super::super) fn message(&self, message: &mut Map<String, Value>) {
        each_text(message, None, &mut |way, text| {
            if text.contains('[') {
                *text = self.originals.restore(text, self.escape(way));
            }
        });
    }

    pub(in super::super) fn begin(self) -> Restorer {
        Restorer { restoring: self, held: BTreeMap::new() }
    }

    /// Arguments of functions are JSON, so what is put into their strings is escaped.
    fn escape(&self, way: BorrowedPath<'_>) -> Escape {
        match way.here {
            TreeWalk::Member("arguments") => Escape::Json,
            TreeWalk::Member("content") if self.json_content && way.before.is_none() => Escape::Json,
            TreeWalk::Member(_) | TreeWalk::Item(_) => Escape::None,
        }
    }
}

impl Restorer {
    /// Restores the next piece of a choice; the last piece takes along what was held back.
    pub(in super::super) fn piece(&mut self, choice: u64, delta: &mut Map<String, Value>, is_last: bool) {
        let Self { restoring, held } = self;
        each_text(delta, None, &mut |way, text| {
            if held.is_empty() && !text.contains('[') {
                return;
            }
            let place = (choice, way.steps());
            let mut rest = held.remove(&place).unwrap_or_default();
            let mut restored = restoring.originals.push(&mut rest, text, restoring.escape(way));
            if held.len() < MOST_PLACES {
                if !rest.is_empty() {
                    held.insert(place, rest);
                }
            } else {
                restored.push_str(&rest);
            }
            *text = restored;
        });
        if is_last {
            self.give_out(choice, delta);
        }
    }

    /// Bytes held back, all places together.
    pub(in super::super) fn held(&self) -> usize {
        self.held.values().map(String::len).sum()
    }

    /// What a last chunk would have to say for each choice if the answer ended here.
    pub(in super::super) fn rest(&self) -> Vec<(u64, Map<String, Value>)> {
        let mut rest: Vec<(u64, Map<String, Value>)> = Vec::new();
        for ((choice, steps), text) in &self.held {
            if rest.last().is_none_or(|(last, _)| last != choice) {
                rest.push((*choice, Map::new()));
            }
            if let Some((_, delta)) = rest.last_mut() {
                append(delta, steps, text);
            }
        }
        rest
    }

    fn give_out(&mut self, choice: u64, delta: &mut Map<String, Value>) {
        self.held.retain(|(of, steps), text| {
            let stays = *of != choice;
            if !stays {
                append(delta, steps, text);
            }
            stays
        });
    }
}

impl BorrowedPath<'_> {
    fn steps(self) -> Vec<PathStep> {
        let mut steps = self.before.map_or_else(Vec::new, |before| before.steps());
        steps.push(match self.here {
            TreeWalk::Member(name) => PathStep::Member(name.to_owned()),
            TreeWalk::Item(index) => PathStep::Item(index),
        });
        steps
    }
}

fn each_text(
    members: &mut Map<String, Value>,
    before: Option<&BorrowedPath<'_>>,
    see: &mut impl FnMut(BorrowedPath<'_>, &mut String),
) {
    for (name, value) in members.iter_mut() {
        if !STRUCTURE.contains(&name.as_str()) {
            each_in(value, BorrowedPath { before, here: TreeWalk::Member(name) }, see);
        }
    }
}

fn each_in(value: &mut Value, way: BorrowedPath<'_>, see: &mut impl FnMut(BorrowedPath<'_>, &mut String)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => see(way, text),
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                let index = index_of(item).unwrap_or(position as u64);
                each_in(item, BorrowedPath { before: Some(&way), here: TreeWalk::Item(index) }, see);
            }
        }
        Value::Object(members) => each_text(members, Some(&way), see),
    }
}

fn index_of(item: &Value) -> Option<u64> {
    item.get("index").and_then(Value::as_u64)
}

/// Adds text to the end of the text at a place, which is made where it is missing.
fn append(delta: &mut Map<String, Value>, steps: &[PathStep], text: &str) {
    let Some((PathStep::Member(name), rest)) = steps.split_first() else { return };
    append_in(delta.entry(name.as_str()).or_insert(Value::Null), rest, text);
}

fn append_in(value: &mut Value, steps: &[PathStep], text: &str) {
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
                append_in(item(items, *index), rest, text);
            }
        }
    }
}

fn item(items: &mut Vec<Value>, index: u64) -> &mut Value {
    let is_it = |(position, item): (usize, &Value)| index_of(item).unwrap_or(position as u64) == index;
    let at = items.iter().enumerate().position(is_it).unwrap_or(items.len());
    if at == items.len() {
        items.push(serde_json::json!({ "index": index }));
    }
    &mut items[at]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use farebox_pii::{ExistingPlaceholders, PiiEngine, Selection, conceal};

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFO\n-----END PRIVATE KEY-----";

    /// Of `[EMAIL_ADDRESS_1]` and, of more than one line, `[PRIVATE_KEY_1]`.
    fn restoring(json_content: bool) -> Restoring {
        let mut text = format!("jane@example.com {KEY}");
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (engine, selection, taken) =
            (PiiEngine::new(), Selection::default(), ExistingPlaceholders::default());
        let concealed = conceal(&engine, &selection, &taken, &mut [&mut text], &stop).expect("not stopped");
        assert_eq!(text, "[EMAIL_ADDRESS_1] [PRIVATE_KEY_1]");
        Restoring::new(Arc::new(concealed.originals), json_content)
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
    fn originals_stand_everywhere_but_in_names() {
        let mut whole = message(
            "to [EMAIL_ADDRESS_1]: [PRIVATE_KEY_1]",
            "[EMAIL_ADDRESS_1]?",
            [r#"{"to":"[EMAIL_ADDRESS_1]","key":"[PRIVATE_KEY_1]"}"#, "[US_SSN_1]"],
        );
        restoring(false).message(&mut whole);
        assert_eq!(whole["content"], format!("to jane@example.com: {KEY}"));
        assert_eq!(whole["reasoning_content"], "jane@example.com?");
        let function = &whole["tool_calls"][0]["function"];
        assert_eq!(function["name"], "[EMAIL_ADDRESS_1]");
        let arguments: Value =
            serde_json::from_str(function["arguments"].as_str().expect("text")).expect("JSON");
        assert_eq!(arguments, json!({"to": "jane@example.com", "key": KEY}));
        assert_eq!(whole["tool_calls"][1]["function"]["arguments"], "[US_SSN_1]", "unknown: left as it is");
        let mut json = message(r#"{"key":"[PRIVATE_KEY_1]"}"#, "", ["", ""]);
        restoring(true).message(&mut json);
        let content: Value = serde_json::from_str(json["content"].as_str().expect("text")).expect("JSON");
        assert_eq!(content["key"], KEY);
    }

    /// What a client makes of the deltas of one choice.
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
    fn the_last_piece_takes_along_what_was_held_back() {
        let mut restorer = restoring(false).begin();
        let mut pieces = [delta(0, "a[EMAIL_"), delta(2, "{[PRIV"), delta(3, "x")];
        for piece in &mut pieces {
            restorer.piece(0, piece, false);
        }
        let mut other = delta(0, "[");
        restorer.piece(1, &mut other, false);
        assert_eq!((&pieces[0]["content"], restorer.held()), (&json!("a"), 7 + 5 + 1));
        let rest = restorer.rest();
        assert_eq!(
            (rest.len(), &rest[0].1["content"], &rest[1].1["content"]),
            (2, &json!("[EMAIL_"), &json!("["))
        );
        let mut last = Map::new();
        restorer.piece(0, &mut last, true);
        assert_eq!(
            Value::Object(last),
            json!({"content": "[EMAIL_",
            "tool_calls": [{"index": 0, "function": {"arguments": "[PRIV"}}]})
        );
        assert_eq!(restorer.rest().len(), 1, "the other choice goes on");
    }

    #[test]
    fn attack_21_an_upstream_cannot_make_us_remember_much() {
        let mut restorer = restoring(false).begin();
        for index in 0..10_000 {
            let mut piece = json!({"tool_calls": [{"index": index, "function": {"arguments": "[EMAIL_"}}]});
            restorer.piece(0, piece.as_object_mut().expect("an object"), false);
        }
        assert_eq!(restorer.held(), 7 * MOST_PLACES);
    }

    proptest! {
        /// However an answer is cut, whichever of its parts come first, and whether it ends properly or breaks off.
        #[test]
        fn a_stream_says_what_the_whole_answer_says(
            pieces in proptest::collection::vec((0_u64..2, 0_usize..4,
                r#"\[|\[EMAIL|_ADDRESS_1|_1\]|\]|\[PRIVATE_KEY_1\]|[a-zé😀"\\]{0,3}"#), 0..40),
            ends in any::<bool>(),
        ) {
            let restoring = restoring(false);
            let mut restorer = restoring.clone().begin();
            let mut received: [Vec<Map<String, Value>>; 2] = Default::default();
            let mut whole: [[String; 4]; 2] = Default::default();
            for (choice, field, text) in &pieces {
                let at = usize::from(*choice > 0);
                let mut piece = delta(*field, text);
                restorer.piece(*choice, &mut piece, false);
                whole[at][*field].push_str(text);
                received[at].push(piece);
            }
            for (at, choice) in [0_u64, 1].into_iter().enumerate().filter(|_| ends) {
                let mut last = Map::new();
                restorer.piece(choice, &mut last, true);
                received[at].push(last);
            }
            prop_assert!(!ends || restorer.rest().is_empty());
            for (choice, rest) in restorer.rest() {
                received[usize::from(choice > 0)].push(rest);
            }
            for (texts, received) in whole.iter().zip(&received) {
                let mut message = message(&texts[0], &texts[1], [&texts[2], &texts[3]]);
                restoring.message(&mut message);
                prop_assert_eq!(assembled(&[message]), assembled(received));
            }
        }
    }
}
