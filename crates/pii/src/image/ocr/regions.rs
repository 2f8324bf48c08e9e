//! Rectangles around lines of text, from a map of text probabilities.
//!
//! This is the second half of "Real-time Scene Text Detection with Differentiable Binarization" (Liao et al.,
//! 2019): each connected region of the map is a line, shrunken by the network; its rectangle is grown back.

use super::rotated_rect::{RotatedRect, float};

/// Probability above which a pixel belongs to a line.
const PIXEL_THRESHOLD: f32 = 0.3;
/// Least mean probability of a region that is text.
const REGION_THRESHOLD: f32 = 0.5;
/// Factor of the distance by which the network shrinks lines: area over perimeter, times this.
const UNCLIP_RATIO: f32 = 1.6;
/// Least height of a region, in pixels of the map; lower text is illegible.
const MIN_HEIGHT: f32 = 3.0;

/// Finds the lines on a map of probabilities that has `width` columns, in pixels of the map.
pub(crate) fn text_lines(map: &[f32], width: usize) -> Vec<RotatedRect> {
    let mut unvisited = map.iter().map(|p| *p > PIXEL_THRESHOLD).collect::<Vec<bool>>();
    let mut rects = Vec::new();
    let mut stack = Vec::new();
    for start in 0..map.len() {
        if !std::mem::take(&mut unvisited[start]) {
            continue;
        }
        stack.push(start);
        let region = flood_fill(map, width, &mut unvisited, &mut stack);
        if region.probability >= REGION_THRESHOLD
            && let Some(rect) = min_area_rect(&region.corners())
            && rect.width.min(rect.height) >= MIN_HEIGHT
        {
            let growth = UNCLIP_RATIO * rect.width * rect.height / (rect.width + rect.height);
            rects.push(RotatedRect { width: rect.width + growth, height: rect.height + growth, ..rect });
        }
    }
    rects
}

/// Connected region of pixels.
struct Region {
    /// Mean probability of its pixels.
    probability: f32,
    /// First and last column of each row, from the row `top` on.
    rows: Vec<(usize, usize)>,
    top: usize,
}

/// Collects all pixels connected to those on the stack, diagonally included.
fn flood_fill(map: &[f32], width: usize, unvisited: &mut [bool], stack: &mut Vec<usize>) -> Region {
    let (mut sum, mut count) = (0.0, 0_usize);
    // Regions are found from their uppermost pixel on, so no row comes before the first one.
    let top = stack[0] / width;
    let mut rows: Vec<(usize, usize)> = Vec::new();
    while let Some(at) = stack.pop() {
        sum += map[at];
        count += 1;
        let (x, y) = (at % width, at / width);
        if rows.len() <= y - top {
            rows.resize(y - top + 1, (usize::MAX, 0));
        }
        let row = &mut rows[y - top];
        *row = (row.0.min(x), row.1.max(x));
        for near_y in y.saturating_sub(1)..=y + 1 {
            for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let near = near_y * width + near_x;
                if near < unvisited.len() && std::mem::take(&mut unvisited[near]) {
                    stack.push(near);
                }
            }
        }
    }
    Region { probability: sum / float(count), rows, top }
}

impl Region {
    /// Corners of the outermost pixels of each row.
    fn corners(&self) -> Vec<(f32, f32)> {
        let mut corners = Vec::with_capacity(self.rows.len() * 4);
        for (row, (first, last)) in self.rows.iter().enumerate() {
            let y = self.top + row;
            for (x, y) in [(*first, y), (*first, y + 1), (last + 1, y), (last + 1, y + 1)] {
                corners.push((float(x), float(y)));
            }
        }
        corners
    }
}

/// Rectangle of the smallest area around points, read from left to right, or downwards if that is nearer.
fn min_area_rect(points: &[(f32, f32)]) -> Option<RotatedRect> {
    let hull = convex_hull(points.to_vec());
    let edges = hull.iter().zip(hull.iter().cycle().skip(1));
    let rects = edges.filter_map(|(a, b)| {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        (length > 0.0).then(|| bounding_rect_along(&hull, nearest_to_horizontal((dx / length, dy / length))))
    });
    rects.min_by(|a, b| (a.width * a.height).total_cmp(&(b.width * b.height)))
}

/// Direction of a rectangle's edge that is nearest to the right, of the four that it has.
fn nearest_to_horizontal((x, y): (f32, f32)) -> (f32, f32) {
    let (x, y) = if x.abs() >= y.abs() { (x, y) } else { (-y, x) };
    if x < 0.0 { (-x, -y) } else { (x, y) }
}

/// Bounding rectangle of points in a reading direction.
fn bounding_rect_along(points: &[(f32, f32)], (cos, sin): (f32, f32)) -> RotatedRect {
    let span = |(dx, dy): (f32, f32)| {
        points
            .iter()
            .map(|(x, y)| x * dx + y * dy)
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = span((cos, sin));
    let (top, bottom) = span((-sin, cos));
    let (u, v) = (f32::midpoint(left, right), f32::midpoint(top, bottom));
    RotatedRect {
        center: (cos * u - sin * v, sin * u + cos * v),
        along: (cos, sin),
        width: right - left,
        height: bottom - top,
    }
}

/// Convex hull of points, by Andrew's monotone chain.
fn convex_hull(mut points: Vec<(f32, f32)>) -> Vec<(f32, f32)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    points.dedup();
    let mut hull: Vec<(f32, f32)> = Vec::new();
    let mut half = |points: &mut dyn Iterator<Item = (f32, f32)>| {
        let start = hull.len();
        for point in points {
            while hull.len() >= start + 2 && !turns_left(hull[hull.len() - 2], hull[hull.len() - 1], point) {
                hull.pop();
            }
            hull.push(point);
        }
        // The last point is the first one of the other half.
        hull.pop();
    };
    half(&mut points.iter().copied());
    half(&mut points.iter().rev().copied());
    hull
}

fn turns_left(a: (f32, f32), b: (f32, f32), c: (f32, f32)) -> bool {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0) > 0.0
}
