//! Kinds of characters as BERT's tokenizer tells them apart, by Unicode's categories.

use std::sync::LazyLock;

use regex_syntax::hir::{Class as Ranges, HirKind};

pub(super) enum Class {
    Nothing,
    Space,
    /// A mark, or a character of a script without spaces.
    Alone,
    Letter,
}

pub(super) fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            '\t' | '\n' | '\r' | ' ' => Class::Space,
            _ if c.is_ascii_control() => Class::Nothing,
            _ if c.is_ascii_punctuation() => Class::Alone,
            _ => Class::Letter,
        };
    }
    if c == '\u{fffd}' || OTHERS.holds(c) {
        Class::Nothing
    } else if c.is_whitespace() {
        Class::Space
    } else if is_ideograph(c) || MARKS.holds(c) {
        Class::Alone
    } else {
        Class::Letter
    }
}

/// Whether it is left out where capitals are: accents, in the form where they stand for themselves.
pub(super) fn is_accent(c: char) -> bool {
    !c.is_ascii() && ACCENTS.holds(c)
}

/// The blocks that BERT's own tokenizer names, which are not all there are by now.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_b81f
        | 0x2_b920..=0x2_ceaf | 0x2_f800..=0x2_fa1f)
}

/// Control characters, those that show nothing, and those of private use.
static OTHERS: LazyLock<Set> = LazyLock::new(|| Set::new(r"[\p{Cc}\p{Cf}\p{Co}]"));
/// Punctuation.
static MARKS: LazyLock<Set> = LazyLock::new(|| Set::new(r"\p{P}"));
/// Marks that take no place of their own.
static ACCENTS: LazyLock<Set> = LazyLock::new(|| Set::new(r"\p{Mn}"));

/// Ranges of characters, in order.
struct Set(Vec<(char, char)>);

impl Set {
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
