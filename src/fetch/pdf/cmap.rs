//! `ToUnicode` maps: the text that the codes of a font stand for (PDF 1.7, 9.10.3).
//!
//! Ranges stay ranges: a file may write one of four billion codes.

use std::collections::{BTreeMap, HashMap};

/// Most codes and ranges of one font. The largest real fonts have 65,536 glyphs.
const MAX_ENTRIES: usize = 70_000;
/// Most UTF-16 units of the text that one code stands for.
const MAX_TARGET: usize = 16;

/// Length of a code in bytes, and the code.
type CharCode = (usize, u32);

/// Map from codes to text.
#[derive(Debug, Default)]
pub(super) struct ToUnicode {
    single: HashMap<CharCode, String>,
    /// Ranges by their first code: the last code, and the text of the first.
    ranges: BTreeMap<CharCode, (u32, Vec<u16>)>,
}

/// Token of a map.
enum CmapToken<'a> {
    Hex(Vec<u8>),
    Word(&'a [u8]),
    Open,
    Close,
}

impl ToUnicode {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut map = Self::default();
        let mut tokens = CmapTokens(text);
        while let Some(token) = tokens.next() {
            match token {
                CmapToken::Word(b"beginbfchar") => map.chars(&mut tokens),
                CmapToken::Word(b"beginbfrange") => map.ranges(&mut tokens),
                _ => {}
            }
        }
        map
    }

    /// Text that a code stands for.
    pub(super) fn get(&self, code: CharCode) -> Option<String> {
        if let Some(text) = self.single.get(&code) {
            return Some(text.clone());
        }
        let ((length, first), (last, target)) = self.ranges.range(..=code).next_back()?;
        if *length != code.0 || code.1 > *last {
            return None;
        }
        let mut target = target.clone();
        if let Some(unit) = target.last_mut() {
            // Codes count up in the last unit.
            *unit = unit.wrapping_add(u16::try_from(code.1 - first).ok()?);
        }
        Some(String::from_utf16_lossy(&target))
    }

    fn has_room(&self) -> bool {
        self.single.len() + self.ranges.len() < MAX_ENTRIES
    }

    fn chars(&mut self, tokens: &mut CmapTokens<'_>) {
        while let (Some(CmapToken::Hex(code)), true) = (tokens.next(), self.has_room()) {
            let Some(CmapToken::Hex(target)) = tokens.next() else { return };
            if let Some(code) = code_of(&code) {
                self.single.insert(code, String::from_utf16_lossy(&units(&target)));
            }
        }
    }

    fn ranges(&mut self, tokens: &mut CmapTokens<'_>) {
        while let (Some(CmapToken::Hex(first)), true) = (tokens.next(), self.has_room()) {
            let Some(CmapToken::Hex(last)) = tokens.next() else { return };
            let range = code_of(&first).zip(code_of(&last)).filter(|(first, last)| first <= last);
            match (tokens.next(), range) {
                (Some(CmapToken::Hex(target)), Some((first, last))) => {
                    self.ranges.insert(first, (last.1, units(&target)));
                }
                (Some(CmapToken::Open), range) => self.list(tokens, range.map(|(first, _)| first)),
                (Some(CmapToken::Hex(_)), None) => {}
                _ => return,
            }
        }
    }

    /// Reads the list of a range that gives the text of each of its codes.
    fn list(&mut self, tokens: &mut CmapTokens<'_>, first: Option<CharCode>) {
        let mut next = first;
        while let Some(CmapToken::Hex(target)) = tokens.next() {
            if let Some(code) = next.filter(|_| self.has_room()) {
                self.single.insert(code, String::from_utf16_lossy(&units(&target)));
                next = code.1.checked_add(1).map(|following| (code.0, following));
            }
        }
    }
}

fn code_of(bytes: &[u8]) -> Option<CharCode> {
    let code = bytes.iter().fold(0, |code: u32, byte| (code << 8) | u32::from(*byte));
    (1..=4).contains(&bytes.len()).then_some((bytes.len(), code))
}

