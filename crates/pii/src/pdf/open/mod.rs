//! Structure of a hostile PDF, read with lopdf within limits of memory and time.
//!
//! Redaction and the extraction of text share it. Everything runs inside of [`with_budget`], and unwinds with
//! [`BudgetExhausted`] when a file takes more than the budget allows: callers catch that and refuse the file.

mod budget;
mod count;
mod object_stream;

use lopdf::Document;

pub use budget::{BudgetExhausted, check_time, check_tokens, page_content, stream_content, with_budget};

/// Bytes at the beginning of a file in which the header must stand (PDF 1.7, appendix H.3).
const HEADER_WITHIN: usize = 1024;

/// Error of lopdf while it reads the structure of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PdfOpenError {
    /// Streams that unpack to more than the limits allow.
    #[error("the PDF unpacks to more than the limits allow")]
    TooComplex,
    /// Encryption with a password, or with a scheme that lopdf does not know.
    #[error("the PDF is encrypted")]
    Encrypted,
    /// Structure that cannot be read.
    #[error("the PDF is damaged")]
    Damaged,
}

impl From<lopdf::Error> for PdfOpenError {
    fn from(error: lopdf::Error) -> Self {
        match error {
            lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => Self::TooComplex,
            lopdf::Error::InvalidPassword
            | lopdf::Error::Decryption(_)
            | lopdf::Error::UnsupportedSecurityHandler(_) => Self::Encrypted,
            _ => Self::Damaged,
        }
    }
}

/// True if a file has the header of a PDF.
#[must_use]
pub fn is_pdf(data: &[u8]) -> bool {
    data.get(..data.len().min(HEADER_WITHIN)).is_some_and(|head| head.windows(5).any(|word| word == b"%PDF-"))
}

/// True if a file names an encryption dictionary, with its characters escaped or not.
#[must_use]
pub fn mentions_encryption(data: &[u8]) -> bool {
    count::name_occurrences(data, b"Encrypt") > 0
}

/// Reads the structure of a file. Call it inside of [`with_budget`].
///
/// Files that are encrypted with the empty password are decrypted, within stricter limits: lopdf reads their
/// packed objects without asking the budget.
///
/// # Errors
/// [`PdfOpenError`]. Unwinds with [`BudgetExhausted`] when the file takes more than the budget.
pub fn load(data: &[u8]) -> Result<Document, PdfOpenError> {
    let encrypted = mentions_encryption(data);
    budget::check_file(data, encrypted);
    let document = Document::load_mem_with_options(data, budget::load_options(encrypted))?;
    if document.is_encrypted() { Err(PdfOpenError::Encrypted) } else { Ok(document) }
}
