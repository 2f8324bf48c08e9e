//! Faces in photographs on pages.

use farebox_pii::image::{FaceDetector, FaceMode, FaceOptions};

use super::written::{Page, stream};
use super::*;

static FACES: LazyLock<FaceDetector> =
    LazyLock::new(|| FaceDetector::from_model(model("faces/centerface.onnx")).expect("a model that loads"));

/// A page with a photograph of one face, and a line of text.
fn portrait() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/fixtures/astronaut.jpg");
    let photograph = std::fs::read(path).expect("there");
    let dict = "/Subtype /Image /Width 256 /Height 256 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode";
    let resources = format!("{} /XObject << /I 5 0 R >>", written::HELVETICA);
    let content = b"q 150 0 0 150 100 20 cm /I Do Q BT /F 12 Tf 20 250 Td (jane.doe@example.com) Tj ET";
    Page { content, resources: &resources, others: vec![stream(dict, &photograph)], ..Page::default() }.file()
}

fn covering(bytes: &[u8], mode: FaceMode) -> Result<RedactedPdf, PdfError> {
    let faces = Some(FaceOptions { mode, ..FaceOptions::default() });
    let options = PdfOptions { faces, ..PdfOptions::default() };
    let models = PdfModels { ocr: Some(ocr()), faces: Some(&FACES) };
    redact_pdf(&PiiEngine::new(), models, bytes, &Selection::default(), &options, &AtomicBool::new(false))
}

#[test]
fn faces_are_covered() {
    for mode in [FaceMode::Fill, FaceMode::Pixelate, FaceMode::Blur] {
        let redacted = covering(&portrait(), mode).unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        let [face] = redacted.faces[..] else { panic!("{mode:?}: {:?}", redacted.faces) };
        // The photograph is 100 to 250 points from the left and 130 to 280 from the top; the face is in its middle.
        let (x, y) = (face.area.x + face.area.width / 2.0, face.area.y + face.area.height / 2.0);
        assert!((160.0..200.0).contains(&x) && (170.0..220.0).contains(&y), "{face:?}");
        assert_eq!(face.page, 1);
        assert_eq!(found(&redacted), [(1, Entity::EmailAddress)], "{mode:?}");
        keep(&format!("portrait_{mode:?}"), &redacted.bytes);
        assert_eq!(covering(&redacted.bytes, mode).expect("a PDF").faces, [], "{mode:?}");
    }
    // Not unless asked for.
    assert_eq!(redact_with_ocr(&portrait()).expect("a PDF").faces, []);
}

#[test]
fn no_page_passes_without_a_model() {
    let faces = Some(FaceOptions::default());
    let options = PdfOptions { faces, ..PdfOptions::default() };
    let models = PdfModels { ocr: Some(ocr()), faces: None };
    let never = AtomicBool::new(false);
    let without =
        |bytes: &[u8]| redact_pdf(&PiiEngine::new(), models, bytes, &Selection::default(), &options, &never);
    assert_eq!(without(&portrait()).err(), Some(PdfError::NoFaceModel { page: 1 }));
    // Text has no faces.
    assert_eq!(without(&file("clean.pdf")).err(), None);
}
