//! Face detection with `CenterFace` (Xu et al., "Joint Face Detection and Alignment Using Face as Point", 2019).
//!
//! The network returns maps of a quarter of the image's size: the probability of the centre of a face, the size of the
//! face, and the offset of its centre from the centre of the pixel.

use std::sync::atomic::AtomicBool;

use image::RgbImage;
use rten_tensor::NdTensor;
use serde::Serialize;

use super::{
    ModelError, NetworkError, Rect,
    network::{InferenceContext, OnnxNetwork, numbers},
    ocr::{RotatedRect, float},
};

/// Pixels that the sides of the input are multiples of.
const GRID: usize = 32;
/// Pixels of the input for each pixel of the maps, in each direction.
const STRIDE: usize = 4;
/// Least and most pixels of the longer side of the input: faces of less than 10 pixels are not found.
const LONG_SIDE: (f32, f32) = (640.0, 1280.0);
/// Highest factor by which an image is enlarged.
const MAX_UPSCALE: f32 = 4.0;
/// Highest intersection over union of two faces; of more similar ones, the likelier is kept.
const MAX_OVERLAP: f32 = 0.3;
/// Margin on each side of a face, as a part of its size: hair, ears and chin identify people too.
const MARGIN: f32 = 0.15;
const MODEL: &str = "face";

/// Face in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Face {
    /// Area with hair, ears and chin.
    pub rect: Rect,
    /// Probability that it is a face, 0 to 1.
    pub score: f32,
}

/// Face detection model, loaded.
pub struct FaceDetector {
    network: OnnxNetwork,
}

/// A face in pixels of the network's input.
#[derive(Clone, Copy)]
struct FaceCandidate {
    center: (f32, f32),
    size: (f32, f32),
    score: f32,
}

impl FaceDetector {
    /// Loads the ONNX file of `CenterFace`.
    pub fn from_model(mut model: Vec<u8>) -> Result<FaceDetector, ModelError> {
        make_input_size_dynamic(&mut model);
        let (network, outputs) = OnnxNetwork::load(MODEL, model, (2 * GRID, GRID))?;
        if maps(outputs).is_none_or(|maps| maps.columns != 2 * GRID / STRIDE) {
            let cause = "it does not return maps of a quarter of the image's size".into();
            return Err(ModelError::Unsuitable { model: MODEL, cause });
        }
        Ok(FaceDetector { network })
    }

    /// Finds faces of at least this probability in an upright image, the likeliest first. Runs on one thread, which
    /// ends with the call.
    pub fn find(
        &self,
        image: &RgbImage,
        threshold: f32,
        stop: &AtomicBool,
    ) -> Result<Vec<Face>, NetworkError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let longer = width.max(height);
        let scale = (LONG_SIDE.0 / longer).clamp(1.0, MAX_UPSCALE).min(LONG_SIDE.1 / longer);
        let (columns, rows) = (on_grid(width * scale), on_grid(height * scale));
        let pixels = RotatedRect::whole(image).crop(image, columns, rows);
        let image_planes = NdTensor::from_data([1, 3, rows, columns], pixels);
        let (across, down) = (columns / STRIDE, rows / STRIDE);
        let fits = |maps: &DetectionMaps| maps.columns == across && maps.scores.len() == across * down;
        let maps = self
            .network
            .run(&image_planes, &InferenceContext::new(stop), |outputs| maps(outputs).filter(fits))?;
        let candidates = maps.candidates(threshold);
        let (back_x, back_y) = (width / float(columns), height / float(rows));
        let faces = non_maximum_suppression(candidates).into_iter().map(|face| {
            let (half_x, half_y) = (face.size.0 * (0.5 + MARGIN), face.size.1 * (0.5 + MARGIN));
            let corner = |x: f32, y: f32| {
                ((face.center.0 + x * half_x) * back_x, (face.center.1 + y * half_y) * back_y)
            };
            let rect = Rect::around(&[corner(-1.0, -1.0), corner(1.0, 1.0)], image.dimensions());
            Face { rect, score: face.score }
        });
        Ok(faces.collect())
    }
}

