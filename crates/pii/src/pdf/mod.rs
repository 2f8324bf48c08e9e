//! Redaction of PDFs: personal data in them is found and removed.
//!
//! The structure of a file is read within limits, and the visible content of the selected pages is copied into a
//! plain file ([`open`], [`copy`], [`measure`]). Only that is interpreted, after its cost was counted ([`cost`]):
//! the characters of a page with their positions ([`glyphs`]), in several reading orders ([`reading_order`]), are
//! examined ([`examine`]), text in images is read and faces are covered ([`scan`]). The result is a new file
//! ([`build`]) with a picture of each page ([`paint`]) on which all findings are covered.
//!
//! No page is carried over as text or shapes. Content of a page that is not visible (hidden text and layers,
//! clipped images, unused resources, glyphs of shared fonts), and content of the file besides its pages (metadata,
//! forms, scripts, attachments, bookmarks, earlier revisions), cannot be in the result, for nothing of the source
//! is copied into it but pixels. Annotations are a part of the picture.
//!
//! hayro was chosen to interpret and draw: pure Rust, and one interpreter for the characters and the picture,
//! so that positions agree. lopdf reads and writes structure, for it has limits for hostile files.

mod build;
mod copy;
mod cost;
mod error;
mod examine;
mod glyphs;
mod limits;
mod measure;
pub mod open;
mod pages;
mod paint;
mod reading_order;
mod scan;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use hayro::RenderCache;
use hayro::hayro_interpret::{InterpreterCache, InterpreterSettings};
use hayro::hayro_syntax::Pdf;
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::Rect;

pub use crate::data_url::pdf_bytes;
pub use error::PdfError;
pub use limits::PdfLimits;
pub use pages::{PageRanges, PageRangesError};

use crate::image::ocr::Ocr;
use crate::image::{FaceDetector, FaceOptions};
use crate::{Entity, PiiEngine, Selection};

/// Resolution of redacted pages unless the request sets another, in dots per inch.
pub const DEFAULT_DPI: u16 = 150;

/// Models that are loaded. Each may be missing.
#[derive(Clone, Copy, Default)]
pub struct PdfModels<'m> {
    /// Reads text in images.
    pub ocr: Option<&'m Ocr>,
    /// Finds faces in images.
    pub faces: Option<&'m FaceDetector>,
}

/// Options for reading text in images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PdfOcrOptions {
    /// Least confidence of a line, 0 to 1; others are ignored and stay visible.
    pub min_confidence: f32,
}

impl Default for PdfOcrOptions {
    fn default() -> Self {
        Self { min_confidence: 0.3 }
    }
}

/// Options for redacting a PDF.
#[derive(Clone, Debug)]
pub struct PdfOptions {
    /// Pages to examine; none for all. The redacted file has these pages only: pages that were not examined are
    /// not returned.
    pub pages: Option<PageRanges>,
    /// Reading of text in images, on pages that have images, or shapes that could be text. If none, or without a
    /// model, such pages are refused.
    pub ocr: Option<PdfOcrOptions>,
    /// Covering of faces, on pages that have images; none leaves them visible. Without a model, such pages are
    /// refused.
    pub faces: Option<FaceOptions>,
    /// Resolution of the pages of the redacted file, 36 to 600 dots per inch.
    pub dpi: u16,
    /// Limits for the file.
    pub limits: PdfLimits,
}

impl Default for PdfOptions {
    fn default() -> Self {
        Self {
            pages: None,
            ocr: Some(PdfOcrOptions::default()),
            faces: None,
            dpi: DEFAULT_DPI,
            limits: PdfLimits::default(),
        }
    }
}

/// Source of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingSource {
    /// Characters of the file.
    Text,
    /// Text read in a picture of the page.
    Ocr,
}

/// Rectangle on a page as it is shown, in points from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PdfRect {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Points across.
    pub width: f64,
    /// Points down.
    pub height: f64,
}

impl From<Rect> for PdfRect {
    fn from(area: Rect) -> Self {
        Self { x: area.x0, y: area.y0, width: area.width(), height: area.height() }
    }
}

impl From<PdfRect> for Rect {
    fn from(area: PdfRect) -> Self {
        Self::new(area.x, area.y, area.x + area.width, area.y + area.height)
    }
}

/// Personal data or a secret on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PdfFinding {
    /// Number of the page in the source file, from 1.
    pub page: u32,
    /// Kind of data.
    pub entity: Entity,
    /// Areas that were covered, line by line.
    pub boxes: Vec<PdfRect>,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// The recogniser that found it.
    pub recognizer: &'static str,
    /// Source of the finding.
    pub source: FindingSource,
}

/// Face on a page.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PageFace {
    /// Number of the page in the source file, from 1.
    pub page: u32,
    /// Area with hair, ears and chin.
    pub area: PdfRect,
    /// Probability that it is a face, 0 to 1.
    pub score: f32,
}

/// PDF without its findings.
#[derive(Clone, Debug)]
pub struct RedactedPdf {
    /// Bytes of the new file.
    pub bytes: Vec<u8>,
    /// Number of pages of the new file.
    pub pages: u32,
    /// Findings, page by page.
    pub findings: Vec<PdfFinding>,
    /// Faces that were covered, page by page.
    pub faces: Vec<PageFace>,
}

/// Reason the interpreter was left, by unwinding.
enum Interrupted {
    Stopped,
    TooMuch,
}

