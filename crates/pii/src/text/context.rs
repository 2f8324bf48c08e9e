//! Words around a candidate, which may name what it is.

use std::ops::Range;

use super::input::RecognizerInput;
use crate::entity::is_placeholder_byte;

/// Most words read on each side.
const MAX_WORDS: usize = 5;
/// Most bytes read on each side, so that one candidate costs a bounded amount.
const MAX_BYTES: usize = 120;
/// Words added to the distance of a word behind the candidate.
const AFTER_PENALTY: usize = 2;
/// Words added to the distance of a word on another line.
const OTHER_LINE_PENALTY: usize = 3;

/// Words around a candidate, in lower case.
///
/// `phoneNumber` and `phone_number` read as two words. A placeholder such as `<PHONE_NUMBER>` ends the window:
/// words beyond it were farther away before redaction, and redacting twice must change nothing.
pub(super) struct Context {
    before: ContextSide,
    after: ContextSide,
}

impl Context {
    pub(super) fn around(input: RecognizerInput<'_>, span: &Range<usize>) -> Self {
        let (from, to) = window(input, span);
        Self {
            before: ContextSide::new(&input.text[from..span.start]),
            after: ContextSide::new(&input.text[span.end..to]),
        }
    }

    /// Score of a candidate by the nearest of `terms`; none if no term is near.
    ///
    /// Terms are lower case, words separated by one space; a plural `s` is tolerated. Of terms at the same
    /// distance the one of more words counts more: `uk passport` is more specific than `passport`.
    #[allow(clippy::cast_precision_loss, reason = "a handful of words")]
    pub(super) fn score(&self, terms: &[&str]) -> Option<f32> {
        let said = |term: &&str| {
            let words = term.bytes().filter(|b| *b == b' ').count();
            self.distance_of(term).map(|distance| score(distance) + 0.002 * words.min(4) as f32)
        };
        terms.iter().filter_map(said).max_by(f32::total_cmp)
    }

    /// Distance to `term` in words, with penalties; none if it does not occur.
    fn distance_of(&self, term: &str) -> Option<usize> {
        let before = self.before.find(term).last().map(|words| {
            let other_line = self.before.line_break.is_some_and(|line| line >= words.end);
            self.before.len() - words.end + 1 + if other_line { OTHER_LINE_PENALTY } else { 0 }
        });
        let after = self.after.find(term).next().map(|words| {
            let other_line = self.after.line_break.is_some_and(|line| line <= words.start);
            AFTER_PENALTY + words.start + 1 + if other_line { OTHER_LINE_PENALTY } else { 0 }
        });
        before.into_iter().chain(after).min()
    }
}

/// Score of a candidate whose context names it `distance` words away: the nearest name wins ties.
#[allow(clippy::cast_precision_loss, reason = "a handful of words")]
fn score(distance: usize) -> f32 {
    0.9 - 0.01 * distance.min(20) as f32
}

/// Start and end, in bytes, of the nearest words on each side.
fn window(input: RecognizerInput<'_>, span: &Range<usize>) -> (usize, usize) {
    let bytes = input.bytes;
    let floor = span.start.saturating_sub(MAX_BYTES);
    let (mut from, mut seen) = (span.start, 0);
    while from > floor {
        let byte = bytes[from - 1];
        if byte == b'>' && ends_placeholder(&bytes[floor..from]) {
            break;
        }
        let word_ends = is_word(byte) && (from == span.start || !is_word(bytes[from]));
        if word_ends && seen == MAX_WORDS {
            break;
        }
        seen += usize::from(word_ends);
        from -= 1;
    }
    let ceiling = bytes.len().min(span.end + MAX_BYTES);
    let (mut to, mut seen) = (span.end, 0);
    while to < ceiling {
        let byte = bytes[to];
        if byte == b'<' && starts_placeholder(&bytes[to..ceiling]) {
            break;
        }
        let word_starts = is_word(byte) && (to == span.end || !is_word(bytes[to - 1]));
        if word_starts && seen == MAX_WORDS {
            break;
        }
        seen += usize::from(word_starts);
        to += 1;
    }
    (input.text.ceil_char_boundary(from).min(span.start), input.text.floor_char_boundary(to).max(span.end))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'\'' || !byte.is_ascii()
}

