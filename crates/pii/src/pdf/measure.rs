//! Size of unpacked streams, measured before the interpreter unpacks them.

use lopdf::{DecompressError, Dictionary, Document, Object, Stream};

use super::{PdfError, PdfLimits};

/// Most filters of one stream. Two are common.
const MAX_FILTERS: usize = 8;
/// Abbreviated and full names of filters (PDF 1.7, table 94).
const FILTERS: [(&[u8], &[u8]); 7] = [
    (b"AHx", b"ASCIIHexDecode"),
    (b"A85", b"ASCII85Decode"),
    (b"LZW", b"LZWDecode"),
    (b"Fl", b"FlateDecode"),
    (b"RL", b"RunLengthDecode"),
    (b"CCF", b"CCITTFaxDecode"),
    (b"DCT", b"DCTDecode"),
];
/// Keys that describe a stream, whose values may be references.
const DESCRIPTION_KEYS: [&[u8]; 4] = [b"Filter", b"DecodeParms", b"Width", b"Height"];

/// Replaces references in the description of a stream by their values, and short names of filters by full ones.
pub(super) fn resolve_description(document: &Document, dict: &mut Dictionary) {
    let resolved = |object: &Object| {
        let object = document.dereference(object).map_or(Object::Null, |(_, object)| object.clone());
        match object {
            Object::Name(name) => Object::Name(full_filter_name(&name).to_vec()),
            Object::Dictionary(mut dict) => {
                dict.iter_mut().for_each(|(_, value)| {
                    // JBIG2 has a stream of what its images share.
                    if !matches!(document.dereference(value), Ok((_, Object::Stream(_)))) {
                        *value =
                            document.dereference(value).map_or(Object::Null, |(_, object)| object.clone());
                    }
                });
                Object::Dictionary(dict)
            }
            other => other,
        }
    };
    for key in DESCRIPTION_KEYS {
        let Ok(value) = dict.get(key) else { continue };
        let value = match resolved(value) {
            Object::Array(items) => Object::Array(items.iter().map(resolved).collect()),
            other => other,
        };
        dict.set(key, value);
    }
}

/// Full name of a filter.
pub(super) fn full_filter_name(name: &[u8]) -> &[u8] {
    FILTERS.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| *full)
}

/// Most widths of glyphs in the fonts of one file. The largest fonts have 65,536 glyphs.
const MAX_WIDTHS: u64 = 300_000;
/// Highest first code of a font whose codes are bytes: twice the largest byte.
const MAX_FIRST: f32 = 512.0;

/// Remaining bytes, pixels and widths for the streams and fonts of one file.
pub(super) struct StreamBudget {
    unpacked: usize,
    image_pixels: u64,
    widths: u64,
}

impl StreamBudget {
    pub(super) fn new(limits: &PdfLimits) -> Self {
        Self { unpacked: limits.unpacked, image_pixels: limits.image_pixels, widths: MAX_WIDTHS }
    }

    /// Takes the widths of a font. The interpreter stores each width of a range on its own, and two numbers make a
    /// range of four billion (PDF 1.7, 9.7.4.3).
    pub(super) fn take_widths(&mut self, document: &Document, dict: &Dictionary) -> Result<(), PdfError> {
        let number = |object: &Object| document.dereference(object).ok()?.1.as_float().ok();
        if dict.get(b"FirstChar").ok().and_then(number).is_some_and(|first| first > MAX_FIRST) {
            return Err(PdfError::TooComplex);
        }
        for (key, of_range) in [(&b"W"[..], 3), (b"W2", 5)] {
            let Ok(widths) = dict.get_deref(key, document).and_then(Object::as_array) else { continue };
            let mut at = 0;
            while let (Some(first), Some(next)) = (widths.get(at).and_then(number), widths.get(at + 1)) {
                let Some(last) = number(next) else {
                    at += 2;
                    continue;
                };
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let length = (last - first).max(0.0) as u64;
                self.widths = self.widths.checked_sub(length).ok_or(PdfError::TooComplex)?;
                at += of_range;
            }
        }
        Ok(())
    }

    /// Takes the bytes of a stream that is unpacked once more.
    pub(super) fn take_repeated(&mut self, length: usize) -> Result<(), PdfError> {
        self.unpacked = self.unpacked.checked_sub(length).ok_or(PdfError::TooComplex)?;
        Ok(())
    }

    /// Takes the bytes that a stream unpacks to, and returns their number; none if it cannot be unpacked.
    pub(super) fn take_stream(&mut self, stream: &Stream) -> Result<Option<usize>, PdfError> {
        let number = |key: &[u8]| stream.dict.get(key).and_then(Object::as_i64).ok();
        let pixels = match (number(b"Width"), number(b"Height")) {
            (Some(width), Some(height)) => area(width, height),
            _ => 0,
        };
        if pixels > self.image_pixels {
            return Err(PdfError::TooComplex);
        }
        let (filters, params) = (list(&stream.dict, b"Filter"), list(&stream.dict, b"DecodeParms"));
        if filters.len() > MAX_FILTERS {
            return Err(PdfError::TooComplex);
        }
        let mut content = std::borrow::Cow::Borrowed(&stream.content);
        for (at, filter) in filters.iter().enumerate() {
            let params = params.get(at).and_then(|params| params.as_dict().ok());
            match filter.as_name().unwrap_or_default() {
                b"FlateDecode" | b"LZWDecode" | b"ASCII85Decode" | b"ASCIIHexDecode" | b"RunLengthDecode" => {
                    let Some(plain) = self.unpack(&content, filter, params)? else { return Ok(None) };
                    content = std::borrow::Cow::Owned(plain);
                }
                name => {
                    let inside = pixels_inside(name, &content, params, number(b"Height"));
                    if inside > self.image_pixels {
                        return Err(PdfError::TooComplex);
                    }
                    return Ok(Some(usize::try_from(inside.saturating_mul(4)).unwrap_or(usize::MAX)));
                }
            }
        }
        Ok(Some(content.len()))
    }

