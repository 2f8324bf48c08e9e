//! Text of a PDF, within limits. No I/O; run it on a thread of its own.
//!
//! lopdf reads the file's structure; the pages are interpreted here, because lopdf's
//! own extraction counts through ranges that a file can make billions long.

mod cmap;
mod font;
mod layout;
mod page;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use farebox_pii::pdf::open::{self, PdfOpenError};

use super::error::FetchError;

/// Limits for one file.
#[derive(Debug, Clone, Copy)]
pub struct PdfTextLimits {
    /// Most pages.
    pub pages: usize,
    /// Most bytes of text.
    pub text_bytes: usize,
    pub deadline: Instant,
}

/// Reads the text of all pages.
///
/// # Errors
/// [`FetchError`] when the file is no PDF, damaged, encrypted, or beyond the limits.
pub fn text(data: &[u8], limits: PdfTextLimits) -> Result<String, FetchError> {
    if !open::is_pdf(data) {
        return Err(FetchError::NotPdf);
    }
    // lopdf reads encrypted files without asking the budget.
    if open::mentions_encryption(data) {
        return Err(FetchError::EncryptedPdf);
    }
    let expired = move || Instant::now() >= limits.deadline;
    let work = || open::with_budget(data.len(), expired, || read(data, limits));
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(read) => read,
        Err(reason) if reason.is::<open::BudgetExhausted>() => Err(FetchError::CostlyPdf),
        Err(_) => Err(FetchError::DamagedPdf),
    }
}

fn read(data: &[u8], limits: PdfTextLimits) -> Result<String, FetchError> {
    let document = open::load(data)?;
    if document.was_encrypted() {
        return Err(FetchError::EncryptedPdf);
    }
    let pages: Vec<_> = document.page_iter().take(limits.pages.saturating_add(1)).collect();
    if pages.is_empty() {
        return Err(FetchError::DamagedPdf);
    }
    if pages.len() > limits.pages {
        return Err(FetchError::Pages(limits.pages));
    }
    let mut reader = page::PageReader::new(&document, limits.text_bytes);
    for page in pages {
        reader.page(page)?;
    }
    Ok(reader.finish())
}

impl From<PdfOpenError> for FetchError {
    fn from(error: PdfOpenError) -> Self {
        match error {
            PdfOpenError::TooComplex => Self::CostlyPdf,
            PdfOpenError::Encrypted => Self::EncryptedPdf,
            PdfOpenError::Damaged => Self::DamagedPdf,
        }
    }
}

#[cfg(test)]
mod tests;
