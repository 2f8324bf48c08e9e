//! Images are redacted with the real models, and what comes out is looked at again.

mod faces;
mod formats;
mod refused;
mod text;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use farebox_pii::image::ocr::Ocr;
use farebox_pii::image::{
    FaceDetector, ImageError, ImageModels, ImageOcrOptions, ImageOptions, Rect, RedactedImage, redact_image,
};
use farebox_pii::{PiiEngine, Selection};
use image::RgbImage;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);
static MODELS: LazyLock<ImageModels> =
    LazyLock::new(|| ImageModels { ocr: Some(ocr(&model("ocr/det.onnx"))), faces: Some(detector()) });

/// A file that scripts/models.sh fetches.
fn model(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("FAREBOX_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models"), PathBuf::from);
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run make tools", path.display()))
}

fn ocr(detection: &[u8]) -> Ocr {
    let keys = String::from_utf8(model("ocr/keys.txt")).expect("UTF-8");
    Ocr::from_models(detection.to_vec(), model("ocr/rec.onnx"), &keys).expect("models that load")
}

fn detector() -> FaceDetector {
    FaceDetector::from_model(model("faces/centerface.onnx")).expect("a model that loads")
}

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pixels(bytes: &[u8]) -> RgbImage {
    image::load_from_memory(bytes).expect("an image").into_rgb8()
}

fn png(image: impl Into<image::DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, image::ImageFormat::Png).expect("memory");
    bytes.into_inner()
}

fn redact(bytes: &[u8], options: &ImageOptions) -> Result<RedactedImage, ImageError> {
    redact_image(&ENGINE, &MODELS, bytes, &Selection::default(), options, &AtomicBool::new(false))
}

/// Reads and covers text, and nothing else.
const TEXT: ImageOptions = ImageOptions {
    ocr: Some(ImageOcrOptions { min_confidence: 0.5 }),
    faces: None,
    limits: farebox_pii::image::ImageLimits { max_bytes: 20 << 20, max_side: 12_000, max_pixels: 25_000_000 },
};

/// Neither text nor faces are looked for: the image is only decoded and encoded.
fn copied(bytes: &[u8]) -> Result<RedactedImage, ImageError> {
    redact(bytes, &ImageOptions::default())
}

/// Text that OCR reads, without spaces.
fn read(image: &RgbImage) -> String {
    let ocr = MODELS.ocr.as_ref().expect("there");
    let lines = ocr.read(image, &AtomicBool::new(false)).expect("models that run");
    lines.iter().flat_map(|line| line.text.chars()).filter(|c| !c.is_whitespace()).collect()
}

/// True if every pixel of a rectangle is nearly black.
fn is_black(image: &RgbImage, area: Rect) -> bool {
    let rows = area.y..area.bottom();
    rows.flat_map(|y| (area.x..area.right()).map(move |x| (x, y)))
        .all(|(x, y)| image.get_pixel(x, y).0.iter().all(|color| *color < 24))
}
