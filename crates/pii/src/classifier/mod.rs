//! Token classifiers: networks of BERT's kind that label the tokens of a text, in ONNX, as bytes.
//!
//! Text is read in overlapping windows around the regions that may hold a name. The stop flag is read before each.

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

use decode::LabelledWord;
use labels::Labels;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::{NdTensor, prelude::*};
use wordpiece::{Vocabulary, WordPiece};

use crate::{Entity, EntitySpan, Stopped};

/// Reason a token classifier could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifierError {
    /// Bytes that are no ONNX model, or one with operators that the runtime does not have.
    #[error("the network cannot be loaded: {0}")]
    Network(String),
    /// Network that is no token classifier, or does not fit its vocabulary and configuration.
    #[error("the network is not a token classifier: {0}")]
    Unsuitable(String),
    /// Vocabulary that is not of BERT's kind.
    #[error("the vocabulary cannot be read: {0}")]
    Vocabulary(String),
    /// Configuration that does not name the labels.
    #[error("the configuration cannot be read: {0}")]
    Config(String),
}

/// Token classifier, loaded.
pub struct Classifier {
    network: Model,
    vocabulary: Vocabulary,
    labels: Labels,
    /// Inputs of token ids, attention mask and sentence types; the last two are not in every network.
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
    /// [`ClassifierError`], which says which of the three does not fit.
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
        loaded.check_inputs().map_err(ClassifierError::Unsuitable)?;
        Ok(loaded)
    }

    /// Runs the network on the shortest and the longest window, filled with the highest token id: the inputs that it
    /// will get are accepted then.
    fn check_inputs(&self) -> Result<(), String> {
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        self.run(&[], &pool)?;
        let longest = vec![WordPiece { id: self.vocabulary.max_id(), word: 0..0 }; self.max_pieces()];
        let fails = |error| format!("it does not take {} pieces of its vocabulary: {error}", longest.len());
        self.run(&longest, &pool).map(|_| ()).map_err(fails)
    }

    /// Most word pieces of a window.
    fn max_pieces(&self) -> usize {
        self.labels.window - self.vocabulary.boundary_ids.len()
    }

    /// True if one of the labels means this entity.
    pub(crate) fn knows(&self, entity: Entity) -> bool {
        self.labels.all.iter().any(|label| label.entity == Some(entity))
    }

    /// Finds entities in and around `regions`, which are in order, on at most `threads` threads.
    ///
    /// # Errors
    /// [`Stopped`] soon after `stop` is set.
    pub(crate) fn find(
        &self,
        text: &str,
        regions: &[Range<usize>],
        stop: &AtomicBool,
        threads: NonZeroUsize,
    ) -> Result<Vec<EntitySpan>, Stopped> {
        let windows = windows::around(text, regions);
        let threads = threads.get().min(windows.len());
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            // The runtime's own pool would be shared by all calls and outlive them.
            let pool = Arc::new(ThreadPool::with_num_threads(1));
            let mut labelled = Vec::new();
            while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                self.read(text, window, stop, &pool, &mut labelled);
            }
            found.lock().expect("no thread panics while it adds").append(&mut labelled);
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
        let mut labelled = found.into_inner().expect("no thread panics while it adds");
        Ok(decode::join(text, &mut labelled))
    }

    /// Adds the labelled words of one window.
    fn read(
        &self,
        text: &str,
        window: &Range<usize>,
        stop: &AtomicBool,
        pool: &Arc<ThreadPool>,
        labelled: &mut Vec<LabelledWord>,
    ) {
        let pieces = self.vocabulary.pieces(text, window.clone());
        // A window of common text fits; one of rare characters may take several steps.
        for pieces in pieces.chunks(self.max_pieces()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            // Checked when the network was loaded; a failure here finds nothing rather than ending the call.
            if let Ok(probabilities) = self.run(pieces, pool) {
                decode::words(pieces, &probabilities, &self.labels.all, labelled);
            }
        }
    }

    /// Probability of each label of each word piece, by piece.
    fn run(&self, pieces: &[WordPiece], pool: &Arc<ThreadPool>) -> Result<Vec<f32>, String> {
        let [first, last] = self.vocabulary.boundary_ids;
        let ids = std::iter::once(first).chain(pieces.iter().map(|piece| piece.id)).chain([last]);
        let ids: Vec<i32> = ids.map(u32::cast_signed).collect();
        let shape = [1, ids.len()];
        let constant = |value: i32| NdTensor::full(shape, value);
        let mut inputs = vec![(self.tokens, NdTensor::from_data(shape, ids).into())];
        inputs.extend(self.mask.map(|node| (node, constant(1).into())));
        inputs.extend(self.sentences.map(|node| (node, constant(0).into())));
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
        let [output] =
            self.network.run_n(inputs, [self.output], Some(options)).map_err(|error| error.to_string())?;
        let scores: NdTensor<f32, 3> =
            output.try_into().map_err(|_| "its output has no row for each token".to_owned())?;
        let labels = self.labels.all.len();
        if scores.shape() != [1, shape[1], labels] {
            return Err(format!("its output has no column for each of {labels} labels"));
        }
        let mut probabilities: Vec<f32> =
            scores.iter().skip(labels).take(pieces.len() * labels).copied().collect();
        probabilities.chunks_mut(labels).for_each(decode::softmax);
        Ok(probabilities)
    }
}
