//! Mail and web addresses.

use std::ops::Range;

use crate::{Entity, text::input::RecognizerInput};

use super::{LiteralRule, RuleMatch, WordEdges};

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[
    LiteralRule {
        entity: Entity::EmailAddress,
        name: "email",
        literals: &["@"],
        edges: WordEdges::Free,
        find: email,
    },
    LiteralRule {
        entity: Entity::Url,
        name: "url",
        literals: &["http://", "https://", "ftp://", "ftps://", "www."],
        edges: WordEdges::Left,
        find: url,
    },
    LiteralRule {
        entity: Entity::Url,
        name: "bare_domain",
        literals: &[
            ".com", ".org", ".net", ".edu", ".gov", ".info", ".biz", ".co.uk", ".com.au", ".de", ".fr",
            ".io", ".ai", ".app", ".dev", ".me", ".eu", ".nl", ".ch", ".at", ".it", ".es", ".ca", ".us",
            ".se", ".no", ".pl", ".be", ".tv", ".xyz", ".online", ".shop", ".site", ".store", ".cloud",
            ".tech", ".mil", ".co.in", ".co.jp", ".co.nz", ".co.za", ".org.uk", ".ac.uk", ".gov.uk",
        ],
        edges: WordEdges::Free,
        find: bare_domain,
    },
];

/// RFC 5321, 4.5.3.1: octets of a local part and of a domain.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;

/// Endings that look like top-level domains and are file names (`icon@2x.png`).
const FILE_ENDINGS: &[&str] =
    &["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "html", "mjs"];

/// RFC 5321 mailbox; letters of any script (RFC 6531), dotted domain with an alphabetic top level.
fn email(input: RecognizerInput<'_>, at: Range<usize>) -> Option<RuleMatch> {
    let local_byte = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'') || !b.is_ascii()
    };
    let mut start = input.text.ceil_char_boundary(input.run_back(at.start, LOCAL_MAX, local_byte));
    // Punctuation and scripts that only stand in front of the address are not a part of it.
    while start < at.start && matches!(input.bytes[start], b'.' | b'-' | b'\'' | b'%') {
        start += 1;
    }
    if start == at.start || input.before(at.start) == Some(b'.') {
        return None;
    }
    let end = domain_end(input, at.end);
    let domain = &input.text[at.end..end];
    let (labels, top) = domain.rsplit_once('.')?;
    let top_holds = top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic() || !b.is_ascii())
        || top.starts_with("xn--");
    let labels_hold =
        labels.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let repository = &input.text[start..at.start] == "git" && input.at(end) == Some(b':');
    if !top_holds || !labels_hold || repository || FILE_ENDINGS.contains(&top.to_ascii_lowercase().as_str()) {
        return None;
    }
    Some(RuleMatch::certain(start..end, 0.95))
}

