//! Character classes of BERT's tokenizer, by Unicode's categories.

use std::sync::LazyLock;

use regex_syntax::hir::{Class as Ranges, HirKind};

pub(super) enum CharClass {
    Ignored,
    Space,
    /// Punctuation, or a character of a script without spaces: a word of its own.
    Separate,
    Letter,
}

pub(super) fn class(c: char) -> CharClass {
    if c.is_ascii() {
        return match c {
            '\t' | '\n' | '\r' | ' ' => CharClass::Space,
            _ if c.is_ascii_control() => CharClass::Ignored,
            _ if c.is_ascii_punctuation() => CharClass::Separate,
            _ => CharClass::Letter,
        };
    }
    if c == '\u{fffd}' || NON_PRINTING.holds(c) {
        CharClass::Ignored
    } else if c.is_whitespace() {
        CharClass::Space
    } else if is_ideograph(c) || PUNCTUATION.holds(c) {
        CharClass::Separate
    } else {
        CharClass::Letter
    }
}

/// True for nonspacing marks, such as decomposed accents, which uncased vocabularies leave out.
pub(super) fn is_combining_accent(c: char) -> bool {
    !c.is_ascii() && NONSPACING_MARKS.holds(c)
}

/// True for ideographs in the blocks that BERT's own tokenizer names; Unicode has more by now.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_b81f
        | 0x2_b920..=0x2_ceaf | 0x2_f800..=0x2_fa1f)
}

/// Control, format and private use characters.
static NON_PRINTING: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"[\p{Cc}\p{Cf}\p{Co}]"));
/// Punctuation.
static PUNCTUATION: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{P}"));
/// Nonspacing marks.
static NONSPACING_MARKS: LazyLock<CharSet> = LazyLock::new(|| CharSet::new(r"\p{Mn}"));

/// Set of characters, as ranges in order.
struct CharSet(Vec<(char, char)>);

impl CharSet {
    fn new(class: &str) -> Self {
        let parsed = regex_syntax::parse(class).expect("a class of this file");
        let HirKind::Class(Ranges::Unicode(class)) = parsed.into_kind() else { unreachable!("a class") };
        Self(class.iter().map(|range| (range.start(), range.end())).collect())
    }

    fn holds(&self, c: char) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= c);
        after > 0 && c <= self.0[after - 1].1
    }
}
