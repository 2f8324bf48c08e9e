//! Reads text in images with the PP-OCR models: one finds lines, one reads them.

mod detect;
mod frame;
mod recognize;
mod regions;
mod tiles;

use std::sync::atomic::AtomicBool;

use image::RgbImage;

pub(crate) use self::frame::{Frame, float};
use self::{detect::Detector, recognize::Recognizer};
use super::{ModelError, NetworkError, Rect, network::Worker};

/// A line of text in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it says. Spaces between words may be missing.
    pub text: String,
    /// Mean probability of its characters, 0 to 1.
    pub confidence: f32,
    /// Where each character of `text` stands, in its order.
    pub chars: Vec<Rect>,
}

/// Models that read text, loaded.
pub struct Ocr {
    detector: Detector,
    recognizer: Recognizer,
}

impl Ocr {
    /// Loads the models: ONNX files of PP-OCR for detection and recognition, and the characters that the latter
    /// knows, one a line. Takes some 100 ms.
    pub fn from_models(detection: Vec<u8>, recognition: Vec<u8>, keys: &str) -> Result<Ocr, ModelError> {
        Ok(Ocr { detector: Detector::new(detection)?, recognizer: Recognizer::new(recognition, keys)? })
    }

    /// All lines of an upright image, from top to bottom. Works on one thread, which ends with the call.
    pub fn read(&self, image: &RgbImage, stop: &AtomicBool) -> Result<Vec<Line>, NetworkError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let worker = Worker::new(stop);
        let mut lines = Vec::new();
        for frame in self.detector.lines(image, &worker)? {
            lines.extend(self.recognizer.read(image, frame, &worker)?);
        }
        Ok(lines)
    }
}
