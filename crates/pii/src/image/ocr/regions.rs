//! From a map of where text is likely to rectangles around lines of text.
//!
//! This is the second half of "Real-time Scene Text Detection with Differentiable Binarization" (Liao et al.,
//! 2019): the map shows shrunken lines, each connected region of which is one; their rectangles grow back.

use super::frame::{Frame, float};

/// From this probability on a pixel belongs to a line.
const INSIDE: f32 = 0.3;
/// Mean probability of the pixels of a region that is taken for text.
const LIKELY: f32 = 0.5;
/// How far the network shrinks lines: area over perimeter times this.
const UNCLIP: f32 = 1.6;
/// Regions lower than this many pixels of the map hold nothing that could be read.
const LOWEST: f32 = 3.0;

/// The lines on a map of probabilities that has `width` columns, in pixels of the map.
pub(crate) fn lines(map: &[f32], width: usize) -> Vec<Frame> {
    let mut left = map.iter().map(|p| *p > INSIDE).collect::<Vec<bool>>();
    let mut frames = Vec::new();
    let mut stack = Vec::new();
    for start in 0..map.len() {
        if !std::mem::take(&mut left[start]) {
            continue;
        }
        stack.push(start);
        let region = grow(map, width, &mut left, &mut stack);
        if region.probability >= LIKELY
            && let Some(frame) = smallest_frame(&region.corners())
            && frame.width.min(frame.height) >= LOWEST
        {
            let growth = UNCLIP * frame.width * frame.height / (frame.width + frame.height);
            frames.push(Frame { width: frame.width + growth, height: frame.height + growth, ..frame });
        }
    }
    frames
}

/// Connected pixels.
struct Region {
    /// Mean of their probabilities.
    probability: f32,
    /// First and last column of each row, from the row `top` on.
    rows: Vec<(usize, usize)>,
    top: usize,
}

/// Takes all pixels that touch those on the stack, corner to corner included.
fn grow(map: &[f32], width: usize, left: &mut [bool], stack: &mut Vec<usize>) -> Region {
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
                if near < left.len() && std::mem::take(&mut left[near]) {
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

/// The rectangle of the smallest area around points, read from left to right, or downwards if it leans that way.
fn smallest_frame(points: &[(f32, f32)]) -> Option<Frame> {
    let hull = convex_hull(points.to_vec());
    let edges = hull.iter().zip(hull.iter().cycle().skip(1));
    let frames = edges.filter_map(|(a, b)| {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        (length > 0.0).then(|| frame_along(&hull, level((dx / length, dy / length))))
    });
    frames.min_by(|a, b| (a.width * a.height).total_cmp(&(b.width * b.height)))
}

/// Of the four directions of a rectangle's edges, the one nearest to "to the right".
fn level((x, y): (f32, f32)) -> (f32, f32) {
    let (x, y) = if x.abs() >= y.abs() { (x, y) } else { (-y, x) };
    if x < 0.0 { (-x, -y) } else { (x, y) }
}

fn frame_along(points: &[(f32, f32)], (cos, sin): (f32, f32)) -> Frame {
    let span = |(dx, dy): (f32, f32)| {
        points
            .iter()
            .map(|(x, y)| x * dx + y * dy)
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = span((cos, sin));
    let (top, bottom) = span((-sin, cos));
    let (u, v) = (f32::midpoint(left, right), f32::midpoint(top, bottom));
    Frame {
        center: (cos * u - sin * v, sin * u + cos * v),
        along: (cos, sin),
        width: right - left,
        height: bottom - top,
    }
}

/// Andrew's monotone chain.
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
