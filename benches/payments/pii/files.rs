//! Images and PDFs on one thread, as a preview examines them.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox::config;
use farebox::services::pii::{FileExaminer, FileKind, FileLimits};
use farebox_pii::{FileOptions, PiiEngine, RecognitionModel, Selection};
use serde_json::{Value, json};

use super::peers::Peers;
use crate::report::{Table, median, millis, number, title};

const ROUNDS: usize = 5;

struct Case {
    name: &'static str,
    kind: FileKind,
    file: &'static str,
    config: Value,
    /// True if `RapidOCR` does the same: it reads, and finds and paints nothing.
    read_by_peer: bool,
}

fn cases() -> Vec<Case> {
    let text_only = || json!({ "faceBlur": false });
    let image =
        |name, file, config, read_by_peer| Case { name, kind: FileKind::Image, file, config, read_by_peer };
    let pdf = |name, file| Case { name, kind: FileKind::Pdf, file, config: json!({}), read_by_peer: false };
    vec![
        image("image, 480 x 190, text", "images/fixtures/sans.png", text_only(), true),
        image("image, a form, text", "images/fixtures/form.png", text_only(), true),
        image("portrait, text and faces", "images/fixtures/astronaut.jpg", json!({}), false),
        image("portrait, faces alone", "images/fixtures/astronaut.jpg", json!({ "ocr": false }), false),
        pdf("PDF, a page of text", "pdf/files/clean.pdf"),
        pdf("PDF, a scanned page", "pdf/files/scanned.pdf"),
    ]
}

pub fn measure(config: &config::PiiConfig, mut peers: Option<&mut Peers>) -> Result<()> {
    title("   Images and PDFs: from the file that was sent to the redacted one, one thread");
    let models = config.image_models()?;
    if models.ocr.is_none() || models.faces.is_none() {
        println!("  Without models: run `make tools`.");
        return Ok(());
    }
    let examiner = FileExaminer::new(PiiEngine::new(), models, FileLimits::new(config));
    let (selection, never) = (Selection::all(RecognitionModel::Fast), AtomicBool::new(false));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/pii/tests");
    let mut table = Table::new(&["", "ms", "RapidOCR, reading alone"]);
    for case in cases() {
        let encoded = STANDARD.encode(std::fs::read(tests.join(case.file)).context(case.file)?);
        let request = json!({ "piiConfig": case.config });
        let options = FileOptions::from_request(request.as_object().context("an object")?)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let file = examiner.read(case.kind, &encoded)?;
            let redacted = examiner.redact(&file, &selection, &options, &never)?;
            std::hint::black_box(redacted.data_url());
            ours.push(millis(begun.elapsed()));
            if let Some(peers) = peers.as_deref_mut().filter(|_| case.read_by_peer) {
                theirs.push(peers.run(&json!({ "peer": "rapidocr", "image": encoded }))?.0 * 1e3);
            }
        }
        let peer = if theirs.is_empty() { String::new() } else { number(median(&theirs)) };
        table.row(case.name, [number(median(&ours)), peer]);
    }
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds.");
    Ok(())
}