fn domain_end(input: RecognizerInput<'_>, start: usize) -> usize {
    let end = input
        .run(start, DOMAIN_MAX, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-') || !b.is_ascii());
    let mut end = input.text.floor_char_boundary(end);
    while end > start && matches!(input.bytes[end - 1], b'.' | b'-') {
        end -= 1;
    }
    // Letters of scripts without spaces may follow the address directly; a domain ends in one script.
    let top = input.text[start..end].rfind('.').map_or(start, |dot| start + dot + 1);
    let ascii = input.run(top, end - top, |b| b.is_ascii());
    if ascii > top { ascii } else { end }
}

/// A scheme or `www.`, and everything a URI may hold (RFC 3986) up to trailing punctuation.
fn url(input: RecognizerInput<'_>, literal: Range<usize>) -> Option<RuleMatch> {
    // The host is judged before the rest is read: text full of empty schemes must stay cheap.
    let host = input.run(literal.end, DOMAIN_MAX, |b| is_uri(b) && !matches!(b, b'/' | b'?' | b'#'));
    let host = &input.bytes[literal.end..host];
    let named = host.iter().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    let dotted = host.windows(2).any(|pair| pair[0] == b'.' && pair[1] != b'.');
    if !named || input.bytes[literal.start..literal.end].eq_ignore_ascii_case(b"www.") && !dotted {
        return None;
    }
    let end = url_end(input, literal.end);
    Some(RuleMatch::certain(literal.start..end, if dotted { 0.95 } else { 0.6 }))
}

fn is_uri(byte: u8) -> bool {
    !byte.is_ascii_whitespace()
        && !byte.is_ascii_control()
        && !matches!(byte, b'<' | b'>' | b'"' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`')
}

/// The end of a URI: a closing bracket that was not opened inside ends it, trailing punctuation is not its own.
fn url_end(input: RecognizerInput<'_>, start: usize) -> usize {
    let (mut round, mut square) = (0_usize, 0_usize);
    let mut end = start;
    while let Some(byte) = input.at(end).filter(|b| is_uri(*b)) {
        match byte {
            b'(' => round += 1,
            b'[' => square += 1,
            b')' if round == 0 => break,
            b']' if square == 0 => break,
            b')' => round -= 1,
            b']' => square -= 1,
            _ => {}
        }
        end += 1;
    }
    while end > start
        && matches!(
            input.bytes[end - 1],
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*' | b'(' | b'['
        )
    {
        end -= 1;
    }
    end
}

/// A host name without scheme. Endings that code uses too need a path or a word that says so.
fn bare_domain(input: RecognizerInput<'_>, ending: Range<usize>) -> Option<RuleMatch> {
    let mut end = ending.end;
    let country = input.run(end + 1, 3, |b| b.is_ascii_lowercase());
    if input.at(end) == Some(b'.') && country == end + 3 {
        end = country;
    }
    let goes_on = input.at(end) == Some(b'.') && input.at(end + 1).is_some_and(|b| b.is_ascii_alphanumeric());
    if input.touches_word_right(end) || goes_on || matches!(input.at(end), Some(b'-' | b'@' | b'(' | b'[')) {
        return None;
    }
    let start =
        input.run_back(ending.start, DOMAIN_MAX, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let host = &input.text[start..end];
    let labels_hold =
        host.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let inside = matches!(input.before(start), Some(b'@' | b'_' | b'/' | b'\\' | b':' | b'$'));
    if start == ending.start || !labels_hold || inside || input.touches_word_left(start) {
        return None;
    }
    let framework =
        matches!(host.to_ascii_lowercase().as_str(), "asp.net" | "vb.net" | "ado.net" | "paint.net");
    let has_path = input.at(end) == Some(b'/') && input.at(end + 1).is_none_or(|b| !matches!(b, b'/' | b'*'));
    // Countries that no language has as a name of a thing, in a sentence of its own.
    let country =
        matches!(
            &input.bytes[ending.clone()],
            b".de" | b".fr" | b".nl" | b".ch" | b".eu" | b".pl" | b".ac.uk"
        ) && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && host.len() > 7
            && !["locale", "messages", "strings", "translations"].iter().any(|name| host.starts_with(name))
            && matches!(input.before(start), None | Some(b' ' | b'\n' | b'('))
            && matches!(input.at(end), None | Some(b' ' | b'\n' | b'\r' | b')' | b',' | b'.' | b'?' | b'!'));
    let common = matches!(
        &input.bytes[ending],
        b".com"
            | b".org"
            | b".net"
            | b".edu"
            | b".gov"
            | b".info"
            | b".biz"
            | b".co.uk"
            | b".com.au"
            | b".co.in"
            | b".co.jp"
            | b".co.nz"
            | b".co.za"
            | b".org.uk"
            | b".gov.uk"
    );
    let base = match (framework, common, has_path) {
        (true, ..) => 0.1,
        (false, true, _) => 0.6,
        (false, false, true) => 0.5,
        (false, false, false) if country => 0.5,
        (false, false, false) => 0.3,
    };
    let span = start..if has_path { url_end(input, end) } else { end };
    Some(RuleMatch::in_context(
        input,
        span,
        base,
        &["website", "site", "url", "link", "visit", "webpage", "homepage", "domain"],
    ))
}
