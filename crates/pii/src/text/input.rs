//! The normalised text with the questions recognisers ask of it: words, boundaries, windows.

use std::ops::Range;

/// Which kinds of characters a word is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
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

/// A maximal run of ASCII letters, digits and underscores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kinds: Kinds,
}

impl Word {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// Kind of each byte; zero ends a word.
const KIND: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    // Nothing above ASCII is a part of a word here.
    while byte < 128 {
        table[byte as usize] = match byte {
            b'a'..=b'z' => Kinds::LOWER,
            b'A'..=b'Z' => Kinds::UPPER,
            b'0'..=b'9' => Kinds::DIGIT,
            b'_' => Kinds::UNDERSCORE,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Normalised text under examination.
#[derive(Clone, Copy)]
pub(super) struct Input<'t> {
    pub(super) text: &'t str,
    pub(super) bytes: &'t [u8],
}

impl<'t> Input<'t> {
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
            Some(Word { start, end: at, kinds: Kinds(kinds) })
        })
    }

    pub(super) fn at(self, position: usize) -> Option<u8> {
        self.bytes.get(position).copied()
    }

    pub(super) fn before(self, position: usize) -> Option<u8> {
        position.checked_sub(1).map(|p| self.bytes[p])
    }

    /// Up to `max` bytes from `start`, shortened to a character boundary.
    pub(super) fn ahead(self, start: usize, max: usize) -> &'t str {
        let end = self.text.floor_char_boundary(start.saturating_add(max));
        &self.text[start..end.max(start)]
    }

    /// The longest run of bytes from `start` that all satisfy `keep`, up to `max` bytes; returns its end.
    pub(super) fn run(self, start: usize, max: usize, keep: impl Fn(u8) -> bool) -> usize {
        let limit = self.bytes.len().min(start.saturating_add(max));
        (start..limit).find(|p| !keep(self.bytes[*p])).unwrap_or(limit.max(start))
    }

    /// The same towards the left: returns the run's start.
    pub(super) fn run_back(self, end: usize, max: usize, keep: impl Fn(u8) -> bool) -> usize {
        let limit = end.saturating_sub(max);
        (limit..end).rev().find(|p| !keep(self.bytes[*p])).map_or(limit, |p| p + 1)
    }

    /// Whether a letter, digit or underscore touches the span's start or end.
    pub(super) fn glued(self, span: &Range<usize>) -> bool {
        self.glued_left(span.start) || self.glued_right(span.end)
    }

    pub(super) fn glued_left(self, start: usize) -> bool {
        match self.before(start) {
            None => false,
            Some(byte) if byte.is_ascii() => KIND[usize::from(byte)] != 0,
            Some(_) => self.text[..start].chars().next_back().is_some_and(joins_words),
        }
    }

    pub(super) fn glued_right(self, end: usize) -> bool {
        match self.at(end) {
            None => false,
            Some(byte) if byte.is_ascii() => KIND[usize::from(byte)] != 0,
            Some(_) => self.text[end..].chars().next().is_some_and(joins_words),
        }
    }

    /// Whether the span is a part of a longer number, path, version or UUID rather than a token of its own.
    ///
    /// Expects a span that is not glued. A letters-only prefix (`SSN-`, `card/`) does not count.
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

    /// Whether spaces part the span and more digits stand a space away from it: groups out of a longer row, such
    /// as a line of a table.
    pub(super) fn in_row(self, span: &Range<usize>) -> bool {
        let digit_beyond = |space: Option<u8>, digit: Option<u8>| {
            space == Some(b' ') && digit.is_some_and(|b| b.is_ascii_digit())
        };
        self.bytes[span.clone()].contains(&b' ')
            && (digit_beyond(self.at(span.end), self.at(span.end + 1))
                || span.start > 1 && digit_beyond(self.before(span.start), self.before(span.start - 1)))
    }

    /// Whether the word that ends at `end` holds a digit. Looks at 16 bytes at most.
    fn word_has_digit(self, end: usize) -> bool {
        let start = self.run_back(end, 16, |b| KIND[usize::from(b)] != 0);
        self.bytes[start..end].iter().any(u8::is_ascii_digit)
    }
}

/// Whether a character next to a token makes it a part of a word.
///
/// Scripts that are written without spaces touch numbers all the time (`电话13812345678`).
fn joins_words(c: char) -> bool {
    let spaceless = matches!(u32::from(c),
        0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0x31ff | 0x3400..=0x9fff
        | 0xa000..=0xa4cf | 0xac00..=0xd7af | 0xf900..=0xfaff | 0xff66..=0xff9f | 0x20000..=0x3ffff);
    c.is_alphanumeric() && !spaceless
}
