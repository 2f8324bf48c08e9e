//! Examination of one image or PDF.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config;
use farebox_pii::image::{ImageError, ImageLimits, ImageModels, RedactedImage, image_bytes, redact_image};
use farebox_pii::pdf::{self, PdfError, PdfModels, RedactedPdf, pdf_bytes, redact_pdf};
use farebox_pii::{FileOptions, PiiEngine, Selection, Stopped};

/// Size of the largest redacted PDF, in bytes: its pages are images, which are larger than text.
const MAX_REDACTED_PDF_BYTES: usize = 32 << 20;

/// Kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Image,
    Pdf,
}

/// File as the client sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    kind: FileKind,
    bytes: Vec<u8>,
}

/// Without the contents.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// File whose findings were redacted.
#[derive(Debug, Clone)]
pub enum RedactedFile {
    Image(RedactedImage),
    Pdf(RedactedPdf),
}

/// Reason for which a file was not examined. The text says what to do, and quotes nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{0}")]
    Image(ImageError),
    #[error("{0}")]
    Pdf(PdfError),
    /// Both examinations of images are turned off.
    #[error(
        "nothing is looked for in images: turn on `faceBlur` or `ocr` in `piiConfig`, or leave the image out"
    )]
    NothingSelected,
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
    /// Returns true if the server is at fault: a model failed.
    #[must_use]
    pub fn is_server_fault(&self) -> bool {
        matches!(self, Self::Image(ImageError::ModelFailed { .. }) | Self::Pdf(PdfError::ModelFailed { .. }))
    }

    /// Returns true if the file is too large.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Image(ImageError::TooManyBytes { .. }) | Self::Pdf(PdfError::TooLarge { .. }))
    }
}

/// Limits of files.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    image: ImageLimits,
    pdf: pdf::PdfLimits,
    /// Largest number of files in one request.
    files: usize,
}

impl FileLimits {
    /// Returns the limits of a configuration.
    #[must_use]
    pub fn new(config: &config::PiiConfig) -> Self {
        let image = ImageLimits { max_bytes: config.max_file_bytes, ..ImageLimits::default() };
        let pdf = pdf::PdfLimits {
            bytes: config.max_file_bytes,
            pages: config.max_pdf_pages,
            output: MAX_REDACTED_PDF_BYTES,
            ..pdf::PdfLimits::default()
        };
        Self { image, pdf, files: config.max_files }
    }
}

/// Examiner of files, with the models that are loaded. Cheap to clone.
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

    /// Returns the largest number of files in one request.
    #[must_use]
    pub fn max_files(&self) -> usize {
        self.limits.files
    }

    /// Checks that files of this kind can be examined with `options`: an image must not pass unexamined because a model
    /// is missing. PDFs pass: the models they need depend on their pages.
    ///
    /// # Errors
    /// [`FileError`] of the model or setting that is missing.
    pub fn check(&self, kind: FileKind, options: &FileOptions) -> Result<(), FileError> {
        if kind == FileKind::Pdf {
            return Ok(());
        }
        if options.faces.is_none() && !options.ocr {
            return Err(FileError::NothingSelected);
        }
        if options.ocr && self.models.ocr.is_none() {
            return Err(FileError::NoOcrModel);
        }
        if options.faces.is_some() && self.models.faces.is_none() {
            return Err(FileError::NoFaceModel);
        }
        Ok(())
    }

    /// Decodes a file from base64 or a data URL.
    ///
    /// # Errors
    /// [`FileError`] if `data` is neither, or too large.
    pub fn read(&self, kind: FileKind, data: &str) -> Result<File, FileError> {
        let bytes = match kind {
            FileKind::Image => image_bytes(data, self.limits.image.max_bytes)?,
            FileKind::Pdf => pdf_bytes(data, self.limits.pdf.bytes)?,
        };
        Ok(File { kind, bytes })
    }

    /// Examines a file and redacts the findings.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be examined; [`FileError::Stopped`] soon after `stop` is set.
    pub fn redact(
        &self,
        file: &File,
        selection: &Selection,
        options: &FileOptions,
        stop: &AtomicBool,
    ) -> Result<RedactedFile, FileError> {
        match file.kind {
            FileKind::Image => {
                let options = options.image(self.limits.image);
                redact_image(&self.engine, &self.models, &file.bytes, selection, &options, stop)
                    .map(RedactedFile::Image)
                    .map_err(FileError::from)
            }
            FileKind::Pdf => {
                let models = PdfModels { ocr: self.models.ocr.as_ref(), faces: self.models.faces.as_ref() };
                let threshold = options.pdf_threshold;
                let selection =
                    threshold.map_or_else(|| selection.clone(), |t| selection.clone().with_threshold(t));
                redact_pdf(&self.engine, models, &file.bytes, &selection, &options.pdf(self.limits.pdf), stop)
                    .map(RedactedFile::Pdf)
                    .map_err(FileError::from)
            }
        }
    }
}

impl RedactedFile {
    /// Returns the file as a data URL.
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

    /// Returns the names of all findings: entities, and [`FACE`] for each face.
    pub fn finding_names(&self) -> impl Iterator<Item = &'static str> {
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

/// Name of a face among the entities.
pub const FACE: &str = "FACE";
