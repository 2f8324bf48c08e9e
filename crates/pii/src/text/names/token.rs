//! Text cut into words, single marks and line breaks, a stretch at a time.

use std::ops::Range;

/// Most tokens of a stretch: what bounds the memory of a call.
pub(super) const MOST: usize = 256;
/// From here on a stretch ends where a line does.
const ENOUGH: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, perhaps with digits, apostrophes and underscores.
    Word,
    Number,
    Mark,
    LineBreak,
}

/// A token, in bytes of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

impl Token {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Reads one stretch from `from` into `tokens`; returns where the next begins, `text.len()` at the end.
///
/// A stretch ends at an empty line, or at a line's or a sentence's end once it is long.
pub(super) fn stretch(text: &str, from: usize, tokens: &mut Vec<Token>) -> usize {
    tokens.clear();
    let mut at = from;
    while let Some(c) = text[at..].chars().next() {
        if tokens.len() == MOST {
            return at;
        }
        if c == '\n' {
            let repeated = tokens.last().is_some_and(|t| t.kind == Kind::LineBreak);
            at += 1;
            if repeated || tokens.len() >= ENOUGH {
                return at;
            }
            if !tokens.is_empty() {
                tokens.push(Token { start: at - 1, end: at, kind: Kind::LineBreak });
            }
        } else if c.is_whitespace() || c.is_control() {
            at += c.len_utf8();
        } else if is_word(c) {
            let (end, kind) = word(text, at);
            tokens.push(Token { start: at, end, kind });
            at = end;
        } else {
            tokens.push(Token { start: at, end: at + c.len_utf8(), kind: Kind::Mark });
            at += c.len_utf8();
            let ends_sentence = matches!(c, '.' | '!' | '?') && text[at..].starts_with(' ');
            if ends_sentence && tokens.len() >= ENOUGH {
                return at;
            }
        }
    }
    text.len()
}

/// Longest word; a run of letters without a space is cut there.
const LONGEST: usize = 64;

fn word(text: &str, start: usize) -> (usize, Kind) {
    let mut digits_only = true;
    let mut end = start;
    for (offset, c) in text[start..].char_indices() {
        let inner =
            matches!(c, '\'' | '’') && !digits_only && continues(&text[start + offset + c.len_utf8()..]);
        if !(is_word(c) || inner) || offset >= LONGEST {
            break;
        }
        digits_only &= c.is_ascii_digit();
        end = start + offset + c.len_utf8();
    }
    (end, if digits_only { Kind::Number } else { Kind::Word })
}

/// Whether what follows an apostrophe belongs to the word before it: all but a possessive `s`.
fn continues(rest: &str) -> bool {
    let mut chars = rest.chars();
    let first = chars.next();
    let second = chars.next();
    let possessive = matches!(first, Some('s' | 'S')) && !second.is_some_and(is_word);
    first.is_some_and(char::is_alphabetic) && !possessive
}

fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<Vec<&str>> {
        let (mut tokens, mut at, mut all) = (Vec::new(), 0, Vec::new());
        while at < text.len() {
            at = stretch(text, at, &mut tokens);
            all.push(tokens.iter().map(|t| &text[t.span()]).collect());
        }
        all
    }

    #[test]
    fn words_marks_and_breaks() {
        assert_eq!(cut("Jean-Luc O'Brien's 221B"), [["Jean", "-", "Luc", "O'Brien", "'", "s", "221B"]]);
        assert_eq!(cut("a_b 'q' 12."), [["a_b", "'", "q", "'", "12", "."]]);
        assert_eq!(cut("e\u{301}a\r\nb"), [["e\u{301}a", "\n", "b"]]);
        assert_eq!(cut("a\n\nb"), [vec!["a", "\n"], vec!["b"]]);
        assert_eq!(cut(""), [[""; 0]; 0]);
    }

    #[test]
    fn stretches_are_bounded_and_lose_nothing() {
        for text in ["x ".repeat(5000), "x. ".repeat(5000), "x\n".repeat(5000), "x".repeat(5000)] {
            let all = cut(&text);
            assert!(all.iter().all(|stretch| stretch.len() <= MOST));
            let letters = |t: &str| t.matches('x').count();
            assert_eq!(all.iter().flatten().map(|t| letters(t)).sum::<usize>(), letters(&text));
        }
    }
}
