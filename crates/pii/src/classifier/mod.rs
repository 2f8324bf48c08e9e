//! Networks that label the tokens of a text: BERT's kind, in ONNX, handed over as bytes.
//!
//! Text is read in overlapping windows around the places that may hold something, and each window is one step between
//! two looks at the stop flag.

mod classes;
mod decode;
mod labels;
mod windows;
mod wordpiece;

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use decode::Part;
use labels::Labels;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::{NdTensor, prelude::*};
use wordpiece::{Piece, Vocabulary};

use crate::{Entity, Stopped};

/// Why a network could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifierError {
    /// The bytes are no ONNX model, or one that needs operators which are not there.
    #[error("the network cannot be loaded: {0}")]
    Network(String),
    /// A network for something else.
    #[error("the network is no classifier of tokens: {0}")]
    Unsuitable(String),
    /// The vocabulary is none of BERT's kind.
    #[error("the vocabulary cannot be read: {0}")]
    Vocabulary(String),
    /// The configuration does not say what the labels mean.
    #[error("the configuration cannot be read: {0}")]
    Config(String),
}

/// What a network found, in bytes of the text.
pub(crate) struct Labelled {
    pub(crate) entity: Entity,
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
}

/// A network that labels tokens.
pub struct Classifier {
    network: Model,
    vocabulary: Vocabulary,
    labels: Labels,
    /// Where the tokens, the mask and the kinds of sentences go in; the last two are not in every network.
    tokens: NodeId,
    mask: Option<NodeId>,
    sentences: Option<NodeId>,
    output: NodeId,
}

impl Classifier {
    /// Loads a network in ONNX with its vocabulary (`vocab.txt`, or a `tokenizer.json` of the `WordPiece` kind) and its
    /// `config.json`, whose `id2label` names the labels: those that mean an [`Entity`] are used, others are ignored.
    ///
    /// # Errors
    /// A [`ClassifierError`] that says which of the three does not fit.
    pub fn from_onnx(network: Vec<u8>, vocabulary: &str, config: &str) -> Result<Self, ClassifierError> {
        let labels = Labels::parse(config)?;
        let vocabulary = Vocabulary::parse(vocabulary)?;
        let network = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(network)
            .map_err(|error| ClassifierError::Network(error.to_string()))?;
        let input = |name: &str| network.find_node(name).filter(|id| network.input_ids().contains(id));
        let tokens = input("input_ids")
            .ok_or_else(|| ClassifierError::Unsuitable("it has no input `input_ids`".to_owned()))?;
        let (mask, sentences) = (input("attention_mask"), input("token_type_ids"));
        let output = network.find_node("logits").or_else(|| network.output_ids().first().copied());
        let output = output.ok_or_else(|| ClassifierError::Unsuitable("it has no output".to_owned()))?;
        let loaded = Self { network, vocabulary, labels, tokens, mask, sentences, output };
        loaded.try_out().map_err(ClassifierError::Unsuitable)?;
        Ok(loaded)
    }

    /// Reads nothing, then the longest window, of the vocabulary's last piece: whether all that will come is taken.
    fn try_out(&self) -> Result<(), String> {
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        self.run(&[], &pool)?;
        let longest = vec![Piece { id: self.vocabulary.last(), word: 0..0 }; self.room()];
        let fails = |error| format!("it does not take {} pieces of its vocabulary: {error}", longest.len());
        self.run(&longest, &pool).map(|_| ()).map_err(fails)
    }

    /// Most pieces of a window.
    fn room(&self) -> usize {
        self.labels.window - self.vocabulary.ends.len()
    }

    /// Whether one of its labels means this entity.
    pub(crate) fn knows(&self, entity: Entity) -> bool {
        self.labels.all.iter().any(|label| label.entity == Some(entity))
    }

    /// What it finds around `hints`, which are in order, on at most `threads` threads.
    pub(crate) fn find(
        &self,
        text: &str,
        hints: &[Range<usize>],
        stop: &AtomicBool,
        threads: NonZeroUsize,
    ) -> Result<Vec<Labelled>, Stopped> {
        let windows = windows::around(text, hints);
        let threads = threads.get().min(windows.len());
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            // The runtime's own pool would be shared by all calls and outlive them.
            let pool = Arc::new(ThreadPool::with_num_threads(1));
            let mut parts = Vec::new();
            while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                self.read(text, window, stop, &pool, &mut parts);
            }
            found.lock().expect("no thread panics while it adds").append(&mut parts);
        };
        if threads > 1 {
            std::thread::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(work);
                }
                work();
            });
        } else if threads == 1 {
            work();
        }
        Stopped::check(stop)?;
        let mut parts = found.into_inner().expect("no thread panics while it adds");
        Ok(decode::join(text, &mut parts))
    }

    /// Labels the words of one window.
    fn read(
        &self,
        text: &str,
        window: &Range<usize>,
        stop: &AtomicBool,
        pool: &Arc<ThreadPool>,
        parts: &mut Vec<Part>,
    ) {
        let pieces = self.vocabulary.pieces(text, window.clone());
        // A window of common text fits; one of rare characters may take several steps.
        for pieces in pieces.chunks(self.room()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            // Checked when the network was loaded; a failure here finds nothing rather than ending the call.
            if let Ok(chances) = self.run(pieces, pool) {
                decode::words(pieces, &chances, &self.labels.all, parts);
            }
        }
    }

    /// The probability of each label of each piece, by piece.
    fn run(&self, pieces: &[Piece], pool: &Arc<ThreadPool>) -> Result<Vec<f32>, String> {
        let [first, last] = self.vocabulary.ends;
        let ids = std::iter::once(first).chain(pieces.iter().map(|piece| piece.id)).chain([last]);
        let ids: Vec<i32> = ids.map(u32::cast_signed).collect();
        let shape = [1, ids.len()];
        let filled = |value: i32| NdTensor::full(shape, value);
        let mut inputs = vec![(self.tokens, NdTensor::from_data(shape, ids).into())];
        inputs.extend(self.mask.map(|node| (node, filled(1).into())));
        inputs.extend(self.sentences.map(|node| (node, filled(0).into())));
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
        let [output] =
            self.network.run_n(inputs, [self.output], Some(options)).map_err(|error| error.to_string())?;
        let scores: NdTensor<f32, 3> =
            output.try_into().map_err(|_| "its output is no row a token".to_owned())?;
        let labels = self.labels.all.len();
        if scores.shape() != [1, shape[1], labels] {
            return Err(format!("its output has no column for each of {labels} labels"));
        }
        let mut chances: Vec<f32> = scores.iter().skip(labels).take(pieces.len() * labels).copied().collect();
        chances.chunks_mut(labels).for_each(decode::softmax);
        Ok(chances)
    }
}
