//! Tiling of large images.
//!
//! The memory of a network grows with its input. The maps of the tiles are put together before lines are searched, so
//! that a line may go on in the next tile.

use std::ops::Range;

use super::detect::GRID;

/// Most pixels of the side of a tile.
const MAX_TILE: usize = 1600;
/// Pixels that two neighbouring tiles share.
const TILE_OVERLAP: usize = 128;

/// Span of one side of an image that a tile covers, in pixels.
#[derive(Debug, PartialEq)]
pub(super) struct TileSpan {
    /// First pixel of the tile.
    pub(super) from: usize,
    /// One past its last pixel.
    pub(super) to: usize,
    /// Pixels that are kept: the tiles of a side together keep each pixel once.
    pub(super) kept: Range<usize>,
}

impl TileSpan {
    pub(super) fn length(&self) -> usize {
        self.to - self.from
    }
}

/// Tiles of a side, in order. Their lengths are multiples of [`GRID`], as the side's is.
pub(super) fn tile_spans(length: usize) -> Vec<TileSpan> {
    let count = length.saturating_sub(TILE_OVERLAP).div_ceil(MAX_TILE - TILE_OVERLAP).max(1);
    let size = (length + (count - 1) * TILE_OVERLAP).div_ceil(count).next_multiple_of(GRID);
    let start = |tile: usize| if count == 1 { 0 } else { tile * (length - size) / (count - 1) };
    // Half-way between the end of one and the beginning of the next.
    let border = |tile: usize| match tile {
        0 => 0,
        _ if tile == count => length,
        _ => usize::midpoint(start(tile - 1) + size, start(tile)),
    };
    (0..count)
        .map(|tile| TileSpan {
            from: start(tile),
            to: start(tile) + size,
            kept: border(tile)..border(tile + 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_is_kept_once_and_seen_with_what_is_around_it() {
        for length in [32, 1600, 1632, 1728, 3072, 3104, 4000, 12_000, 100_000] {
            let tile_spans = tile_spans(length);
            let mut next = 0;
            for tile in &tile_spans {
                assert_eq!(tile.kept.start, next, "{length}");
                next = tile.kept.end;
                assert!(tile.from <= tile.kept.start && tile.kept.end <= tile.to, "{length}: {tile:?}");
                assert!(tile.length() <= MAX_TILE && tile.length() % GRID == 0, "{length}: {tile:?}");
                let margin = TILE_OVERLAP / 2;
                assert!(tile.from == 0 || tile.kept.start - tile.from >= margin, "{length}: {tile:?}");
                assert!(tile.to == length || tile.to - tile.kept.end >= margin, "{length}: {tile:?}");
            }
            assert_eq!(next, length);
            assert_eq!(tile_spans.len() > 1, length > MAX_TILE, "{length}");
        }
    }
}
