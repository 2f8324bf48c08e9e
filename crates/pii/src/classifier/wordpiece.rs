//! `WordPiece` tokenizer of BERT's networks (Devlin et al., 2018).

use std::{collections::HashMap, ops::Range};

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use super::{
    ClassifierError,
    classes::{CharClass, class, is_combining_accent},
};

/// Most characters of a word; a longer one is unknown as a whole.
const MAX_WORD_CHARS: usize = 100;
/// Most pieces of a vocabulary.
const MAX_VOCABULARY: usize = 2_000_000;

/// Piece of a word: its id, and the bytes of the word in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WordPiece {
    pub(super) id: u32,
    /// Span of the whole word.
    pub(super) word: Range<usize>,
}

pub(super) struct Vocabulary {
    ids: HashMap<String, u32>,
    lower: bool,
    unknown: u32,
    /// Ids of `[CLS]` and `[SEP]`.
    pub(super) boundary_ids: [u32; 2],
}

/// Fields of `tokenizer.json` that are used.
#[derive(Deserialize)]
struct TokenizerFile {
    model: serde_json::Map<String, serde_json::Value>,
    normalizer: Option<NormalizerConfig>,
}

#[derive(Deserialize)]
struct NormalizerConfig {
    lowercase: Option<bool>,
}

impl TokenizerFile {
    /// Takes the vocabulary out of the file, if it is of BERT's kind.
    fn pieces(&mut self) -> Result<HashMap<String, u32>, String> {
        // Files of old versions do not say of which kind they are.
        match self.model.get("type").and_then(|kind| kind.as_str()) {
            None | Some("WordPiece") => {}
            Some(other) => return Err(format!("it is of the kind {other}, not WordPiece")),
        }
        match self.model.get("continuing_subword_prefix").and_then(|prefix| prefix.as_str()) {
            None | Some("##") => {}
            Some(other) => return Err(format!("pieces within a word begin with `{other}`, not with `##`")),
        }
        let pieces = self.model.remove("vocab").ok_or("`model` has no `vocab`")?;
        serde_json::from_value(pieces).map_err(|error| error.to_string())
    }
}

impl Vocabulary {
    /// Reads a `vocab.txt` with a piece a line, or a `tokenizer.json` with a `WordPiece` model.
    pub(super) fn parse(source: &str) -> Result<Self, ClassifierError> {
        let mut lower = None;
        let ids: HashMap<String, u32> = if source.trim_start().starts_with('{') {
            let mut tokenizer: TokenizerFile = serde_json::from_str(source)
                .map_err(|error| ClassifierError::Vocabulary(error.to_string()))?;
            lower = tokenizer.normalizer.as_ref().and_then(|normalizer| normalizer.lowercase);
            tokenizer.pieces().map_err(ClassifierError::Vocabulary)?
        } else {
            source.lines().map(|line| line.trim_end().to_owned()).zip(0..).collect()
        };
        if ids.len() > MAX_VOCABULARY {
            return Err(ClassifierError::Vocabulary(format!("it has more than {MAX_VOCABULARY} pieces")));
        }
        let id = |piece: &str| {
            ids.get(piece)
                .copied()
                .ok_or_else(|| ClassifierError::Vocabulary(format!("it has no piece `{piece}`")))
        };
        let (unknown, boundary_ids) = (id("[UNK]")?, [id("[CLS]")?, id("[SEP]")?]);
        let capital =
            |piece: &String| !piece.starts_with('[') && piece.contains(|c: char| c.is_ascii_uppercase());
        let lower = lower.unwrap_or_else(|| !ids.keys().any(capital));
        Ok(Self { ids, lower, unknown, boundary_ids })
    }

    /// Highest id of the vocabulary.
    pub(super) fn max_id(&self) -> u32 {
        self.ids.values().copied().max().unwrap_or(self.unknown)
    }

    /// Word pieces of `text[window]`, with spans in the text.
    pub(super) fn pieces(&self, text: &str, window: Range<usize>) -> Vec<WordPiece> {
        let mut pieces = Vec::new();
        let mut spelling = String::new();
        let mut word = window.start..window.start;
        for (offset, c) in text[window.clone()].char_indices() {
            let at = window.start + offset;
            let end = at + c.len_utf8();
            match class(c) {
                CharClass::Ignored => {}
                CharClass::Space => self.split_word(&mut spelling, &word, &mut pieces),
                CharClass::Separate => {
                    self.split_word(&mut spelling, &word, &mut pieces);
                    self.push_normalized(c, &mut spelling);
                    self.split_word(&mut spelling, &(at..end), &mut pieces);
                }
                CharClass::Letter => {
                    if spelling.is_empty() {
                        word.start = at;
                    }
                    self.push_normalized(c, &mut spelling);
                    word.end = end;
                }
            }
        }
        self.split_word(&mut spelling, &word, &mut pieces);
        pieces
    }