fn units(bytes: &[u8]) -> Vec<u16> {
    let pairs = bytes.chunks(2).take(MAX_TARGET);
    pairs.map(|pair| pair.iter().fold(0, |unit: u16, byte| (unit << 8) | u16::from(*byte))).collect()
}

/// Tokens of a map that are left to read.
struct CmapTokens<'a>(&'a [u8]);

impl<'a> CmapTokens<'a> {
    fn next(&mut self) -> Option<CmapToken<'a>> {
        loop {
            let (first, rest) = self.0.split_first()?;
            let (first, rest) = (*first, rest);
            match first {
                b'[' | b']' => {
                    self.0 = rest;
                    return Some(if first == b'[' { CmapToken::Open } else { CmapToken::Close });
                }
                b'<' if rest.first() != Some(&b'<') => {
                    let length = rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len());
                    let (digits, after) = rest.split_at(length);
                    self.0 = after.get(1..).unwrap_or_default();
                    return Some(CmapToken::Hex(hex_bytes(digits)));
                }
                b'%' => {
                    let line = rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(rest.len());
                    self.0 = rest.get(line..).unwrap_or_default();
                }
                _ if first.is_ascii_alphabetic() => {
                    let length = self.0.iter().position(|byte| !byte.is_ascii_alphanumeric());
                    let (word, after) = self.0.split_at(length.unwrap_or(self.0.len()));
                    self.0 = after;
                    return Some(CmapToken::Word(word));
                }
                // `<<` and whatever else stands between.
                b'<' => self.0 = rest.get(1..).unwrap_or_default(),
                _ => self.0 = rest,
            }
        }
    }
}

fn hex_bytes(digits: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .iter()
        .filter_map(|digit| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .take(4 * MAX_TARGET)
        .collect();
    digits.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).copied().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMAP: &[u8] = b"/CIDInit /ProcSet findresource begin << /Registry (Adobe) >>\n\
        1 begincodespacerange <0000> <FFFF> endcodespacerange\n% <0001> <0041>\n\
        2 beginbfchar <0003> <0020> <00 24> <D83D DE00> endbfchar\n\
        3 beginbfrange <0010> <0012> <0041> <0020> <0021> [<00660069> <0062>] <05> <09> <0030> endbfrange end";

    #[test]
    fn codes_and_ranges_are_read() {
        let map = ToUnicode::parse(CMAP);
        for (code, expected) in [
            ((2, 0x03), Some(" ")),
            ((2, 0x24), Some("\u{1f600}")),
            ((2, 0x10), Some("A")),
            ((2, 0x12), Some("C")),
            ((2, 0x13), None),
            ((2, 0x20), Some("fi")),
            ((2, 0x21), Some("b")),
            ((2, 0x01), None),
            ((1, 0x06), Some("1")),
            ((2, 0x06), None),
        ] {
            assert_eq!(map.get(code).as_deref(), expected, "{code:?}");
        }
    }

    #[test]
    fn attack_25_a_map_costs_what_it_is_long() {
        let wide = ToUnicode::parse(b"beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange");
        assert_eq!((wide.ranges.len(), wide.get((4, 1)).as_deref()), (1, Some("B")));
        let long = [b"beginbfchar <01> <".to_vec(), b"41".repeat(1 << 20), b"> endbfchar".to_vec()].concat();
        assert_eq!(ToUnicode::parse(&long).get((1, 1)).map(|text| text.chars().count()), Some(MAX_TARGET));
        let many = [b"beginbfrange ".to_vec(), b"<01> <02> [".to_vec(), b"<41>".repeat(200_000)].concat();
        assert_eq!(ToUnicode::parse(&many).single.len(), MAX_ENTRIES);
        for broken in
            [&b"beginbfchar"[..], b"beginbfchar <", b"beginbfrange <01> <00> <41>", b"[[[", b"<<<<", b"%"]
        {
            assert!(ToUnicode::parse(broken).single.is_empty());
        }
    }
}
