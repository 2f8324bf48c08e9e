//! Telephone numbers: ITU-T E.164 international, North American, and other national forms.

use std::ops::Range;

use crate::Entity;
use crate::text::input::{RecognizerInput, Word};

use super::{RuleMatch, WordRule};

pub(crate) const WORDS: &[WordRule] = &[WordRule { entity: Entity::PhoneNumber, name: "phone", find: phone }];

/// Words that name a telephone number.
const PHONE_WORDS: &[&str] = &[
    "phone",
    "telephone",
    "tel",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "whatsapp",
    "phone number",
    "contact number",
    "telefon",
    "téléphone",
    "portable",
    "hotline",
    "call me",
    "call us",
    "reach me",
    "reach us",
    "text me",
    "my number",
    "your number",
    "her number",
    "his number",
    "their number",
    "our number",
];

/// Words that hint at a telephone number: enough for digits in groups.
const HINT_WORDS: &[&str] = &["call", "sms", "dial", "contact", "ph", "mob", "handy", "text", "reach"];

/// Most digits: fifteen by E.164, one more for a trunk zero, two for an international prefix.
const MAX_DIGITS: usize = 18;
const MAX_GROUPS: usize = 8;

/// Score without context of digits without groups, which need a word that names them.
const UNGROUPED: f32 = 0.1;
/// Score without context of digits in groups, which need a word that hints at them.
const GROUPED: f32 = 0.2;

/// Digits with their groups.
struct GroupedDigits {
    digits: [u8; MAX_DIGITS],
    /// Number of digits up to the end of each group, and that end in bytes of the text.
    ends: [(usize, usize); MAX_GROUPS],
    groups: usize,
    plus: bool,
    parenthesis: bool,
    separator: Option<u8>,
    /// Number of leading groups that are parted by one separator.
    same_separator: usize,
}

fn phone(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    if word.len() > 15 || !word.char_kinds.only_digits() && input.before(word.start) != Some(b'+') {
        return None;
    }
    let start = number_start(input, word.start);
    // The seconds of a time of day are no start either.
    let clock =
        input.before(start) == Some(b':') && input.before(start - 1).is_some_and(|b| b.is_ascii_digit());
    // A plus begins a number whatever stands before it, such as the address that it was pasted after.
    let plus = input.at(start) == Some(b'+') && !input.before(start).is_some_and(|b| b.is_ascii_digit());
    if clock || !plus && (input.touches_word_left(start) || input.continues_left(start)) {
        return None;
    }
    if is_label_of_other(input, start) {
        return None;
    }
    let number = parse_groups(input, start);
    // What follows a number may be another one: the best reading of the first groups counts.
    let (score, span) = (1..=number.groups)
        .filter_map(|groups| number.candidate(input, start, groups))
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.end.cmp(&b.1.end)))?;
    let found = RuleMatch::in_context(input, span.clone(), score, PHONE_WORDS);
    if found.score > score || score <= UNGROUPED {
        return Some(found);
    }
    Some(RuleMatch::in_context(input, span, score, HINT_WORDS))
}

/// Names of other numbers that people write in groups.
const OTHER_NUMBER_WORDS: &[&str] = &[
    "sku", "inv", "invoice", "order", "isbn", "ean", "upc", "ticket", "case", "docket", "serial", "part",
    "lot", "batch", "po", "ref", "item", "model", "asin", "tracking",
];

/// True if the word right before names another number: `SKU 093-6548-916`, `INV-0934-222123`.
fn is_label_of_other(input: RecognizerInput<'_>, start: usize) -> bool {
    let end = input.run_back(start, 2, |b| matches!(b, b' ' | b'-' | b'#' | b':'));
    let word = input.run_back(end, 9, |b| b.is_ascii_alphabetic());
    let word = &input.text[word..end];
    end < start && OTHER_NUMBER_WORDS.iter().any(|other| word.eq_ignore_ascii_case(other))
}

/// True if a hyphen and a word of letters follow, as in `212-555-0123-Office`.
fn is_note_after(input: RecognizerInput<'_>, end: usize) -> bool {
    let word = input.run(end + 1, 16, |b| b.is_ascii_alphabetic());
    input.at(end) == Some(b'-')
        && word > end + 2
        && !input.touches_word_right(word)
        && !input.continues_right(word)
}

