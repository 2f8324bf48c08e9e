//! Building of a new PDF from pictures of pages.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, RgbImage};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use super::PdfError;

/// Quality of JPEG, of 100: text stays legible.
const QUALITY: u8 = 82;
/// Most difference between the colours of a pixel in a picture that counts as grey, of 255.
const MAX_GREY_SPREAD: u8 = 6;

/// PDF under construction. It has pictures of its pages and nothing else.
pub(super) struct PdfBuilder {
    document: Document,
    root: ObjectId,
    kids: Vec<Object>,
    bytes: usize,
    limit: usize,
}

impl PdfBuilder {
    pub(super) fn new(limit: usize) -> Self {
        let mut document = Document::with_version("1.7");
        let root = document.new_object_id();
        Self { document, root, kids: Vec::new(), bytes: 0, limit }
    }

    /// Adds a page of the given size in points. One with photographs is stored with a loss.
    pub(super) fn add_page(
        &mut self,
        picture: RgbImage,
        width: f32,
        height: f32,
        photographs: bool,
    ) -> Result<(), PdfError> {
        let image = encode(picture, photographs);
        self.bytes = self.bytes.saturating_add(image.content.len());
        if self.bytes > self.limit {
            return Err(PdfError::TooComplex);
        }
        let image = self.document.add_object(image);
        let content = format!("{width:.3} 0 0 {height:.3} 0 0 cm /P Do");
        let content = self.document.add_object(Stream::new(Dictionary::new(), content.into_bytes()));
        let mut images = Dictionary::new();
        images.set("P", image);
        let mut resources = Dictionary::new();
        resources.set("XObject", images);
        let mut page = Dictionary::new();
        page.set("Type", "Page");
        page.set("Parent", self.root);
        page.set("MediaBox", vec![0.into(), 0.into(), Object::Real(width), Object::Real(height)]);
        page.set("Resources", resources);
        page.set("Contents", content);
        self.kids.push(self.document.add_object(page).into());
        Ok(())
    }

    /// Writes the file and returns its bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, PdfError> {
        let mut tree = Dictionary::new();
        tree.set("Type", "Pages");
        tree.set("Count", i64::try_from(self.kids.len()).unwrap_or(i64::MAX));
        tree.set("Kids", self.kids);
        self.document.objects.insert(self.root, Object::Dictionary(tree));
        let mut catalog = Dictionary::new();
        catalog.set("Type", "Catalog");
        catalog.set("Pages", self.root);
        let catalog = self.document.add_object(catalog);
        self.document.trailer.set("Root", catalog);
        let mut bytes = Vec::with_capacity(self.bytes + 4096);
        self.document.save_to(&mut bytes).map_err(|_| PdfError::Damaged)?;
        Ok(bytes)
    }
}

/// Encodes a picture small with sharp letters: text in 16 greys, all else as JPEG.
fn encode(picture: RgbImage, photographs: bool) -> Stream {
    let (width, height) = picture.dimensions();
    let grey = picture.as_raw().chunks_exact(3).all(|pixel| {
        let (least, most) = (pixel[0].min(pixel[1]).min(pixel[2]), pixel[0].max(pixel[1]).max(pixel[2]));
        most - least <= MAX_GREY_SPREAD
    });
    let mut dict = Dictionary::new();
    dict.set("Type", "XObject");
    dict.set("Subtype", "Image");
    dict.set("Width", i64::from(width));
    dict.set("Height", i64::from(height));
    dict.set("ColorSpace", if grey { "DeviceGray" } else { "DeviceRGB" });
    let (filter, bits, content) = if grey && !photographs {
        ("FlateDecode", 4, encode_16_greys(&picture))
    } else {
        let picture = DynamicImage::ImageRgb8(picture);
        let mut content = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut content, QUALITY);
        let picture = if grey { DynamicImage::ImageLuma8(picture.into_luma8()) } else { picture };
        picture
            .write_with_encoder(encoder)
            .expect("memory takes whatever is written, and the sides fit JPEG");
        ("DCTDecode", 8, content)
    };
    dict.set("BitsPerComponent", bits);
    dict.set("Filter", filter);
    Stream { allows_compression: false, ..Stream::new(dict, content) }
}

fn encode_16_greys(picture: &RgbImage) -> Vec<u8> {
    let row_bytes = usize::try_from(picture.width()).unwrap_or_default() * 3;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    let mut packed = Vec::new();
    for row in picture.as_raw().chunks_exact(row_bytes.max(1)) {
        packed.clear();
        // Green stands for all three.
        let sixteenth = |pixel: Option<&u8>| pixel.map_or(0, |grey| (u16::from(*grey) * 15 + 127) / 255);
        packed.extend(
            row.chunks(6).map(|two| {
                u8::try_from(sixteenth(two.get(1)) << 4 | sixteenth(two.get(4))).unwrap_or(u8::MAX)
            }),
        );
        encoder.write_all(&packed).expect("memory takes whatever is written");
    }
    encoder.finish().expect("memory takes whatever is written")
}
