//! From bytes of an image to its pixels and back.
//!
//! Of an animation only the first frame is decoded, so the others never leave. Transparent images are laid on white,
//! or on black where they are bright themselves: what is given out is what was looked at. Colour profiles, EXIF, XMP,
//! comments and everything else but pixels stay behind.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
};

use super::ImageError;

/// What is accepted; checked before anything of the size that an image claims is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of the encoded image.
    pub max_bytes: usize,
    /// Pixels of the longer side.
    pub max_side: u32,
    /// Pixels in all. Decoding takes up to 16 bytes for each.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    /// 20 MiB, 12,000 pixels a side, 25 million in all.
    fn default() -> Self {
        ImageLimits { max_bytes: 20 << 20, max_side: 12_000, max_pixels: 25_000_000 }
    }
}

/// Quality of JPEG that is written, of 100.
const QUALITY: u8 = 90;

/// What an image is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Png,
    Jpeg,
}

impl Output {
    pub(crate) fn mime(self) -> &'static str {
        match self {
            Output::Png => "image/png",
            Output::Jpeg => "image/jpeg",
        }
    }
}

/// The pixels of an image, upright, and what they should be written as: JPEG stays JPEG, the rest becomes PNG.
pub(crate) fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<(RgbImage, Output), ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { limit: limits.max_bytes });
    }
    let (format, output) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => (ImageFormat::Jpeg, Output::Jpeg),
        Ok(format @ (ImageFormat::Png | ImageFormat::Gif | ImageFormat::WebP | ImageFormat::Bmp)) => {
            (format, Output::Png)
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

/// The image on a background that its own colours stand out from.
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

/// Black under bright images, white under all others.
fn background(image: &RgbaImage) -> u8 {
    let (bright, weight) = image.pixels().fold((0_u64, 0_u64), |(bright, weight), pixel| {
        let [red, green, blue, alpha] = pixel.0.map(u64::from);
        (bright + (red + green + blue) * alpha, weight + 3 * alpha)
    });
    if bright > weight.saturating_mul(160) { 0 } else { 255 }
}

/// Writes nothing but the pixels.
pub(crate) fn encode(image: &RgbImage, output: Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = match output {
        Output::Png => image.write_with_encoder(PngEncoder::new_with_quality(
            &mut bytes,
            CompressionType::Fast,
            FilterType::Adaptive,
        )),
        Output::Jpeg => image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)),
    };
    written
        .expect("an image that was decoded has a size that both formats can have, and memory does not fail");
    bytes
}
