//! Pages written by hand.

pub use super::syntax::{file, packed, stream};

/// Page: object 3, in the tree that is object 2, with its content in object 4 and others from 5 on.
pub struct Page<'p> {
    pub content: &'p [u8],
    pub resources: &'p str,
    /// More of the page's dictionary, which may name another box or other contents.
    pub more: &'p str,
    pub others: Vec<Vec<u8>>,
}

pub const HELVETICA: &str =
    "/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >> >>";

impl Default for Page<'_> {
    fn default() -> Self {
        Page { content: b"", resources: HELVETICA, more: "", others: Vec::new() }
    }
}

impl Page<'_> {
    pub fn file(&self) -> Vec<u8> {
        let attribute = |name: &str, value: &str| {
            if self.more.contains(name) { String::new() } else { format!("{name} {value}") }
        };
        let (size, contents) = (attribute("/MediaBox", "[0 0 300 300]"), attribute("/Contents", "4 0 R"));
        let page = format!(
            "<< /Type /Page /Parent 2 0 R {size} {contents} /Resources << {} >> {} >>",
            self.resources, self.more
        );
        let mut objects = vec![
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
            page.into_bytes(),
            stream("/Filter /FlateDecode", &packed(self.content)),
        ];
        objects.extend_from_slice(&self.others);
        file(&objects, "")
    }
}