/// Makes the input size of the ONNX file dynamic, in place. The file declares ten images of 32 by 32 pixels, though no
/// layer depends on that: of each `TensorShapeProto.Dimension`, the number (field 1) becomes an empty name (field 2).
fn make_input_size_dynamic(model: &mut [u8]) {
    const FIXED: [u8; 16] = [10, 2, 8, 10, 10, 2, 8, 3, 10, 2, 8, 32, 10, 2, 8, 32];
    const DYNAMIC: [u8; 16] = [10, 2, 18, 0, 10, 2, 8, 3, 10, 2, 18, 0, 10, 2, 18, 0];
    if let Some(at) = model.windows(FIXED.len()).position(|bytes| *bytes == FIXED) {
        model[at..at + DYNAMIC.len()].copy_from_slice(&DYNAMIC);
    }
}

/// Output maps of the network.
struct DetectionMaps {
    columns: usize,
    scores: Vec<f32>,
    /// Logarithms of heights, then of widths, in pixels of the maps.
    sizes: Vec<f32>,
    /// Offsets downwards, then to the right, in pixels of the maps.
    offsets: Vec<f32>,
}

fn maps(outputs: Vec<rten::Value>) -> Option<DetectionMaps> {
    let mut outputs = outputs.into_iter().map(numbers::<4>);
    let ([1, 1, rows, columns], scores) = outputs.next()?? else { return None };
    let ([1, 2, size_rows, size_columns], sizes) = outputs.next()?? else { return None };
    let ([1, 2, offset_rows, offset_columns], offsets) = outputs.next()?? else { return None };
    ((size_rows, size_columns) == (rows, columns) && (offset_rows, offset_columns) == (rows, columns))
        .then_some(DetectionMaps { columns, scores, sizes, offsets })
}

impl DetectionMaps {
    fn candidates(&self, threshold: f32) -> Vec<FaceCandidate> {
        let count = self.scores.len();
        let stride = float(STRIDE);
        let faces = self.scores.iter().enumerate().filter(|(_, score)| **score >= threshold);
        faces
            .map(|(at, score)| {
                let (x, y) = (float(at % self.columns), float(at / self.columns));
                let center = (x + self.offsets[count + at] + 0.5, y + self.offsets[at] + 0.5);
                let size = (self.sizes[count + at].exp(), self.sizes[at].exp());
                FaceCandidate {
                    center: (center.0 * stride, center.1 * stride),
                    size: (size.0 * stride, size.1 * stride),
                    score: *score,
                }
            })
            .collect()
    }
}

/// Most faces of an image. Each candidate is compared with all faces found before it.
const MAX_FACES: usize = 2000;

/// Returns the likeliest of all candidates that overlap.
fn non_maximum_suppression(mut candidates: Vec<FaceCandidate>) -> Vec<FaceCandidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(10 * MAX_FACES);
    let mut kept: Vec<FaceCandidate> = Vec::new();
    for candidate in candidates {
        if kept.len() < MAX_FACES
            && kept.iter().all(|other| intersection_over_union(&candidate, other) < MAX_OVERLAP)
        {
            kept.push(candidate);
        }
    }
    kept
}

/// Area that two faces share, as a part of the area that they cover together.
fn intersection_over_union(a: &FaceCandidate, b: &FaceCandidate) -> f32 {
    let overlap = |center: (f32, f32), size: (f32, f32)| {
        let from = (center.0 - size.0 / 2.0).max(center.1 - size.1 / 2.0);
        let to = (center.0 + size.0 / 2.0).min(center.1 + size.1 / 2.0);
        (to - from).max(0.0)
    };
    let common = overlap((a.center.0, b.center.0), (a.size.0, b.size.0))
        * overlap((a.center.1, b.center.1), (a.size.1, b.size.1));
    common / (a.size.0 * a.size.1 + b.size.0 * b.size.1 - common)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a side of an image")]
fn on_grid(side: f32) -> usize {
    ((side / float(GRID)).ceil() as usize).max(1) * GRID
}
