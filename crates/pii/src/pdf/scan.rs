//! Text and faces in the picture of a page.

use std::sync::atomic::AtomicBool;

use hayro::kurbo::{Point, Rect};
use image::RgbImage;

use super::glyphs::PlacedGlyph;
use super::{FindingSource, PageFace, PdfError, PdfFinding, PdfOcrOptions, PdfRect};
use crate::image::ocr::Ocr;
use crate::image::{Face, FaceDetector, FaceOptions, Rect as PixelRect, cover_face};

/// Least shared area of a finding in the picture and one in the text that count as the same.
const MIN_SHARED_AREA: f64 = 0.5;

/// Characters in a picture, and their number in each line.
pub(super) fn read(
    ocr: &Ocr,
    options: PdfOcrOptions,
    picture: &RgbImage,
    scale: f64,
    stop: &AtomicBool,
) -> Result<(Vec<PlacedGlyph>, Vec<usize>), PdfError> {
    let (mut chars, mut lengths) = (Vec::new(), Vec::new());
    for line in ocr.read(picture, stop)? {
        if line.confidence < options.min_confidence {
            continue;
        }
        let before = chars.len();
        for (char, area) in line.text.chars().zip(&line.chars) {
            let area = points(*area, scale);
            chars.push(PlacedGlyph {
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

/// Converts pixels to points.
fn points(area: PixelRect, scale: f64) -> Rect {
    let side = |pixels: u32| f64::from(pixels) / scale;
    Rect::new(side(area.x), side(area.y), side(area.right()), side(area.bottom()))
}

/// Covers the faces in the picture of a page and returns them.
pub(super) fn cover_faces(
    detector: &FaceDetector,
    options: FaceOptions,
    picture: &mut RgbImage,
    (page, scale): (u32, f64),
    stop: &AtomicBool,
) -> Result<Vec<PageFace>, PdfError> {
    let faces = detector.find(picture, options.threshold, stop)?;
    for face in &faces {
        cover_face(picture, face.rect, options);
    }
    let placed = |face: &Face| PageFace { page, area: points(face.rect, scale).into(), score: face.score };
    Ok(faces.iter().map(placed).collect())
}

/// Drops findings in the picture that were found in the text as well: they are reported once, as text.
pub(super) fn without_repeats(found: Vec<PdfFinding>) -> Vec<PdfFinding> {
    let area = |boxes: &[PdfRect]| boxes.iter().map(|area| area.width * area.height).sum::<f64>();
    let shared = |one: &PdfFinding, other: &PdfFinding| {
        let pairs = one.boxes.iter().flat_map(|a| other.boxes.iter().map(move |b| (*a, *b)));
        pairs.map(|(a, b)| Rect::from(a).intersect(Rect::from(b)).area()).sum::<f64>()
    };
    let repeats = |finding: &PdfFinding| {
        finding.source == FindingSource::Ocr
            && found.iter().any(|text| {
                text.source == FindingSource::Text
                    && text.entity == finding.entity
                    && shared(text, finding) >= MIN_SHARED_AREA * area(&finding.boxes).min(area(&text.boxes))
            })
    };
    let repeated: Vec<bool> = found.iter().map(repeats).collect();
    found.into_iter().zip(repeated).filter(|(_, repeated)| !repeated).map(|(finding, _)| finding).collect()
}