    fn push_normalized(&self, c: char, spelling: &mut String) {
        if !self.lower {
            spelling.push(c);
        } else if c.is_ascii() {
            spelling.push(c.to_ascii_lowercase());
        } else {
            let plain = std::iter::once(c).nfd().filter(|c| !is_combining_accent(*c));
            spelling.extend(plain.flat_map(char::to_lowercase));
        }
    }

    /// Splits a word into the longest known pieces, from its start on, and clears it.
    fn split_word(&self, spelling: &mut String, word: &Range<usize>, pieces: &mut Vec<WordPiece>) {
        if spelling.is_empty() {
            return;
        }
        let first = pieces.len();
        let mut rest = spelling.as_str();
        let mut key = String::with_capacity(rest.len() + 2);
        let known = rest.chars().count() <= MAX_WORD_CHARS
            && std::iter::from_fn(|| {
                let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
                let found = ends.into_iter().find_map(|end| {
                    key.clear();
                    key.push_str(if rest.len() == spelling.len() { "" } else { "##" });
                    key.push_str(&rest[..end]);
                    self.ids.get(key.as_str()).map(|id| (*id, end))
                });
                if let Some((id, end)) = found {
                    pieces.push(WordPiece { id, word: word.clone() });
                    rest = &rest[end..];
                }
                (found.is_none() || !rest.is_empty()).then_some(found.is_some())
            })
            .all(|found| found);
        if !known {
            pieces.truncate(first);
            pieces.push(WordPiece { id: self.unknown, word: word.clone() });
        }
        spelling.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces that Hugging Face's `tokenizers` reads in a text, with the character that their word begins at.
    #[derive(Deserialize)]
    struct Golden {
        text: String,
        uncased: Vec<(u32, usize)>,
        cased: Vec<(u32, usize)>,
    }

    fn read(vocabulary: &Vocabulary, text: &str) -> Vec<(u32, usize)> {
        let pieces = vocabulary.pieces(text, 0..text.len());
        pieces.iter().map(|piece| (piece.id, text[..piece.word.start].chars().count())).collect()
    }

    #[test]
    fn reads_as_hugging_face_does() {
        let uncased = Vocabulary::parse(include_str!("../../tests/rules/network/vocab.txt")).expect("valid");
        let cased =
            Vocabulary::parse(include_str!("../../tests/rules/network/tokenizer.json")).expect("valid");
        let golden = include_str!("../../tests/rules/network/wordpiece.json");
        let golden: Vec<Golden> = serde_json::from_str(golden).expect("valid");
        assert!(golden.len() > 80, "the file is there");
        let mut wrong = Vec::new();
        for row in golden {
            for (vocabulary, expected) in [(&uncased, &row.uncased), (&cased, &row.cased)] {
                let found = read(vocabulary, &row.text);
                if found != *expected {
                    wrong.push(format!("{:?}: {found:?} instead of {expected:?}", row.text));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn says_what_is_wrong_with_a_vocabulary() {
        for (source, complaint) in [
            ("a", "no piece `[UNK]`"),
            ("[UNK]\n[CLS]", "no piece `[SEP]`"),
            (r#"{"model": {"type": "BPE", "vocab": {}}}"#, "of the kind BPE"),
            (r#"{"model": {"continuing_subword_prefix": "@@", "vocab": {}}}"#, "`@@`"),
            (r#"{"model": {"type": "WordPiece"}}"#, "no `vocab`"),
            (r#"{"model": {"vocab": ["a"]}}"#, "expected a map"),
            ("{}", "missing field `model`"),
        ] {
            let error = Vocabulary::parse(source).err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{source} is refused"));
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_tokenizer_says_whether_it_has_capitals() {
        let source = |lower| {
            format!(
                r#"{{"normalizer": {{"lowercase": {lower}}}, "model": {{"vocab": {{"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}}}}}}"#
            )
        };
        let ids = |lower| read(&Vocabulary::parse(&source(lower)).expect("valid"), "A");
        assert_eq!((ids(true), ids(false)), (vec![(3, 0)], vec![(0, 0)]));
    }
}
