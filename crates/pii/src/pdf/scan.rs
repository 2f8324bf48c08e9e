//! What can be seen in the picture of a page.

use std::sync::atomic::AtomicBool;

use hayro::kurbo::{Point, Rect};
use image::RgbImage;

use super::glyphs::Placed;
use super::{OcrOptions, PdfError, PdfFace, PdfFinding, PdfRect, Source};
use crate::image::ocr::Ocr;
use crate::image::{Face, FaceDetector, FaceOptions, Rect as PixelRect, cover};

/// How much of a finding in the picture is one of the text as well when both are the same.
const SAME: f64 = 0.5;

/// The characters in a picture, and how many each line has.
pub(super) fn read(
    ocr: &Ocr,
    options: OcrOptions,
    picture: &RgbImage,
    scale: f64,
    stop: &AtomicBool,
) -> Result<(Vec<Placed>, Vec<usize>), PdfError> {
    let (mut chars, mut lengths) = (Vec::new(), Vec::new());
    for line in ocr.read(picture, stop)? {
        if line.confidence < options.min_confidence {
            continue;
        }
        let before = chars.len();
        for (char, area) in line.text.chars().zip(&line.chars) {
            let area = points(*area, scale);
            chars.push(Placed {
                text: char.to_string(),
                area,
                start: Point::new(area.x0, area.y1),
                end: Point::new(area.x1, area.y1),
                size: area.height(),
                visible: true,
            });
        }
        lengths.push(chars.len() - before);
    }
    Ok((chars, lengths))
}

/// In points.
fn points(area: PixelRect, scale: f64) -> Rect {
    let side = |pixels: u32| f64::from(pixels) / scale;
    Rect::new(side(area.x), side(area.y), side(area.right()), side(area.bottom()))
}

/// Covers the faces in the picture of a page.
pub(super) fn cover_faces(
    detector: &FaceDetector,
    options: FaceOptions,
    picture: &mut RgbImage,
    (page, scale): (u32, f64),
    stop: &AtomicBool,
) -> Result<Vec<PdfFace>, PdfError> {
    let faces = detector.find(picture, options.threshold, stop)?;
    for face in &faces {
        cover(picture, face.rect, options);
    }
    let placed = |face: &Face| PdfFace { page, area: points(face.rect, scale).into(), score: face.score };
    Ok(faces.iter().map(placed).collect())
}

/// Leaves out what was read in the picture and in the text: it is reported once, as text.
pub(super) fn without_repeats(found: Vec<PdfFinding>) -> Vec<PdfFinding> {
    let area = |boxes: &[PdfRect]| boxes.iter().map(|area| area.width * area.height).sum::<f64>();
    let shared = |one: &PdfFinding, other: &PdfFinding| {
        let pairs = one.boxes.iter().flat_map(|a| other.boxes.iter().map(move |b| (*a, *b)));
        pairs.map(|(a, b)| Rect::from(a).intersect(Rect::from(b)).area()).sum::<f64>()
    };
    let repeats = |finding: &PdfFinding| {
        finding.source == Source::Ocr
            && found.iter().any(|text| {
                text.source == Source::Text
                    && text.entity == finding.entity
                    && shared(text, finding) >= SAME * area(&finding.boxes).min(area(&text.boxes))
            })
    };
    let repeated: Vec<bool> = found.iter().map(repeats).collect();
    found.into_iter().zip(repeated).filter(|(_, repeated)| !repeated).map(|(finding, _)| finding).collect()
}
