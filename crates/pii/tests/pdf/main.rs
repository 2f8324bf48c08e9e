//! PDFs written by other programs are redacted, and what comes out is searched for what was removed.

mod bombs;
mod faces;
mod search;
mod syntax;
mod written;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use farebox_pii::image::ocr::Ocr;
use farebox_pii::pdf::{FindingSource, PdfError, PdfModels, PdfOptions, RedactedPdf, redact_pdf};
use farebox_pii::{Entity, PiiEngine, Selection};

const EMAIL: &str = "jane.doe@example.com";
const IBAN: &str = "DE89 3704 0044 0532 0130 00";
const CARD: &str = "4111 1111 1111 1111";
const SSN: &str = "536-22-8726";

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pdf/files").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file that scripts/models.sh fetches.
fn model(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("FAREBOX_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models"), PathBuf::from);
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run make tools", path.display()))
}

/// The models that read text in images.
fn ocr() -> &'static Ocr {
    static OCR: LazyLock<Ocr> = LazyLock::new(|| {
        let keys = String::from_utf8(model("ocr/keys.txt")).expect("UTF-8");
        Ocr::from_models(model("ocr/det.onnx"), model("ocr/rec.onnx"), &keys).expect("models that load")
    });
    &OCR
}

fn redact(bytes: &[u8], options: &PdfOptions) -> Result<RedactedPdf, PdfError> {
    let never = AtomicBool::new(false);
    redact_pdf(&PiiEngine::new(), PdfModels::default(), bytes, &Selection::default(), options, &never)
}

fn redact_with_ocr(bytes: &[u8]) -> Result<RedactedPdf, PdfError> {
    let (models, never) = (PdfModels { ocr: Some(ocr()), faces: None }, AtomicBool::new(false));
    redact_pdf(&PiiEngine::new(), models, bytes, &Selection::default(), &PdfOptions::default(), &never)
}

/// Page and entity of each finding.
fn found(redacted: &RedactedPdf) -> Vec<(u32, Entity)> {
    redacted.findings.iter().map(|finding| (finding.page, finding.entity)).collect()
}

#[test]
fn what_is_found_is_gone() {
    use Entity::{CreditCard, EmailAddress, IbanCode, UsSsn};
    let letter = [(1, EmailAddress), (1, IbanCode), (1, CreditCard), (1, UsSsn)];
    let three = [&letter[..], &[(3, CreditCard)]].concat();
    for (name, expected) in [
        ("plain", three.clone()),
        ("clean", vec![]),
        ("subset", vec![(1, EmailAddress), (1, IbanCode)]),
        ("split", vec![(1, EmailAddress), (1, CreditCard), (1, IbanCode)]),
        ("turned", [&letter[..], &[(1, EmailAddress), (1, CreditCard)]].concat()),
        ("cropped", [&letter[..], &[(1, EmailAddress), (1, CreditCard)]].concat()),
        ("columns", vec![(1, EmailAddress), (1, CreditCard)]),
        ("across", vec![(1, IbanCode), (1, CreditCard)]),
        ("form", vec![(1, EmailAddress), (2, EmailAddress)]),
        ("annotated", vec![(1, CreditCard)]),
        ("described", vec![]),
        ("attached", vec![]),
        ("revised", vec![(3, CreditCard)]),
        ("hidden", vec![(1, EmailAddress), (1, CreditCard), (1, UsSsn)]),
        ("fpdf2", vec![(1, EmailAddress), (1, CreditCard), (1, IbanCode)]),
        ("packed", three.clone()),
        ("encrypted", three.clone()),
        ("encrypted_rc4", three.clone()),
        ("encrypted_packed", three),
    ] {
        let redacted = redact(&file(&format!("{name}.pdf")), &PdfOptions::default());
        let redacted = redacted.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut all = found(&redacted);
        let mut expected = expected;
        all.sort_unstable_by_key(|(page, entity)| (*page, entity.name()));
        expected.sort_unstable_by_key(|(page, entity)| (*page, entity.name()));
        assert_eq!(all, expected, "{name}");
        keep(name, &redacted.bytes);
        search::assert_gone(name, &redacted.bytes, &[EMAIL, IBAN, CARD, SSN]);
    }
}

