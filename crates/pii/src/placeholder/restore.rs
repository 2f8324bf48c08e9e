//! Restoring of originals in place of placeholders, in text that arrives in chunks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

/// Original values of the placeholders of one request. They live as long as the request and are never stored.
#[derive(Default)]
pub struct Originals {
    values: BTreeMap<String, String>,
    longest: usize,
}

/// Omits the values.
impl fmt::Debug for Originals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Originals").field("count", &self.values.len()).finish_non_exhaustive()
    }
}

/// Escaping of an original when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// No escaping.
    None,
    /// Escaping for the inside of a JSON string.
    Json,
}

/// Result of matching placeholders at an opening bracket.
enum BracketMatch<'o> {
    Placeholder {
        length: usize,
        original: &'o str,
    },
    /// Text that may become a placeholder when more follows.
    Unfinished,
    Other,
}

impl Originals {
    pub(super) fn new(values: impl Iterator<Item = (String, String)>) -> Self {
        let values: BTreeMap<String, String> = values.collect();
        Self { longest: values.keys().map(String::len).max().unwrap_or(0), values }
    }

    /// True if there is nothing to restore.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes the next chunk of a text and returns the part of it that is certain. The possible beginning of a
    /// placeholder stays in `pending`: shorter than the longest placeholder, to be written as it is if nothing
    /// follows.
    #[must_use]
    pub fn push(&self, pending: &mut String, piece: &str, escape: Escape) -> String {
        pending.push_str(piece);
        let text = std::mem::take(pending);
        let mut restored = String::with_capacity(text.len());
        let mut done = 0;
        while let Some(at) = text[done..].find('[').map(|offset| done + offset) {
            restored.push_str(&text[done..at]);
            done = match self.match_at(&text[at..]) {
                BracketMatch::Placeholder { length, original } => {
                    write(&mut restored, original, escape);
                    at + length
                }
                BracketMatch::Unfinished => {
                    text[at..].clone_into(pending);
                    return restored;
                }
                BracketMatch::Other => {
                    restored.push('[');
                    at + 1
                }
            };
        }
        restored.push_str(&text[done..]);
        restored
    }

    /// Restores all placeholders of a complete text.
    #[must_use]
    pub fn restore(&self, text: &str, escape: Escape) -> String {
        let mut pending = String::new();
        let mut restored = self.push(&mut pending, text, escape);
        restored.push_str(&pending);
        restored
    }

    fn match_at(&self, text: &str) -> BracketMatch<'_> {
        match text.bytes().take(self.longest).position(|byte| byte == b']') {
            Some(end) => match self.values.get(&text[..=end]) {
                Some(original) => BracketMatch::Placeholder { length: end + 1, original },
                None => BracketMatch::Other,
            },
            None if text.len() < self.longest && self.has_prefix(text) => BracketMatch::Unfinished,
            None => BracketMatch::Other,
        }
    }

    fn has_prefix(&self, text: &str) -> bool {
        let mut from = self.values.range::<str, _>((Bound::Included(text), Bound::Unbounded));
        from.next().is_some_and(|(placeholder, _)| placeholder.starts_with(text))
    }
}

