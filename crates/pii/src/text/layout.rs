//! Layouts: fixed-width patterns of numbers and codes.
//!
//! `d` is a digit, `a` a letter, `x` either, `h` a hexadecimal digit; `{m,n}` repeats what is before it;
//! `~` is a joiner (space, hyphen or dot), the same each time; anything else stands for itself.
//! Matching reads each byte once: there is nothing to backtrack.

use super::input::CharKinds;

/// Compiled layout.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    atoms: Vec<PatternAtom>,
    /// Least and most bytes of the first word.
    first_word: (usize, usize),
    /// True if the first word can only be digits.
    digits_first: bool,
}

#[derive(Clone, Copy, Debug)]
enum PatternAtom {
    Class { class: ByteClass, min: usize, max: usize },
    Joiner,
    Literal(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ByteClass {
    Digit,
    Letter,
    Alphanumeric,
    Hexadecimal,
}

impl ByteClass {
    fn contains(self, byte: u8) -> bool {
        match self {
            ByteClass::Digit => byte.is_ascii_digit(),
            ByteClass::Letter => byte.is_ascii_alphabetic(),
            ByteClass::Alphanumeric => byte.is_ascii_alphanumeric(),
            ByteClass::Hexadecimal => byte.is_ascii_hexdigit(),
        }
    }
}

impl Layout {
    /// Compiles a layout that is a constant of this crate.
    ///
    /// # Panics
    /// On a malformed repetition: patterns are constants, and every one is compiled by the engine's tests.
    pub(super) fn parse(pattern: &str) -> Self {
        let mut atoms: Vec<PatternAtom> = Vec::new();
        let mut rest = pattern;
        while let Some(c) = rest.bytes().next() {
            rest = &rest[1..];
            let class = match c {
                b'd' => ByteClass::Digit,
                b'a' => ByteClass::Letter,
                b'x' => ByteClass::Alphanumeric,
                b'h' => ByteClass::Hexadecimal,
                b'~' => {
                    atoms.push(PatternAtom::Joiner);
                    continue;
                }
                other => {
                    atoms.push(PatternAtom::Literal(other));
                    continue;
                }
            };
            let (min, max) = match rest.strip_prefix('{') {
                None => (1, 1),
                Some(counts) => {
                    let (counts, after) = counts.split_once('}').expect("a repetition is closed");
                    rest = after;
                    let (min, max) = counts.split_once(',').unwrap_or((counts, counts));
                    (min.parse().expect("a count"), max.parse().expect("a count"))
                }
            };
            atoms.push(PatternAtom::Class { class, min, max });
        }
        let (first_word, digits_first) = first_word(&atoms);
        Self { atoms, first_word, digits_first }
    }

    pub(super) fn first_word(&self) -> (usize, usize) {
        self.first_word
    }

    /// True if a first word of these kinds can match.
    pub(super) fn may_start(&self, kinds: CharKinds) -> bool {
        !self.digits_first || kinds.only_digits()
    }

    /// Matches at `start` and returns the end of the match.
    pub(super) fn matches(&self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        let mut joiner = None;
        for atom in &self.atoms {
            match *atom {
                PatternAtom::Class { class, min, max } => {
                    let count = bytes[at..].iter().take(max).take_while(|b| class.contains(**b)).count();
                    if count < min {
                        return None;
                    }
                    at += count;
                }
                PatternAtom::Joiner => {
                    let byte = *bytes.get(at)?;
                    if !matches!(byte, b' ' | b'-' | b'.') || *joiner.get_or_insert(byte) != byte {
                        return None;
                    }
                    at += 1;
                }
                PatternAtom::Literal(wanted) => {
                    if *bytes.get(at)? != wanted {
                        return None;
                    }
                    at += 1;
                }
            }
        }
        Some(at)
    }
}

fn first_word(atoms: &[PatternAtom]) -> ((usize, usize), bool) {
    let (mut shortest, mut longest, mut digits) = (0, 0, true);
    for atom in atoms {
        match *atom {
            PatternAtom::Class { class, min, max } => {
                shortest += min;
                longest += max;
                digits &= class == ByteClass::Digit;
            }
            PatternAtom::Literal(byte) if byte.is_ascii_alphanumeric() => {
                shortest += 1;
                longest += 1;
                digits &= byte.is_ascii_digit();
            }
            PatternAtom::Joiner | PatternAtom::Literal(_) => break,
        }
    }
    ((shortest, longest), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_fixed_widths() {
        let end = |pattern: &str, text: &str| Layout::parse(pattern).matches(text.as_bytes(), 0);
        assert_eq!(end("d{3}-dd-d{4}", "123-45-6789 x"), Some(11));
        assert_eq!(end("d{3}~dd~d{4}", "123 45 6789"), Some(11));
        assert_eq!(end("d{3}~dd~d{4}", "123 45-6789"), None);
        assert_eq!(end("a{2}d{2,4}", "AB12345"), Some(6));
        assert_eq!(end("d{3}", "12"), None);
        assert_eq!(end("hh:hh", "aF:09"), Some(5));
        assert_eq!(end("xX", "1X"), Some(2));
        assert_eq!(Layout::parse("d{8,17}").first_word(), (8, 17));
        assert_eq!(Layout::parse("Xd{7}-a").first_word(), (8, 8));
    }
}
