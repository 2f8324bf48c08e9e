//! Names of people, places and organisations, by a small conditional random field that is compiled in.
//!
//! `train/train.py` writes the word lists and the weights in `data/names`.

mod decode;
mod features;
mod hash;
mod lexicon;
mod search;
mod token;
pub(crate) mod training;
mod weights;

use std::{ops::Range, sync::atomic::AtomicBool};

use decode::CrfDecoder;
use features::FeatureExtractor;
use lexicon::Lexicon;
pub(super) use search::NameSearch;
use token::{TextToken, TokenKind};
use weights::{LABELS, Weights};

use crate::{Entity, EntitySpan, Stopped};

/// Names in a text, and words to examine further.
#[derive(Default)]
pub(super) struct NameFindings {
    pub(super) names: Vec<EntitySpan>,
    /// Words that are uncertain to be a part of a person's name, in bytes of the text.
    pub(super) uncertain: Vec<Range<usize>>,
}

pub(super) struct NameRecognizer {
    lexicon: Lexicon,
    weights: Weights,
    /// Exponentials of the transition weights.
    factors: [[f32; LABELS]; LABELS],
}

impl NameRecognizer {
    /// Entities by pair of labels: begin, then inside.
    pub(super) const ENTITIES: [Entity; 3] = [Entity::Person, Entity::Location, Entity::Organization];

    pub(super) fn new() -> Self {
        let weights = Weights::new();
        let factors = weights.transitions.map(|row| row.map(f32::exp));
        Self { lexicon: Lexicon::new(), weights, factors }
    }

    /// Finds the names in a text, in order, and, if asked for, the uncertain words.
    pub(super) fn find(
        &self,
        text: &str,
        uncertain: bool,
        stop: &AtomicBool,
    ) -> Result<NameFindings, Stopped> {
        let (mut tokens, mut features, mut decoder) =
            (Vec::new(), FeatureExtractor::default(), CrfDecoder::default());
        let (mut at, mut read) = (0, NameFindings::default());
        while at < text.len() {
            Stopped::check(stop)?;
            at = token::next_sequence(text, at, &mut tokens);
            if tokens.iter().all(|token| token.kind != TokenKind::Word) {
                continue;
            }
            features.read(text, &tokens, &self.lexicon);
            decoder.scores.clear();
            for index in 0..tokens.len() {
                decoder.scores.push(self.score(&features, index));
            }
            decoder.path(&self.weights.transitions);
            if uncertain || decoder.path.iter().any(|label| *label != 0) {
                decoder.marginals(&self.factors);
                collect(text, &tokens, &decoder, &mut read.names);
            }
            if uncertain {
                let words =
                    tokens.iter().zip(&decoder.marginals).filter(|(token, _)| token.kind == TokenKind::Word);
                let unclear =
                    words.filter(|(_, marginals)| UNCERTAIN.contains(&(marginals[1] + marginals[2])));
                read.uncertain.extend(unclear.map(|(token, _)| token.span()));
            }
        }
        Ok(read)
    }

    fn score(&self, features: &FeatureExtractor, index: usize) -> [f32; LABELS] {
        let mut sums = [0_i16; 8];
        features.each(index, |key| self.weights.add(key, &mut sums));
        std::array::from_fn(|label| f32::from(sums[label]) * self.weights.step)
    }
}

/// Probabilities of being a part of a person's name at which a word is uncertain.
const UNCERTAIN: Range<f32> = 0.1..0.9;

/// Collects the names that the most likely labels mark.
fn collect(text: &str, tokens: &[TextToken], decoder: &CrfDecoder, names: &mut Vec<EntitySpan>) {
    let mut index = 0;
    while index < tokens.len() {
        let label = decoder.path[index];
        if label == 0 {
            index += 1;
            continue;
        }
        let kind = usize::from(label - 1) / 2;
        let (begin, inside) = (1 + 2 * kind, 2 + 2 * kind);
        let first = index;
        index += 1;
        while index < tokens.len() && usize::from(decoder.path[index]) == inside {
            index += 1;
        }
        let mut last = index;
        while last > first + 1 && tokens[last - 1].kind == TokenKind::LineBreak {
            last -= 1;
        }
        if tokens[first..last].iter().all(|token| token.kind != TokenKind::Word) {
            continue;
        }
        let marginals = decoder.marginals[first..last].iter().map(|c| c[begin] + c[inside]);
        #[allow(clippy::cast_precision_loss, reason = "a few tokens")]
        let score = marginals.sum::<f32>() / (last - first) as f32;
        let span = tokens[first].start..tokens[last - 1].end;
        debug_assert!(text.get(span.clone()).is_some());
        names.push(EntitySpan { entity: NameRecognizer::ENTITIES[kind], span, score: score.clamp(0.0, 1.0) });
    }
}
