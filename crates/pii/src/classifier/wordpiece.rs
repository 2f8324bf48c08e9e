//! Text as the pieces of words that BERT's networks read (Devlin et al., 2018, and the vocabulary's own spelling).

use std::{collections::HashMap, ops::Range};

use serde::Deserialize;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::ClassifierError;

/// Longest word in characters; longer ones are unknown as a whole.
const LONGEST: usize = 100;
const MOST: usize = 2_000_000;

/// A piece of a word: its number, and the bytes of the text it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    /// That of the whole word.
    pub(super) word: Range<usize>,
}

pub(super) struct Vocabulary {
    ids: HashMap<String, u32>,
    lower: bool,
    unknown: u32,
    /// `[CLS]` and `[SEP]`.
    pub(super) ends: [u32; 2],
}

#[derive(Deserialize)]
struct Tokenizer {
    model: Words,
}

#[derive(Deserialize)]
struct Words {
    vocab: HashMap<String, u32>,
}

impl Vocabulary {
    /// Reads a `vocab.txt` with a piece a line, or a `tokenizer.json` with a `WordPiece` model.
    pub(super) fn parse(source: &str) -> Result<Self, ClassifierError> {
        let ids: HashMap<String, u32> = if source.trim_start().starts_with('{') {
            let tokenizer: Tokenizer = serde_json::from_str(source)
                .map_err(|error| ClassifierError::Vocabulary(error.to_string()))?;
            tokenizer.model.vocab
        } else {
            source.lines().map(|line| line.trim_end().to_owned()).zip(0..).collect()
        };
        if ids.len() > MOST {
            return Err(ClassifierError::Vocabulary(format!("it has more than {MOST} pieces")));
        }
        let id = |piece: &str| {
            ids.get(piece)
                .copied()
                .ok_or_else(|| ClassifierError::Vocabulary(format!("it has no piece `{piece}`")))
        };
        let (unknown, ends) = (id("[UNK]")?, [id("[CLS]")?, id("[SEP]")?]);
        let lower = !ids
            .keys()
            .any(|piece| !piece.starts_with('[') && piece.contains(|c: char| c.is_ascii_uppercase()));
        Ok(Self { ids, lower, unknown, ends })
    }

    /// The pieces of `text[window]`, with places in the text.
    pub(super) fn pieces(&self, text: &str, window: Range<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut spelling = String::new();
        let mut word = window.start..window.start;
        for (offset, c) in text[window.clone()].char_indices() {
            let at = window.start + offset;
            let end = at + c.len_utf8();
            match class(c) {
                Class::Nothing => {}
                Class::Space => self.finish(&mut spelling, &word, &mut pieces),
                Class::Alone => {
                    self.finish(&mut spelling, &word, &mut pieces);
                    self.spell(c, &mut spelling);
                    self.finish(&mut spelling, &(at..end), &mut pieces);
                }
                Class::Letter => {
                    if spelling.is_empty() {
                        word.start = at;
                    }
                    self.spell(c, &mut spelling);
                    word.end = end;
                }
            }
        }
        self.finish(&mut spelling, &word, &mut pieces);
        pieces
    }

    fn spell(&self, c: char, spelling: &mut String) {
        if !self.lower {
            spelling.push(c);
        } else if c.is_ascii() {
            spelling.push(c.to_ascii_lowercase());
        } else {
            let plain = std::iter::once(c).nfd().filter(|c| !is_combining_mark(*c));
            spelling.extend(plain.flat_map(char::to_lowercase));
        }
    }

    /// The longest known piece, again and again.
    fn finish(&self, spelling: &mut String, word: &Range<usize>, pieces: &mut Vec<Piece>) {
        if spelling.is_empty() {
            return;
        }
        let first = pieces.len();
        let mut rest = spelling.as_str();
        let mut key = String::with_capacity(rest.len() + 2);
        let known = rest.chars().count() <= LONGEST
            && std::iter::from_fn(|| {
                let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
                let found = ends.into_iter().find_map(|end| {
                    key.clear();
                    key.push_str(if rest.len() == spelling.len() { "" } else { "##" });
                    key.push_str(&rest[..end]);
                    self.ids.get(key.as_str()).map(|id| (*id, end))
                });
                if let Some((id, end)) = found {
                    pieces.push(Piece { id, word: word.clone() });
                    rest = &rest[end..];
                }
                (found.is_none() || !rest.is_empty()).then_some(found.is_some())
            })
            .all(|found| found);
        if !known {
            pieces.truncate(first);
            pieces.push(Piece { id: self.unknown, word: word.clone() });
        }
        spelling.clear();
    }
}

enum Class {
    Nothing,
    Space,
    /// A mark, or a character of a script without spaces.
    Alone,
    Letter,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            '\t' | '\n' | '\r' | ' ' => Class::Space,
            _ if c.is_ascii_control() => Class::Nothing,
            _ if c.is_ascii_punctuation() => Class::Alone,
            _ => Class::Letter,
        };
    }
    let ideograph = matches!(u32::from(c),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df | 0x2_a700..=0x2_ceaf | 0x2_f800..=0x2_fa1f);
    if c == '\u{fffd}' || c.is_control() || formats(c) {
        Class::Nothing
    } else if c.is_whitespace() {
        Class::Space
    } else if ideograph || marks(c) {
        Class::Alone
    } else {
        Class::Letter
    }
}

/// Characters of Unicode's category `Cf`, which show nothing.
fn formats(c: char) -> bool {
    matches!(u32::from(c), 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
        | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0001 | 0xe0020..=0xe007f)
}

/// Punctuation beyond ASCII, Unicode's categories `P*`, where texts have it.
fn marks(c: char) -> bool {
    matches!(u32::from(c), 0xa1 | 0xa7 | 0xab | 0xb6 | 0xb7 | 0xbb | 0xbf | 0x37e | 0x387 | 0x589 | 0x58a | 0x5be | 0x5c0
        | 0x5c3 | 0x5f3 | 0x5f4 | 0x60c | 0x61b | 0x61e | 0x61f | 0x66a..=0x66d | 0x6d4 | 0x964 | 0x965 | 0x2010..=0x2027
        | 0x2030..=0x2043 | 0x2045..=0x2051 | 0x2053..=0x205e | 0x2308..=0x230b | 0x2329 | 0x232a | 0x3001..=0x3003
        | 0x3008..=0x3011 | 0x3014..=0x301f | 0x3030 | 0x30a0 | 0x30fb | 0xfe10..=0xfe19 | 0xfe30..=0xfe52
        | 0xff01..=0xff03 | 0xff05..=0xff0a | 0xff0c..=0xff0f | 0xff1a | 0xff1b | 0xff1f | 0xff20 | 0xff3b..=0xff3d
        | 0xff3f | 0xff5b | 0xff5d | 0xff5f..=0xff65)
}
