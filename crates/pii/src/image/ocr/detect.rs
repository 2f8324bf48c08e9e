//! Finds where lines of text stand.

use image::RgbImage;
use rten_tensor::NdTensor;

use super::{
    frame::{Frame, float},
    regions,
    tiles::{Piece, pieces},
};
use crate::image::{
    ModelError, NetworkError,
    network::{Network, Worker, numbers},
};

/// Sides of what the network looks at are multiples of this.
pub(super) const GRID: usize = 32;
/// The shorter side of an image is enlarged up to this, in pixels: small text is found better.
const SHORT: f32 = 736.0;
/// No image is enlarged more than this.
const ENLARGED: f32 = 2.0;
/// The longer side of an image is reduced to this, in pixels, for a look at all of it at once.
const LONG: f32 = 1600.0;
/// An image that was reduced to less than this is looked at a second time, larger: small text in it was lost.
const LOST: f32 = 0.8;
/// How large an image is for the second look, in pixels; larger ones are reduced to it. On a page that was scanned at 300
/// dpi letters of 4 points are still found, and it takes half as long as with all of its pixels.
const CLOSE: f32 = 5_000_000.0;

pub(crate) struct Detector {
    network: Network,
}

impl Detector {
    pub(crate) fn new(model: Vec<u8>) -> Result<Self, ModelError> {
        let (network, outputs) = Network::load("text detection", model, (2 * GRID, GRID))?;
        let map = outputs.into_iter().next().and_then(numbers::<4>);
        match map {
            Some(([1, 1, height, width], _)) if (width, height) == (2 * GRID, GRID) => {
                Ok(Detector { network })
            }
            _ => Err(ModelError::Unsuitable {
                model: "text detection",
                cause: "it does not answer with a map as large as the image".into(),
            }),
        }
    }

    /// Lines of text, in pixels of the image, from top to bottom.
    ///
    /// A large image is looked at twice: reduced, for what is large in it, and closely, for what is small.
    pub(crate) fn lines(&self, image: &RgbImage, worker: &Worker<'_>) -> Result<Vec<Frame>, NetworkError> {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let scale = (SHORT / width.min(height)).clamp(1.0, ENLARGED).min(LONG / width.max(height));
        let mut frames = self.lines_at(image, scale, worker)?;
        if scale < LOST {
            let closely = self.lines_at(image, (CLOSE / (width * height)).sqrt().min(1.0), worker)?;
            frames.retain(|frame| !closely.iter().any(|close| close.holds(frame)));
            frames.extend(closely);
        }
        frames.sort_by(|a, b| a.center.1.total_cmp(&b.center.1));
        Ok(frames)
    }

    fn lines_at(
        &self,
        image: &RgbImage,
        scale: f32,
        worker: &Worker<'_>,
    ) -> Result<Vec<Frame>, NetworkError> {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let (columns, rows) = (on_grid(width * scale), on_grid(height * scale));
        let (back_x, back_y) = (width / float(columns), height / float(rows));
        let mut map = vec![0.0; columns * rows];
        for down in pieces(rows) {
            for across in pieces(columns) {
                let part = Frame::between(
                    (float(across.from) * back_x, float(down.from) * back_y),
                    (float(across.to) * back_x, float(down.to) * back_y),
                );
                let seen = self.map(image, &part, (across.length(), down.length()), worker)?;
                keep(&mut map, columns, &seen, (&across, &down));
            }
        }
        let frames = regions::lines(&map, columns).into_iter().map(|frame| Frame {
            center: (frame.center.0 * back_x, frame.center.1 * back_y),
            width: frame.width * back_x,
            height: frame.height * back_y,
            ..frame
        });
        Ok(frames.collect())
    }

    /// How likely text is at each pixel of a part of an image, which becomes so many columns and rows.
    fn map(
        &self,
        image: &RgbImage,
        part: &Frame,
        (columns, rows): (usize, usize),
        worker: &Worker<'_>,
    ) -> Result<Vec<f32>, NetworkError> {
        worker.go_on()?;
        let mut pixels = part.crop(image, columns, rows);
        for color in &mut pixels {
            *color = *color / 127.5 - 1.0;
        }
        self.network.run(&NdTensor::from_data([1, 3, rows, columns], pixels), worker, |outputs| {
            let (shape, map) = outputs.into_iter().next().and_then(numbers::<4>)?;
            (shape == [1, 1, rows, columns]).then_some(map)
        })
    }
}

/// Copies the middle of a tile into the map of the whole: at its edges the network did not see what is beyond them.
fn keep(map: &mut [f32], columns: usize, tile: &[f32], (across, down): (&Piece, &Piece)) {
    for row in down.kept.clone() {
        let (to, from) = (row * columns, (row - down.from) * across.length());
        map[to + across.kept.start..to + across.kept.end].copy_from_slice(
            &tile[from + across.kept.start - across.from..from + across.kept.end - across.from],
        );
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a side of an image")]
fn on_grid(side: f32) -> usize {
    ((side / float(GRID)).round() as usize).max(1) * GRID
}
