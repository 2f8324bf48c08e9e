//! Refusals and their messages.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use farebox_pii::image::{FaceOptions, ImageLimits, ModelError, image_bytes};

use super::*;

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(&kind);
    sum.update(data);
    let length = u32::try_from(data.len()).expect("small");
    [&length.to_be_bytes()[..], &kind, data, &sum.sum().to_be_bytes()].concat()
}

fn packed(data: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(data).expect("memory");
    packer.finish().expect("memory")
}

/// A PNG in grey that says that it has these sides, with these chunks.
fn claims(width: u32, height: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(*b"IHDR", &header), &chunks.concat(), &chunk(*b"IEND", b"")].concat()
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    [
        b"GIF89a",
        &sides[..],
        &[0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0],
        &sides,
        &[0, 2, 2, 0x44, 1, 0, 0x3b],
    ]
    .concat()
}

/// Lossless, whose header has the sides in 14 bits each.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let sides = ((width - 1) | (height - 1) << 14).to_le_bytes();
    let body = [&b"WEBPVP8L\x0a\0\0\0\x2f"[..], &sides, &[0; 5]].concat();
    let length = u32::try_from(body.len()).expect("small").to_le_bytes();
    [b"RIFF", &length[..], &body].concat()
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let header = [
        b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec(),
        width.to_le_bytes().to_vec(),
        height.to_le_bytes().to_vec(),
    ];
    [header.concat(), b"\x01\0\x18\0".to_vec(), vec![0; 64]].concat()
}

