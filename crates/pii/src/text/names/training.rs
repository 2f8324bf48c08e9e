//! Features for training, by the code that recognises names, so that the two cannot differ.

use super::{NameRecognizer, features::FeatureExtractor, hash, lexicon, token};
use crate::Entity;

/// Extractor of token sequences and features for `examples/features.rs`.
pub struct TrainingExtractor {
    lexicon: lexicon::Lexicon,
}

/// Label of a token, as a column of the weights, and the keys of its features.
pub type LabelledToken = (usize, Vec<u32>);

impl TrainingExtractor {
    #[allow(clippy::new_without_default, reason = "not a part of the library's interface")]
    #[must_use]
    pub fn new() -> Self {
        Self { lexicon: lexicon::Lexicon::new() }
    }

    /// Key under which the lexicon stores a word.
    #[must_use]
    pub fn lexicon_key(word: &str) -> u32 {
        lexicon::short(hash::text(&word.to_lowercase()))
    }

    /// Token sequences of a text, labelled by its names, which are given as start and end in bytes.
    #[must_use]
    pub fn sequences(&self, text: &str, names: &[(usize, usize, Entity)]) -> Vec<Vec<LabelledToken>> {
        let (mut tokens, mut features) = (Vec::new(), FeatureExtractor::default());
        let (mut at, mut all) = (0, Vec::new());
        while at < text.len() {
            at = token::next_sequence(text, at, &mut tokens);
            features.read(text, &tokens, &self.lexicon);
            let mut last = None;
            let sequence = tokens.iter().enumerate().map(|(index, token)| {
                let inside = names.iter().position(|name| name.0 <= token.start && token.end <= name.1);
                let label = inside.map_or(0, |name| {
                    let kind = NameRecognizer::ENTITIES
                        .iter()
                        .position(|e| *e == names[name].2)
                        .expect("a name's entity");
                    1 + 2 * kind + usize::from(last == Some(name))
                });
                last = inside;
                let mut keys = Vec::new();
                features.each(index, |key| keys.push(key));
                (label, keys)
            });
            all.push(sequence.collect());
        }
        all
    }
}
