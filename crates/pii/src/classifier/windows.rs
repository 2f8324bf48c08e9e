//! Windows of a text that the network reads.

use std::ops::Range;

/// Bytes read on both sides of a region, as context.
const CONTEXT_BYTES: usize = 96;
/// Most bytes of a window: about the length that networks of this kind are trained on.
const MAX_WINDOW: usize = 480;
/// Bytes that two neighbouring windows share, so that a name is whole in one of them.
const OVERLAP: usize = 64;

/// Windows that hold every region with its context, in order. Regions are in order and on character boundaries.
pub(super) fn around(text: &str, regions: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut windows: Vec<Range<usize>> = Vec::new();
    let mut part: Option<Range<usize>> = None;
    for region in regions {
        let wanted = region.start.saturating_sub(CONTEXT_BYTES)
            ..region.end.saturating_add(CONTEXT_BYTES).min(text.len());
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

/// Splits a part into windows that begin and end between words where it can.
fn split(text: &str, part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (mut start, end) = (space_before(text, part.start), space_after(text, part.end));
    let mut done = start >= end;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let window = if end - start <= MAX_WINDOW {
            done = true;
            start..end
        } else {
            start
                ..space_before(text, start + MAX_WINDOW)
                    .max(text.floor_char_boundary(start + MAX_WINDOW - OVERLAP))
        };
        // Later than before, whatever the text: gaps are looked for in less than the overlap.
        start = space_before(text, window.end - OVERLAP);
        Some(window)
    })
}

/// Nearest space at or before a position, or a character boundary if no space is near.
fn space_before(text: &str, place: usize) -> usize {
    let place = text.floor_char_boundary(place);
    let near = text.floor_char_boundary(place.saturating_sub(OVERLAP / 2));
    if near == 0 {
        return if place < OVERLAP { 0 } else { place };
    }
    text[near..place].rfind(char::is_whitespace).map_or(place, |at| near + at)
}

fn space_after(text: &str, place: usize) -> usize {
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
            let mut regions: Vec<Range<usize>> = places.iter().filter(|p| **p < text.len())
                .map(|p| text.floor_char_boundary(*p)..text.ceil_char_boundary(*p + 1)).collect();
            regions.sort_by_key(|region| region.start);
            let windows = around(&text, &regions);
            for region in &regions {
                prop_assert!(windows.iter().any(|w| w.start <= region.start && region.end <= w.end), "{region:?} in {windows:?}");
            }
            for window in &windows {
                prop_assert!(text.get(window.clone()).is_some() && window.len() <= MAX_WINDOW + 2 * OVERLAP);
            }
            prop_assert!(windows.is_sorted_by(|a, b| a.start < b.start && a.end <= b.end));
            prop_assert!(windows.len() <= regions.len() * 2 + text.len() / (MAX_WINDOW - 3 * OVERLAP));
        }
    }
}
