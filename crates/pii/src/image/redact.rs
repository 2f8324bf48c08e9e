//! Takes personal data out of an image.

use std::{collections::HashSet, sync::atomic::AtomicBool};

use image::RgbImage;
use serde::Serialize;

use super::{
    Face, FaceDetector, ImageError, ImageLimits, NetworkError, Rect, Stopped,
    decode::{decode, encode},
    ocr::{Line, Ocr},
    paint, reading,
};
use crate::{Engine, Entity, Selection};

/// What is looked for in an image besides its size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImageOptions {
    /// How faces are covered, if they are.
    pub faces: Option<FaceOptions>,
    /// How text is read, if it is.
    pub ocr: Option<OcrOptions>,
    /// What is accepted at all.
    pub limits: ImageLimits,
}

/// How faces are found and covered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceOptions {
    /// What becomes of a face.
    pub mode: FaceMode,
    /// How little is left by pixelating and blurring, 0 to 1: 8 colours along the longer side of a face to 3, whatever
    /// its size. Even 0 cannot be undone.
    pub strength: f32,
    /// Least probability of a face, 0 to 1.
    pub threshold: f32,
}

impl Default for FaceOptions {
    fn default() -> Self {
        FaceOptions { mode: FaceMode::Fill, strength: 0.5, threshold: 0.4 }
    }
}

/// What becomes of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaceMode {
    /// Painted black.
    Fill,
    /// Replaced by few squares of one colour.
    Pixelate,
    /// Replaced by few colours that run into each other.
    Blur,
}

/// How text is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OcrOptions {
    /// Lines that are read with less confidence than this, 0 to 1, are taken for no text.
    pub min_confidence: f32,
}

impl Default for OcrOptions {
    fn default() -> Self {
        OcrOptions { min_confidence: 0.5 }
    }
}

/// The models that are installed.
#[derive(Default)]
pub struct ImageModels {
    /// Reads text.
    pub ocr: Option<Ocr>,
    /// Finds faces.
    pub faces: Option<FaceDetector>,
}

/// An image without what was found in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RedactedImage {
    /// The image, encoded anew: nothing but pixels is left of the original.
    pub bytes: Vec<u8>,
    /// `image/jpeg` for JPEG, `image/png` for everything else.
    pub mime: &'static str,
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// What was found in its text.
    pub findings: Vec<ImageFinding>,
    /// The faces that were covered.
    pub faces: Vec<Face>,
}

/// A piece of personal data or a secret in an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFinding {
    /// What it is.
    pub entity: Entity,
    /// What was painted over: a rectangle for each line, or for each character where a line leans.
    pub boxes: Vec<Rect>,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// The recogniser that found it.
    pub recognizer: &'static str,
}

/// Finds what `selection` asks for in the text of an image and paints it black, and covers faces.
///
/// What `options` ask for without a model for it is an error: an image that was not looked at does not pass for a clean
/// one. Work ends soon after `stop` is set.
pub fn redact_image(
    engine: &Engine,
    models: &ImageModels,
    bytes: &[u8],
    selection: &Selection,
    options: &ImageOptions,
    stop: &AtomicBool,
) -> Result<RedactedImage, ImageError> {
    let ocr = match options.ocr {
        Some(ocr) => Some((ocr, models.ocr.as_ref().ok_or(ImageError::NoOcrModel)?)),
        None => None,
    };
    let detector = match options.faces {
        Some(faces) => Some((faces, models.faces.as_ref().ok_or(ImageError::NoFaceModel)?)),
        None => None,
    };
    let (mut image, output) = decode(bytes, &options.limits)?;
    Stopped::check(stop)?;
    let findings = match ocr {
        Some((ocr, model)) => find_text(engine, model, &image, selection, ocr, stop)?,
        None => Vec::new(),
    };
    let faces = match detector {
        Some((faces, model)) => model.find(&image, faces.threshold, stop)?,
        None => Vec::new(),
    };
    for (face, options) in faces.iter().zip(options.faces.iter().cycle()) {
        cover(&mut image, face.rect, *options);
    }
    for rect in findings.iter().flat_map(|finding| &finding.boxes) {
        paint::fill(&mut image, *rect);
    }
    Stopped::check(stop)?;
    let (width, height) = image.dimensions();
    Ok(RedactedImage { bytes: encode(&image, output), mime: output.mime(), width, height, findings, faces })
}

/// Covers a face.
pub(crate) fn cover(image: &mut RgbImage, rect: Rect, options: FaceOptions) {
    match options.mode {
        FaceMode::Fill => paint::fill(image, rect),
        FaceMode::Pixelate => paint::pixelate(image, rect, options.strength),
        FaceMode::Blur => paint::blur(image, rect, options.strength),
    }
}

fn find_text(
    engine: &Engine,
    model: &Ocr,
    image: &RgbImage,
    selection: &Selection,
    options: OcrOptions,
    stop: &AtomicBool,
) -> Result<Vec<ImageFinding>, NetworkError> {
    let mut lines = model.read(image, stop)?;
    lines.retain(|line| line.confidence >= options.min_confidence);
    let mut covered = HashSet::new();
    let mut findings = Vec::new();
    for reading in reading::readings(&lines) {
        for finding in engine.analyze(&reading.text, selection) {
            let places: Vec<_> = reading.places(finding.start_char, finding.end_char).collect();
            // Another order of the lines shows it again.
            if places.iter().all(|place| covered.contains(place)) {
                continue;
            }
            let found = ImageFinding {
                entity: finding.entity,
                boxes: boxes(&lines, &places, image.dimensions()),
                score: finding.score,
                recognizer: finding.recognizer,
            };
            add(&mut findings, found);
            covered.extend(places);
        }
    }
    Ok(findings)
}

/// Adds a finding. One that stands where the same was found is a line that was read twice: both are covered, and
/// reported as one.
fn add(findings: &mut Vec<ImageFinding>, mut found: ImageFinding) {
    let area = |boxes: &[Rect]| boxes.iter().copied().map(Rect::area).sum::<u64>();
    let same = findings.iter_mut().find(|known| {
        let pairs =
            known.boxes.iter().flat_map(|one| found.boxes.iter().map(move |other| one.shared(*other)));
        known.entity == found.entity && 2 * pairs.sum::<u64>() > area(&known.boxes).min(area(&found.boxes))
    });
    match same {
        Some(known) => known.boxes.append(&mut found.boxes),
        None => findings.push(found),
    }
}

/// The rectangles around characters, a little larger than these: where one ends is only known to some pixels.
fn boxes(lines: &[Line], places: &[(usize, usize)], size: (u32, u32)) -> Vec<Rect> {
    let mut boxes = Vec::new();
    for part in places.chunk_by(|a, b| a.0 == b.0) {
        let chars: Vec<Rect> = part.iter().map(|(line, index)| lines[*line].chars[*index]).collect();
        let Some(all) = chars.iter().copied().reduce(Rect::union) else { continue };
        // Around a line that leans, one rectangle would cover its neighbours.
        let leans = all.area() * 2 > chars.iter().copied().map(Rect::area).sum::<u64>() * 3;
        let parts = if leans { chars } else { vec![all] };
        boxes.extend(parts.into_iter().map(|rect| {
            let margin = rect.width.min(rect.height) / 6 + 1;
            rect.padded(margin, margin, size)
        }));
    }
    boxes
}
