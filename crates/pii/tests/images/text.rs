//! Text in images.

use farebox_pii::Entity::{self, CreditCard, EmailAddress, IbanCode, Password, PhoneNumber, Url, UsSsn};
use image::imageops;
use serde_json::json;

use super::*;

/// Entities in the letters of the fixtures, from top to bottom.
const ALL: [Entity; 5] = [EmailAddress, PhoneNumber, CreditCard, IbanCode, UsSsn];
/// Parts of the values that survive neither misread letters nor missing spaces.
const PARTS: [&str; 6] = ["gonzalez", "555-01", "41111111", "04400532", "536-22", "8741"];

/// Area in which a value was drawn.
struct Drawn {
    value: String,
    area: Rect,
}

fn drawn(name: &str) -> Vec<Drawn> {
    let table = String::from_utf8(file("boxes.tsv")).expect("UTF-8");
    let rows = table.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let of_file = rows.filter(|row| row[0] == name).map(|row| {
        let side = |at: usize| row[at].parse::<u32>().expect("a number");
        let area = Rect { x: side(2), y: side(3), width: side(4) - side(2), height: side(5) - side(3) };
        Drawn { value: row[1].to_owned(), area }
    });
    of_file.collect()
}

fn entities(redacted: &RedactedImage) -> Vec<Entity> {
    let mut entities: Vec<_> = redacted.findings.iter().map(|finding| finding.entity).collect();
    entities.sort_by_key(|entity| ALL.iter().position(|known| known == entity));
    entities
}

/// Redacts and returns the result, in which none of the values can be found.
#[track_caller]
fn redacted(name: &str, bytes: &[u8], expected: &[Entity]) -> RedactedImage {
    let redacted = redact(bytes, &TEXT).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(entities(&redacted), expected, "{name}: {:?}", redacted.findings);
    let image = pixels(&redacted.bytes);
    let left = read(&image);
    for part in PARTS {
        assert!(!left.contains(part), "{name}: {part} in {left}");
    }
    redacted
}

/// Each value is covered by the boxes of one finding, which do not reach much further.
#[track_caller]
fn assert_covered(name: &str, redacted: &RedactedImage) {
    let image = pixels(&redacted.bytes);
    for Drawn { value, area } in drawn(name) {
        // But for a tenth of the height, where the outermost letters begin and end.
        let margin = area.height / 10;
        let inner = Rect { x: area.x + margin, width: area.width - 2 * margin, ..area };
        assert!(is_black(&image, inner), "{name}: {value} at {area:?}: {:?}", redacted.findings);
        let near = area.padded(3 * area.height, area.height * 5 / 4, image.dimensions());
        let fits = |rect: &Rect| {
            let (right, bottom) = (near.right(), near.bottom());
            rect.x >= near.x && rect.y >= near.y && rect.right() <= right && rect.bottom() <= bottom
        };
        let close = redacted.findings.iter().flat_map(|finding| &finding.boxes).any(fits);
        assert!(close, "{name}: {value} at {area:?}: {:?}", redacted.findings);
    }
}

#[test]
fn what_is_written_is_found_and_covered_where_it_stands() {
    for name in ["letter.png", "serif_small.png", "mono_dark.png"] {
        let redacted = redacted(name, &file(name), &ALL);
        assert_covered(name, &redacted);
        let again = redact(&redacted.bytes, &TEXT).expect("an image");
        assert_eq!(again.findings, [], "{name}");
        // What is about nobody stays.
        assert!(read(&pixels(&redacted.bytes)).contains("quickbrownfox"), "{name}");
        assert_eq!(redacted.mime, "image/png");
    }
}

#[test]
fn huge_text_is_found() {
    let redacted = redact(&file("large.png"), &TEXT).expect("an image");
    assert_eq!(entities(&redacted), ALL, "{:?}", redacted.findings);
    assert_covered("large.png", &redacted);
}

/// Page as a scanner or a phone takes it, with text of 20 pixels and of 170.
#[test]
fn small_text_on_a_large_page_is_found() {
    let bytes = file("scan.png");
    let expected = [EmailAddress, EmailAddress, PhoneNumber, CreditCard, IbanCode, UsSsn];
    let redacted = redact(&bytes, &TEXT).expect("an image");
    // The domain of the large address may count a second time, as an address of the web.
    let found: Vec<_> = entities(&redacted).into_iter().filter(|entity| *entity != Url).collect();
    assert_eq!(found, expected, "{:?}", redacted.findings);
    assert_covered("scan.png", &redacted);
}

#[test]
fn text_may_lean_and_stand_on_its_head() {
    redacted("leaning.png", &file("leaning.png"), &ALL);
    let upright = pixels(&file("letter.png"));
    for (name, image) in [
        ("by a quarter", imageops::rotate90(&upright)),
        ("by a half", imageops::rotate180(&upright)),
        ("by three quarters", imageops::rotate270(&upright)),
    ] {
        redacted(name, &png(image), &ALL);
    }
}

#[test]
fn text_on_nothing_is_looked_at_as_it_is_given_out() {
    for name in ["white_on_nothing.png", "black_on_nothing.png"] {
        let redacted = redacted(name, &file(name), &ALL);
        assert_covered(name, &redacted);
    }
    // What only the colours of transparent pixels tell is gone with them.
    let hidden = redacted("colors_of_nothing.png", &file("colors_of_nothing.png"), &[]);
    let image = pixels(&hidden.bytes);
    assert!(image.pixels().all(|pixel| pixel == image.get_pixel(0, 0)));
    // White text and black text on one transparent image: either is found or cannot be seen.
    let bright = image::load_from_memory(&file("white_on_nothing.png")).expect("an image").into_rgba8();
    let dark = image::load_from_memory(&file("black_on_nothing.png")).expect("an image").into_rgba8();
    let mut both = image::RgbaImage::new(bright.width(), 2 * bright.height());
    imageops::replace(&mut both, &bright, 0, 0);
    imageops::replace(&mut both, &dark, 0, i64::from(bright.height()));
    redacted("both", &png(both), &ALL);
}

#[test]
fn forms_are_read_by_rows_and_by_columns() {
    let redacted = redact(&file("form.png"), &TEXT).expect("an image");
    assert!(entities(&redacted).contains(&Password), "{:?}", redacted.findings);
    assert_covered("form.png", &redacted);
    assert!(read(&pixels(&redacted.bytes)).contains("A-20391"));
}

#[test]
fn only_what_was_asked_for_is_covered() {
    let body = json!({ "piiEntities": ["EMAIL"] });
    let selection = Selection::from_request(
        body.as_object().expect("an object"),
        &farebox_pii::AvailableModels::default(),
    )
    .expect("valid");
    let never = AtomicBool::new(false);
    let redacted = redact_image(&ENGINE, &MODELS, &file("letter.png"), &selection, &TEXT, &never);
    let redacted = redacted.expect("an image");
    assert_eq!(entities(&redacted), [EmailAddress]);
    let left = read(&pixels(&redacted.bytes));
    assert!(left.contains("536-22-8741") && !left.contains("gonzalez"), "{left}");
    let none = ImageOptions { ocr: Some(ImageOcrOptions { min_confidence: 1.1 }), ..TEXT };
    assert_eq!(redact(&file("letter.png"), &none).expect("an image").findings, []);
}
