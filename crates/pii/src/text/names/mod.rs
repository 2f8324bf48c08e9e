//! Names of people, places and organisations by a conditional random field: small, fast, always there.
//!
//! `train/train.py` makes the word lists and the weights in `data/names`.

mod decode;
mod features;
mod hash;
mod lexicon;
mod reading;
mod token;
pub(crate) mod training;
mod weights;

use std::{ops::Range, sync::atomic::AtomicBool};

use decode::Decoder;
use features::Features;
use lexicon::Lexicon;
pub(super) use reading::Reading;
use token::{Kind, Token};
use weights::{LABELS, Weights};

use crate::{Entity, Stopped};

/// A name in bytes of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) entity: Entity,
    pub(super) span: Range<usize>,
    /// How likely it is, 0 to 1.
    pub(super) score: f32,
}

/// What was found in a text.
#[derive(Default)]
pub(super) struct Read {
    pub(super) names: Vec<Name>,
    /// Words that may be of people's names or not, in bytes of the text.
    pub(super) doubts: Vec<Range<usize>>,
}

pub(super) struct Names {
    lexicon: Lexicon,
    weights: Weights,
    /// Exponentials of the weights' transitions.
    factors: [[f32; LABELS]; LABELS],
}

impl Names {
    /// By pairs of labels: begin, then inside.
    pub(super) const ENTITIES: [Entity; 3] = [Entity::Person, Entity::Location, Entity::Organization];

    pub(super) fn new() -> Self {
        let weights = Weights::new();
        let factors = weights.transitions.map(|row| row.map(f32::exp));
        Self { lexicon: Lexicon::new(), weights, factors }
    }

    /// The names in a text, in order, and, where `doubts` are asked for, what deserves a closer look.
    pub(super) fn find(&self, text: &str, doubts: bool, stop: &AtomicBool) -> Result<Read, Stopped> {
        let (mut tokens, mut features, mut decoder) = (Vec::new(), Features::default(), Decoder::default());
        let (mut at, mut read) = (0, Read::default());
        while at < text.len() {
            Stopped::check(stop)?;
            at = token::stretch(text, at, &mut tokens);
            if tokens.iter().all(|token| token.kind != Kind::Word) {
                continue;
            }
            features.read(text, &tokens, &self.lexicon);
            decoder.scores.clear();
            for index in 0..tokens.len() {
                decoder.scores.push(self.score(&features, index));
            }
            decoder.path(&self.weights.transitions);
            if doubts || decoder.path.iter().any(|label| *label != 0) {
                decoder.chances(&self.factors);
                collect(text, &tokens, &decoder, &mut read.names);
            }
            if doubts {
                let words = tokens.iter().zip(&decoder.chances).filter(|(token, _)| token.kind == Kind::Word);
                let unclear = words.filter(|(_, chances)| DOUBT.contains(&(chances[1] + chances[2])));
                read.doubts.extend(unclear.map(|(token, _)| token.span()));
            }
        }
        Ok(read)
    }

    fn score(&self, features: &Features, index: usize) -> [f32; LABELS] {
        let mut sums = [0_i16; 8];
        features.each(index, |key| self.weights.add(key, &mut sums));
        std::array::from_fn(|label| f32::from(sums[label]) * self.weights.step)
    }
}

/// How likely a word is of a person's name, when it is neither clear that it is nor that it is not.
const DOUBT: Range<f32> = 0.1..0.9;

/// Turns labels into names.
fn collect(text: &str, tokens: &[Token], decoder: &Decoder, names: &mut Vec<Name>) {
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
        while last > first + 1 && tokens[last - 1].kind == Kind::LineBreak {
            last -= 1;
        }
        if tokens[first..last].iter().all(|token| token.kind != Kind::Word) {
            continue;
        }
        let chances = decoder.chances[first..last].iter().map(|c| c[begin] + c[inside]);
        #[allow(clippy::cast_precision_loss, reason = "a few tokens")]
        let score = chances.sum::<f32>() / (last - first) as f32;
        let span = tokens[first].start..tokens[last - 1].end;
        debug_assert!(text.get(span.clone()).is_some());
        names.push(Name { entity: Names::ENTITIES[kind], span, score: score.clamp(0.0, 1.0) });
    }
}
