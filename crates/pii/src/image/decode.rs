//! Decoding of images to pixels, and encoding of the result.
//!
//! Only the first frame of an animation is decoded, so that the others are never returned unexamined. Transparent images
//! are laid on white, or on black if they are bright: the pixels returned are the pixels examined. Colour profiles,
//! EXIF, XMP, comments and everything else but pixels are dropped.

use std::borrow::Cow;
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
    let bytes = if format == ImageFormat::Png { without_notes(bytes) } else { bytes.into() };
    let mut reader = ImageReader::with_format(Cursor::new(bytes.as_ref()), format);
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

/// Returns a PNG without its colour profile and texts: they are dropped anyway, and unpack to a thousand times their size.
/// What is no chunk stays for the decoder to refuse (PNG, section 5.3).
fn without_notes(png: &[u8]) -> Cow<'_, [u8]> {
    const SIGNATURE: usize = 8;
    /// Length, type and checksum of a chunk.
    const FRAME: usize = 12;
    let mut kept = Vec::new();
    let (mut at, mut copied) = (SIGNATURE, 0);
    while let Some(length) = png.get(at..at + 4).and_then(|length| length.try_into().ok()) {
        let length = u32::from_be_bytes(length) as usize;
        let Some(chunk) = png.get(at..).and_then(|rest| rest.get(..length.saturating_add(FRAME))) else {
            break;
        };
        if [b"iCCP", b"tEXt", b"zTXt", b"iTXt"].iter().any(|kind| chunk[4..8] == kind[..]) {
            kept.extend_from_slice(&png[copied..at]);
            copied = at + chunk.len();
        }
        at += chunk.len();
    }
    if copied == 0 {
        return png.into();
    }
    kept.extend_from_slice(&png[copied..]);
    kept.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk without its checksum, which is not looked at here.
    fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        [&length, kind, data, &[0; 4]].concat()
    }

    #[test]
    fn attack_39_profiles_and_texts_are_taken_out_before_anything_is_unpacked() {
        let image = encode(&RgbImage::new(8, 8), OutputFormat::Png);
        // After the signature and the header.
        let (head, rest) = image.split_at(33);
        let notes =
            [&b"iCCP"[..], b"zTXt", b"iTXt", b"tEXt"].map(|kind| chunk(kind, b"p\0\0packed")).concat();
        assert_eq!(without_notes(&[head, &notes, rest].concat()), image);
        assert_eq!(without_notes(&[head, rest, &notes].concat()), image);
        let kept = [head, &chunk(b"eXIf", b"MM"), &chunk(b"tRNS", b"abc"), rest].concat();
        assert_eq!(without_notes(&kept), kept);
        for end in 0..notes.len() {
            let cut = [head, &notes[..end]].concat();
            assert!(without_notes(&cut).len() <= cut.len());
        }
        let endless = [head, &u32::MAX.to_be_bytes(), b"iCCP", rest].concat();
        assert_eq!(without_notes(&endless), endless);
    }
}
