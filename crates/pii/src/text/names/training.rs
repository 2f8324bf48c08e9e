//! What `examples/features.rs` hands to the training, so that both see the same features.

use super::{Names, features::Features, hash, lexicon, token};
use crate::Entity;

/// Cuts texts and reads features as the recogniser does.
pub struct Training {
    lexicon: lexicon::Lexicon,
}

/// A token's label, as in the weights' columns, and its features.
pub type Labelled = (usize, Vec<u32>);

impl Training {
    #[allow(clippy::new_without_default, reason = "not a part of the library's interface")]
    #[must_use]
    pub fn new() -> Self {
        Self { lexicon: lexicon::Lexicon::new() }
    }

    /// What a word is stored under in the lexicon.
    #[must_use]
    pub fn lexicon_key(word: &str) -> u32 {
        lexicon::short(hash::text(&word.to_lowercase()))
    }

    /// The stretches of a text with its names, given in bytes.
    #[must_use]
    pub fn stretches(&self, text: &str, names: &[(usize, usize, Entity)]) -> Vec<Vec<Labelled>> {
        let (mut tokens, mut features) = (Vec::new(), Features::default());
        let (mut at, mut all) = (0, Vec::new());
        while at < text.len() {
            at = token::stretch(text, at, &mut tokens);
            features.read(text, &tokens, &self.lexicon);
            let mut last = None;
            let stretch = tokens.iter().enumerate().map(|(index, token)| {
                let inside = names.iter().position(|name| name.0 <= token.start && token.end <= name.1);
                let label = inside.map_or(0, |name| {
                    let kind =
                        Names::ENTITIES.iter().position(|e| *e == names[name].2).expect("a name's entity");
                    1 + 2 * kind + usize::from(last == Some(name))
                });
                last = inside;
                let mut keys = Vec::new();
                features.each(index, |key| keys.push(key));
                (label, keys)
            });
            all.push(stretch.collect());
        }
        all
    }
}
