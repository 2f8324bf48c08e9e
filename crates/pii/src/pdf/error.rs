//! Errors of redacting a PDF.

use super::open::PdfOpenError;
use crate::image::NetworkError;

/// Reason a PDF could not be examined or redacted. Messages say what to do and never quote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdfError {
    /// No PDF header where one must be.
    #[error("this is not a PDF: send the bytes of a PDF file")]
    NotPdf,
    /// More bytes than the limit.
    #[error("the PDF has more than {limit} bytes: split it, or make its images smaller")]
    TooLarge {
        /// Most bytes that are accepted.
        limit: usize,
    },
    /// Base64 or a data URL with a mistake in it.
    #[error("the PDF is not valid base64 or a data URL: {0}")]
    BadEncoding(&'static str),
    /// Encryption with a password, or with a scheme that is not known.
    #[error("the PDF is protected by a password: send it without protection")]
    Encrypted,
    /// Structure that cannot be read.
    #[error("the PDF is damaged: save it again with another program and send the copy")]
    Damaged,
    /// Objects, streams or drawing beyond the limits.
    #[error("the PDF is too complex to be examined: print it to a new PDF, or send fewer pages")]
    TooComplex,
    /// More pages than the limit.
    #[error("at most {limit} pages are examined at once: select fewer with `pages`")]
    TooManyPages {
        /// Most pages that are examined.
        limit: usize,
    },
    /// Selected page that the file does not have.
    #[error("page {page} is selected, but the PDF has {pages}")]
    NoSuchPage {
        /// Number of the page, from 1.
        page: u32,
        /// Number of pages of the file.
        pages: u32,
    },
    /// Page with images, or with shapes that could be text, while OCR is off or not available.
    #[error(
        "page {page} has images, or text that only shows as shapes, and reading text in images is not available: turn it on, or leave the page out"
    )]
    NeedsOcr {
        /// Number of the page, from 1.
        page: u32,
    },
    /// Page with images whose faces were to be covered, while no face model is loaded.
    #[error(
        "page {page} has images, and faces in them cannot be found: the face model is not installed; turn it off, or leave the page out"
    )]
    NoFaceModel {
        /// Number of the page, from 1.
        page: u32,
    },
    /// Failure of a model: a fault of the server, not of the file.
    #[error("the PDF could not be examined: the {model} model failed")]
    ModelFailed {
        /// Short name of the model.
        model: &'static str,
    },
    /// Cancelled: the caller's flag was set.
    #[error("stopped before the end")]
    Stopped,
}

impl From<PdfOpenError> for PdfError {
    fn from(error: PdfOpenError) -> Self {
        match error {
            PdfOpenError::TooComplex => Self::TooComplex,
            PdfOpenError::Encrypted => Self::Encrypted,
            PdfOpenError::Damaged => Self::Damaged,
        }
    }
}

impl From<NetworkError> for PdfError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Stopped(_) => Self::Stopped,
            NetworkError::Failed { model } => Self::ModelFailed { model },
        }
    }
}
