//! Decoding of images to pixels, and encoding of the result.
//!
//! Only the first frame of an animation is decoded, so that the others are never returned unexamined. Transparent images
//! are laid on white, or on black if they are bright: the pixels returned are the pixels examined. Colour profiles,
//! EXIF, XMP, comments and everything else but pixels are dropped.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
};

use super::ImageError;

/// Limits for one image, checked before memory for the size that it claims is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Most bytes of the encoded image.
    pub max_bytes: usize,
    /// Most pixels of the longer side.
    pub max_side: u32,
    /// Most pixels in all. Decoding takes up to 16 bytes for each.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    /// 20 MiB, 12,000 pixels a side, 25 million in all.
    fn default() -> Self {
        ImageLimits { max_bytes: 20 << 20, max_side: 12_000, max_pixels: 25_000_000 }
    }
}

/// Quality of written JPEG, of 100.
const QUALITY: u8 = 90;

/// Format that an image is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Png,
    Jpeg,
}

impl OutputFormat {
    pub(crate) fn mime(self) -> &'static str {
        match self {
            OutputFormat::Png => "image/png",
            OutputFormat::Jpeg => "image/jpeg",
        }
    }
}

/// Decodes an image to upright pixels, with the format to write: JPEG for JPEG, PNG for all others.
pub(crate) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<(RgbImage, OutputFormat), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { limit: limits.max_bytes });
    }
    let (format, output) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => (ImageFormat::Jpeg, OutputFormat::Jpeg),
        Ok(format @ (ImageFormat::Png | ImageFormat::Gif | ImageFormat::WebP | ImageFormat::Bmp)) => {
            (format, OutputFormat::Png)
        }
        _ => return Err(ImageError::UnknownFormat),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The size is checked below, for a message that says what is wrong; this is for what else a decoder allocates.
    let mut allocation = Limits::no_limits();
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(16).saturating_add(16 << 20));
    reader.limits(allocation);
    let mut decoder = reader.into_decoder().map_err(|_| ImageError::Malformed)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Malformed);
    }
    if width.max(height) > limits.max_side || u64::from(width) * u64::from(height) > limits.max_pixels {
        let ImageLimits { max_side, max_pixels, .. } = *limits;
        return Err(ImageError::TooLarge { width, height, max_side, max_pixels });
    }
    // Unreadable EXIF says nothing about which way is up.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(|_| ImageError::Malformed)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok((opaque(image), output))
}

/// Returns the image without transparency, on a background that its own colours stand out from.
fn opaque(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let background = background(&image);
    let mut flat = RgbImage::new(image.width(), image.height());
    for (to, from) in flat.pixels_mut().zip(image.pixels()) {
        let alpha = u16::from(from[3]);
        for (to, from) in to.0.iter_mut().zip(from.0) {
            let mixed = (u16::from(from) * alpha + u16::from(background) * (255 - alpha)) / 255;
            *to = u8::try_from(mixed).unwrap_or(u8::MAX);
        }
    }
    flat
}

/// Grey value of the background: black for bright images, white for all others.
fn background(image: &RgbaImage) -> u8 {
    let (bright, weight) = image.pixels().fold((0_u64, 0_u64), |(bright, weight), pixel| {
        let [red, green, blue, alpha] = pixel.0.map(u64::from);
        (bright + (red + green + blue) * alpha, weight + 3 * alpha)
    });
    if bright > weight.saturating_mul(160) { 0 } else { 255 }
}

/// Encodes the pixels, without metadata.
pub(crate) fn encode(image: &RgbImage, output: OutputFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = match output {
        OutputFormat::Png => image.write_with_encoder(PngEncoder::new_with_quality(
            &mut bytes,
            CompressionType::Fast,
            FilterType::Adaptive,
        )),
        OutputFormat::Jpeg => image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)),
    };
    written
        .expect("an image that was decoded has a size that both formats can have, and memory does not fail");
    bytes
}
