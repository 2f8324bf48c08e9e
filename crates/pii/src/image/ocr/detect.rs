//! Finds where lines of text stand.

use image::RgbImage;
use rten_tensor::NdTensor;

use super::{
    frame::{Frame, float},
    regions,
};
use crate::image::{
    ModelError, Stopped,
    network::{Network, Worker, numbers},
};

/// Sides of what the network looks at are multiples of this.
const GRID: usize = 32;
/// The shorter side of an image is enlarged up to this, in pixels: small text is found better.
const SHORT: f32 = 736.0;
/// No image is enlarged more than this.
const ENLARGED: f32 = 2.0;
/// The longer side of an image is reduced to this, in pixels.
const LONG: f32 = 1600.0;

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

    /// Lines of text, in pixels of the image.
    pub(crate) fn lines(&self, image: &RgbImage, worker: &Worker<'_>) -> Result<Vec<Frame>, Stopped> {
        let (width, height) = (float(image.width() as usize), float(image.height() as usize));
        let scale = (SHORT / width.min(height)).clamp(1.0, ENLARGED).min(LONG / width.max(height));
        let (columns, rows) = (on_grid(width * scale), on_grid(height * scale));
        let pixels = Frame::whole(image)
            .crop(image, columns, rows)
            .into_iter()
            .map(|color| color / 127.5 - 1.0)
            .collect::<Vec<_>>();
        let outputs = self.network.run(&NdTensor::from_data([1, 3, rows, columns], pixels), worker)?;
        let map = outputs.into_iter().next().and_then(numbers::<4>);
        let Some((_, map)) = map else { return Ok(Vec::new()) };
        let (back_x, back_y) = (width / float(columns), height / float(rows));
        let frames = regions::lines(&map, columns).into_iter().map(|frame| Frame {
            center: (frame.center.0 * back_x, frame.center.1 * back_y),
            width: frame.width * back_x,
            height: frame.height * back_y,
            ..frame
        });
        Ok(frames.collect())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a side of an image")]
fn on_grid(side: f32) -> usize {
    ((side / float(GRID)).round() as usize).max(1) * GRID
}
