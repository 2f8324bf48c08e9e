//! Finds faces with `CenterFace` (Xu et al., "Joint Face Detection and Alignment Using Face as Point", 2019).
//!
//! The network answers with maps of a quarter of the image's size: how likely the middle of a face is, how large the
//! face would be, and how far its middle is from the middle of the pixel.

use std::sync::atomic::AtomicBool;

use image::RgbImage;
use rten_tensor::NdTensor;
use serde::Serialize;

use super::{
    ModelError, NetworkError, Rect,
    network::{Network, Worker, numbers},
    ocr::{Frame, float},
};

/// Sides of what the network looks at are multiples of this.
const GRID: usize = 32;
/// Pixels of the image for each of the maps, each way.
const STRIDE: usize = 4;
/// The longer side of an image is brought between these, in pixels: faces of less than 10 are not found.
const LONGER: (f32, f32) = (640.0, 1280.0);
/// No image is enlarged more than this.
const ENLARGED: f32 = 4.0;
/// Of two faces that share more than this part of both, the likelier one is taken.
const SAME: f32 = 0.3;
/// A face takes this much of its size more on each side: hair, ears and chin are recognised too.
const MARGIN: f32 = 0.15;
const MODEL: &str = "face";

/// A face in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Face {
    /// Where it is, with hair, ears and chin.
    pub rect: Rect,
    /// Probability that it is one, 0 to 1.
    pub score: f32,
}

/// The model that finds faces, loaded.
pub struct FaceDetector {
    network: Network,
}

/// A face in pixels of what the network looked at.
#[derive(Clone, Copy)]
struct Candidate {
    center: (f32, f32),
    size: (f32, f32),
    score: f32,
}

impl FaceDetector {
    /// Loads the ONNX file of `CenterFace`.
    pub fn from_model(mut model: Vec<u8>) -> Result<FaceDetector, ModelError> {
        free_size(&mut model);
        let (network, outputs) = Network::load(MODEL, model, (2 * GRID, GRID))?;
        if maps(outputs).is_none_or(|maps| maps.columns != 2 * GRID / STRIDE) {
            let cause = "it does not answer with maps of a quarter of the image's size".into();
            return Err(ModelError::Unsuitable { model: MODEL, cause });
        }
        Ok(FaceDetector { network })
    }

    /// Faces of at least this probability in an upright image, the likeliest first. Works on one thread, which ends
    /// with the call.
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
        let scale = (LONGER.0 / longer).clamp(1.0, ENLARGED).min(LONGER.1 / longer);
        let (columns, rows) = (on_grid(width * scale), on_grid(height * scale));
        let pixels = Frame::whole(image).crop(image, columns, rows);
        let image_planes = NdTensor::from_data([1, 3, rows, columns], pixels);
        let (across, down) = (columns / STRIDE, rows / STRIDE);
        let fits = |maps: &Maps| maps.columns == across && maps.likely.len() == across * down;
        let maps =
            self.network.run(&image_planes, &Worker::new(stop), |outputs| maps(outputs).filter(fits))?;
        let candidates = maps.candidates(threshold);
        let (back_x, back_y) = (width / float(columns), height / float(rows));
        let faces = distinct(candidates).into_iter().map(|face| {
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

/// The file says that it is for ten images of 32 by 32 pixels, though its network has no layer that depends on any of
/// these numbers. Makes them unknown, in place: of each `TensorShapeProto.Dimension`, the number (field 1) becomes an
/// empty name (field 2).
fn free_size(model: &mut [u8]) {
    const SHAPE: [u8; 16] = [10, 2, 8, 10, 10, 2, 8, 3, 10, 2, 8, 32, 10, 2, 8, 32];
    const FREE: [u8; 16] = [10, 2, 18, 0, 10, 2, 8, 3, 10, 2, 18, 0, 10, 2, 18, 0];
    if let Some(at) = model.windows(SHAPE.len()).position(|bytes| *bytes == SHAPE) {
        model[at..at + FREE.len()].copy_from_slice(&FREE);
    }
}

struct Maps {
    columns: usize,
    likely: Vec<f32>,
    /// First the logarithms of heights, then of widths, in pixels of the maps.
    sizes: Vec<f32>,
    /// First downwards, then to the right, in pixels of the maps.
    offsets: Vec<f32>,
}

fn maps(outputs: Vec<rten::Value>) -> Option<Maps> {
    let mut outputs = outputs.into_iter().map(numbers::<4>);
    let ([1, 1, rows, columns], likely) = outputs.next()?? else { return None };
    let ([1, 2, size_rows, size_columns], sizes) = outputs.next()?? else { return None };
    let ([1, 2, offset_rows, offset_columns], offsets) = outputs.next()?? else { return None };
    ((size_rows, size_columns) == (rows, columns) && (offset_rows, offset_columns) == (rows, columns))
        .then_some(Maps { columns, likely, sizes, offsets })
}

impl Maps {
    fn candidates(&self, threshold: f32) -> Vec<Candidate> {
        let count = self.likely.len();
        let stride = float(STRIDE);
        let faces = self.likely.iter().enumerate().filter(|(_, score)| **score >= threshold);
        faces
            .map(|(at, score)| {
                let (x, y) = (float(at % self.columns), float(at / self.columns));
                let center = (x + self.offsets[count + at] + 0.5, y + self.offsets[at] + 0.5);
                let size = (self.sizes[count + at].exp(), self.sizes[at].exp());
                Candidate {
                    center: (center.0 * stride, center.1 * stride),
                    size: (size.0 * stride, size.1 * stride),
                    score: *score,
                }
            })
            .collect()
    }
}

/// Most faces that are told apart. Everything beyond them would still be compared with all of them.
const MOST: usize = 2000;

fn distinct(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(10 * MOST);
    let mut distinct: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if distinct.len() < MOST && distinct.iter().all(|other| shared(&candidate, other) < SAME) {
            distinct.push(candidate);
        }
    }
    distinct
}

/// Intersection over union.
fn shared(a: &Candidate, b: &Candidate) -> f32 {
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
