//! Detection of lines of text.

use image::RgbImage;
use rten_tensor::NdTensor;

use super::{
    regions,
    rotated_rect::{RotatedRect, float},
    tiles::{TileSpan, tile_spans},
};
use crate::image::{
    ModelError, NetworkError,
    network::{InferenceContext, OnnxNetwork, numbers},
};

/// Pixels that the sides of the input are multiples of.
pub(super) const GRID: usize = 32;
/// Pixels that the shorter side of an image is enlarged to: small text is found better.
const MIN_SHORT_SIDE: f32 = 736.0;
/// Highest factor by which an image is enlarged.
const MAX_UPSCALE: f32 = 2.0;
/// Most pixels of the longer side in the first pass, which reads the whole image at once.
const MAX_LONG_SIDE: f32 = 1600.0;
/// Scale below which a second, larger pass follows: small text was lost in the first.
const SECOND_PASS_BELOW: f32 = 0.8;
/// Most pixels of the second pass; larger images are reduced to it. On a page scanned at 300 dpi, letters of 4 points
/// are still found, in half the time that all pixels would take.
const SECOND_PASS_PIXELS: f32 = 5_000_000.0;

pub(crate) struct LineDetector {
    network: OnnxNetwork,
}

impl LineDetector {
    pub(crate) fn new(model: Vec<u8>) -> Result<Self, ModelError> {
        let (network, outputs) = OnnxNetwork::load("text detection", model, (2 * GRID, GRID))?;
        let map = outputs.into_iter().next().and_then(numbers::<4>);
        match map {
            Some(([1, 1, height, width], _)) if (width, height) == (2 * GRID, GRID) => {
                Ok(LineDetector { network })
            }
            _ => Err(ModelError::Unsuitable {
                model: "text detection",
                cause: "it does not return a map as large as the image".into(),
            }),
        }
    }

    /// Finds lines of text, in pixels of the image, from top to bottom.
    ///
    /// A large image takes two passes: a reduced one for large text, and a detailed one for small text.
    pub(crate) fn lines(
        &self,
        image: &RgbImage,
        context: &InferenceContext<'_>,
    ) -> Result<Vec<RotatedRect>, NetworkError> {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let scale = (MIN_SHORT_SIDE / width.min(height))
            .clamp(1.0, MAX_UPSCALE)
            .min(MAX_LONG_SIDE / width.max(height));
        let mut lines = self.lines_at_scale(image, scale, context)?;
        if scale < SECOND_PASS_BELOW {
            let detailed =
                self.lines_at_scale(image, (SECOND_PASS_PIXELS / (width * height)).sqrt().min(1.0), context)?;
            lines.retain(|frame| !detailed.iter().any(|detailed_line| detailed_line.contains_midline(frame)));
            lines.extend(detailed);
        }
        lines.sort_by(|a, b| a.center.1.total_cmp(&b.center.1));
        Ok(lines)
    }

    fn lines_at_scale(
        &self,
        image: &RgbImage,
        scale: f32,
        context: &InferenceContext<'_>,
    ) -> Result<Vec<RotatedRect>, NetworkError> {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let (columns, rows) = (on_grid(width * scale), on_grid(height * scale));
        let (back_x, back_y) = (width / float(columns), height / float(rows));
        let mut map = vec![0.0; columns * rows];
        for down in tile_spans(rows) {
            for across in tile_spans(columns) {
                let part = RotatedRect::between(
                    (float(across.from) * back_x, float(down.from) * back_y),
                    (float(across.to) * back_x, float(down.to) * back_y),
                );
                let tile = self.probability_map(image, &part, (across.length(), down.length()), context)?;
                copy_kept(&mut map, columns, &tile, (&across, &down));
            }
        }
        let lines = regions::text_lines(&map, columns).into_iter().map(|frame| RotatedRect {
            center: (frame.center.0 * back_x, frame.center.1 * back_y),
            width: frame.width * back_x,
            height: frame.height * back_y,
            ..frame
        });
        Ok(lines.collect())
    }

    /// Probability of text at each pixel of a part of an image, which is scaled to the given columns and rows.
    fn probability_map(
        &self,
        image: &RgbImage,
        part: &RotatedRect,
        (columns, rows): (usize, usize),
        context: &InferenceContext<'_>,
    ) -> Result<Vec<f32>, NetworkError> {
        context.check_stopped()?;
        let mut pixels = part.crop(image, columns, rows);
        for color in &mut pixels {
            *color = *color / 127.5 - 1.0;
        }
        self.network.run(&NdTensor::from_data([1, 3, rows, columns], pixels), context, |outputs| {
            let (shape, map) = outputs.into_iter().next().and_then(numbers::<4>)?;
            (shape == [1, 1, rows, columns]).then_some(map)
        })
    }
}

/// Copies the kept part of a tile into the map of the whole image: at its edges the network lacked context.
fn copy_kept(map: &mut [f32], columns: usize, tile: &[f32], (across, down): (&TileSpan, &TileSpan)) {
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
