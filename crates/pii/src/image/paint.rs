//! Covers parts of an image for good.

use image::{Rgb, RgbImage};

use super::Rect;

/// Paints a rectangle black. What lies outside of the image is left out.
pub fn fill(image: &mut RgbImage, rect: Rect) {
    for y in rect.y..rect.bottom().min(image.height()) {
        for x in rect.x..rect.right().min(image.width()) {
            image.put_pixel(x, y, Rgb([0, 0, 0]));
        }
    }
}
