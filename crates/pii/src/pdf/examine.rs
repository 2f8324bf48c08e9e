//! Findings in the characters of a page.

use hayro::kurbo::Rect;

use super::glyphs::PlacedGlyph;
use super::reading_order::PageReading;
use super::{FindingSource, PdfFinding, PdfRect};
use crate::{Finding, PiiEngine, Selection};

/// Most area of two boxes that are painted as one, as a part of their own areas.
const MAX_JOINED_AREA: f64 = 1.5;
/// Margin covered around a box, as a part of its height: letters may reach out of it.
const MARGIN: f64 = 0.06;

/// Finding, with the indices of the glyphs that show it.
struct GlyphFinding {
    glyphs: Vec<usize>,
    finding: Finding,
}

/// Examines the characters of a page in all their reading orders.
pub(super) fn examine(
    glyphs: &[PlacedGlyph],
    readings: Vec<PageReading>,
    (page, source): (u32, FindingSource),
    engine: &PiiEngine,
    selection: &Selection,
) -> Vec<PdfFinding> {
    let mut all: Vec<GlyphFinding> = Vec::new();
    for reading in readings {
        let (flowing, breaks) = reading.flowing();
        let goes_on =
            |finding: &Finding| breaks.iter().any(|at| finding.start_char < *at && *at < finding.end_char);
        let across = engine.analyze(&flowing.text, selection).into_iter().filter(goes_on);
        let within = engine.analyze(&reading.text, selection).into_iter();
        let found =
            within.map(|finding| (&reading, finding)).chain(across.map(|finding| (&flowing, finding)));
        for (reading, finding) in found {
            let shown = shown_by(reading, &finding);
            if shown.iter().any(|index| glyphs[*index].visible) {
                add(&mut all, GlyphFinding { glyphs: shown, finding });
            }
        }
    }
    let mut all = without_parts(all);
    all.sort_by_key(|found| found.glyphs.first().copied());
    let each = all.into_iter().map(|GlyphFinding { glyphs: shown, finding }| PdfFinding {
        page,
        entity: finding.entity,
        boxes: boxes(shown.iter().map(|index| glyphs[*index].area)),
        score: finding.score,
        recognizer: finding.recognizer,
        source,
    });
    each.collect()
}

fn shown_by(reading: &PageReading, finding: &Finding) -> Vec<usize> {
    let shown = reading.shown_by.get(finding.start_char..finding.end_char).unwrap_or_default();
    let mut shown: Vec<usize> = shown.iter().flatten().copied().collect();
    // A ligature shows several characters.
    shown.dedup();
    shown
}

/// Adds a finding, unless another reading order had it.
fn add(all: &mut Vec<GlyphFinding>, new: GlyphFinding) {
    let inside = |few: &[usize], many: &[usize]| few.iter().all(|glyph| many.contains(glyph));
    let same = all.iter_mut().find(|known| {
        known.finding.entity == new.finding.entity
            && (inside(&known.glyphs, &new.glyphs) || inside(&new.glyphs, &known.glyphs))
    });
    match same {
        Some(known) if inside(&known.glyphs, &new.glyphs) && known.glyphs.len() < new.glyphs.len() => {
            *known = new;
        }
        Some(known) => known.finding.score = known.finding.score.max(new.finding.score),
        None => all.push(new),
    }
}

/// Drops findings that are a part of another one, such as the rest of a number that began a line before.
fn without_parts(all: Vec<GlyphFinding>) -> Vec<GlyphFinding> {
    let part = |found: &GlyphFinding| {
        all.iter().any(|other| {
            found.glyphs.len() < other.glyphs.len()
                && found.finding.score <= other.finding.score
                && found.glyphs.iter().all(|glyph| other.glyphs.contains(glyph))
        })
    };
    let parts: Vec<bool> = all.iter().map(part).collect();
    all.into_iter().zip(parts).filter(|(_, part)| !part).map(|(found, _)| found).collect()
}

/// Joins the boxes of characters next to each other.
pub(super) fn boxes(areas: impl Iterator<Item = Rect>) -> Vec<PdfRect> {
    let mut joined: Vec<Rect> = Vec::new();
    for area in areas {
        let margin = MARGIN * area.height().min(area.width()).max(1.0);
        let area = area.inflate(margin, margin);
        match joined.last_mut() {
            Some(last) if last.union(area).area() <= MAX_JOINED_AREA * (last.area() + area.area()) => {
                *last = last.union(area);
            }
            _ => joined.push(area),
        }
    }
    joined.into_iter().map(PdfRect::from).collect()
}
