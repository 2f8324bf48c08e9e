//! Which parts of a text are read.

use std::ops::Range;

/// Bytes read on both sides of a hint, for the words that say what it is.
const AROUND: usize = 96;
/// Longest window in bytes: about the length networks of this kind are trained on.
const LONGEST: usize = 480;
/// Bytes that two windows of one part have in common, so that a name is whole in one of them.
const OVERLAP: usize = 64;

/// Windows that hold every hint with what is around it, in order. Hints are in order and on characters' boundaries.
pub(super) fn around(text: &str, hints: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut windows: Vec<Range<usize>> = Vec::new();
    let mut part: Option<Range<usize>> = None;
    for hint in hints {
        let wanted = hint.start.saturating_sub(AROUND)..hint.end.saturating_add(AROUND).min(text.len());
        match &mut part {
            Some(part) if wanted.start <= part.end => part.end = part.end.max(wanted.end),
            _ => {
                windows.extend(part.replace(wanted).into_iter().flat_map(|part| split(text, part)));
            }
        }
    }
    windows.extend(part.into_iter().flat_map(|part| split(text, part)));
    windows
}

/// A part in windows that begin and end between words where there are any.
fn split(text: &str, part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (mut start, end) = (gap_before(text, part.start), gap_after(text, part.end));
    let mut done = start >= end;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let window = if end - start <= LONGEST {
            done = true;
            start..end
        } else {
            start..gap_before(text, start + LONGEST).max(text.floor_char_boundary(start + LONGEST - OVERLAP))
        };
        // Later than before, whatever the text: gaps are looked for in less than the overlap.
        start = gap_before(text, window.end - OVERLAP);
        Some(window)
    })
}

/// The nearest space at or before a place, or a character's boundary when there is none near.
fn gap_before(text: &str, place: usize) -> usize {
    let place = text.floor_char_boundary(place);
    let near = text.floor_char_boundary(place.saturating_sub(OVERLAP / 2));
    if near == 0 {
        return if place < OVERLAP { 0 } else { place };
    }
    text[near..place].rfind(char::is_whitespace).map_or(place, |at| near + at)
}

fn gap_after(text: &str, place: usize) -> usize {
    let place = text.ceil_char_boundary(place);
    let far = text.floor_char_boundary((place + OVERLAP / 2).min(text.len())).max(place);
    text[place..far].find(char::is_whitespace).map_or(place, |at| place + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_cover_hints_and_overlap(unit in "[a-z é卡👍]{1,9}", places in prop::collection::vec(0..6000_usize, 0..9)) {
            let text = unit.repeat(6000 / unit.len());
            let mut hints: Vec<Range<usize>> = places.iter().filter(|p| **p < text.len())
                .map(|p| text.floor_char_boundary(*p)..text.ceil_char_boundary(*p + 1)).collect();
            hints.sort_by_key(|hint| hint.start);
            let windows = around(&text, &hints);
            for hint in &hints {
                prop_assert!(windows.iter().any(|w| w.start <= hint.start && hint.end <= w.end), "{hint:?} in {windows:?}");
            }
            for window in &windows {
                prop_assert!(text.get(window.clone()).is_some() && window.len() <= LONGEST + 2 * OVERLAP);
            }
            prop_assert!(windows.is_sorted_by(|a, b| a.start < b.start && a.end <= b.end));
            prop_assert!(windows.len() <= hints.len() * 2 + text.len() / (LONGEST - 3 * OVERLAP));
        }
    }
}
