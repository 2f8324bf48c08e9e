//! Calendar dates, numeric and with month names; ages.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use crate::Entity;
use crate::text::input::{RecognizerInput, Word};

use super::{LiteralRule, RuleMatch, WordEdges, WordRule, compile};

pub(crate) const WORDS: &[WordRule] = &[
    WordRule { entity: Entity::DateTime, name: "numeric_date", find: numeric },
    WordRule { entity: Entity::Age, name: "age", find: age },
];

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[LiteralRule {
    entity: Entity::DateTime,
    name: "month_name_date",
    literals: &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ],
    edges: WordEdges::Both,
    find: month_name,
}];

const CONTEXT: &[&str] = &[
    "born",
    "birth",
    "dob",
    "birthday",
    "birthdate",
    "date of birth",
    "died",
    "deceased",
    "death",
    "admitted",
    "admission",
    "discharged",
    "discharge",
    "appointment",
    "diagnosed",
    "visit",
    "hired",
    "married",
];

/// A date of a person's life.
const DATE: f32 = 0.6;
/// A moment down to the second is written by machines; context can still say otherwise.
const TIMESTAMP: f32 = 0.4;

/// Year first (ISO 8601), or day and month in either order, year last; an optional time of day.
static NUMERIC: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"^(?:(?<y>(?:19|20)\d\d)(?:-(?<m1>\d\d?)-(?<d1>\d\d?)|/(?<m2>\d\d?)/(?<d2>\d\d?)|\.(?<m3>\d\d)\.(?<d3>\d\d))",
        r"|(?<a1>\d\d?)/(?<b1>\d\d?)/(?:(?:19|20)\d\d|(?<short>\d\d))|(?<a2>\d\d?)-(?<b2>\d\d?)-(?:19|20)\d\d",
        r"|(?<a3>\d\d?)\.(?<b3>\d\d?)\.(?:19|20)\d\d)",
        r"(?:[Tt ](?<time>\d\d?:\d\d(?<second>:\d\d(?:[.,]\d{1,9})?)?(?: ?[AaPp]\.?[Mm]\b\.?)?(?:Z| ?[+-]\d\d:?\d\d)?))?",
    ))
});

fn numeric(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let shape = matches!(word.len(), 1 | 2 | 4) && word.char_kinds.only_digits();
    let parted = matches!(input.at(word.end), Some(b'-' | b'/' | b'.'))
        && input.at(word.end + 1).is_some_and(|b| b.is_ascii_digit());
    if !shape || !parted || input.touches_word_left(word.start) || input.continues_left(word.start) {
        return None;
    }
    let found = NUMERIC.captures(input.lookahead(word.start, 48))?;
    let span = word.start..word.start + found.get(0)?.end();
    if input.touches_word_right(span.end) || input.continues_right(span.end) {
        return None;
    }
    let number = |name: &str| found.name(name).and_then(|m| m.as_str().parse::<u32>().ok());
    let pair = |a: &str, b: &str| number(a).zip(number(b));
    let holds = if found.name("y").is_some() {
        let (month, day) = pair("m1", "d1").or_else(|| pair("m2", "d2")).or_else(|| pair("m3", "d3"))?;
        (1..=12).contains(&month) && (1..=31).contains(&day)
    } else {
        let (a, b) = pair("a1", "b1").or_else(|| pair("a2", "b2")).or_else(|| pair("a3", "b3"))?;
        (1..=31).contains(&a) && (1..=31).contains(&b) && a.min(b) <= 12
    };
    let base = match (found.name("second").is_some(), found.name("short").is_some()) {
        (true, _) => TIMESTAMP,
        (false, true) => 0.5,
        (false, false) => DATE,
    };
    holds.then(|| RuleMatch::in_context(input, span, base, CONTEXT))
}

static DAY_BEFORE: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?:^|[^\w.,:/-])(?<day>[0-3]?\d)(?:st|nd|rd|th)?(?: of)?[ -]$"));
static YEAR_AFTER: LazyLock<Regex> = LazyLock::new(|| compile(r"^\.?,?[ -](?:(?:19|20)\d\d|'?\d\d)\b"));
static DAY_AFTER: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"^\.? {1,2}(?:(?<year>(?:19|20)\d\d)|(?<day>[0-3]?\d)(?:st|nd|rd|th)?(?:,? (?:19|20)\d\d)?)\b(?<time> \d\d:\d\d:\d\d)?",
    )
});

/// `5 January 2020`, `5th of Jan`, `January 5, 2020`, `Jan 2020`. Alone, a month is a word.
fn month_name(input: RecognizerInput<'_>, month: Range<usize>) -> Option<RuleMatch> {
    // May, Mar and the like are ordinary words in lower case.
    if !input.bytes[month.start].is_ascii_uppercase() || input.touches_word(&month) {
        return None;
    }
    let from = input.text.ceil_char_boundary(month.start.saturating_sub(12));
    let ahead = input.lookahead(month.end, 32);
    if let Some(day) = DAY_BEFORE.captures(&input.text[from..month.start]).and_then(|c| c.name("day")) {
        let end = month.end + YEAR_AFTER.find(ahead).map_or(0, |year| year.end());
        return Some(RuleMatch::in_context(input, from + day.start()..end, DATE, CONTEXT));
    }
    let after = DAY_AFTER.captures(ahead)?;
    let base = if after.name("time").is_some() { TIMESTAMP } else { DATE };
    let end = after.name("time").map_or(after.get(0)?.end(), |time| time.start());
    let span = month.start..month.end + end;
    (!input.continues_right(span.end)).then(|| RuleMatch::in_context(input, span, base, CONTEXT))
}

static AGE_AFTER: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?i)^(?:[ -]years?[ -]old\b|[ -]?y/?o\b|[ -]?yrs? old\b| years? of age\b)"));

/// `34 years old`, `34-year-old`, `34 y/o`, `aged 34`, `age: 34`. Whole years to 120.
fn age(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let digits = input.run(word.start, 4, |b| b.is_ascii_digit());
    if digits - word.start > 3 {
        return None;
    }
    let years: u32 = input.text[word.start..digits].parse().ok()?;
    if !(1..=120).contains(&years) {
        return None;
    }
    let span = word.start..digits;
    if matches!(input.at(digits), Some(b' ' | b'-' | b'y' | b'Y'))
        && let Some(unit) = AGE_AFTER.find(input.lookahead(digits, 16))
    {
        let span = word.start..digits + unit.end();
        return (!input.touches_word(&span)).then(|| RuleMatch::keyed(span, 0.85));
    }
    let said = input.before(word.start).is_some_and(|b| matches!(b, b' ' | b':' | b'='))
        && !input.touches_word(&span)
        && !input.continues(&span)
        && !matches!(input.at(digits), Some(b'%' | b'.'))
        && announced(input, word.start);
    said.then(|| RuleMatch::keyed(span, 0.75))
}

/// True if the words directly before announce an age.
fn announced(input: RecognizerInput<'_>, at: usize) -> bool {
    static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
        compile(r#"(?i)(?:^|[^\w-])(?:age|aged|age is|age was|age of|turned|turning)"?(?: ?[:=] ?| )$"#)
    });
    BEFORE.is_match(&input.text[input.text.ceil_char_boundary(at.saturating_sub(16))..at])
}
