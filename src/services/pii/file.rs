//! One image or PDF, examined.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config;
use farebox_pii::image::{ImageError, ImageLimits, ImageModels, RedactedImage, image_bytes, redact_image};
use farebox_pii::pdf::{self, PdfError, PdfModels, RedactedPdf, pdf_bytes, redact_pdf};
use farebox_pii::{FileOptions, PiiEngine, Selection, Stopped};

/// Bytes of a redacted PDF: its pages are pictures, which are larger than text.
const PDF_OUTPUT: usize = 32 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Image,
    Pdf,
}

/// A file as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    kind: FileKind,
    bytes: Vec<u8>,
}

/// Without what it holds.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// A file without what was found in it.
#[derive(Debug, Clone)]
pub enum Examined {
    Image(RedactedImage),
    Pdf(RedactedPdf),
}

/// Why a file was not examined. The text says what to do, and quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Image(ImageError),
    #[error("{0}")]
    Pdf(PdfError),
    #[error(
        "nothing is looked for in images: turn on `faceBlur` or `ocr` in `piiConfig`, or leave the image out"
    )]
    NothingWanted,
    #[error(
        "text in images cannot be read here: this server runs without the OCR model (`scripts/models.sh` fetches it, \
         `pii.models` names its folder); with `\"ocr\": false` in `piiConfig` only faces are covered"
    )]
    NoOcrModel,
    #[error(
        "faces cannot be found here: this server runs without the face model (`scripts/models.sh` fetches it, \
         `pii.models` names its folder); with `\"faceBlur\": false` in `piiConfig` only text is examined"
    )]
    NoFaceModel,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<ImageError> for FileError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NoOcrModel => Self::NoOcrModel,
            ImageError::NoFaceModel => Self::NoFaceModel,
            ImageError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Image(error),
        }
    }
}

impl From<PdfError> for FileError {
    fn from(error: PdfError) -> Self {
        match error {
            PdfError::Stopped => Self::Stopped(Stopped),
            PdfError::NoFaceModel { .. } => Self::NoFaceModel,
            error => Self::Pdf(error),
        }
    }
}

impl FileError {
    /// Whether the fault is this server's: a model failed.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Image(ImageError::ModelFailed { .. }) | Self::Pdf(PdfError::ModelFailed { .. }))
    }

    /// Whether it is the size that was wrong.
    #[must_use]
    pub fn is_size(&self) -> bool {
        matches!(self, Self::Image(ImageError::TooManyBytes { .. }) | Self::Pdf(PdfError::TooLarge { .. }))
    }
}

/// What is accepted.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    image: ImageLimits,
    pdf: pdf::PdfLimits,
    /// In one request.
    files: usize,
}

impl FileLimits {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &config::PiiConfig) -> Self {
        let image = ImageLimits { max_bytes: config.max_file_bytes, ..ImageLimits::default() };
        let pdf = pdf::PdfLimits {
            bytes: config.max_file_bytes,
            pages: config.max_pdf_pages,
            output: PDF_OUTPUT,
            ..pdf::PdfLimits::default()
        };
        Self { image, pdf, files: config.max_files }
    }
}

/// Examines files with the models that are loaded. Cheap to clone.
#[derive(Clone)]
pub struct FileExaminer {
    engine: PiiEngine,
    models: Arc<ImageModels>,
    limits: FileLimits,
}

impl fmt::Debug for FileExaminer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ocr, faces) = (self.models.ocr.is_some(), self.models.faces.is_some());
        f.debug_struct("FileExaminer").field("ocr", &ocr).field("faces", &faces).finish_non_exhaustive()
    }
}

impl FileExaminer {
    #[must_use]
    pub fn new(engine: PiiEngine, models: ImageModels, limits: FileLimits) -> Self {
        Self { engine, models: Arc::new(models), limits }
    }

    #[must_use]
    pub fn engine(&self) -> &PiiEngine {
        &self.engine
    }

    /// The most files of one request.
    #[must_use]
    pub fn most(&self) -> usize {
        self.limits.files
    }

    /// Whether files of this kind can be examined as `options` say: what has no model must not pass for clean. For
    /// PDFs that also depends on their pages.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, kind: FileKind, options: &FileOptions) -> Result<(), FileError> {
        if kind == FileKind::Pdf {
            return Ok(());
        }
        if options.faces.is_none() && !options.ocr {
            return Err(FileError::NothingWanted);
        }
        if options.ocr && self.models.ocr.is_none() {
            return Err(FileError::NoOcrModel);
        }
        if options.faces.is_some() && self.models.faces.is_none() {
            return Err(FileError::NoFaceModel);
        }
        Ok(())
    }

    /// The file that base64 or a data URL holds.
    ///
    /// # Errors
    /// When it is neither, or too large.
    pub fn read(&self, kind: FileKind, data: &str) -> Result<File, FileError> {
        let bytes = match kind {
            FileKind::Image => image_bytes(data, self.limits.image.max_bytes)?,
            FileKind::Pdf => pdf_bytes(data, self.limits.pdf.bytes)?,
        };
        Ok(File { kind, bytes })
    }

    /// Finds what is asked for, and takes it out.
    ///
    /// # Errors
    /// Whatever could not be examined; also soon after `stop` is set.
    pub fn examine(
        &self,
        file: &File,
        selection: &Selection,
        options: &FileOptions,
        stop: &AtomicBool,
    ) -> Result<Examined, FileError> {
        match file.kind {
            FileKind::Image => {
                let options = options.image(self.limits.image);
                redact_image(&self.engine, &self.models, &file.bytes, selection, &options, stop)
                    .map(Examined::Image)
                    .map_err(FileError::from)
            }
            FileKind::Pdf => {
                let models = PdfModels { ocr: self.models.ocr.as_ref(), faces: self.models.faces.as_ref() };
                let threshold = options.pdf_threshold;
                let selection =
                    threshold.map_or_else(|| selection.clone(), |t| selection.clone().with_threshold(t));
                redact_pdf(&self.engine, models, &file.bytes, &selection, &options.pdf(self.limits.pdf), stop)
                    .map(Examined::Pdf)
                    .map_err(FileError::from)
            }
        }
    }
}

impl Examined {
    /// The redacted file as a data URL.
    #[must_use]
    pub fn data_url(&self) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let (mime, bytes) = match self {
            Self::Image(image) => (image.mime, &image.bytes),
            Self::Pdf(pdf) => ("application/pdf", &pdf.bytes),
        };
        let mut url = format!("data:{mime};base64,");
        STANDARD.encode_string(bytes, &mut url);
        url
    }

    /// What was found, by name: entities, and [`FACE`].
    pub fn found(&self) -> impl Iterator<Item = &'static str> {
        let (entities, faces): (Vec<&'static str>, usize) = match self {
            Self::Image(image) => {
                (image.findings.iter().map(|finding| finding.entity.name()).collect(), image.faces.len())
            }
            Self::Pdf(pdf) => {
                (pdf.findings.iter().map(|finding| finding.entity.name()).collect(), pdf.faces.len())
            }
        };
        entities.into_iter().chain(std::iter::repeat_n(FACE, faces))
    }
}

/// What a face counts as beside entities.
pub const FACE: &str = "FACE";
