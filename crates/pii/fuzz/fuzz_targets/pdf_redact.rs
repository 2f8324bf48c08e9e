//! Any bytes end in an error or in a PDF with a picture for each page and nothing else.
//!
//! Names are left to the fuzzing of text, and models would take all the time.

#![no_main]

use std::sync::{LazyLock, atomic::AtomicBool};

use farebox_pii::pdf::{PdfError, PdfLimits, PdfModels, PdfOptions, redact_pdf};
use farebox_pii::{AvailableModels, PiiEngine, Selection};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);
static RULES: LazyLock<Selection> = LazyLock::new(|| {
    let body = serde_json::json!({ "piiConfig": { "model": "rules" } });
    Selection::from_request(body.as_object().expect("an object"), &AvailableModels::default()).expect("valid")
});
static OPTIONS: LazyLock<PdfOptions> = LazyLock::new(|| PdfOptions {
    ocr: None,
    dpi: 36,
    limits: PdfLimits {
        pages: 8,
        unpacked: 4 << 20,
        image_pixels: 1 << 18,
        page_pixels: 1 << 18,
        operators: 20_000,
        output: 4 << 20,
        ..PdfLimits::default()
    },
    ..PdfOptions::default()
});

/// Mistakes of the libraries that read PDFs are survived and answered as damage; ours are not.
fn tell_whose_mistakes() {
    std::panic::set_hook(Box::new(|info| {
        if info.location().is_some_and(|place| place.file().contains("pii/")) {
            eprintln!("{info}");
            std::process::abort();
        }
    }));
}

fuzz_target!(
    init: tell_whose_mistakes(),
    |bytes: &[u8]| {
        let redact = |bytes: &[u8]| {
            let never = AtomicBool::new(false);
            redact_pdf(&ENGINE, PdfModels::default(), bytes, &RULES, &OPTIONS, &never)
        };
        match redact(bytes) {
            Ok(redacted) => {
                assert!((1..=8).contains(&redacted.pages));
                let placed = |page, boxes: usize| (1..=redacted.pages).contains(&page) && boxes > 0;
                assert!(redacted.findings.iter().all(|finding| placed(finding.page, finding.boxes.len())));
                // Pictures have to be read.
                let again = redact(&redacted.bytes).map(|again| again.pages);
                assert_eq!(again, Err(PdfError::NeedsOcr { page: 1 }));
            }
            Err(
                error @ (PdfError::TooLarge { .. }
                | PdfError::NoSuchPage { .. }
                | PdfError::NoFaceModel { .. }
                | PdfError::ModelFailed { .. }
                | PdfError::Stopped),
            ) => panic!("{error:?}"),
            Err(_) => {}
        }
    }
);
