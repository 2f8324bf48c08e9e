//! The structure of a hostile file, within limits.

pub(super) mod budget;
mod packed;

use lopdf::Document;

use super::{Limits, PdfError, count};

/// Where the header must begin (PDF 1.7, appendix H.3).
const HEADER_WITHIN: usize = 1024;

/// Reads the structure. Unwinds with [`budget::Exhausted`] when that takes too much.
pub(super) fn open(data: &[u8], limits: &Limits) -> Result<Document, PdfError> {
    if data.len() > limits.bytes {
        return Err(PdfError::TooLarge { limit: limits.bytes });
    }
    let head = data.get(..data.len().min(HEADER_WITHIN)).unwrap_or_default();
    if !head.windows(5).any(|word| word == b"%PDF-") {
        return Err(PdfError::NotPdf);
    }
    let encrypted = count::times(data, b"Encrypt") > 0;
    budget::within(data.len(), || {
        budget::file(data, encrypted);
        let document = Document::load_mem_with_options(data, budget::options(encrypted))
            .map_err(|error| damage(&error))?;
        if document.is_encrypted() { Err(PdfError::Encrypted) } else { Ok(document) }
    })
}

fn damage(error: &lopdf::Error) -> PdfError {
    match error {
        lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => PdfError::TooComplex,
        lopdf::Error::InvalidPassword
        | lopdf::Error::Decryption(_)
        | lopdf::Error::UnsupportedSecurityHandler(_) => PdfError::Encrypted,
        _ => PdfError::Damaged,
    }
}
