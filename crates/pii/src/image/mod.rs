//! Personal data in images: text, by OCR, and faces.
//!
//! An image is decoded within limits and turned upright, its text is read line by line and searched by the same engine
//! as any text. Findings are painted black, faces are covered, and the pixels are encoded anew, without metadata.
//! Models come as bytes.

mod decode;
mod error;
mod faces;
mod network;
pub mod ocr;
pub mod paint;
mod reading_order;
mod rect;
mod redact;

use crate::Stopped;
pub use crate::data_url::image_bytes;
pub use decode::ImageLimits;
pub use error::{ImageError, ModelError, NetworkError};
pub use faces::{Face, FaceDetector};
pub use rect::Rect;
pub(crate) use redact::cover_face;
pub use redact::{
    FaceMode, FaceOptions, ImageFinding, ImageModels, ImageOcrOptions, ImageOptions, RedactedImage,
    redact_image,
};
