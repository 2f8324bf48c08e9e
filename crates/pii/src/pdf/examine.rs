//! Findings in the characters of a page.

use hayro::kurbo::Rect;

use super::glyphs::Placed;
use super::reading::Reading;
use super::{PdfFinding, PdfRect, Source};
use crate::{Engine, Finding, Selection};

/// Two boxes are painted as one when that covers no more than this much of both.
const JOINED: f64 = 1.5;
/// Letters may reach out of their box; this much of its height is covered around it.
const MARGIN: f64 = 0.06;

/// What was found, with the glyphs that show it.
struct Found {
    glyphs: Vec<usize>,
    finding: Finding,
}

/// Examines characters in all orders in which they can be read.
pub(super) fn examine(
    glyphs: &[Placed],
    readings: Vec<Reading>,
    (page, source): (u32, Source),
    engine: &Engine,
    selection: &Selection,
) -> Vec<PdfFinding> {
    let mut all: Vec<Found> = Vec::new();
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
                add(&mut all, Found { glyphs: shown, finding });
            }
        }
    }
    let mut all = without_parts(all);
    all.sort_by_key(|found| found.glyphs.first().copied());
    let each = all.into_iter().map(|Found { glyphs: shown, finding }| PdfFinding {
        page,
        entity: finding.entity,
        boxes: boxes(shown.iter().map(|index| glyphs[*index].area)),
        score: finding.score,
        recognizer: finding.recognizer,
        source,
    });
    each.collect()
}

fn shown_by(reading: &Reading, finding: &Finding) -> Vec<usize> {
    let shown = reading.shown_by.get(finding.start_char..finding.end_char).unwrap_or_default();
    let mut shown: Vec<usize> = shown.iter().flatten().copied().collect();
    // A ligature shows several characters.
    shown.dedup();
    shown
}

/// Adds a finding, unless it was there in another order of reading.
fn add(all: &mut Vec<Found>, new: Found) {
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

/// Leaves out what is only a part of something else, as the rest of a number that began a line before.
fn without_parts(all: Vec<Found>) -> Vec<Found> {
    let part = |found: &Found| {
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
            Some(last) if last.union(area).area() <= JOINED * (last.area() + area.area()) => {
                *last = last.union(area);
            }
            _ => joined.push(area),
        }
    }
    joined.into_iter().map(PdfRect::from).collect()
}