#[test]
fn text_in_images_is_read() {
    use Entity::{CreditCard, EmailAddress, IbanCode, UsSsn};
    for (name, expected) in [
        ("scanned", vec![(FindingSource::Ocr, EmailAddress), (FindingSource::Ocr, CreditCard)]),
        (
            "mixed",
            vec![
                (FindingSource::Text, EmailAddress),
                (FindingSource::Text, IbanCode),
                (FindingSource::Text, CreditCard),
                (FindingSource::Text, UsSsn),
                (FindingSource::Ocr, CreditCard),
            ],
        ),
    ] {
        let redacted =
            redact_with_ocr(&file(&format!("{name}.pdf"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        keep(name, &redacted.bytes);
        let all: Vec<_> = redacted.findings.iter().map(|finding| (finding.source, finding.entity)).collect();
        assert_eq!(all, expected, "{name}");
        search::assert_gone(name, &redacted.bytes, &[EMAIL, IBAN, CARD, SSN]);
        // Nothing is left to be found.
        let again = redact_with_ocr(&redacted.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again.findings, [], "{name}");
    }
}

/// For looking at the results: `PDF_OUT=folder cargo test`.
fn keep(name: &str, bytes: &[u8]) {
    if let Some(folder) = std::env::var_os("PDF_OUT") {
        std::fs::write(Path::new(&folder).join(format!("{name}.pdf")), bytes).expect("a folder to write to");
    }
}

#[test]
fn what_cannot_be_examined_is_refused() {
    let options = PdfOptions::default();
    for (name, error) in [
        ("scanned", PdfError::NeedsOcr { page: 1 }),
        ("mixed", PdfError::NeedsOcr { page: 1 }),
        ("locked", PdfError::Encrypted),
    ] {
        assert_eq!(redact(&file(&format!("{name}.pdf")), &options).err(), Some(error), "{name}");
    }
    assert_eq!(redact(b"hello", &options).err(), Some(PdfError::NotPdf));
    assert_eq!(redact(b"", &options).err(), Some(PdfError::NotPdf));
    assert_eq!(redact(b"%PDF-1.4\n", &options).err(), Some(PdfError::Damaged));
}

#[test]
fn only_selected_pages_are_handed_back() {
    let pages =
        |text: &str| PdfOptions { pages: Some(text.parse().expect("ranges")), ..PdfOptions::default() };
    let redacted = redact(&file("plain.pdf"), &pages("2-3")).expect("a PDF");
    assert_eq!((redacted.pages, found(&redacted)), (2, vec![(3, Entity::CreditCard)]));
    assert_eq!(search::pages(&redacted.bytes), 2);
    let missing = redact(&file("plain.pdf"), &pages("3-5")).err();
    assert_eq!(missing, Some(PdfError::NoSuchPage { page: 4, pages: 3 }));
}

#[test]
fn a_set_flag_stops_it() {
    let stopped = redact_pdf(
        &PiiEngine::new(),
        PdfModels::default(),
        &file("plain.pdf"),
        &Selection::default(),
        &PdfOptions::default(),
        &AtomicBool::new(true),
    );
    assert_eq!(stopped.err(), Some(PdfError::Stopped));
}

/// Damaged files end in an answer.
#[test]
fn damage_never_panics() {
    let names = ["plain", "form", "annotated", "revised", "packed", "encrypted", "encrypted_packed"];
    let mut seed = 7_u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(seed >> 8).expect("32 bits") % below
    };
    let options = PdfOptions { dpi: 36, ..PdfOptions::default() };
    for name in names {
        let whole = file(&format!("{name}.pdf"));
        for _ in 0..20 {
            let mut bytes = whole.clone();
            for _ in 0..=random(8) {
                let at = random(bytes.len());
                bytes[at] = u8::try_from(random(256)).expect("a byte");
            }
            if random(3) == 0 {
                bytes.truncate(random(bytes.len()));
            }
            drop(redact(&bytes, &options));
        }
    }
}
