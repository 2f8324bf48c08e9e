//! Drawing of pages, and covering of areas in the picture.

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::Rect;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};
use image::RgbImage;

use super::PdfLimits;
use crate::image::Rect as PixelRect;
use crate::image::paint::fill;

/// Most pixels of a side of a picture. The renderer counts in 16 bits.
const MAX_SIDE: f64 = 16_000.0;

/// Pixels per point: those of `dpi`, or fewer if the page would exceed the limits.
pub(super) fn scale(page: &Page<'_>, dpi: u16, limits: &PdfLimits) -> f64 {
    let (width, height) = page.render_dimensions();
    let (width, height) = (f64::from(width).max(1.0), f64::from(height).max(1.0));
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let pixels = limits.page_pixels as f64;
    (f64::from(dpi) / 72.0).min((pixels / (width * height)).sqrt()).min(MAX_SIDE / width.max(height))
}

/// Draws a page on white; none if it has no pixels.
pub(super) fn draw<'a>(
    page: &'a Page<'a>,
    cache: &RenderCache<'a>,
    settings: &InterpreterSettings,
    scale: f64,
) -> Option<RgbImage> {
    #[expect(clippy::cast_possible_truncation, reason = "a factor")]
    let scale = scale as f32;
    let pixels = PixmapSettings { x_scale: scale, y_scale: scale, bg_color: WHITE };
    let (width, height) = page.render_dimensions();
    if width * scale < 1.0 || height * scale < 1.0 {
        return None;
    }
    let drawn = render(page, cache, settings, &RenderSettings::default(), &pixels);
    let (width, height) = (u32::from(drawn.width()), u32::from(drawn.height()));
    let rgb =
        drawn.data_as_u8_slice().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    RgbImage::from_raw(width, height, rgb)
}

/// Paints an area, given in points, black, with all pixels that its edges touch.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the picture before")]
pub(super) fn cover(picture: &mut RgbImage, area: Rect, scale: f64) {
    let side = |at: f64, length: u32| at.clamp(0.0, f64::from(length)) as u32;
    let (left, right) = (
        side((area.x0 * scale).floor() - 1.0, picture.width()),
        side((area.x1 * scale).ceil() + 1.0, picture.width()),
    );
    let (top, bottom) = (
        side((area.y0 * scale).floor() - 1.0, picture.height()),
        side((area.y1 * scale).ceil() + 1.0, picture.height()),
    );
    fill(
        picture,
        PixelRect { x: left, y: top, width: right.saturating_sub(left), height: bottom.saturating_sub(top) },
    );
}
