//! A font, as far as text needs it: what its codes stand for, and how wide they are.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::budget;
use super::cmap::ToUnicode;

/// Widths that are kept of one font.
const MAX_WIDTHS: usize = 70_000;
/// The width of a glyph where the file gives none, in ems.
const USUAL_WIDTH: f32 = 0.5;

pub(super) struct Font<'a> {
    /// Bytes of a code.
    code_length: usize,
    meaning: Meaning<'a>,
    /// In ems.
    widths: HashMap<u32, f32>,
    usual: f32,
}

enum Meaning<'a> {
    Mapped(ToUnicode),
    Encoded(Encoding<'a>),
    Utf16,
    Unknown,
}

impl<'a> Font<'a> {
    pub(super) fn read(font: &'a Dictionary, document: &'a Document) -> Self {
        let composite = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Type0");
        let (widths, usual) = if composite { wide(font, document) } else { simple(font, document) };
        Self {
            code_length: if composite { 2 } else { 1 },
            meaning: meaning(font, document, composite),
            widths,
            usual: usual.unwrap_or(USUAL_WIDTH),
        }
    }

    /// Writes what a string of codes stands for, and answers how wide it is, in ems.
    pub(super) fn show(&self, codes: &[u8], text: &mut String) -> f32 {
        let mut width = 0.0;
        for bytes in codes.chunks(self.code_length) {
            let code = bytes.iter().fold(0, |code: u32, byte| (code << 8) | u32::from(*byte));
            width += self.widths.get(&code).copied().unwrap_or(self.usual);
            match &self.meaning {
                Meaning::Mapped(map) => match map.get((bytes.len(), code)) {
                    Some(known) => text.push_str(&known),
                    // Some files map only what is not ASCII.
                    None if self.code_length == 1 && (0x20..0x7f).contains(&code) => {
                        text.extend(char::from_u32(code));
                    }
                    None => {}
                },
                // A code without a meaning is left out.
                Meaning::Encoded(encoding) => drop(encoding.write_to_string(bytes, text)),
                Meaning::Utf16 => text.extend(char::from_u32(code)),
                Meaning::Unknown => {}
            }
        }
        width
    }
}

fn meaning<'a>(font: &'a Dictionary, document: &'a Document, composite: bool) -> Meaning<'a> {
    if font.has(b"ToUnicode") {
        let map = font.get_deref(b"ToUnicode", document).and_then(Object::as_stream);
        if let Ok(map) = map {
            return Meaning::Mapped(ToUnicode::parse(&budget::plain(map)));
        }
    } else if !composite {
        // Without a map lopdf unpacks nothing, and counts through nothing.
        return font.get_font_encoding(document).map_or(Meaning::Unknown, Meaning::Encoded);
    }
    let encoding = font.get_deref(b"Encoding", document).and_then(Object::as_name).unwrap_or_default();
    let holds = |part: &[u8]| encoding.windows(part.len()).any(|window| window == part);
    if holds(b"UCS2") || holds(b"UTF16") { Meaning::Utf16 } else { Meaning::Unknown }
}

/// `FirstChar` and `Widths` (PDF 1.7, 9.6.2).
fn simple(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, Option<f32>) {
    let first =
        font.get(b"FirstChar").and_then(Object::as_i64).ok().and_then(|first| u32::try_from(first).ok());
    let list = font.get_deref(b"Widths", document).and_then(Object::as_array);
    let (Some(first), Ok(list)) = (first, list) else { return (HashMap::new(), None) };
    let widths = (first..).zip(list).take(256).filter_map(|(code, width)| Some((code, ems(width)?)));
    (widths.collect(), None)
}

/// `W` and `DW` of the descendant font (PDF 1.7, 9.7.4.3).
fn wide(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, Option<f32>) {
    let mut widths = HashMap::new();
    let descendant = font
        .get_deref(b"DescendantFonts", document)
        .and_then(Object::as_array)
        .ok()
        .and_then(|list| list.first())
        .and_then(|font| document.dereference(font).ok())
        .and_then(|(_, font)| font.as_dict().ok());
    let Some(descendant) = descendant else { return (widths, None) };
    let usual = descendant.get(b"DW").ok().and_then(ems).unwrap_or(1.0);
    let list = descendant.get_deref(b"W", document).and_then(Object::as_array);
    let mut items = list.map(|list| list.iter()).unwrap_or_default();
    let mut room = MAX_WIDTHS;
    while let (Some(first), Some(next)) = (items.next(), items.next()) {
        let Some(first) = first.as_i64().ok().and_then(|first| u32::try_from(first).ok()) else { break };
        budget::tick();
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
                // Written anew counts as well.
                room = room.saturating_sub(usize::try_from(last.saturating_sub(first)).unwrap_or(room));
            }
            _ => break,
        }
    }
    (widths, Some(usual))
}

fn ems(width: &Object) -> Option<f32> {
    width.as_float().ok().map(|width| width / 1000.0)
}
