//! OCR with the PP-OCR models: one finds lines of text, one reads them.

mod detect;
mod recognize;
mod regions;
mod rotated_rect;
mod tiles;

use std::sync::atomic::AtomicBool;

use image::RgbImage;

pub(crate) use self::rotated_rect::{RotatedRect, float};
use self::{detect::LineDetector, recognize::LineRecognizer};
use super::{ModelError, NetworkError, Rect, network::InferenceContext};

/// Line of text in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct TextLine {
    /// Text of the line. Spaces between words may be missing.
    pub text: String,
    /// Mean probability of its characters, 0 to 1.
    pub confidence: f32,
    /// Area of each character of `text`.
    pub chars: Vec<Rect>,
}

/// OCR models, loaded.
pub struct Ocr {
    detector: LineDetector,
    recognizer: LineRecognizer,
}

impl Ocr {
    /// Loads the models: ONNX files of PP-OCR for detection and recognition, and the characters that the latter
    /// knows, one a line. Takes some 100 ms.
    pub fn from_models(detection: Vec<u8>, recognition: Vec<u8>, keys: &str) -> Result<Ocr, ModelError> {
        Ok(Ocr {
            detector: LineDetector::new(detection)?,
            recognizer: LineRecognizer::new(recognition, keys)?,
        })
    }

    /// Reads all lines of an upright image, from top to bottom. Runs on one thread, which ends with the call.
    pub fn read(&self, image: &RgbImage, stop: &AtomicBool) -> Result<Vec<TextLine>, NetworkError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let context = InferenceContext::new(stop);
        let mut lines = Vec::new();
        for frame in self.detector.lines(image, &context)? {
            lines.extend(self.recognizer.read(image, frame, &context)?);
        }
        Ok(lines)
    }
}
