//! PDFs: personal data in them is found and removed.
//!
//! The structure of a file is read within limits, and what the wanted pages show is copied into a plain file
//! ([`open`], [`copy`], [`measure`]). Only that is interpreted, after its cost was counted ([`cost`]): the
//! characters of a page with their places ([`glyphs`]), in the orders in which they can be read
//! ([`reading`]), are examined ([`examine`]), text in images is read and faces are covered ([`scan`]). The
//! result is a new file ([`build`]) with a picture of each page ([`paint`]) on which all that was found is
//! covered.
//!
//! No page is carried over as text or shapes. Whatever a page holds besides what it shows (hidden text and
//! layers, clipped images, unused resources, glyphs of shared fonts), and whatever the file holds besides
//! its pages (metadata, forms, scripts, attachments, bookmarks, earlier revisions), cannot be in the result,
//! for nothing of the source is copied into it but pixels. Annotations are a part of the picture.
//!
//! hayro was chosen to interpret and draw: pure Rust, and one interpreter for the characters and the picture,
//! so that places fit. lopdf reads and writes structure, for it has limits for hostile files.

mod build;
mod copy;
mod cost;
pub mod count;
mod error;
mod examine;
mod glyphs;
mod limits;
mod measure;
mod open;
mod pages;
mod paint;
mod reading;
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
pub use limits::Limits;
pub use pages::{PageRanges, PageRangesError};

use crate::image::ocr::Ocr;
use crate::image::{FaceDetector, FaceOptions};
use crate::{Engine, Entity, Selection};

/// Dots per inch of redacted pages unless asked otherwise.
pub const DEFAULT_DPI: u16 = 150;

/// The models that there are. Each may be missing.
#[derive(Clone, Copy, Default)]
pub struct PdfModels<'m> {
    /// Reads text in images.
    pub ocr: Option<&'m Ocr>,
    /// Finds faces in images.
    pub faces: Option<&'m FaceDetector>,
}

/// How text in images is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OcrOptions {
    /// Lines that were read with less confidence, 0 to 1, are left out. They stay visible.
    pub min_confidence: f32,
}

impl Default for OcrOptions {
    fn default() -> Self {
        Self { min_confidence: 0.3 }
    }
}

/// How a PDF is to be redacted.
#[derive(Clone, Debug)]
pub struct PdfOptions {
    /// The pages to examine, all when none. The redacted file has these pages only: what was not examined
    /// is not handed back.
    pub pages: Option<PageRanges>,
    /// How text in images is read, on pages that have images or shapes that could be text. When none, or
    /// without a model, such pages are refused.
    pub ocr: Option<OcrOptions>,
    /// How faces are covered, on pages that have images, if they are. Without a model, such pages are refused.
    pub faces: Option<FaceOptions>,
    /// Dots per inch of the pages of the redacted file, 36 to 600.
    pub dpi: u16,
    /// What it may take.
    pub limits: Limits,
}

impl Default for PdfOptions {
    fn default() -> Self {
        Self {
            pages: None,
            ocr: Some(OcrOptions::default()),
            faces: None,
            dpi: DEFAULT_DPI,
            limits: Limits::default(),
        }
    }
}

/// Where a finding was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In characters of the file.
    Text,
    /// In a picture of the page.
    Ocr,
}

/// A rectangle on a page as it is shown, in points from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PdfRect {
    /// Of the left side.
    pub x: f64,
    /// Of the upper side.
    pub y: f64,
    /// To the right.
    pub width: f64,
    /// Downwards.
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

/// A piece of personal data on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PdfFinding {
    /// The page in the file that was sent, from 1.
    pub page: u32,
    /// What it is.
    pub entity: Entity,
    /// Where it is, line by line.
    pub boxes: Vec<PdfRect>,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// The recogniser that found it.
    pub recognizer: &'static str,
    /// Where it was read.
    pub source: Source,
}

/// A face on a page.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PdfFace {
    /// The page in the file that was sent, from 1.
    pub page: u32,
    /// Where it is, with hair, ears and chin.
    pub area: PdfRect,
    /// Probability that it is one, 0 to 1.
    pub score: f32,
}

/// A PDF without what was found.
#[derive(Clone, Debug)]
pub struct RedactedPdf {
    /// The bytes of the new file.
    pub bytes: Vec<u8>,
    /// Its pages.
    pub pages: u32,
    /// What was found, page by page.
    pub findings: Vec<PdfFinding>,
    /// The faces that were covered, page by page.
    pub faces: Vec<PdfFace>,
}

