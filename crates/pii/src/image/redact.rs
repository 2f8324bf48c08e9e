//! Redaction of one image.

use std::{collections::HashSet, sync::atomic::AtomicBool};

use image::RgbImage;
use serde::Serialize;

use super::{
    Face, FaceDetector, ImageError, ImageLimits, NetworkError, Rect, Stopped,
    decode::{decode, encode},
    ocr::{Ocr, TextLine},
    paint, reading_order,
};
use crate::{Entity, PiiEngine, Selection};

/// Options for redacting an image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImageOptions {
    /// Detection and covering of faces; none leaves them visible.
    pub faces: Option<FaceOptions>,
    /// Reading of text; none leaves it visible.
    pub ocr: Option<ImageOcrOptions>,
    /// Limits for the image.
    pub limits: ImageLimits,
}

/// Options for finding and covering faces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceOptions {
    /// Way of covering.
    pub mode: FaceMode,
    /// Strength of pixelating and blurring, 0 to 1: from 8 colours along the longer side of a face to 3, whatever its
    /// size. Even 0 cannot be undone.
    pub strength: f32,
    /// Least probability of a face, 0 to 1.
    pub threshold: f32,
}

impl Default for FaceOptions {
    fn default() -> Self {
        FaceOptions { mode: FaceMode::Fill, strength: 0.5, threshold: 0.4 }
    }
}

/// Way of covering a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaceMode {
    /// Paint it black.
    Fill,
    /// Replace it by few squares of one colour.
    Pixelate,
    /// Replace it by few colours that run into each other.
    Blur,
}

/// Options for reading text in images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageOcrOptions {
    /// Least confidence of a line, 0 to 1; others are ignored.
    pub min_confidence: f32,
}

impl Default for ImageOcrOptions {
    fn default() -> Self {
        ImageOcrOptions { min_confidence: 0.5 }
    }
}

/// Models that are loaded. Each may be missing.
#[derive(Default)]
pub struct ImageModels {
    /// Reads text.
    pub ocr: Option<Ocr>,
    /// Finds faces.
    pub faces: Option<FaceDetector>,
}

/// Image without its findings.
#[derive(Clone, Debug, PartialEq)]
pub struct RedactedImage {
    /// Encoded image: nothing but pixels is left of the original.
    pub bytes: Vec<u8>,
    /// Media type: `image/jpeg` for JPEG, `image/png` for all others.
    pub mime: &'static str,
    /// Pixels across, upright.
    pub width: u32,
    /// Pixels down, upright.
    pub height: u32,
    /// Findings in its text.
    pub findings: Vec<ImageFinding>,
    /// Faces that were covered.
    pub faces: Vec<Face>,
}

/// Personal data or a secret in an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFinding {
    /// Kind of data.
    pub entity: Entity,
    /// Areas that were painted over: one for each line, or for each character of a slanted line.
    pub boxes: Vec<Rect>,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// The recogniser that found it.
    pub recognizer: &'static str,
}

/// Finds what `selection` asks for in the text of an image and paints it black, and covers faces.
///
/// An option whose model is not loaded is an error: an image that was not examined must not pass for a clean one. Work
/// ends soon after `stop` is set.
pub fn redact_image(
    engine: &PiiEngine,
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
        cover_face(&mut image, face.rect, *options);
    }
    for rect in findings.iter().flat_map(|finding| &finding.boxes) {
        paint::fill(&mut image, *rect);
    }
    Stopped::check(stop)?;
    let (width, height) = image.dimensions();
    Ok(RedactedImage { bytes: encode(&image, output), mime: output.mime(), width, height, findings, faces })
}

/// Covers a face.
pub(crate) fn cover_face(image: &mut RgbImage, rect: Rect, options: FaceOptions) {
    match options.mode {
        FaceMode::Fill => paint::fill(image, rect),
        FaceMode::Pixelate => paint::pixelate(image, rect, options.strength),
        FaceMode::Blur => paint::blur(image, rect, options.strength),
    }
}

fn find_text(
    engine: &PiiEngine,
    model: &Ocr,
    image: &RgbImage,
    selection: &Selection,
    options: ImageOcrOptions,
    stop: &AtomicBool,
) -> Result<Vec<ImageFinding>, NetworkError> {
    let mut lines = model.read(image, stop)?;
    lines.retain(|line| line.confidence >= options.min_confidence);
    let mut covered = HashSet::new();
    let mut findings = Vec::new();
    for reading in reading_order::reading_orders(&lines) {
        for finding in engine.analyze(&reading.text, selection) {
            let positions: Vec<_> = reading.positions(finding.start_char, finding.end_char).collect();
            // Another order of the lines shows it again.
            if positions.iter().all(|position| covered.contains(position)) {
                continue;
            }
            let found = ImageFinding {
                entity: finding.entity,
                boxes: boxes(&lines, &positions, image.dimensions()),
                score: finding.score,
                recognizer: finding.recognizer,
            };
            add(&mut findings, found);
            covered.extend(positions);
        }
    }
    Ok(findings)
}

/// Adds a finding. One of the same entity in the same place is a line that was read twice: both areas are covered, and
/// reported as one finding.
fn add(findings: &mut Vec<ImageFinding>, mut found: ImageFinding) {
    let area = |boxes: &[Rect]| boxes.iter().copied().map(Rect::area).sum::<u64>();
    let same = findings.iter_mut().find(|known| {
        let pairs = known
            .boxes
            .iter()
            .flat_map(|one| found.boxes.iter().map(move |other| one.intersection_area(*other)));
        known.entity == found.entity && 2 * pairs.sum::<u64>() > area(&known.boxes).min(area(&found.boxes))
    });
    match same {
        Some(known) => known.boxes.append(&mut found.boxes),
        None => findings.push(found),
    }
}

/// Rectangles around characters, with a margin: OCR locates characters to some pixels only.
fn boxes(lines: &[TextLine], positions: &[(usize, usize)], size: (u32, u32)) -> Vec<Rect> {
    let mut boxes = Vec::new();
    for part in positions.chunk_by(|a, b| a.0 == b.0) {
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
