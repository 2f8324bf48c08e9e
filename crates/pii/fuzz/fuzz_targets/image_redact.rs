//! Any bytes end in an error or in an image with nothing but pixels, which is read again as it is.
//!
//! Models would take all the time; decoding, turning, flattening and encoding is what hostile bytes reach.

#![no_main]

use std::sync::{LazyLock, atomic::AtomicBool};

use farebox_pii::image::{ImageError, ImageLimits, ImageModels, ImageOptions, image_bytes, redact_image};
use farebox_pii::{PiiEngine, Selection};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);
static LIMITS: ImageLimits = ImageLimits { max_bytes: 1 << 20, max_side: 2_000, max_pixels: 250_000 };

fuzz_target!(|bytes: &[u8]| {
    let redact = |bytes: &[u8]| {
        let options = ImageOptions { limits: LIMITS, ..ImageOptions::default() };
        let never = AtomicBool::new(false);
        redact_image(&ENGINE, &ImageModels::default(), bytes, &Selection::default(), &options, &never)
    };
    match redact(bytes) {
        Ok(image) => {
            assert!(image.width > 0 && image.height > 0);
            assert!(u64::from(image.width) * u64::from(image.height) <= LIMITS.max_pixels);
            let again = redact(&image.bytes).expect("what was written can be read");
            assert_eq!((again.width, again.height, again.mime), (image.width, image.height, image.mime));
            // PNG keeps every pixel.
            assert!(image.mime == "image/jpeg" || again.bytes == image.bytes);
        }
        Err(
            ImageError::Empty
            | ImageError::UnknownFormat
            | ImageError::TooLarge { .. }
            | ImageError::Malformed,
        ) => {}
        Err(other) => panic!("{other:?}"),
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(decoded) = image_bytes(text, 100)
    {
        assert!((1..=100).contains(&decoded.len()));
    }
});
