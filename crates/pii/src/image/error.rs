//! Why an image or a model is refused.

use thiserror::Error;

use crate::Stopped;

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

/// Why a network gave no answer. What it should have looked at was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// The caller's flag was set.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A model that ran when it was loaded does not run on this image, or what it answers is not what it answered
    /// then. The fault is not the image's, but of whoever installed the model or of this library.
    #[error("the {model} model failed")]
    Failed {
        /// Which one, in a word.
        model: &'static str,
    },
}

/// Why there is no redacted image. Messages are for whoever sent it and quote nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// No bytes.
    #[error("the image is empty")]
    Empty,
    /// More bytes than are accepted.
    #[error("the image has more than {limit} bytes; send a smaller one")]
    TooManyBytes {
        /// The most that is accepted.
        limit: usize,
    },
    /// Base64 or a data URL with a mistake in it.
    #[error("the image is not valid base64 or a data URL: {0}")]
    BadEncoding(&'static str),
    /// Not an image, or in a format that is not read.
    #[error("the image is in no supported format; send PNG, JPEG, WebP, GIF or BMP")]
    UnknownFormat,
    /// Too wide, too high or both.
    #[error(
        "the image has {width} x {height} pixels; at most {max_side} a side and {max_pixels} in all are accepted"
    )]
    TooLarge {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// The most pixels of a side.
        max_side: u32,
        /// The most pixels.
        max_pixels: u64,
    },
    /// Cut off or damaged.
    #[error("the image is damaged or incomplete and cannot be decoded")]
    Malformed,
    /// Text was to be found, without a model that reads it.
    #[error("text in images cannot be read: the OCR model is not installed")]
    NoOcrModel,
    /// Faces were to be found, without a model that finds them.
    #[error("faces in images cannot be found: the face model is not installed")]
    NoFaceModel,
    /// A model failed: a fault of the server, not of the image.
    #[error("the image could not be examined: the {model} model failed")]
    ModelFailed {
        /// Which one, in a word.
        model: &'static str,
    },
    /// The caller's flag was set.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<NetworkError> for ImageError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Stopped(stopped) => Self::Stopped(stopped),
            NetworkError::Failed { model } => Self::ModelFailed { model },
        }
    }
}
