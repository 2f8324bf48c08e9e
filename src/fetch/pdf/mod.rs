//! The text of a PDF, within limits. No I/O; the caller gives it a thread.
//!
//! lopdf reads the file's structure; what a page shows is read here, because its
//! own extraction counts through ranges that a file can make billions long.

mod budget;
mod cmap;
mod font;
mod layout;
mod packed;
mod page;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use farebox_pii::pdf::count;
use lopdf::Document;

use super::error::FetchError;

/// Where the header must begin (PDF 1.7, appendix H.3).
const HEADER_WITHIN: usize = 1024;

/// What reading one file may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub pages: usize,
    /// Bytes of text.
    pub text: usize,
    pub until: Instant,
}

/// Whether this is a PDF, by its header.
#[must_use]
pub fn is_pdf(data: &[u8]) -> bool {
    data.get(..data.len().min(HEADER_WITHIN)).is_some_and(|head| head.windows(5).any(|word| word == b"%PDF-"))
}

/// The text of all pages.
///
/// # Errors
/// When it is no PDF, damaged, encrypted, or takes more than the limits allow.
pub fn text(data: &[u8], limits: Limits) -> Result<String, FetchError> {
    if !is_pdf(data) {
        return Err(FetchError::NotPdf);
    }
    // Encrypted files are read in a way that does not know the budget.
    if count::times(data, b"Encrypt") > 0 {
        return Err(FetchError::EncryptedPdf);
    }
    match catch_unwind(AssertUnwindSafe(|| budget::within(limits.until, data.len(), || read(data, limits)))) {
        Ok(read) => read,
        Err(reason) if reason.is::<budget::Exhausted>() => Err(FetchError::CostlyPdf),
        Err(_) => Err(FetchError::DamagedPdf),
    }
}

fn read(data: &[u8], limits: Limits) -> Result<String, FetchError> {
    budget::file(data);
    let document =
        Document::load_mem_with_options(data, budget::options()).map_err(|error| damage(&error))?;
    if document.is_encrypted() || document.was_encrypted() {
        return Err(FetchError::EncryptedPdf);
    }
    let pages: Vec<_> = document.page_iter().take(limits.pages.saturating_add(1)).collect();
    if pages.is_empty() {
        return Err(FetchError::DamagedPdf);
    }
    if pages.len() > limits.pages {
        return Err(FetchError::Pages(limits.pages));
    }
    let mut reader = page::Reader::new(&document, limits.text);
    for page in pages {
        reader.page(page)?;
    }
    Ok(reader.finish())
}

fn damage(error: &lopdf::Error) -> FetchError {
    match error {
        lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => FetchError::CostlyPdf,
        lopdf::Error::InvalidPassword
        | lopdf::Error::Decryption(_)
        | lopdf::Error::UnsupportedSecurityHandler(_) => FetchError::EncryptedPdf,
        _ => FetchError::DamagedPdf,
    }
}

#[cfg(test)]
mod tests;
