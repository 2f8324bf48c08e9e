//! Rectangles in an image.

use serde::Serialize;

/// Rectangle of whole pixels of the upright image; the origin is the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Rect {
    /// Smallest rectangle around both.
    #[must_use]
    pub fn union(self, other: Rect) -> Rect {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Rect {
            x,
            y,
            width: self.right().max(other.right()) - x,
            height: self.bottom().max(other.bottom()) - y,
        }
    }

    /// One past the last column.
    #[must_use]
    pub fn right(self) -> u32 {
        self.x.saturating_add(self.width)
    }

    /// One past the last row.
    #[must_use]
    pub fn bottom(self) -> u32 {
        self.y.saturating_add(self.height)
    }

    /// Number of pixels.
    pub(crate) fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Number of pixels that both have in common.
    pub(crate) fn intersection_area(self, other: Rect) -> u64 {
        let across = self.right().min(other.right()).saturating_sub(self.x.max(other.x));
        let down = self.bottom().min(other.bottom()).saturating_sub(self.y.max(other.y));
        u64::from(across) * u64::from(down)
    }

    /// Rectangle with `across` more pixels left and right and `down` more above and below, cut to the image.
    #[must_use]
    pub fn padded(self, across: u32, down: u32, (width, height): (u32, u32)) -> Rect {
        let (x, y) = (self.x.saturating_sub(across), self.y.saturating_sub(down));
        Rect {
            x,
            y,
            width: self.right().saturating_add(across).min(width).saturating_sub(x),
            height: self.bottom().saturating_add(down).min(height).saturating_sub(y),
        }
    }

    /// Bounding rectangle of points, cut to the image; at least one pixel.
    pub(crate) fn around(points: &[(f32, f32)], (width, height): (u32, u32)) -> Rect {
        let ends = |values: &mut dyn Iterator<Item = f32>, size: u32| {
            let (low, high) =
                values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
            let low = pixel(low.floor()).min(size.saturating_sub(1));
            (low, pixel(high.ceil()).clamp(low + 1, size.max(low + 1)))
        };
        let (left, right) = ends(&mut points.iter().map(|p| p.0), width);
        let (top, bottom) = ends(&mut points.iter().map(|p| p.1), height);
        Rect { x: left, y: top, width: right - left, height: bottom - top }
    }
}

/// Converts to whole pixels; negative values and NaN become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
fn pixel(value: f32) -> u32 {
    value as u32
}