#[test]
fn what_is_no_image_is_refused() {
    assert_eq!(copied(b""), Err(ImageError::Empty));
    let svg = br#"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><text>a@b.com</text></svg>"#;
    for other in [
        &b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"[..],
        b"<!DOCTYPE html><img src=a.png>",
        svg,
        b"II*\0\x08\0\0\0\0\0\0\0",
        b"\0\0\x01\0\x01\0\x10\x10",
        b"\0\0\0\x20ftypavif\0\0\0\0",
        b"P5 1 1 255\n\0",
        b"hello",
        b"\x89PN",
    ] {
        let shown = String::from_utf8_lossy(other);
        assert_eq!(copied(other), Err(ImageError::UnknownFormat), "{shown}");
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_refused() {
    assert_eq!(copied(&file("described.jpg")[..200]), Err(ImageError::Malformed));
    for name in ["letter.png", "described.gif", "described.webp"] {
        let whole = file(name);
        for part in [16, whole.len() / 3, whole.len() / 2] {
            let result = copied(&whole[..part]);
            assert!(matches!(result, Err(ImageError::Malformed)), "{name}: {part}: {result:?}");
        }
    }
    // Sides of nothing, and more than any decoder takes.
    for bytes in
        [claims(2_000_000_000, 1, &[]), claims(0, 5, &[]), claims(5, 0, &[]), gif(0, 0), bmp(0, 9), bmp(9, 0)]
    {
        assert_eq!(copied(&bytes), Err(ImageError::Malformed), "{bytes:x?}");
    }
}

/// Any truncation and any flipped bit ends in an answer.
#[test]
fn damage_never_panics() {
    for name in ["serif_small.png", "described.jpg", "described.gif", "described.webp", "moving.png"] {
        let whole = file(name);
        for at in (0..whole.len()).step_by(whole.len() / 60) {
            let mut broken = whole.clone();
            broken[at] ^= 0x15;
            drop(copied(&broken));
            drop(copied(&whole[..at]));
        }
    }
}

#[test]
fn images_that_claim_to_be_huge_are_refused_by_their_header() {
    let limits = ImageLimits::default();
    for (bytes, sides) in [
        (claims(60_000, 60_000, &[chunk(*b"IDAT", &packed(&[0; 100]))]), (60_000, 60_000)),
        (claims(6_000, 6_000, &[chunk(*b"IDAT", &packed(&[0; 100]))]), (6_000, 6_000)),
        (gif(65_535, 65_535), (65_535, 65_535)),
        (webp(16_000, 16_000), (16_000, 16_000)),
        (bmp(30_000, 30_000), (30_000, 30_000)),
    ] {
        let too_large = ImageError::TooLarge {
            width: sides.0,
            height: sides.1,
            max_side: limits.max_side,
            max_pixels: limits.max_pixels,
        };
        assert_eq!(copied(&bytes), Err(too_large));
    }
    let error = copied(&gif(65_535, 65_535)).expect_err("too large").to_string();
    assert!(error.contains("65535 x 65535") && error.contains("25000000"), "{error}");
}

/// A kilobyte of zeros unpacks to a megabyte; it ends at what the sides of the image need.
#[test]
fn what_unpacks_to_much_more_than_an_image_is_held_back() {
    let zeros = packed(&vec![0; 64 << 20]);
    let small = claims(8, 8, &[chunk(*b"IDAT", &zeros)]);
    assert_eq!(copied(&small).map(|copy| (copy.width, copy.height)), Ok((8, 8)));
    let line = chunk(*b"IDAT", &packed(&[0; 9 * 8]));
    // A comment and a colour profile.
    let comment = chunk(*b"zTXt", &[&b"Comment\0\0"[..], &zeros].concat());
    let profile = chunk(*b"iCCP", &[&b"profile\0\0"[..], &zeros].concat());
    for (name, extra) in [("comment", comment), ("profile", profile)] {
        let copy = copied(&claims(8, 8, &[extra, line.clone()]));
        assert!(copy.is_ok_and(|copy| copy.bytes.len() < 200), "{name}");
    }
}

#[test]
fn limits_are_of_bytes_sides_and_pixels() {
    let bytes = file("letter.png");
    let (width, height) = pixels(&bytes).dimensions();
    let within = |limits| redact(&bytes, &ImageOptions { limits, ..ImageOptions::default() }).err();
    let all = ImageLimits::default();
    assert_eq!(
        within(ImageLimits {
            max_bytes: bytes.len(),
            max_side: width,
            max_pixels: u64::from(width * height)
        }),
        None
    );
    let fewer = bytes.len() - 1;
    assert_eq!(
        within(ImageLimits { max_bytes: fewer, ..all }),
        Some(ImageError::TooManyBytes { limit: fewer })
    );
    for limits in [
        ImageLimits { max_side: width - 1, ..all },
        ImageLimits { max_pixels: u64::from(width * height) - 1, ..all },
    ] {
        let ImageLimits { max_side, max_pixels, .. } = limits;
        assert_eq!(within(limits), Some(ImageError::TooLarge { width, height, max_side, max_pixels }));
    }
    let url = format!("data:image/png;base64,{}", "A".repeat(400));
    assert_eq!(image_bytes(&url, 30), Err(ImageError::TooManyBytes { limit: 30 }));
}

#[test]
fn nothing_passes_for_examined_without_a_model() {
    let none = ImageModels::default();
    let never = AtomicBool::new(false);
    let without = |bytes: &[u8], options: &ImageOptions| {
        redact_image(&ENGINE, &none, bytes, &Selection::default(), options, &never).err()
    };
    let faces = ImageOptions { faces: Some(FaceOptions::default()), ..ImageOptions::default() };
    let bytes = file("letter.png");
    assert_eq!(without(&bytes, &TEXT), Some(ImageError::NoOcrModel));
    assert_eq!(without(&bytes, &faces), Some(ImageError::NoFaceModel));
    assert_eq!(without(&bytes, &ImageOptions::default()), None);
}

#[test]
fn a_model_that_fails_is_no_clean_image() {
    let never = AtomicBool::new(false);
    let failed = |models: ImageModels, options: &ImageOptions| {
        redact_image(&ENGINE, &models, &file("letter.png"), &Selection::default(), options, &never).err()
    };
    let lines = ImageModels { ocr: Some(ocr(&file("fixed_lines.onnx"))), faces: None };
    assert_eq!(failed(lines, &TEXT), Some(ImageError::ModelFailed { model: "text detection" }));
    let detector = FaceDetector::from_model(file("fixed_faces.onnx")).expect("one that runs once");
    let faces = ImageOptions { faces: Some(FaceOptions::default()), ..ImageOptions::default() };
    let models = ImageModels { ocr: None, faces: Some(detector) };
    assert_eq!(failed(models, &faces), Some(ImageError::ModelFailed { model: "face" }));
}

#[test]
fn models_for_something_else_are_refused() {
    let unsuitable = |result: Result<FaceDetector, ModelError>| match result {
        Err(ModelError::Unsuitable { model, .. }) => Some(model),
        _ => None,
    };
    assert_eq!(unsuitable(FaceDetector::from_model(model("ocr/det.onnx"))), Some("face"));
    let unreadable =
        |result: Result<FaceDetector, ModelError>| matches!(result, Err(ModelError::Unreadable { .. }));
    assert!(unreadable(FaceDetector::from_model(b"not a model".to_vec())));
    let keys = String::from_utf8(model("ocr/keys.txt")).expect("UTF-8");
    let few = Ocr::from_models(model("ocr/det.onnx"), model("ocr/rec.onnx"), &keys.replacen('a', "a\nb", 1));
    assert!(matches!(few, Err(ModelError::Unsuitable { model: "text recognition", .. })));
    let swapped = Ocr::from_models(model("ocr/rec.onnx"), model("ocr/det.onnx"), &keys);
    assert!(matches!(swapped, Err(ModelError::Unsuitable { model: "text detection", .. })));
}

#[test]
fn a_set_flag_ends_the_work() {
    let stop = AtomicBool::new(true);
    let stopped = |bytes: &[u8], stop: &AtomicBool| {
        redact_image(&ENGINE, &MODELS, bytes, &Selection::default(), &TEXT, stop)
    };
    assert!(matches!(stopped(&file("letter.png"), &stop), Err(ImageError::Stopped(_))));
    // While a large page is looked at, which takes seconds.
    let bytes = file("scan.png");
    let stop = AtomicBool::new(false);
    let (done, result) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| done.send(stopped(&bytes, &stop)).expect("somebody waits"));
        let early = result.recv_timeout(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout));
        assert!(matches!(result.recv(), Ok(Err(ImageError::Stopped(_)))));
    });
}

/// An image of 408 KB with a profile of 400 MB took 653 MB. They are taken out first, and what is left is the image.
#[test]
fn attack_39_profiles_and_texts_of_a_png_are_not_unpacked() {
    let image = png(image::RgbImage::from_pixel(8, 8, image::Rgb([1, 2, 3])));
    let packed = packed(&vec![0; 64 << 20]);
    let profile = chunk(*b"iCCP", &[&b"p\0\0"[..], &packed].concat());
    let text = chunk(*b"zTXt", &[&b"Raw profile type iptc\0\0"[..], &packed].concat());
    // Signature and header, then the notes.
    let noted = [&image[..33], &profile, &text, &image[33..]].concat();
    let limits = ImageLimits { max_pixels: 64, ..ImageLimits::default() };
    let options = ImageOptions { limits, ..ImageOptions::default() };
    let copy = redact(&noted, &options).expect("an image of 64 pixels");
    assert_eq!(pixels(&copy.bytes), pixels(&image));
    // What is cut off is refused, wherever it is.
    for end in [34, 40, 33 + profile.len() / 2, noted.len() - 20] {
        assert!(redact(&noted[..end], &options).is_err(), "{end}");
    }
}
