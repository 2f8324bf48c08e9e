//! Tokenisation into words, numbers, marks and line breaks, one sequence at a time.

use std::ops::Range;

/// Most tokens of a sequence, which bounds the memory of a call.
pub(super) const MAX_TOKENS: usize = 256;
/// Tokens from which on a sequence ends at the end of a line or a sentence.
const SOFT_LIMIT: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Letters, possibly with digits, apostrophes and underscores.
    Word,
    Number,
    Mark,
    LineBreak,
}

/// Token, in bytes of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextToken {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: TokenKind,
}

impl TextToken {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Reads one sequence from `from` into `tokens` and returns the start of the next, `text.len()` at the end.
///
/// A sequence ends at an empty line, or at the end of a line or a sentence once it has [`SOFT_LIMIT`] tokens.
pub(super) fn next_sequence(text: &str, from: usize, tokens: &mut Vec<TextToken>) -> usize {
    tokens.clear();
    let mut at = from;
    while let Some(c) = text[at..].chars().next() {
        if tokens.len() == MAX_TOKENS {
            return at;
        }
        if c == '\n' {
            let repeated = tokens.last().is_some_and(|t| t.kind == TokenKind::LineBreak);
            at += 1;
            if repeated || tokens.len() >= SOFT_LIMIT {
                return at;
            }
            if !tokens.is_empty() {
                tokens.push(TextToken { start: at - 1, end: at, kind: TokenKind::LineBreak });
            }
        } else if c.is_whitespace() || c.is_control() {
            at += c.len_utf8();
        } else if is_word(c) {
            let (end, kind) = word(text, at);
            tokens.push(TextToken { start: at, end, kind });
            at = end;
        } else {
            tokens.push(TextToken { start: at, end: at + c.len_utf8(), kind: TokenKind::Mark });
            at += c.len_utf8();
            let ends_sentence = matches!(c, '.' | '!' | '?') && text[at..].starts_with(' ');
            if ends_sentence && tokens.len() >= SOFT_LIMIT {
                return at;
            }
        }
    }
    text.len()
}

/// Most bytes of a word; a longer run of letters is cut there.
const MAX_WORD: usize = 64;

fn word(text: &str, start: usize) -> (usize, TokenKind) {
    let mut digits_only = true;
    let mut end = start;
    for (offset, c) in text[start..].char_indices() {
        let inner =
            matches!(c, '\'' | '’') && !digits_only && continues(&text[start + offset + c.len_utf8()..]);
        if !(is_word(c) || inner) || offset >= MAX_WORD {
            break;
        }
        digits_only &= c.is_ascii_digit();
        end = start + offset + c.len_utf8();
    }
    (end, if digits_only { TokenKind::Number } else { TokenKind::Word })
}

/// True if the text behind an apostrophe belongs to the word before it: all but a possessive `s`.
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

    fn tokenize(text: &str) -> Vec<Vec<&str>> {
        let (mut tokens, mut at, mut all) = (Vec::new(), 0, Vec::new());
        while at < text.len() {
            at = next_sequence(text, at, &mut tokens);
            all.push(tokens.iter().map(|t| &text[t.span()]).collect());
        }
        all
    }

    #[test]
    fn words_marks_and_breaks() {
        assert_eq!(tokenize("Jean-Luc O'Brien's 221B"), [["Jean", "-", "Luc", "O'Brien", "'", "s", "221B"]]);
        assert_eq!(tokenize("a_b 'q' 12."), [["a_b", "'", "q", "'", "12", "."]]);
        assert_eq!(tokenize("e\u{301}a\r\nb"), [["e\u{301}a", "\n", "b"]]);
        assert_eq!(tokenize("a\n\nb"), [vec!["a", "\n"], vec!["b"]]);
        assert_eq!(tokenize(""), [[""; 0]; 0]);
    }

    #[test]
    fn stretches_are_bounded_and_lose_nothing() {
        for text in ["x ".repeat(5000), "x. ".repeat(5000), "x\n".repeat(5000), "x".repeat(5000)] {
            let all = tokenize(&text);
            assert!(all.iter().all(|sequence| sequence.len() <= MAX_TOKENS));
            let letters = |t: &str| t.matches('x').count();
            assert_eq!(all.iter().flatten().map(|t| letters(t)).sum::<usize>(), letters(&text));
        }
    }
}
