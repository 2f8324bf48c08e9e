//! PDFs written by hand.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};

pub fn packed(data: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    packer.write_all(data).expect("memory");
    packer.finish().expect("memory")
}

/// A stream with more in its dictionary than its length.
pub fn stream(dict: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("<< {dict} /Length {} >>\nstream\n", data.len());
    [head.as_bytes(), data, b"\nendstream"].concat()
}

/// A file of these objects, numbered from 1, the first of which is the catalogue.
pub fn file(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        file.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    file.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).as_bytes());
    for place in &places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    let size = places.len() + 1;
    let end = format!("trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n");
    file.extend_from_slice(end.as_bytes());
    file
}

/// A page: object 3, in the tree that is object 2, with its content in object 4 and others from 5 on.
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