fn write(to: &mut String, original: &str, escape: Escape) {
    match escape {
        Escape::None => to.push_str(original),
        Escape::Json => {
            let quoted = serde_json::Value::from(original).to_string();
            to.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn originals() -> Originals {
        let pairs = [
            ("[EMAIL_ADDRESS_1]", "jane@example.com"),
            ("[EMAIL_ADDRESS_12]", "é\"\\\n😀"),
            ("[PIN_1]", "12"),
            ("[PASSWORD_2]", "][PIN_"),
        ];
        Originals::new(pairs.into_iter().map(|(placeholder, value)| (placeholder.into(), value.into())))
    }

    /// Restores chunk by chunk, and returns the most bytes that were ever held back.
    fn pushed<'p>(pieces: impl IntoIterator<Item = &'p str>, escape: Escape) -> (String, usize) {
        let (originals, mut pending) = (originals(), String::new());
        let (mut restored, mut most) = (String::new(), 0);
        for piece in pieces {
            restored.push_str(&originals.push(&mut pending, piece, escape));
            most = most.max(pending.len());
        }
        restored.push_str(&pending);
        (restored, most)
    }

    #[test]
    fn placeholders_are_restored_and_nothing_else_is() {
        for (text, expected) in [
            ("to [EMAIL_ADDRESS_1].", "to jane@example.com."),
            ("[PIN_1][PIN_1]", "1212"),
            ("[[PIN_1]]", "[12]"),
            ("[EMAIL_[PIN_1]", "[EMAIL_12"),
            ("[PIN_[PIN_[PIN_1]", "[PIN_[PIN_12"),
            ("[EMAIL_ADDRESS_12]", "é\"\\\n😀"),
            ("[PASSWORD_2]1]", "][PIN_1]"),
            (
                "[EMAIL_ADDRESS_2] [PIN_01] [pin_1] [PIN_1 ] [PIN] []",
                "[EMAIL_ADDRESS_2] [PIN_01] [pin_1] [PIN_1 ] [PIN] []",
            ),
            ("[PIN_1", "[PIN_1"),
            ("[", "["),
        ] {
            assert_eq!(originals().restore(text, Escape::None), expected, "{text}");
        }
        assert_eq!(
            originals().restore("{\"a\":\"[EMAIL_ADDRESS_12]\"}", Escape::Json),
            "{\"a\":\"é\\\"\\\\\\n😀\"}"
        );
    }

    #[test]
    fn every_split_gives_the_same_text() {
        let text = "é[EMAIL_ADDRESS_1][PIN_[EMAIL_ADDRESS_12] [PASSWORD_2]1] [PIN_1]é[EMAIL_ADDRESS_";
        let cuts: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
        for escape in [Escape::None, Escape::Json] {
            let whole = originals().restore(text, escape);
            for (index, first) in cuts.iter().enumerate() {
                for second in &cuts[index..] {
                    let pieces = [&text[..*first], &text[*first..*second], &text[*second..]];
                    assert_eq!(pushed(pieces, escape).0, whole, "{pieces:?}");
                }
            }
            let single = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
            assert_eq!(pushed(single, escape).0, whole);
        }
    }

    #[test]
    fn hostile_text_is_held_back_no_longer_than_a_placeholder() {
        let longest = "[EMAIL_ADDRESS_12]".len();
        for text in
            ["[".repeat(5_000), "[EMAIL_".repeat(900), format!("[EMAIL_ADDRESS_1{}", "1".repeat(5_000))]
        {
            let (restored, most) = pushed(text.split_inclusive(|_: char| true), Escape::None);
            assert!(restored == text && most < longest, "{most}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_anything_are_restored_alike(
            pieces in proptest::collection::vec(
                r#"\[|\[EMAIL_ADDRESS|_1|2?\]|\[PIN_1\]|PIN|[a-zé😀\\"]{0,3}|\[PASSWORD_2\]"#, 0..24),
            json in any::<bool>(),
        ) {
            let escape = if json { Escape::Json } else { Escape::None };
            let (restored, most) = pushed(pieces.iter().map(String::as_str), escape);
            prop_assert_eq!(restored, originals().restore(&pieces.concat(), escape));
            prop_assert!(most < "[EMAIL_ADDRESS_12]".len());
        }

        #[test]
        fn text_without_placeholders_is_left_alone(text in r"[^\[]{0,40}(\[[A-Z_]{0,9}9?\]?)?[^\]]{0,9}") {
            let restored = originals().restore(&text, Escape::None);
            prop_assert_eq!(&restored, &text);
            prop_assert_eq!(originals().restore(&restored, Escape::None), text);
        }
    }
}
