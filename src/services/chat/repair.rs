//! Repair of a stream's events that are written otherwise than OpenAI writes them, where what is meant is clear.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::upstream_event::{MalformedEvent, UpstreamEvent};

/// First of 2,048 private characters that stand for lone halves of surrogate pairs while an event is read.
const FIRST_STAND_IN: u32 = 0x0010_F000;
const SURROGATES: std::ops::Range<u32> = 0xD800..0xE000;
const LOW_SURROGATES: u32 = 0xDC00;

/// Choices of a stream, and calls of a choice, of which anything is remembered.
const MAX_REMEMBERED: u64 = 128;
/// Members of a delta that are text in pieces.
const TEXTS: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];

/// Place of a text in a stream: choice, member, and call.
type TextPlace = (u64, &'static str, u64);

/// Repairer of one stream.
#[derive(Debug, Default)]
pub(super) struct EventRepair {
    /// First halves of surrogate pairs whose second half comes with a later piece of the same text.
    halves: BTreeMap<TextPlace, u32>,
    /// Last tool call of each choice: its index and its id.
    last_calls: BTreeMap<u64, (u64, String)>,
}

impl EventRepair {
    /// Reads an event. A character that is split over two pieces comes whole with the second, and tool calls have an
    /// index.
    pub(super) fn read(&mut self, data: &[u8]) -> Result<UpstreamEvent, MalformedEvent> {
        let stand_ins = with_stand_ins(data);
        let mut event = UpstreamEvent::read(stand_ins.as_deref().unwrap_or(data))?;
        let has_halves = stand_ins.is_some() || !self.halves.is_empty();
        for choice in event.choices.iter_mut().flatten() {
            let index = choice.index();
            let Some(delta) = choice.delta.as_mut().filter(|_| index < MAX_REMEMBERED) else { continue };
            if let Some(Value::Array(calls)) = delta.get_mut("tool_calls") {
                for call in calls {
                    self.number(index, call);
                }
            }
            if has_halves {
                self.join(index, delta);
            }
        }
        Ok(event)
    }

    /// Puts the halves of split characters together in the texts of a delta.
    fn join(&mut self, choice: u64, delta: &mut Map<String, Value>) {
        for name in TEXTS {
            if let Some(Value::String(text)) = delta.get_mut(name) {
                *text = self.joined((choice, name, 0), text);
            }
        }
        for call in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            let index = call["index"].as_u64().unwrap_or(0).min(MAX_REMEMBERED);
            if let Some(Value::String(text)) = call.pointer_mut("/function/arguments") {
                *text = self.joined((choice, "arguments", index), text);
            }
        }
    }

    fn joined(&mut self, place: TextPlace, text: &str) -> String {
        let mut joined = String::with_capacity(text.len());
        let mut first = if text.is_empty() { None } else { self.halves.remove(&place) };
        let kept = text.is_empty() && self.halves.contains_key(&place);
        for character in text.chars() {
            let half = u32::from(character).checked_sub(FIRST_STAND_IN).map(|half| half + SURROGATES.start);
            match (half.filter(|half| SURROGATES.contains(half)), first.take()) {
                (Some(second), Some(high)) if second >= LOW_SURROGATES => {
                    let code = 0x1_0000 + ((high - SURROGATES.start) << 10) + (second - LOW_SURROGATES);
                    joined.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                (Some(half), before) => {
                    joined.extend(before.map(|_| char::REPLACEMENT_CHARACTER));
                    if half < LOW_SURROGATES {
                        first = Some(half);
                    } else {
                        joined.push(char::REPLACEMENT_CHARACTER);
                    }
                }
                (None, before) => {
                    joined.extend(before.map(|_| char::REPLACEMENT_CHARACTER));
                    joined.push(character);
                }
            }
        }
        if let Some(half) = first.filter(|_| !kept) {
            self.halves.insert(place, half);
        }
        joined
    }

    /// Gives a piece of a tool call the index that it lacks: a new one where it begins a call, by an id or a name, else
    /// that of the piece before.
    fn number(&mut self, choice: u64, call: &mut Value) {
        let Some(members) = call.as_object_mut() else { return };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = text(members.get("id"));
        let name = text(members.get("function").and_then(|function| function.get("name")));
        let given = members.get("index").and_then(Value::as_u64);
        let index = given.unwrap_or_else(|| match self.last_calls.get(&choice) {
            None => 0,
            Some((last, known)) => {
                let is_new = if id.is_empty() { !name.is_empty() } else { id != *known };
                if is_new { last.saturating_add(1) } else { *last }
            }
        });
        let known = self.last_calls.entry(choice).or_default();
        if known.0 != index || !id.is_empty() {
            *known = (index, id);
        }
        if given.is_none() {
            members.insert("index".into(), index.into());
        }
    }
}

/// Replaces lone halves of surrogate pairs in escapes, which no JSON reader takes, by characters that stand for them;
/// `None` if there are none.
fn with_stand_ins(data: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u32> {
        let hex = data.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let mut replaced: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = data[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        match unit(at) {
            Some(high)
                if (SURROGATES.start..LOW_SURROGATES).contains(&high)
                    && unit(at + 6).is_some_and(|low| (LOW_SURROGATES..SURROGATES.end).contains(&low)) =>
            {
                at += 12;
            }
            Some(half) if SURROGATES.contains(&half) => {
                let stand_in = char::from_u32(FIRST_STAND_IN + half - SURROGATES.start)?;
                let replaced = replaced.get_or_insert_default();
                replaced.extend_from_slice(&data[copied..at]);
                replaced.extend_from_slice(stand_in.encode_utf8(&mut [0; 4]).as_bytes());
                at += 6;
                copied = at;
            }
            // Another escape: the character after the backslash is part of it.
            _ => at = (at + 2).min(data.len()),
        }
    }
    let mut replaced = replaced?;
    replaced.extend_from_slice(&data[copied..]);
    Some(replaced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Contents of events with these JSON strings, in quotes.
    fn contents(pieces: &[&str]) -> Vec<String> {
        let mut repair = EventRepair::default();
        let read = |piece: &&str| {
            let event = format!(r#"{{"choices":[{{"delta":{{"content":{piece}}}}}]}}"#);
            let event = repair.read(event.as_bytes()).unwrap_or_else(|_| panic!("{piece}"));
            let choice = &event.choices.expect("a choice")[0];
            choice.delta.as_ref().expect("a delta")["content"].as_str().expect("text").to_owned()
        };
        pieces.iter().map(read).collect()
    }

    #[test]
    fn characters_that_are_split_over_pieces_come_whole() {
        for (pieces, expected) in [
            (&[r#""a\ud83d""#, r#""\ude00b""#][..], &["a", "\u{1f600}b"][..]),
            (&[r#""\ud83d""#, r#""""#, r#""\ude00""#], &["", "", "\u{1f600}"]),
            (&[r#""\ud83d\ude00 \\ud83d""#], &["\u{1f600} \\ud83d"]),
            (&[r#""\ud83dx""#], &["\u{fffd}x"]),
            (&[r#""\ude00""#, r#""x\ud83d\ud83d""#, r#""\ude00""#], &["\u{fffd}", "x\u{fffd}", "\u{1f600}"]),
            (&[r#""\ud83d""#, r#""x""#], &["", "\u{fffd}x"]),
        ] {
            assert_eq!(contents(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn tool_calls_get_the_index_that_they_lack() {
        let mut repair = EventRepair::default();
        let mut index = |call: Value| {
            let event = json!({"choices": [{"index": 1, "delta": {"tool_calls": [call]}}]}).to_string();
            let event = repair.read(event.as_bytes()).unwrap_or_else(|_| panic!("{event}"));
            event.choices.expect("a choice")[0].delta.as_ref().expect("a delta")["tool_calls"][0]["index"]
                .clone()
        };
        assert_eq!(index(json!({"id": "a", "function": {"name": "f"}})), 0);
        assert_eq!(index(json!({"function": {"arguments": "{"}})), 0);
        assert_eq!(index(json!({"id": "b", "function": {"name": "g"}})), 1);
        assert_eq!(index(json!({"index": 5, "id": "c"})), 5);
        assert_eq!(index(json!({"id": "", "function": {"arguments": "}"}})), 5);
        // The same id with every piece, and calls without one.
        assert_eq!(index(json!({"id": "d", "function": {"arguments": "{"}})), 6);
        assert_eq!(index(json!({"id": "d", "function": {"arguments": "}"}})), 6);
        assert_eq!(index(json!({"function": {"name": "h", "arguments": "{}"}})), 7);
        assert_eq!(index(json!({"index": u64::MAX, "id": "e"})), u64::MAX);
        assert_eq!(index(json!({"id": "f"})), u64::MAX);
    }

    #[test]
    fn attack_21_what_is_remembered_of_a_stream_is_bounded() {
        let mut repair = EventRepair::default();
        for index in 0..1_000 {
            let event = format!(
                r#"{{"choices":[{{"index":{index},"delta":{{"content":"\ud83d","x":["\ud83d","\ud83d"],"tool_calls":[
                {{"index":{index},"function":{{"arguments":"\ud83d"}}}}]}}}}]}}"#
            );
            assert!(repair.read(event.as_bytes()).is_ok(), "{event}");
        }
        assert_eq!((repair.halves.len(), repair.last_calls.len()), (2 * 128, 128));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_harm(text in r#"[\\ud8eD0-9"a{}:\[\], é]{0,40}"#) {
            let mut repair = EventRepair::default();
            let _ = repair.read(text.as_bytes());
            let _ = repair.read(format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#).as_bytes());
        }

        /// Text that is escaped and cut at any unit is the same text.
        #[test]
        fn any_cut_is_the_same_text(text in "[a😀é\u{1F1E9}\\\\\"]{0,8}", cut in any::<prop::sample::Index>()) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let (first, second) = units.split_at(cut.index(units.len() + 1));
            let escaped =
                |units: &[u16]| units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
            let pieces = [first, second].map(|units| format!("\"{}\"", escaped(units)));
            prop_assert_eq!(contents(&[&pieces[0], &pieces[1]]).concat(), text);
        }
    }
}
