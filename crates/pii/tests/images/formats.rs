//! Formats that are read, and removal of everything but pixels.

use farebox_pii::image::image_bytes;
use image::{DynamicImage, ImageFormat, imageops};

use super::*;

/// Words that would tell that something of the original is left.
const TRACES: [&[u8]; 8] = [b"HIDDEN", b"Exif", b"ICC_PROFILE", b"iCCP", b"xmp", b"eXIf", b"EXIF", b"acTL"];

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[track_caller]
fn assert_pixels_only(name: &str, bytes: &[u8]) {
    for trace in TRACES {
        assert!(!holds(bytes, trace), "{name}: {}", String::from_utf8_lossy(trace));
    }
}

#[test]
fn nothing_but_pixels_is_left() {
    for name in ["described.jpg", "described.png", "described.gif", "described.webp"] {
        let bytes = file(name);
        assert!(holds(&bytes, b"HIDDEN"), "{name}");
        let redacted = redact(&bytes, &TEXT).expect("an image");
        assert_pixels_only(name, &redacted.bytes);
        assert_eq!(redacted.mime, if name.ends_with("jpg") { "image/jpeg" } else { "image/png" }, "{name}");
        assert!(read(&pixels(&redacted.bytes)).contains("quickbrownfox"), "{name}");
    }
}

/// JPEG (ITU T.81, B.1.1) and PNG (ISO 15948, 5.3): the parts of the files say that there is nothing else.
#[test]
fn files_have_the_parts_that_pixels_need() {
    let jpeg = copied(&file("described.jpg")).expect("an image").bytes;
    let (mut at, mut markers) = (2, Vec::new());
    while jpeg[at + 1] != 0xda {
        markers.push(jpeg[at + 1]);
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    // JFIF, tables, a frame.
    assert!(markers.iter().all(|marker| [0xe0, 0xdb, 0xc4, 0xc0].contains(marker)), "{markers:x?}");
    assert!(jpeg.ends_with(&[0xff, 0xd9]));
    for name in ["described.png", "moving.png"] {
        let png = copied(&file(name)).expect("an image").bytes;
        let (mut at, mut kinds) = (8, Vec::new());
        while at < png.len() {
            let length = u32::from_be_bytes(png[at..at + 4].try_into().expect("four"));
            kinds.push(String::from_utf8_lossy(&png[at + 4..at + 8]).into_owned());
            at += 12 + usize::try_from(length).expect("small");
        }
        kinds.dedup();
        assert_eq!(kinds, ["IHDR", "IDAT", "IEND"], "{name}");
    }
}

#[test]
fn only_the_first_frame_leaves() {
    for name in ["moving.gif", "moving.png", "moving.webp"] {
        let redacted = redact(&file(name), &TEXT).expect("an image");
        assert_pixels_only(name, &redacted.bytes);
        assert_eq!((&redacted.findings[..], redacted.mime), (&[][..], "image/png"), "{name}");
        let left = read(&pixels(&redacted.bytes));
        assert!(left.contains("quickbrownfox") && !left.contains("gonzalez"), "{name}: {left}");
    }
}

/// A JPEG with an EXIF block that has the orientation and nothing else (EXIF 2.32, 4.6.4).
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        &b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..],
        &[orientation],
        b"\0\0\0\0\0\0",
    ];
    [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat()
}

type Turn = fn(&RgbImage) -> RgbImage;

#[test]
fn images_are_turned_as_their_exif_says() {
    let upright = image::load_from_memory(&file("letter.png")).expect("an image").into_rgb8();
    let stored: [(u8, Turn); 8] = [
        (1, Clone::clone),
        (2, imageops::flip_horizontal),
        (3, imageops::rotate180),
        (4, imageops::flip_vertical),
        (5, |image| imageops::flip_horizontal(&imageops::rotate90(image))),
        (6, imageops::rotate270),
        (7, |image| imageops::flip_horizontal(&imageops::rotate270(image))),
        (8, imageops::rotate90),
    ];
    for (orientation, turn) in stored {
        let mut jpeg = std::io::Cursor::new(Vec::new());
        DynamicImage::from(turn(&upright)).write_to(&mut jpeg, ImageFormat::Jpeg).expect("memory");
        let bytes = with_orientation(&jpeg.into_inner(), orientation);
        let redacted = copied(&bytes).unwrap_or_else(|error| panic!("{orientation}: {error}"));
        assert_eq!((redacted.width, redacted.height), upright.dimensions(), "{orientation}");
        let turned = pixels(&redacted.bytes);
        let apart = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
        let apart: u64 = turned.as_raw().iter().zip(upright.as_raw()).map(apart).sum();
        assert!(apart / u64::try_from(turned.len()).expect("small") < 6, "{orientation}");
    }
    // Boxes are of the upright image.
    let mut jpeg = std::io::Cursor::new(Vec::new());
    DynamicImage::from(imageops::rotate270(&upright)).write_to(&mut jpeg, ImageFormat::Jpeg).expect("memory");
    let redacted = redact(&with_orientation(&jpeg.into_inner(), 6), &TEXT).expect("an image");
    let boxes: Vec<_> = redacted.findings.iter().flat_map(|finding| &finding.boxes).collect();
    assert!(boxes.len() == 5 && boxes.iter().all(|rect| rect.width > rect.height), "{boxes:?}");
}

#[test]
fn every_format_is_read_and_names_do_not_matter() {
    let image = DynamicImage::from(pixels(&file("letter.png")));
    for (format, mime) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Gif, "image/png"),
        (ImageFormat::WebP, "image/png"),
        (ImageFormat::Bmp, "image/png"),
    ] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("memory");
        let redacted =
            redact(&bytes.into_inner(), &TEXT).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!((redacted.mime, redacted.findings.len()), (mime, 5), "{format:?}");
    }
    // A PNG that a data URL calls a JPEG is a PNG.
    let url = format!("data:image/jpeg;base64,{}", base64(&file("letter.png")));
    let bytes = image_bytes(&url, 1 << 20).expect("base64");
    assert_eq!(copied(&bytes).map(|copy| copy.mime), Ok("image/png"));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Grey, 16 bits, palettes, and one pixel.
#[test]
fn every_kind_of_pixels_is_read() {
    for image in [
        DynamicImage::new_luma8(3, 2),
        DynamicImage::new_luma16(3, 2),
        DynamicImage::new_rgb16(3, 2),
        DynamicImage::new_rgba16(3, 2),
        DynamicImage::new_luma_a8(3, 2),
        DynamicImage::new_rgb8(1, 1),
    ] {
        let redacted = redact(&png(image.clone()), &TEXT).expect("an image");
        assert_eq!((redacted.width, redacted.height), (image.width(), image.height()));
    }
}