/// Start of a number whose first digit is at `digit`: before `+`, `(` or `+(`.
fn number_start(input: RecognizerInput<'_>, digit: usize) -> usize {
    let parenthesis = if input.before(digit) == Some(b'(') { digit - 1 } else { digit };
    if input.before(parenthesis) == Some(b'+') { parenthesis - 1 } else { parenthesis }
}

fn parse_groups(input: RecognizerInput<'_>, start: usize) -> GroupedDigits {
    let plus = input.at(start) == Some(b'+');
    let mut number = GroupedDigits {
        digits: [0; MAX_DIGITS],
        ends: [(0, 0); MAX_GROUPS],
        groups: 0,
        plus,
        parenthesis: false,
        separator: None,
        same_separator: MAX_GROUPS,
    };
    let mut at = start + usize::from(plus);
    let mut count = 0;
    while number.groups < MAX_GROUPS {
        let gap = input.run(at, 4, |b| matches!(b, b' ' | b'-' | b'.' | b'(' | b')' | b'/'));
        let between = &input.bytes[at..gap];
        if number.groups > 0 && (between.is_empty() || between.len() > 3) {
            break;
        }
        // Two spaces part columns, and a sign begins another number.
        if between == b" -" || between.windows(2).any(|pair| pair[0] == pair[1]) {
            break;
        }
        let end = input.run(gap, MAX_DIGITS + 1, |b| b.is_ascii_digit());
        if end == gap || count + (end - gap) > MAX_DIGITS {
            break;
        }
        number.parenthesis |= between.contains(&b'(') || between.contains(&b')');
        if let Some(separator) = between.iter().find(|b| matches!(b, b' ' | b'-' | b'.' | b'/'))
            && *number.separator.get_or_insert(*separator) != *separator
        {
            number.same_separator = number.same_separator.min(number.groups);
        }
        // The trunk zero of `+44 (0)20` is not dialled.
        let trunk = plus && &input.bytes[gap..end] == b"0" && between.ends_with(b"(");
        if !trunk {
            number.digits[count..count + (end - gap)].copy_from_slice(&input.bytes[gap..end]);
            count += end - gap;
            number.ends[number.groups] = (count, end);
            number.groups += 1;
        }
        at = end;
    }
    number
}

impl GroupedDigits {
    /// Score and span of the first `groups` groups.
    fn candidate(
        &self,
        input: RecognizerInput<'_>,
        start: usize,
        groups: usize,
    ) -> Option<(f32, Range<usize>)> {
        let (digits, end) = self.ends[groups - 1];
        let score = self.score(groups, digits)?;
        let in_row = !self.plus
            && !self.parenthesis
            && self.separator == Some(b' ')
            && input.in_digit_row(&(start..end));
        let score = if in_row { score.min(UNGROUPED) } else { score };
        let end = extension_end(input, end);
        let ends = !input.continues_right(end) || is_note_after(input, end);
        (!input.touches_word_right(end) && ends).then_some((score, start..end))
    }

    /// Score of the first `groups` groups as a telephone number; none if they are something else.
    fn score(&self, groups: usize, digits: usize) -> Option<f32> {
        let text = &self.digits[..digits];
        let sizes = self.sizes(groups);
        if self.plus {
            return international(text).then_some(0.85);
        }
        if text.strip_prefix(b"00").is_some_and(international) {
            return Some(if groups > 1 { 0.6 } else { 0.3 });
        }
        let local = text.strip_prefix(b"1").filter(|t| t.len() == 10).unwrap_or(text);
        match sizes[..] {
            [3, 3, 4] | [1, 3, 3, 4] | [3, 7] if local.len() == 10 => self.north_american(local),
            [10 | 11] if local.len() == 10 && area_code(local) && exchange(local) => Some(0.3),
            [3 | 2, 2, 4] | [4, 2, 2] => None,
            [_, _, _, _] if self.separator == Some(b'.') && sizes.iter().all(|size| *size <= 3) => None,
            _ => national(text, &sizes).filter(|_| groups <= self.same_separator || self.parenthesis),
        }
    }

    fn sizes(&self, groups: usize) -> Vec<usize> {
        let mut before = 0;
        self.ends[..groups]
            .iter()
            .map(|(digits, _)| digits - std::mem::replace(&mut before, *digits))
            .collect()
    }

    /// North American Numbering Plan: area code and exchange start with 2 to 9. A number that breaks
    /// this is still likely one when it is written as one.
    fn north_american(&self, local: &[u8]) -> Option<f32> {
        let valid = area_code(local) && exchange(local);
        let score = match (valid, self.parenthesis, self.separator) {
            (true, true, _) | (true, _, Some(b'-')) => 0.75,
            (true, _, Some(b'.')) => 0.6,
            (true, ..) | (false, true, _) | (false, _, Some(b'-')) => 0.5,
            (false, ..) => 0.3,
        };
        (!local.starts_with(b"000")).then_some(score)
    }
}

