//! Normalised text, with the words, boundaries and windows that recognisers need.

use std::ops::Range;

/// Set of the kinds of characters in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CharKinds(u8);

impl CharKinds {
    const LOWER: u8 = 1;
    const UPPER: u8 = 2;
    const DIGIT: u8 = 4;
    const UNDERSCORE: u8 = 8;

    pub(super) fn has_digit(self) -> bool {
        self.0 & Self::DIGIT != 0
    }

    pub(super) fn only_digits(self) -> bool {
        self.0 == Self::DIGIT
    }

    pub(super) fn has_lower(self) -> bool {
        self.0 & Self::LOWER != 0
    }
}

/// Maximal run of ASCII letters, digits and underscores, in bytes of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) char_kinds: CharKinds,
}

impl Word {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// Kind of each byte; zero for bytes that end a word.
const KIND: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    // Nothing above ASCII is a part of a word here.
    while byte < 128 {
        table[byte as usize] = match byte {
            b'a'..=b'z' => CharKinds::LOWER,
            b'A'..=b'Z' => CharKinds::UPPER,
            b'0'..=b'9' => CharKinds::DIGIT,
            b'_' => CharKinds::UNDERSCORE,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Normalised text under examination.
#[derive(Clone, Copy)]
pub(super) struct RecognizerInput<'t> {
    pub(super) text: &'t str,
    pub(super) bytes: &'t [u8],
}

impl<'t> RecognizerInput<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, bytes: text.as_bytes() }
    }

    pub(super) fn words(self) -> impl Iterator<Item = Word> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while KIND[usize::from(*self.bytes.get(at)?)] == 0 {
                at += 1;
            }
            let start = at;
            let mut kinds = 0;
            while let Some(&byte) = self.bytes.get(at) {
                let kind = KIND[usize::from(byte)];
                if kind == 0 {
                    break;
                }
                kinds |= kind;
                at += 1;
            }
            Some(Word { start, end: at, char_kinds: CharKinds(kinds) })
        })
    }

    pub(super) fn at(self, position: usize) -> Option<u8> {
        self.bytes.get(position).copied()
    }

    pub(super) fn before(self, position: usize) -> Option<u8> {
        position.checked_sub(1).map(|p| self.bytes[p])
    }

    /// Text of up to `max` bytes from `start`, shortened to a character boundary.
    pub(super) fn lookahead(self, start: usize, max: usize) -> &'t str {
        let end = self.text.floor_char_boundary(start.saturating_add(max));
        &self.text[start..end.max(start)]
    }

    /// End of the longest run of bytes from `start` that all satisfy `keep`, of up to `max` bytes.
    pub(super) fn run(self, start: usize, max: usize, keep: impl Fn(u8) -> bool) -> usize {
        let limit = self.bytes.len().min(start.saturating_add(max));
        (start..limit).find(|p| !keep(self.bytes[*p])).unwrap_or(limit.max(start))
    }

    /// Start of the longest run of bytes before `end` that all satisfy `keep`, of up to `max` bytes.
    pub(super) fn run_back(self, end: usize, max: usize, keep: impl Fn(u8) -> bool) -> usize {
        let limit = end.saturating_sub(max);
        (limit..end).rev().find(|p| !keep(self.bytes[*p])).map_or(limit, |p| p + 1)
    }

    /// True if a letter, digit or underscore touches the span's start or end.
    pub(super) fn touches_word(self, span: &Range<usize>) -> bool {
        self.touches_word_left(span.start) || self.touches_word_right(span.end)
    }

    pub(super) fn touches_word_left(self, start: usize) -> bool {
        match self.before(start) {
            None => false,
            Some(byte) if byte.is_ascii() => KIND[usize::from(byte)] != 0,
            Some(_) => self.text[..start].chars().next_back().is_some_and(extends_word),
        }
    }

    pub(super) fn touches_word_right(self, end: usize) -> bool {
        match self.at(end) {
            None => false,
            Some(byte) if byte.is_ascii() => KIND[usize::from(byte)] != 0,
            Some(_) => self.text[end..].chars().next().is_some_and(extends_word),
        }
    }

    /// True if the span is a part of a longer number, path, version or UUID rather than a token of its own.
    ///
    /// Expects a span that touches no word. A letters-only prefix (`SSN-`, `card/`) does not count.
    pub(super) fn continues(self, span: &Range<usize>) -> bool {
        self.continues_left(span.start) || self.continues_right(span.end)
    }

    pub(super) fn continues_left(self, start: usize) -> bool {
        let Some(joiner) = self.before(start) else { return false };
        let Some(neighbour) = self.before(start - 1) else { return false };
        match joiner {
            b'.' => neighbour.is_ascii_alphanumeric(),
            b'-' | b'/' | b'+' => self.word_has_digit(start - 1),
            _ => false,
        }
    }

    pub(super) fn continues_right(self, end: usize) -> bool {
        let (Some(joiner), Some(neighbour)) = (self.at(end), self.at(end + 1)) else { return false };
        match joiner {
            b'.' => neighbour.is_ascii_digit(),
            b'-' | b'/' => neighbour.is_ascii_alphanumeric(),
            _ => false,
        }
    }

    /// True if the span has spaces and more digits stand a space away from it: groups out of a longer row, such as a
    /// line of a table.
    pub(super) fn in_digit_row(self, span: &Range<usize>) -> bool {
        let digit_beyond = |space: Option<u8>, digit: Option<u8>| {
            space == Some(b' ') && digit.is_some_and(|b| b.is_ascii_digit())
        };
        self.bytes[span.clone()].contains(&b' ')
            && (digit_beyond(self.at(span.end), self.at(span.end + 1))
                || span.start > 1 && digit_beyond(self.before(span.start), self.before(span.start - 1)))
    }

    /// True if the word that ends at `end` has a digit in its last 16 bytes.
    fn word_has_digit(self, end: usize) -> bool {
        let start = self.run_back(end, 16, |b| KIND[usize::from(b)] != 0);
        self.bytes[start..end].iter().any(u8::is_ascii_digit)
    }
}

/// True if a character next to a token makes it a part of a longer word.
///
/// Scripts that are written without spaces touch numbers all the time (`电话13812345678`).
fn extends_word(c: char) -> bool {
    let spaceless = matches!(u32::from(c),
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0x31ff | 0x3400..=0x9fff
        | 0xa000..=0xa4cf | 0xac00..=0xd7af | 0xf900..=0xfaff | 0xff66..=0xff9f | 0x20000..=0x3ffff);
    c.is_alphanumeric() && !spaceless
}
