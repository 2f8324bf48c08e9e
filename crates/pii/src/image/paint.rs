//! Irreversible covering of parts of an image.

use image::{Rgb, RgbImage};

use super::Rect;

/// Cells along the longer side of a pixelated or blurred rectangle, at the lowest and at the highest strength.
///
/// A face in 64 colours is hard to recognise. The number does not depend on the size of the face in pixels, so that no
/// strength leaves large faces recognisable.
const CELLS_ON_LONG_SIDE: (f32, f32) = (8.0, 3.0);

/// Paints a rectangle black. Parts outside of the image are ignored.
pub fn fill(image: &mut RgbImage, rect: Rect) {
    let rect = rect.padded(0, 0, image.dimensions());
    for y in rect.y..rect.y + rect.height {
        for x in rect.x..rect.x + rect.width {
            image.put_pixel(x, y, Rgb([0, 0, 0]));
        }
    }
}

/// Replaces a rectangle by few squares of one colour each.
pub(crate) fn pixelate(image: &mut RgbImage, rect: Rect, strength: f32) {
    let rect = rect.padded(0, 0, image.dimensions());
    let Some(cells) = ColorGrid::of(image, rect, strength) else { return };
    for y in 0..rect.height {
        for x in 0..rect.width {
            let cell = (x * cells.across / rect.width, y * cells.down / rect.height);
            image.put_pixel(rect.x + x, rect.y + y, Rgb(cells.at(cell.0, cell.1)));
        }
    }
}

/// Replaces a rectangle by smooth transitions between the same few colours that [`pixelate`] leaves. A blur of the
/// pixels themselves could be undone in part, by deconvolution.
pub(crate) fn blur(image: &mut RgbImage, rect: Rect, strength: f32) {
    let rect = rect.padded(0, 0, image.dimensions());
    let Some(cells) = ColorGrid::of(image, rect, strength) else { return };
    for y in 0..rect.height {
        for x in 0..rect.width {
            let (left, right, across) = between(x, rect.width, cells.across);
            let (upper, lower, down) = between(y, rect.height, cells.down);
            let corners = [(left, upper), (right, upper), (left, lower), (right, lower)]
                .map(|(x, y)| cells.at(x, y).map(u32::from));
            let color = std::array::from_fn(|i| {
                let upper = corners[0][i] * (256 - across) + corners[1][i] * across;
                let lower = corners[2][i] * (256 - across) + corners[3][i] * across;
                u8::try_from((upper * (256 - down) + lower * down) >> 16).unwrap_or(u8::MAX)
            });
            image.put_pixel(rect.x + x, rect.y + y, Rgb(color));
        }
    }
}

/// Two cells whose centres a pixel lies between, and the weight of the second, of 256.
fn between(pixel: u32, pixels: u32, cells: u32) -> (u32, u32, u32) {
    // In 256ths of a cell, from the middle of the first cell on.
    let place = ((2 * u64::from(pixel) + 1) * u64::from(cells) * 128 / u64::from(pixels)).saturating_sub(128);
    let place = u32::try_from(place).unwrap_or(u32::MAX).min((cells - 1) * 256);
    let first = place / 256;
    (first, (first + 1).min(cells - 1), place % 256)
}

/// Grid of cells on a rectangle, with their mean colours.
struct ColorGrid {
    across: u32,
    down: u32,
    colors: Vec<[u8; 3]>,
}

impl ColorGrid {
    /// Computes the grid; none for a rectangle without pixels, which may lie anywhere.
    fn of(image: &RgbImage, rect: Rect, strength: f32) -> Option<ColorGrid> {
        let longer = rect.width.max(rect.height);
        if rect.width == 0 || rect.height == 0 {
            return None;
        }
        let most =
            CELLS_ON_LONG_SIDE.0 + (CELLS_ON_LONG_SIDE.1 - CELLS_ON_LONG_SIDE.0) * strength.clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "3 to 8")]
        let most = most.round() as u32;
        let count = |side: u32| (side * most / longer).max(1);
        let (across, down) = (count(rect.width), count(rect.height));
        let mut colors = Vec::new();
        for row in 0..down {
            for column in 0..across {
                let x = edges(column, across, rect.width);
                let y = edges(row, down, rect.height);
                colors.push(mean(image, rect, x, y));
            }
        }
        Some(ColorGrid { across, down, colors })
    }

    fn at(&self, x: u32, y: u32) -> [u8; 3] {
        self.colors[(y * self.across + x) as usize]
    }
}

/// First pixel of a cell, and one past its last.
fn edges(cell: u32, cells: u32, pixels: u32) -> (u32, u32) {
    ((cell * pixels).div_ceil(cells), ((cell + 1) * pixels).div_ceil(cells))
}

fn mean(image: &RgbImage, rect: Rect, x: (u32, u32), y: (u32, u32)) -> [u8; 3] {
    let mut sum = [0_u64; 3];
    for row in y.0..y.1 {
        for column in x.0..x.1 {
            let pixel = image.get_pixel(rect.x + column, rect.y + row);
            sum.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += u64::from(value));
        }
    }
    let count = u64::from(x.1 - x.0) * u64::from(y.1 - y.0);
    sum.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX))
}
