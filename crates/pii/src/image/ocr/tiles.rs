//! Cuts what is too large for the network into pieces.
//!
//! Memory that a network takes grows with what it looks at. The maps of the pieces are put together again before lines
//! are looked for, so that a line may go on in the next piece.

use std::ops::Range;

use super::detect::GRID;

/// Longest side that is looked at in one piece.
const WHOLE: usize = 1600;
/// How much of a piece at its edges is looked at once more in the next one.
const SHARED: usize = 128;

/// A part of a side.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// The first pixel that is looked at.
    pub(super) from: usize,
    /// One past the last.
    pub(super) to: usize,
    /// What is kept of that: the pieces of a side together keep each pixel once.
    pub(super) kept: Range<usize>,
}

impl Piece {
    pub(super) fn length(&self) -> usize {
        self.to - self.from
    }
}

/// The pieces of a side, in order. Their lengths are multiples of [`GRID`], as its own is.
pub(super) fn pieces(length: usize) -> Vec<Piece> {
    let count = length.saturating_sub(SHARED).div_ceil(WHOLE - SHARED).max(1);
    let size = (length + (count - 1) * SHARED).div_ceil(count).next_multiple_of(GRID);
    let start = |piece: usize| if count == 1 { 0 } else { piece * (length - size) / (count - 1) };
    // Half-way between the end of one and the beginning of the next.
    let border = |piece: usize| match piece {
        0 => 0,
        _ if piece == count => length,
        _ => usize::midpoint(start(piece - 1) + size, start(piece)),
    };
    (0..count)
        .map(|piece| Piece {
            from: start(piece),
            to: start(piece) + size,
            kept: border(piece)..border(piece + 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_is_kept_once_and_seen_with_what_is_around_it() {
        for length in [32, 1600, 1632, 1728, 3072, 3104, 4000, 12_000, 100_000] {
            let pieces = pieces(length);
            let mut next = 0;
            for piece in &pieces {
                assert_eq!(piece.kept.start, next, "{length}");
                next = piece.kept.end;
                assert!(piece.from <= piece.kept.start && piece.kept.end <= piece.to, "{length}: {piece:?}");
                assert!(piece.length() <= WHOLE && piece.length() % GRID == 0, "{length}: {piece:?}");
                let margin = SHARED / 2;
                assert!(piece.from == 0 || piece.kept.start - piece.from >= margin, "{length}: {piece:?}");
                assert!(piece.to == length || piece.to - piece.kept.end >= margin, "{length}: {piece:?}");
            }
            assert_eq!(next, length);
            assert_eq!(pieces.len() > 1, length > WHOLE, "{length}");
        }
    }
}
