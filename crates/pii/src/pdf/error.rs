//! Why a PDF was refused.

use crate::image::NetworkError;

/// A PDF that could not be examined or redacted. Messages say what to do and never quote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdfError {
    /// No PDF header where one must be.
    #[error("this is not a PDF: send the bytes of a PDF file")]
    NotPdf,
    /// More bytes than the limit.
    #[error("the PDF has more than {limit} bytes: split it, or make its images smaller")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// Base64 or a data URL with a mistake in it.
    #[error("the PDF is not valid base64 or a data URL: {0}")]
    BadEncoding(&'static str),
    /// It opens with a password only, or with a scheme that is not known.
    #[error("the PDF is protected by a password: send it without protection")]
    Encrypted,
    /// The structure cannot be read.
    #[error("the PDF is damaged: save it again with another program and send the copy")]
    Damaged,
    /// It holds, unpacks to, or draws more than the limits allow.
    #[error("the PDF is too complex to be examined: print it to a new PDF, or send fewer pages")]
    TooComplex,
    /// More pages than the limit.
    #[error("at most {limit} pages are examined at once: select fewer with `pages`")]
    TooManyPages {
        /// Pages.
        limit: usize,
    },
    /// The selection names a page that is not there.
    #[error("page {page} is selected, but the PDF has {pages}")]
    NoSuchPage {
        /// The page, from 1.
        page: u32,
        /// Pages of the file.
        pages: u32,
    },
    /// The page shows something that only reading the picture would tell, and that is off or not available.
    #[error(
        "page {page} has images, or text that only shows as shapes, and reading text in images is not available: turn it on, or leave the page out"
    )]
    NeedsOcr {
        /// The page, from 1.
        page: u32,
    },
    /// Faces were to be covered, without a model that finds them, and the page has images.
    #[error(
        "page {page} has images, and faces in them cannot be found: the face model is not installed; turn it off, or leave the page out"
    )]
    NoFaceModel {
        /// The page, from 1.
        page: u32,
    },
    /// A model failed: a fault of the server, not of the file.
    #[error("the PDF could not be examined: the {model} model failed")]
    ModelFailed {
        /// Which one, in a word.
        model: &'static str,
    },
    /// The caller's flag was set.
    #[error("stopped before the end")]
    Stopped,
}

impl From<NetworkError> for PdfError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Stopped(_) => Self::Stopped,
            NetworkError::Failed { model } => Self::ModelFailed { model },
        }
    }
}