fn starts_placeholder(bytes: &[u8]) -> bool {
    let name = bytes[1..].iter().take_while(|b| is_placeholder_byte(**b)).count();
    name > 1 && bytes.get(1 + name) == Some(&b'>')
}

fn ends_placeholder(bytes: &[u8]) -> bool {
    let inner = &bytes[..bytes.len() - 1];
    let name = inner.iter().rev().take_while(|b| is_placeholder_byte(**b)).count();
    name > 1 && name < inner.len() && inner[inner.len() - 1 - name] == b'<'
}

/// Words on one side of a candidate, in order.
struct ContextSide {
    /// UTF-8 in ASCII lower case, without anything between the words.
    text: Vec<u8>,
    /// End of each word in `text`.
    ends: Vec<usize>,
    /// Number of words before the last line break, if there is one.
    line_break: Option<usize>,
    /// Set of first letters, one bit each, so that most terms are ruled out without a comparison.
    initials: u32,
}

impl ContextSide {
    fn new(source: &str) -> Self {
        let mut words = Self {
            text: Vec::with_capacity(source.len()),
            ends: Vec::with_capacity(2 * MAX_WORDS),
            line_break: None,
            initials: 0,
        };
        let (mut open, mut previous) = (false, b' ');
        for byte in source.bytes() {
            let keep = byte.is_ascii_alphanumeric() || !byte.is_ascii();
            let camel = byte.is_ascii_uppercase() && previous.is_ascii_lowercase();
            previous = byte;
            if open && (!keep && byte != b'\'' || camel) {
                words.ends.push(words.text.len());
                open = false;
            }
            if byte == b'\n' {
                words.line_break = Some(words.len());
            }
            if keep {
                let lower = byte.to_ascii_lowercase();
                words.initials |= if open { 0 } else { initial(lower) };
                words.text.push(lower);
                open = true;
            }
        }
        if open {
            words.ends.push(words.text.len());
        }
        words
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn word(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    /// Ranges of words that match the words of `term`, one after the other.
    fn find<'w>(&'w self, term: &'w str) -> impl Iterator<Item = Range<usize>> + 'w {
        let term = term.as_bytes();
        let possible = term.first().is_some_and(|first| self.initials & initial(*first) != 0);
        let starts = if possible { 0..self.len() } else { 0..0 };
        starts.filter_map(move |start| {
            let mut end = start;
            for wanted in term.split(|b| *b == b' ') {
                let word = (end < self.len()).then(|| self.word(end))?;
                if word.strip_prefix(wanted).is_none_or(|rest| !matches!(rest, b"" | b"s")) {
                    return None;
                }
                end += 1;
            }
            Some(start..end)
        })
    }
}

fn initial(byte: u8) -> u32 {
    if byte.is_ascii_lowercase() { 1 << (byte - b'a') } else { 1 << 31 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(text: &str, candidate: &str, terms: &[&str]) -> Option<usize> {
        let start = text.find(candidate).expect("the text holds the candidate");
        let context = Context::around(RecognizerInput::new(text), &(start..start + candidate.len()));
        terms.iter().filter_map(|term| context.distance_of(term)).min()
    }

    #[test]
    fn nearest_term() {
        assert_eq!(distance("my phone number is 123", "123", &["phone"]), Some(3));
        assert_eq!(distance("my phone number is 123", "123", &["phone number"]), Some(2));
        assert_eq!(distance("\"phoneNumber\": 123", "123", &["phone number"]), Some(1));
        assert_eq!(distance("user_phone=123", "123", &["phone"]), Some(1));
        assert_eq!(distance("driver's license 123", "123", &["drivers license"]), Some(1));
        assert_eq!(distance("accounts: 123", "123", &["account"]), Some(1));
        assert_eq!(distance("accounting 123", "123", &["account"]), None);
        assert_eq!(distance("123 is my phone", "123", &["phone"]), Some(5));
        assert_eq!(distance("phone a b c d e 123", "123", &["phone"]), None);
        assert_eq!(distance("phone <PHONE_NUMBER> 123", "123", &["phone"]), None);
        assert_eq!(distance("123 <PHONE_NUMBER> phone", "123", &["phone"]), None);
        assert_eq!(distance("phone:\n123", "123", &["phone"]), Some(4));
    }
}
