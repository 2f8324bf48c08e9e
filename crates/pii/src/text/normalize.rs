//! Normalisation: folds the many ways to write the same text into one, with offsets that map back.
//!
//! Full-width and other decimal digits become ASCII, dashes and spaces become `-` and ` `, characters
//! that show nothing are dropped. Recognisers read the folded text; [`NormalizedText::original`] maps
//! their spans back to the bytes the caller sent.

use std::{borrow::Cow, ops::Range};

use unicode_normalization::UnicodeNormalization as _;

/// Folded text, with the original span of each part.
pub(super) struct NormalizedText<'t> {
    pub(super) text: Cow<'t, str>,
    /// Parts in order; empty if the text is unchanged.
    spans: Vec<NormalizedSpan>,
}

/// Part of the folded text, and the original bytes that it stands for.
struct NormalizedSpan {
    folded: usize,
    original: Range<usize>,
    /// True if it was copied byte by byte, so that positions inside it map one to one.
    verbatim: bool,
}

enum CharFold {
    Keep,
    /// Invisible character: dropped.
    Drop,
    /// Mark on the character before it: dropped, but a part of any finding with that character.
    Attach,
    Char(char),
    /// Compatibility form (NFKC) of the character.
    Compatible,
}

impl<'t> NormalizedText<'t> {
    pub(super) fn new(original: &'t str) -> Self {
        if original.is_ascii() {
            return Self { text: Cow::Borrowed(original), spans: Vec::new() };
        }
        let mut builder = NormalizedTextBuilder::default();
        let mut changed = false;
        for (at, c) in original.char_indices() {
            let span = at..at + c.len_utf8();
            let fold = fold(c);
            changed |= !matches!(fold, CharFold::Keep);
            match fold {
                CharFold::Keep => builder.push(c, span),
                CharFold::Drop => {}
                CharFold::Attach => builder.attach(span.end),
                CharFold::Char(to) => builder.replace(std::iter::once(to), span),
                CharFold::Compatible => builder.replace(std::iter::once(c).nfkc(), span),
            }
        }
        if changed {
            Self { text: Cow::Owned(builder.text), spans: builder.spans }
        } else {
            Self { text: Cow::Borrowed(original), spans: Vec::new() }
        }
    }

    /// Original bytes that a non-empty span of the folded text stands for.
    pub(super) fn original(&self, span: Range<usize>) -> Range<usize> {
        if self.spans.is_empty() {
            return span;
        }
        let first = self.span_at(span.start);
        let start = first.original.start + if first.verbatim { span.start - first.folded } else { 0 };
        let last = self.span_at(span.end - 1);
        let end =
            if last.verbatim { last.original.start + (span.end - last.folded) } else { last.original.end };
        start..end
    }

    fn span_at(&self, at: usize) -> &NormalizedSpan {
        let after = self.spans.partition_point(|span| span.folded <= at);
        &self.spans[after - 1]
    }
}

#[derive(Default)]
struct NormalizedTextBuilder {
    text: String,
    spans: Vec<NormalizedSpan>,
}

impl NormalizedTextBuilder {
    fn push(&mut self, c: char, span: Range<usize>) {
        let folded = self.text.len();
        self.text.push(c);
        match self.spans.last_mut() {
            Some(last) if last.verbatim && last.original.end == span.start => last.original.end = span.end,
            _ => self.spans.push(NormalizedSpan { folded, original: span, verbatim: true }),
        }
    }

    fn replace(&mut self, to: impl Iterator<Item = char>, span: Range<usize>) {
        let folded = self.text.len();
        self.text.extend(to);
        if self.text.len() > folded {
            self.spans.push(NormalizedSpan { folded, original: span, verbatim: false });
        }
    }

    fn attach(&mut self, end: usize) {
        let Some(last) = self.spans.last_mut() else { return };
        if !last.verbatim {
            last.original.end = end;
            return;
        }
        // Split the last character off, so that it alone carries the mark.
        let Some((at, c)) = self.text.char_indices().next_back() else { return };
        let start = last.original.end - c.len_utf8();
        let original = start..end;
        last.original.end = start;
        if last.original.is_empty() {
            self.spans.pop();
        }
        self.spans.push(NormalizedSpan { folded: at, original, verbatim: false });
    }
}

fn fold(c: char) -> CharFold {
    match c {
        '\0'..='\u{7f}' => CharFold::Keep,
        // Soft hyphen, joiners, direction marks, invisible operators, byte order mark.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}'
        | '\u{feff}' => CharFold::Drop,
        // Combining marks, variation selectors, keycap, tags.
        '\u{300}'..='\u{36f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0020}'..='\u{e007f}'
        | '\u{e0100}'..='\u{e01ef}' => CharFold::Attach,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => CharFold::Char('-'),
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            CharFold::Char(' ')
        }
        '\u{2018}' | '\u{2019}' => CharFold::Char('\''),
        // Blocks whose characters have compatibility forms in ASCII.
        '\u{aa}'..='\u{be}'
        | '\u{2024}'..='\u{2029}'
        | '\u{2070}'..='\u{209c}'
        | '\u{2100}'..='\u{214f}'
        | '\u{2460}'..='\u{24ff}'
        | '\u{fb00}'..='\u{fb06}'
        | '\u{ff01}'..='\u{ff5e}'
        | '\u{1d400}'..='\u{1d7ff}'
        | '\u{1f100}'..='\u{1f16f}'
        | '\u{1fbf0}'..='\u{1fbf9}' => CharFold::Compatible,
        _ => decimal(c).map_or(CharFold::Keep, CharFold::Char),
    }
}

/// Zeros of the decimal digit blocks that NFKC leaves alone (Unicode `Nd`, living scripts).
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x17e0, 0x1810,
];

fn decimal(c: char) -> Option<char> {
    let code = u32::from(c);
    if !(0x660..=0x1819).contains(&code) {
        return None;
    }
    let zero = ZEROS.iter().rfind(|zero| **zero <= code)?;
    char::from_digit(code - zero, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(original: &str, folded: &str, find: &str, covers: &str) {
        let normalized = NormalizedText::new(original);
        assert_eq!(normalized.text, folded);
        let at = normalized.text.find(find).expect("folded text holds it");
        let span = normalized.original(at..at + find.len());
        assert_eq!(&original[span], covers, "in {original:?}");
    }

    #[test]
    fn spans_map_back() {
        check("plain text", "plain text", "text", "text");
        check("é plain", "é plain", "plain", "plain");
        check("no １２３ x", "no 123 x", "23", "２３");
        check("a\u{200b}b\u{200b}c", "abc", "bc", "b\u{200b}c");
        check("٣٤ ok", "34 ok", "34", "٣٤");
        check("1\u{fe0f}\u{20e3}2\u{fe0f}\u{20e3}", "12", "12", "1\u{fe0f}\u{20e3}2\u{fe0f}\u{20e3}");
        check("e\u{301}x", "ex", "e", "e\u{301}");
        check("xe\u{301}\u{302}y", "xey", "ey", "e\u{301}\u{302}y");
        check("12\u{2011}34\u{a0}56", "12-34 56", "34 56", "34\u{a0}56");
        check("\u{feff}\u{301}a", "a", "a", "a");
        check("ﬁx", "fix", "i", "ﬁ");
    }
}
