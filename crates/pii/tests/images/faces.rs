//! Faces in photographs.

use farebox_pii::image::{Face, FaceMode, FaceOptions};
use image::imageops::{self, FilterType};

use super::*;

/// Area of the face in the fixture, from hair to chin and from ear to ear.
const FACE: Rect = Rect { x: 78, y: 40, width: 108, height: 130 };

fn covering(mode: FaceMode, strength: f32) -> ImageOptions {
    let faces = FaceOptions { mode, strength, ..FaceOptions::default() };
    ImageOptions { faces: Some(faces), ..ImageOptions::default() }
}

fn faces(bytes: &[u8]) -> Vec<Face> {
    redact(bytes, &covering(FaceMode::Fill, 0.5)).expect("an image").faces
}

fn shared(a: Rect, b: Rect) -> f64 {
    let across = a.right().min(b.right()).saturating_sub(a.x.max(b.x));
    let down = a.bottom().min(b.bottom()).saturating_sub(a.y.max(b.y));
    let area = |width: u32, height: u32| f64::from(width) * f64::from(height);
    let common = area(across, down);
    common / (area(a.width, a.height) + area(b.width, b.height) - common)
}

/// The different colours in a rectangle.
fn colors(image: &RgbImage, area: Rect) -> usize {
    let part = imageops::crop_imm(image, area.x, area.y, area.width, area.height);
    part.to_image().pixels().collect::<std::collections::HashSet<_>>().len()
}

/// Mean difference of the pixels of two images in a rectangle.
fn distance(a: &RgbImage, b: &RgbImage, area: Rect) -> f64 {
    let part = |image| imageops::crop_imm(image, area.x, area.y, area.width, area.height).to_image();
    let (a, b) = (part(a), part(b));
    let pairs = a.as_raw().iter().zip(b.as_raw());
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / f64::from(area.width * area.height * 3)
}

#[test]
fn a_face_is_found_where_it_is() {
    let found = faces(&file("astronaut.jpg"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(shared(found[0].rect, FACE) > 0.6, "{found:?}");
    assert!((0.4..=1.0).contains(&found[0].score), "{found:?}");
    for name in ["letter.png", "form.png"] {
        assert_eq!(faces(&file(name)), [], "{name}");
    }
}

#[test]
fn no_mode_leaves_a_face() {
    // Without the losses of JPEG, so that colours can be counted.
    let before = pixels(&file("astronaut.jpg"));
    let bytes = png(before.clone());
    for (mode, strength) in [
        (FaceMode::Fill, 0.5),
        (FaceMode::Pixelate, 0.0),
        (FaceMode::Pixelate, 1.0),
        (FaceMode::Blur, 0.0),
        (FaceMode::Blur, 1.0),
    ] {
        let redacted = redact(&bytes, &covering(mode, strength)).expect("an image");
        let after = pixels(&redacted.bytes);
        let [face] = redacted.faces[..] else { panic!("{mode:?}: {:?}", redacted.faces) };
        assert_eq!(faces(&redacted.bytes), [], "{mode:?} {strength}");
        assert!(distance(&before, &after, face.rect) > 8.0, "{mode:?} {strength}");
        match mode {
            FaceMode::Fill => assert!(is_black(&after, face.rect)),
            FaceMode::Pixelate => assert!(colors(&after, face.rect) <= 64, "{strength}"),
            // Neighbours are nearly alike: no edge is left.
            FaceMode::Blur => {
                let edge = (face.rect.x + 1..face.rect.right())
                    .map(|x| {
                        after.get_pixel(x, face.rect.y + 60)[0]
                            .abs_diff(after.get_pixel(x - 1, face.rect.y + 60)[0])
                    })
                    .max();
                assert!(edge.is_some_and(|edge| edge <= 16), "{edge:?}");
            }
        }
        // The rest of the picture is as it was.
        let below = Rect { x: 0, y: face.rect.bottom(), width: 256, height: 256 - face.rect.bottom() };
        assert!(distance(&before, &after, below) < f64::EPSILON, "{mode:?}");
    }
}

#[test]
fn stronger_leaves_less() {
    let bytes = png(pixels(&file("astronaut.jpg")));
    let left = |strength| {
        let redacted = redact(&bytes, &covering(FaceMode::Pixelate, strength)).expect("an image");
        colors(&pixels(&redacted.bytes), redacted.faces[0].rect)
    };
    assert!(left(1.0) <= 9 && left(1.0) < left(0.0), "{} {}", left(1.0), left(0.0));
}

#[test]
fn all_faces_of_a_picture_are_covered() {
    let face = pixels(&file("astronaut.jpg"));
    let mut group = RgbImage::from_pixel(900, 400, image::Rgb([120, 140, 150]));
    imageops::replace(&mut group, &face, 20, 60);
    imageops::replace(&mut group, &imageops::resize(&face, 64, 64, FilterType::Triangle), 400, 30);
    imageops::replace(&mut group, &imageops::flip_horizontal(&face), 600, 100);
    let redacted = redact(&png(group), &covering(FaceMode::Fill, 0.5)).expect("an image");
    assert_eq!(redacted.faces.len(), 3, "{:?}", redacted.faces);
    assert!(redacted.faces.is_sorted_by(|a, b| a.score >= b.score), "{:?}", redacted.faces);
    let image = pixels(&redacted.bytes);
    assert!(redacted.faces.iter().all(|face| is_black(&image, face.rect)), "{:?}", redacted.faces);
}

#[test]
fn text_and_faces_are_looked_for_in_one_picture() {
    let (face, text) = (pixels(&file("astronaut.jpg")), pixels(&file("letter.png")));
    let mut badge = RgbImage::from_pixel(700, 300, image::Rgb([255, 255, 255]));
    imageops::replace(&mut badge, &face, 20, 20);
    imageops::replace(&mut badge, &text, 300, 30);
    let options = ImageOptions { ocr: TEXT.ocr, ..covering(FaceMode::Fill, 0.5) };
    let redacted = redact(&png(badge), &options).expect("an image");
    assert_eq!((redacted.faces.len(), redacted.findings.len()), (1, 5), "{redacted:?}");
}
