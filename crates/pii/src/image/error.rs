//! Errors of images and models.

use thiserror::Error;

use crate::Stopped;

/// Reason a model file cannot be used. Check its bytes against a checksum before loading.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModelError {
    /// Bytes that are no ONNX model, or one with operators that the runtime does not have.
    #[error("the {model} model cannot be loaded: {cause}")]
    Unreadable {
        /// Short name of the model.
        model: &'static str,
        /// Error of the runtime.
        cause: String,
    },
    /// Model for another task.
    #[error("the {model} model does not fit this version: {cause}")]
    Unsuitable {
        /// Short name of the model.
        model: &'static str,
        /// Difference to the expected model.
        cause: String,
    },
}

/// Reason a network gave no result: the image was not examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Cancelled: the caller's flag was set.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Failure of a model that ran when it was loaded, or an output of another shape than it had then. The fault is
    /// in the model or this library, not in the image.
    #[error("the {model} model failed")]
    Failed {
        /// Short name of the model.
        model: &'static str,
    },
}

/// Reason an image was not redacted. Messages are for the caller and quote nothing of the image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// No bytes.
    #[error("the image is empty")]
    Empty,
    /// More bytes than the limit.
    #[error("the image has more than {limit} bytes; send a smaller one")]
    TooManyBytes {
        /// Most bytes that are accepted.
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
        /// Most pixels of a side.
        max_side: u32,
        /// Most pixels in all.
        max_pixels: u64,
    },
    /// Cut off or damaged.
    #[error("the image is damaged or incomplete and cannot be decoded")]
    Malformed,
    /// OCR was asked for, and no OCR model is loaded.
    #[error("text in images cannot be read: the OCR model is not installed")]
    NoOcrModel,
    /// Faces were to be covered, and no face model is loaded.
    #[error("faces in images cannot be found: the face model is not installed")]
    NoFaceModel,
    /// Failure of a model: a fault of the server, not of the image.
    #[error("the image could not be examined: the {model} model failed")]
    ModelFailed {
        /// Short name of the model.
        model: &'static str,
    },
    /// Cancelled: the caller's flag was set.
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
