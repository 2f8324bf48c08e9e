//! What examining one file may take.

/// Limits for one PDF. The defaults suit files of people: some hundred pages, scans at 600 dpi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: usize,
    /// Pages that are examined.
    pub pages: usize,
    /// Bytes that all streams unpack to.
    pub unpacked: usize,
    /// Pixels of one image within a page.
    pub image_pixels: u64,
    /// Pixels of one page when it is drawn. Larger pages are drawn at a lower resolution.
    pub page_pixels: u64,
    /// Drawing operators of one page, repeated ones counted each time.
    pub operators: u32,
    /// Bytes of the redacted file.
    pub output: usize,
}

impl Default for Limits {
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