    fn unpack(
        &mut self,
        content: &[u8],
        filter: &Object,
        params: Option<&Dictionary>,
    ) -> Result<Option<Vec<u8>>, PdfError> {
        let mut dict = Dictionary::new();
        dict.set("Filter", filter.clone());
        if let Some(params) = params {
            dict.set("DecodeParms", params.clone());
        }
        match Stream::new(dict, content.to_vec()).get_plain_content_with_limit(self.unpacked) {
            Ok(plain) => {
                self.unpacked = self.unpacked.saturating_sub(plain.len());
                Ok(Some(plain))
            }
            Err(lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => {
                Err(PdfError::TooComplex)
            }
            Err(_) => Ok(None),
        }
    }
}

fn area(width: i64, height: i64) -> u64 {
    u64::try_from(width).unwrap_or(u64::MAX).saturating_mul(u64::try_from(height).unwrap_or(u64::MAX))
}

/// Values of a key that has one value or a list of them.
fn list<'d>(dict: &'d Dictionary, key: &[u8]) -> Vec<&'d Object> {
    match dict.get(key) {
        Ok(Object::Array(items)) => items.iter().collect(),
        Ok(Object::Null) | Err(_) => Vec::new(),
        Ok(one) => vec![one],
    }
}

/// Pixels that coded image data declares, which may be more than the dictionary declares.
fn pixels_inside(filter: &[u8], content: &[u8], params: Option<&Dictionary>, height: Option<i64>) -> u64 {
    let param = |key: &[u8]| params.and_then(|params| params.get(key).and_then(Object::as_i64).ok());
    match filter {
        b"DCTDecode" => jpeg(content),
        b"JPXDecode" => jpeg_2000(content),
        b"CCITTFaxDecode" => area(
            param(b"Columns").unwrap_or(1728),
            height.unwrap_or_default().max(param(b"Rows").unwrap_or_default()),
        ),
        b"JBIG2Decode" => jbig2(content),
        _ => 0,
    }
}

fn number(content: &[u8], at: usize, length: usize) -> u64 {
    let digits = content.get(at..at + length).unwrap_or_default();
    digits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Pixels of a JPEG, from its frame header.
fn jpeg(content: &[u8]) -> u64 {
    let mut at = 2;
    while let Some([0xff, marker]) = content.get(at..at + 2) {
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return number(content, at + 5, 2).saturating_mul(number(content, at + 7, 2));
            }
            0xff => at += 1,
            0xda => return 0,
            _ => at += 2 + usize::try_from(number(content, at + 2, 2)).unwrap_or_default(),
        }
    }
    0
}

/// Pixels of a JPEG 2000 image, from the largest `SIZ` marker (ISO 15444-1, A.5.1).
fn jpeg_2000(content: &[u8]) -> u64 {
    let starts = content.windows(4).enumerate().filter(|(_, word)| *word == [0xff, 0x4f, 0xff, 0x51]);
    let size = |at: usize| {
        let side = |far: usize, near: usize| {
            number(content, at + far, 4).saturating_sub(number(content, at + near, 4))
        };
        side(8, 16).saturating_mul(side(12, 20)).saturating_mul(number(content, at + 40, 2).max(1)) / 3
    };
    starts.map(|(at, _)| size(at)).max().unwrap_or_default()
}

/// Pixels of all regions and pages of JBIG2 data, which begin with their sides (ISO 14492, 7.4.1 and 7.4.8).
fn jbig2(content: &[u8]) -> u64 {
    let (mut at, mut most) = (0, 0_u64);
    while at + 11 <= content.len() {
        let segment = number(content, at, 4);
        let flags = number(content, at + 4, 1);
        let referred = number(content, at + 5, 1) >> 5;
        let (count, mut next) = if referred == 7 {
            let count = number(content, at + 5, 4) & 0x1fff_ffff;
            (count, at + 9 + usize::try_from(count / 8 + 1).unwrap_or(usize::MAX >> 8))
        } else {
            (referred, at + 6)
        };
        let each = match segment {
            0..=256 => 1,
            257..=65_536 => 2,
            _ => 4,
        };
        next = next.saturating_add(usize::try_from(count.saturating_mul(each)).unwrap_or(usize::MAX >> 8));
        next = next.saturating_add(if flags & 0x40 == 0 { 1 } else { 4 });
        if next.saturating_add(4) > content.len() {
            break;
        }
        let length = number(content, next, 4);
        next += 4;
        if matches!(flags & 0x3f, 4 | 6 | 7 | 20 | 22 | 23 | 36 | 38 | 39 | 40 | 42 | 43 | 48) {
            let height = number(content, next + 4, 4);
            let height = if height == u64::from(u32::MAX) { 1 } else { height };
            most = most.saturating_add(number(content, next, 4).saturating_mul(height));
        }
        if length == u64::from(u32::MAX) {
            break;
        }
        at = next.saturating_add(usize::try_from(length).unwrap_or(usize::MAX >> 8));
    }
    most
}
