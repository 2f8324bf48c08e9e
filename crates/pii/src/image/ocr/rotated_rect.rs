//! Rectangles at any angle, and the pixels inside of them.

use image::RgbImage;

/// Rectangle at any angle, such as the area of a line of text, in pixels of the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RotatedRect {
    /// Centre, from the upper left corner of the image.
    pub center: (f32, f32),
    /// Reading direction, of length 1. Down is a quarter turn clockwise from it.
    pub along: (f32, f32),
    /// Size along the reading direction.
    pub width: f32,
    /// Size across it.
    pub height: f32,
}

impl RotatedRect {
    /// Rectangle of a whole image.
    pub(crate) fn whole(image: &RgbImage) -> RotatedRect {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        RotatedRect::between((0.0, 0.0), (width, height))
    }

    /// Upright rectangle between its upper left and its lower right corner.
    pub(crate) fn between((left, top): (f32, f32), (right, bottom): (f32, f32)) -> RotatedRect {
        RotatedRect {
            center: (f32::midpoint(left, right), f32::midpoint(top, bottom)),
            along: (1.0, 0.0),
            width: right - left,
            height: bottom - top,
        }
    }

    /// Point inside: 0 to 1 along the reading direction, 0 to 1 downwards.
    pub(crate) fn at(&self, along: f32, down: f32) -> (f32, f32) {
        let (across, below) = ((along - 0.5) * self.width, (down - 0.5) * self.height);
        let (cos, sin) = self.along;
        (self.center.0 + cos * across - sin * below, self.center.1 + sin * across + cos * below)
    }

    /// Corners of the part between two points of the reading direction (0 to 1).
    pub(crate) fn part(&self, from: f32, to: f32) -> [(f32, f32); 4] {
        [self.at(from, 0.0), self.at(to, 0.0), self.at(to, 1.0), self.at(from, 1.0)]
    }

    /// True if the middle line of another rectangle lies inside, from 0.1 to 0.9 of its width.
    pub(crate) fn contains_midline(&self, other: &RotatedRect) -> bool {
        let (cos, sin) = self.along;
        [0.1, 0.5, 0.9].into_iter().all(|along| {
            let (x, y) = other.at(along, 0.5);
            let (x, y) = (x - self.center.0, y - self.center.1);
            let (along, down) = (x * cos + y * sin, y * cos - x * sin);
            2.0 * along.abs() <= self.width && 2.0 * down.abs() <= self.height
        })
    }

    /// Same area with a reading direction a quarter turn clockwise from this one.
    pub(crate) fn rotated_quarter(&self) -> RotatedRect {
        let (cos, sin) = self.along;
        RotatedRect { along: (-sin, cos), width: self.height, height: self.width, ..*self }
    }

    /// Pixels inside, upright, scaled to `width` by `height`, with values of 0 to 255: all of blue, then green, then
    /// red, the order that the models were trained with.
    pub(crate) fn crop(&self, image: &RgbImage, width: usize, height: usize) -> Vec<f32> {
        // Where the crop is smaller than its source, several points of the source are averaged.
        let steps = samples(self.width, width).max(samples(self.height, height));
        let share = 1.0 / float(steps * steps);
        let mut planes = vec![0.0; 3 * width * height];
        for y in 0..height {
            for x in 0..width {
                let mut sum = [0.0; 3];
                for sub in 0..steps * steps {
                    let along = (float(x) + (float(sub % steps) + 0.5) / float(steps)) / float(width);
                    let down = (float(y) + (float(sub / steps) + 0.5) / float(steps)) / float(height);
                    let color = bilinear(image, self.at(along, down));
                    sum.iter_mut().zip(color).for_each(|(sum, color)| *sum += color);
                }
                for (plane, color) in [2, 1, 0].into_iter().enumerate() {
                    planes[(plane * height + y) * width + x] = sum[color] * share;
                }
            }
        }
        planes
    }
}

/// Number of source points along each side that are averaged for a pixel of the crop.
fn samples(source: f32, crop: usize) -> usize {
    let ratio = (source / float(crop.max(1))).round();
    (1..8).find(|steps| float(*steps) >= ratio).unwrap_or(8)
}

/// Colour at a point by bilinear interpolation; beyond the edges, that of the nearest pixel.
fn bilinear(image: &RgbImage, point: (f32, f32)) -> [f32; 3] {
    let (x, y) = (point.0 - 0.5, point.1 - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let pixel = |dx: f32, dy: f32| {
        image.get_pixel(index(left + dx, image.width()), index(top + dy, image.height())).0.map(f32::from)
    };
    let between = |a: [f32; 3], b: [f32; 3], share: f32| -> [f32; 3] {
        std::array::from_fn(|color| a[color] + (b[color] - a[color]) * share)
    };
    let upper = between(pixel(0.0, 0.0), pixel(1.0, 0.0), x - left);
    let lower = between(pixel(0.0, 1.0), pixel(1.0, 1.0), x - left);
    between(upper, lower, y - top)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0, which is meant")]
fn index(value: f32, size: u32) -> u32 {
    (value as u32).min(size - 1)
}

#[expect(clippy::cast_precision_loss, reason = "pixels of an image are few enough")]
pub(crate) fn float(value: usize) -> f32 {
    value as f32
}