/// Why the interpreter was left.
enum Interrupted {
    Stopped,
    TooMuch,
}

/// Finds what `selection` asks for and returns a new PDF without it.
///
/// `stop` ends the work with [`PdfError::Stopped`]. It is looked at throughout, except while the structure
/// of the file is read and while a page is drawn, which the limits keep short.
///
/// # Errors
/// A [`PdfError`] for whatever could not be examined: no page is passed as clean without.
pub fn redact_pdf(
    engine: &Engine,
    models: PdfModels<'_>,
    bytes: &[u8],
    selection: &Selection,
    options: &PdfOptions,
    stop: &AtomicBool,
) -> Result<RedactedPdf, PdfError> {
    let work = Work { engine, models, selection, options, stop };
    match catch_unwind(AssertUnwindSafe(|| work.redact(bytes))) {
        Ok(result) => result,
        Err(reason) if reason.is::<open::budget::Exhausted>() => Err(PdfError::TooComplex),
        Err(reason) => match reason.downcast_ref::<Interrupted>() {
            Some(Interrupted::Stopped) => Err(PdfError::Stopped),
            Some(Interrupted::TooMuch) => Err(PdfError::TooComplex),
            // The libraries are not free of mistakes.
            None => Err(PdfError::Damaged),
        },
    }
}

struct Work<'w> {
    engine: &'w Engine,
    models: PdfModels<'w>,
    selection: &'w Selection,
    options: &'w PdfOptions,
    stop: &'w AtomicBool,
}

impl Work<'_> {
    fn redact(&self, bytes: &[u8]) -> Result<RedactedPdf, PdfError> {
        let limits = &self.options.limits;
        self.look()?;
        let (numbers, plain) = self.plain(bytes)?;
        self.look()?;
        let pdf = Pdf::new(plain).map_err(|_| PdfError::Damaged)?;
        if pdf.pages().len() != numbers.len() {
            return Err(PdfError::Damaged);
        }
        let mut builder = build::Builder::new(limits.output);
        let pages = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let mut redacted = RedactedPdf { bytes: Vec::new(), pages, findings: Vec::new(), faces: Vec::new() };
        for (page, number) in pdf.pages().iter().zip(&numbers) {
            self.look()?;
            self.page(page, *number, &mut builder, &mut redacted)?;
        }
        redacted.bytes = builder.finish()?;
        Ok(redacted)
    }

    fn look(&self) -> Result<(), PdfError> {
        if self.stop.load(Ordering::Relaxed) { Err(PdfError::Stopped) } else { Ok(()) }
    }

    /// The numbers of the wanted pages, and a plain file with these pages only.
    fn plain(&self, bytes: &[u8]) -> Result<(Vec<u32>, Vec<u8>), PdfError> {
        let limits = &self.options.limits;
        let document = open::open(bytes, limits)?;
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
        builder: &mut build::Builder,
        redacted: &mut RedactedPdf,
    ) -> Result<(), PdfError> {
        let limits = &self.options.limits;
        cost::check(page, limits, self.stop)?;
        let settings = InterpreterSettings::default();
        let drawn = glyphs::read(page, &InterpreterCache::new(), settings.clone(), self.stop);
        let unread = drawn.images || drawn.shapes;
        let ocr = self.models.ocr.zip(self.options.ocr);
        if unread && ocr.is_none() {
            return Err(PdfError::NeedsOcr { page: number });
        }
        let faces = match self.options.faces.filter(|_| drawn.images) {
            Some(options) => {
                Some((options, self.models.faces.ok_or(PdfError::NoFaceModel { page: number })?))
            }
            None => None,
        };
        let texts = reading::readings(&drawn.glyphs);
        let mut found =
            examine::examine(&drawn.glyphs, texts, (number, Source::Text), self.engine, self.selection);
        self.look()?;
        let scale = paint::scale(page, self.options.dpi.clamp(36, 600), limits);
        let mut picture =
            paint::draw(page, &RenderCache::new(), &settings, scale).ok_or(PdfError::Damaged)?;
        if unread && let Some((ocr, options)) = ocr {
            let (chars, lengths) = scan::read(ocr, options, &picture, scale, self.stop)?;
            let texts = reading::readings_of_lines(&chars, &lengths);
            found.extend(examine::examine(&chars, texts, (number, Source::Ocr), self.engine, self.selection));
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
        builder.page(picture, width, height, drawn.images)
    }
}
