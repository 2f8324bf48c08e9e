//! Personal data in images: text that is read, and faces.
//!
//! An image is decoded within limits, turned upright, its text read line by line and searched by the same engine as any
//! text. What is found is painted black, faces are covered, and the pixels are encoded anew, so that metadata stays
//! behind. Models come as bytes.

mod decode;
mod error;
mod faces;
mod network;
pub mod ocr;
pub mod paint;
mod reading;
mod rect;
mod redact;

use crate::Stopped;
pub use crate::data_url::image_bytes;
pub use decode::ImageLimits;
pub use error::{ImageError, ModelError, NetworkError};
pub use faces::{Face, FaceDetector};
pub use rect::Rect;
pub(crate) use redact::cover;
pub use redact::{
    FaceMode, FaceOptions, ImageFinding, ImageModels, ImageOptions, OcrOptions, RedactedImage, redact_image,
};
