//! Fonts, as far as text needs them: the text and the width of their codes.

use std::collections::HashMap;

use farebox_pii::pdf::open;
use lopdf::{Dictionary, Document, Encoding, Object};

use super::cmap::ToUnicode;

/// Most widths of one font.
const MAX_WIDTHS: usize = 70_000;
/// Width of a glyph if the file gives none, in ems.
const DEFAULT_WIDTH: f32 = 0.5;

/// Font of a page.
pub(super) struct Font<'a> {
    /// Length of a code in bytes.
    code_length: usize,
    mapping: CodeMapping<'a>,
    /// Widths by code, in ems.
    widths: HashMap<u32, f32>,
    /// Width of all other codes, in ems.
    default_width: f32,
}

/// Mapping from codes to text.
enum CodeMapping<'a> {
    Mapped(ToUnicode),
    Encoded(Encoding<'a>),
    Utf16,
    Unknown,
}

impl<'a> Font<'a> {
    pub(super) fn read(font: &'a Dictionary, document: &'a Document) -> Self {
        let composite = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Type0");
        let (widths, default_width) =
            if composite { composite_widths(font, document) } else { simple_widths(font, document) };
        Self {
            code_length: if composite { 2 } else { 1 },
            mapping: code_mapping(font, document, composite),
            widths,
            default_width: default_width.unwrap_or(DEFAULT_WIDTH),
        }
    }

    /// Appends the text of a string of codes, and returns its width in ems.
    pub(super) fn show(&self, codes: &[u8], text: &mut String) -> f32 {
        let mut width = 0.0;
        for bytes in codes.chunks(self.code_length) {
            let code = bytes.iter().fold(0, |code: u32, byte| (code << 8) | u32::from(*byte));
            width += self.widths.get(&code).copied().unwrap_or(self.default_width);
            match &self.mapping {
                CodeMapping::Mapped(map) => match map.get((bytes.len(), code)) {
                    Some(known) => text.push_str(&known),
                    // Some files map only what is not ASCII.
                    None if self.code_length == 1 && (0x20..0x7f).contains(&code) => {
                        text.extend(char::from_u32(code));
                    }
                    None => {}
                },
                // A code without a mapping is left out.
                CodeMapping::Encoded(encoding) => drop(encoding.write_to_string(bytes, text)),
                CodeMapping::Utf16 => text.extend(char::from_u32(code)),
                CodeMapping::Unknown => {}
            }
        }
        width
    }
}

fn code_mapping<'a>(font: &'a Dictionary, document: &'a Document, composite: bool) -> CodeMapping<'a> {
    if font.has(b"ToUnicode") {
        let map = font.get_deref(b"ToUnicode", document).and_then(Object::as_stream);
        if let Ok(map) = map {
            return CodeMapping::Mapped(ToUnicode::parse(&open::stream_content(map)));
        }
    } else if !composite {
        // Without a map lopdf unpacks nothing, and counts through nothing.
        return font.get_font_encoding(document).map_or(CodeMapping::Unknown, CodeMapping::Encoded);
    }
    let encoding = font.get_deref(b"Encoding", document).and_then(Object::as_name).unwrap_or_default();
    let holds = |part: &[u8]| encoding.windows(part.len()).any(|window| window == part);
    if holds(b"UCS2") || holds(b"UTF16") { CodeMapping::Utf16 } else { CodeMapping::Unknown }
}

/// Widths of a simple font: `FirstChar` and `Widths` (PDF 1.7, 9.6.2).
fn simple_widths(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, Option<f32>) {
    let first =
        font.get(b"FirstChar").and_then(Object::as_i64).ok().and_then(|first| u32::try_from(first).ok());
    let list = font.get_deref(b"Widths", document).and_then(Object::as_array);
    let (Some(first), Ok(list)) = (first, list) else { return (HashMap::new(), None) };
    let widths = (first..).zip(list).take(256).filter_map(|(code, width)| Some((code, ems(width)?)));
    (widths.collect(), None)
}

/// Widths of a composite font: `W` and `DW` of the descendant font (PDF 1.7, 9.7.4.3).
fn composite_widths(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, Option<f32>) {
    let mut widths = HashMap::new();
    let descendant = font
        .get_deref(b"DescendantFonts", document)
        .and_then(Object::as_array)
        .ok()
        .and_then(|list| list.first())
        .and_then(|font| document.dereference(font).ok())
        .and_then(|(_, font)| font.as_dict().ok());
    let Some(descendant) = descendant else { return (widths, None) };
    let default_width = descendant.get(b"DW").ok().and_then(ems).unwrap_or(1.0);
    let list = descendant.get_deref(b"W", document).and_then(Object::as_array);
    let mut items = list.map(|list| list.iter()).unwrap_or_default();
    let mut room = MAX_WIDTHS;
    while let (Some(first), Some(next)) = (items.next(), items.next()) {
        let Some(first) = first.as_i64().ok().and_then(|first| u32::try_from(first).ok()) else { break };
        open::check_time();
        match document.dereference(next).map(|(_, next)| next) {
            Ok(Object::Array(list)) => {
                let each = (first..).zip(list).take(room);
                room = room.saturating_sub(list.len());
                widths.extend(each.filter_map(|(code, width)| Some((code, ems(width)?))));
            }
            Ok(Object::Integer(last)) => {
                let last = u32::try_from(*last).unwrap_or(0);
                let Some(width) = items.next().and_then(ems) else { break };
                widths.extend((first..=last).take(room).map(|code| (code, width)));
                // Codes that are written again count as well.
                room = room.saturating_sub(usize::try_from(last.saturating_sub(first)).unwrap_or(room));
            }
            _ => break,
        }
    }
    (widths, Some(default_width))
}

fn ems(width: &Object) -> Option<f32> {
    width.as_float().ok().map(|width| width / 1000.0)
}
