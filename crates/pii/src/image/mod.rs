//! Personal data in images: text that is read, and faces.

mod error;
mod network;
pub mod ocr;
pub mod paint;
mod rect;

pub use error::{ModelError, Stopped};
pub use rect::Rect;
