//! Why an image or a model is refused.

use thiserror::Error;

/// A model file that cannot be used. Its bytes should be checked against a checksum before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// The bytes are no ONNX model, or one that needs operators which are not there.
    #[error("the {model} model cannot be loaded: {cause}")]
    Unreadable {
        /// Which one, in a word.
        model: &'static str,
        /// What the runtime said.
        cause: String,
    },
    /// A model for something else.
    #[error("the {model} model is not one that this version understands: {cause}")]
    Unsuitable {
        /// Which one, in a word.
        model: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

/// The caller's flag was set before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("stopped before it was done")]
pub struct Stopped;
