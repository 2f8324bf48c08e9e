//! Limits of redacting one PDF.

/// Limits for one PDF. The defaults suit common files: some hundred pages, scans at 600 dpi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdfLimits {
    /// Most bytes of the file.
    pub bytes: usize,
    /// Most pages that are examined.
    pub pages: usize,
    /// Most bytes that all streams together unpack to.
    pub unpacked: usize,
    /// Most pixels of one image within a page.
    pub image_pixels: u64,
    /// Most pixels of one drawn page. Larger pages are drawn at a lower resolution.
    pub page_pixels: u64,
    /// Most drawing operators of one page, repeated ones counted each time.
    pub operators: u32,
    /// Most bytes of the redacted file.
    pub output: usize,
}

impl Default for PdfLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            pages: 200,
            unpacked: 512 << 20,
            image_pixels: 64 << 20,
            page_pixels: 24 << 20,
            operators: 2_000_000,
            output: 256 << 20,
        }
    }
}