/// Finds the selected entities and returns a new PDF without them.
///
/// `stop` ends the work with [`PdfError::Stopped`]. It is read throughout, except while the structure of the file is
/// read and while a page is drawn, which the limits keep short.
///
/// # Errors
/// [`PdfError`] for any page that could not be examined: none passes for a clean one.
pub fn redact_pdf(
    engine: &PiiEngine,
    models: PdfModels<'_>,
    bytes: &[u8],
    selection: &Selection,
    options: &PdfOptions,
    stop: &AtomicBool,
) -> Result<RedactedPdf, PdfError> {
    let work = RedactionJob { engine, models, selection, options, stop };
    match catch_unwind(AssertUnwindSafe(|| work.redact(bytes))) {
        Ok(result) => result,
        Err(reason) if reason.is::<open::BudgetExhausted>() => Err(PdfError::TooComplex),
        Err(reason) => match reason.downcast_ref::<Interrupted>() {
            Some(Interrupted::Stopped) => Err(PdfError::Stopped),
            Some(Interrupted::TooMuch) => Err(PdfError::TooComplex),
            // A panic in one of the libraries.
            None => Err(PdfError::Damaged),
        },
    }
}

/// Redaction of one file.
struct RedactionJob<'w> {
    engine: &'w PiiEngine,
    models: PdfModels<'w>,
    selection: &'w Selection,
    options: &'w PdfOptions,
    stop: &'w AtomicBool,
}

impl RedactionJob<'_> {
    fn redact(&self, bytes: &[u8]) -> Result<RedactedPdf, PdfError> {
        let limits = &self.options.limits;
        self.check_stopped()?;
        let (numbers, plain) = self.plain_copy(bytes)?;
        self.check_stopped()?;
        let pdf = Pdf::new(plain).map_err(|_| PdfError::Damaged)?;
        if pdf.pages().len() != numbers.len() {
            return Err(PdfError::Damaged);
        }
        let mut builder = build::PdfBuilder::new(limits.output);
        let pages = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let mut redacted = RedactedPdf { bytes: Vec::new(), pages, findings: Vec::new(), faces: Vec::new() };
        for (page, number) in pdf.pages().iter().zip(&numbers) {
            self.check_stopped()?;
            self.page(page, *number, &mut builder, &mut redacted)?;
        }
        redacted.bytes = builder.finish()?;
        Ok(redacted)
    }

    fn check_stopped(&self) -> Result<(), PdfError> {
        if self.stop.load(Ordering::Relaxed) { Err(PdfError::Stopped) } else { Ok(()) }
    }

    /// Numbers of the selected pages, and a plain file with these pages only.
    fn plain_copy(&self, bytes: &[u8]) -> Result<(Vec<u32>, Vec<u8>), PdfError> {
        let limits = &self.options.limits;
        if bytes.len() > limits.bytes {
            return Err(PdfError::TooLarge { limit: limits.bytes });
        }
        if !open::is_pdf(bytes) {
            return Err(PdfError::NotPdf);
        }
        // The limits keep this short; the flag is not asked before it ends.
        let document = open::with_budget(bytes.len(), || false, || open::load(bytes))?;
        let all: Vec<_> = document.page_iter().collect();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Err(PdfError::Damaged);
        }
        let numbers = match &self.options.pages {
            None => (1..=count).collect(),
            Some(ranges) => ranges.within(count)?,
        };
        if numbers.len() > limits.pages {
            return Err(PdfError::TooManyPages { limit: limits.pages });
        }
        let wanted: Vec<_> =
            all.iter().zip(1..).filter(|(_, number)| numbers.contains(number)).map(|(id, _)| *id).collect();
        let plain = copy::plain(&document, &wanted, limits)?;
        Ok((numbers, plain))
    }

    fn page<'a>(
        &self,
        page: &'a Page<'a>,
        number: u32,
        builder: &mut build::PdfBuilder,
        redacted: &mut RedactedPdf,
    ) -> Result<(), PdfError> {
        let limits = &self.options.limits;
        cost::check(page, limits, self.stop)?;
        let settings = InterpreterSettings::default();
        let drawn = glyphs::read(page, &InterpreterCache::new(), settings.clone(), self.stop);
        let has_unread_content = drawn.images || drawn.shapes;
        let ocr = self.models.ocr.zip(self.options.ocr);
        if has_unread_content && ocr.is_none() {
            return Err(PdfError::NeedsOcr { page: number });
        }
        let faces = match self.options.faces.filter(|_| drawn.images) {
            Some(options) => {
                Some((options, self.models.faces.ok_or(PdfError::NoFaceModel { page: number })?))
            }
            None => None,
        };
        let texts = reading_order::reading_orders(&drawn.glyphs);
        let mut found = examine::examine(
            &drawn.glyphs,
            texts,
            (number, FindingSource::Text),
            self.engine,
            self.selection,
        );
        self.check_stopped()?;
        let scale = paint::scale(page, self.options.dpi.clamp(36, 600), limits);
        let mut picture =
            paint::draw(page, &RenderCache::new(), &settings, scale).ok_or(PdfError::Damaged)?;
        if has_unread_content && let Some((ocr, options)) = ocr {
            let (chars, lengths) = scan::read(ocr, options, &picture, scale, self.stop)?;
            let texts = reading_order::line_reading_orders(&chars, &lengths);
            found.extend(examine::examine(
                &chars,
                texts,
                (number, FindingSource::Ocr),
                self.engine,
                self.selection,
            ));
        }
        if let Some((options, detector)) = faces {
            redacted.faces.extend(scan::cover_faces(
                detector,
                options,
                &mut picture,
                (number, scale),
                self.stop,
            )?);
        }
        for area in found.iter().flat_map(|finding| &finding.boxes) {
            paint::cover(&mut picture, (*area).into(), scale);
        }
        redacted.findings.extend(scan::without_repeats(found));
        let (width, height) = page.render_dimensions();
        builder.add_page(picture, width, height, drawn.images)
    }
}