/// True for area codes: two to nine, then not 11 (ATIS-0300051).
fn area_code(local: &[u8]) -> bool {
    matches!(local[0], b'2'..=b'9') && &local[1..3] != b"11"
}

fn exchange(local: &[u8]) -> bool {
    matches!(local[3], b'2'..=b'9')
}

/// Score of a national number: a trunk zero and nine to eleven digits in groups, as most of the world writes it,
/// or digits that need context.
fn national(text: &[u8], sizes: &[usize]) -> Option<f32> {
    let trunk = text.starts_with(b"0") && !text.starts_with(b"00") && (9..=11).contains(&text.len());
    let grouped = (2..=5).contains(&sizes.len()) && sizes.iter().all(|size| *size >= 2) && sizes[0] <= 5;
    match (trunk, grouped) {
        (true, true) => Some(0.5),
        (true, false) => Some(0.3),
        (false, grouped) if (7..=15).contains(&text.len()) => Some(if grouped { GROUPED } else { UNGROUPED }),
        (false, _) => None,
    }
}

/// Least and most digits of the national number behind each calling code (ITU-T E.164 assignments, national plans).
const CALLING_CODES: &[(&str, usize, usize)] = &[
    ("1", 10, 10),
    ("7", 10, 10),
    ("20", 8, 10),
    ("27", 9, 9),
    ("30", 10, 10),
    ("31", 9, 9),
    ("32", 8, 9),
    ("33", 9, 9),
    ("34", 9, 9),
    ("36", 8, 9),
    ("39", 6, 11),
    ("40", 9, 9),
    ("41", 9, 9),
    ("43", 5, 13),
    ("44", 9, 10),
    ("45", 8, 8),
    ("46", 7, 10),
    ("47", 8, 8),
    ("48", 9, 9),
    ("49", 6, 12),
    ("51", 8, 9),
    ("52", 10, 10),
    ("53", 8, 8),
    ("54", 10, 11),
    ("55", 10, 11),
    ("56", 9, 9),
    ("57", 8, 10),
    ("58", 10, 10),
    ("60", 8, 10),
    ("61", 9, 9),
    ("62", 8, 12),
    ("63", 8, 10),
    ("64", 8, 10),
    ("65", 8, 8),
    ("66", 8, 9),
    ("81", 9, 10),
    ("82", 8, 10),
    ("84", 9, 10),
    ("86", 10, 11),
    ("90", 10, 10),
    ("91", 10, 10),
    ("92", 9, 10),
    ("93", 9, 9),
    ("94", 9, 9),
    ("95", 8, 10),
    ("98", 10, 10),
];

/// First digits of the three-digit calling codes.
const THREE_DIGIT_CODES: &[&str] = &[
    "21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69", "80",
    "85", "87", "88", "96", "97", "992", "993", "994", "995", "996", "998",
];

fn international(digits: &[u8]) -> bool {
    let by_code = |(code, min, max): &(&str, usize, usize)| {
        digits.strip_prefix(code.as_bytes()).is_some_and(|rest| (*min..=*max).contains(&rest.len()))
    };
    let three = || {
        THREE_DIGIT_CODES.iter().any(|code| digits.starts_with(code.as_bytes()))
            && (9..=13).contains(&digits.len())
    };
    // North America dials no area code that starts with 0 or 1.
    let areas = digits.strip_prefix(b"1").is_none_or(|rest| rest.first().is_some_and(|b| *b >= b'2'));
    areas && (CALLING_CODES.iter().any(by_code) || three())
}

/// End of a number with its extension: `x123`, `ext. 123`, `extension 123`, `#123`.
fn extension_end(input: RecognizerInput<'_>, end: usize) -> usize {
    let rest = input.lookahead(end, 20);
    let word = rest.trim_start_matches([' ', ',']);
    let Some(after) = ["extension", "ext.", "ext", "x", "#"].iter().find_map(|mark| {
        word.get(..mark.len()).filter(|w| w.eq_ignore_ascii_case(mark)).map(|_| &word[mark.len()..])
    }) else {
        return end;
    };
    let number = after.trim_start_matches(' ');
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=6).contains(&digits) { end + (rest.len() - number.len()) + digits } else { end }
}
