//! Network addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Entity;
use crate::text::{
    id_rule::{Check, IdRule},
    input::{RecognizerInput, Word},
};

use super::{RuleMatch, WordRule};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::MacAddress,
        name: "mac_address",
        layouts: &[("hh:hh:hh:hh:hh:hh", 0.9), ("hh-hh-hh-hh-hh-hh", 0.9), ("hhhh.hhhh.hhhh", 0.6)],
        check: Check::Plausible(|mac| mac.bytes().any(|b| b != mac.as_bytes()[0])),
        context: &["mac", "mac address", "ethernet", "hardware address"],
    },
    // Most name a request or a row. Only what a person is known by is theirs.
    IdRule {
        entity: Entity::Uuid,
        name: "uuid",
        layouts: &[("h{8}-h{4}-h{4}-h{4}-h{12}", 0.3)],
        check: Check::Plausible(uuid),
        context: &[
            "user",
            "user id",
            "customer",
            "customer id",
            "patient",
            "patient id",
            "device id",
            "advertising id",
            "idfa",
            "gaid",
            "account id",
            "member id",
            "person id",
            "employee id",
        ],
    },
];

/// True if the version and the variant are those of RFC 9562.
fn uuid(uuid: &str) -> bool {
    let bytes = uuid.as_bytes();
    matches!(bytes[12], b'1'..=b'8') && matches!(bytes[16], b'8' | b'9' | b'A' | b'B')
}

pub(crate) const WORDS: &[WordRule] = &[
    WordRule { entity: Entity::IpAddress, name: "ipv4", find: ipv4 },
    WordRule { entity: Entity::IpAddress, name: "ipv6", find: ipv6 },
];

/// Score of addresses that identify no host: loopback, any, broadcast, netmasks.
const NOT_A_HOST: f32 = 0.1;

/// IPv4 address as a dotted quad. A longer dotted number, or one that the text calls a version, is none.
fn ipv4(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    if word.len() > 3 || !word.char_kinds.only_digits() || input.at(word.end) != Some(b'.') {
        return None;
    }
    let end = input.run(word.start, 16, |b| b.is_ascii_digit() || b == b'.');
    let end = if input.before(end) == Some(b'.') { end - 1 } else { end };
    let address: Ipv4Addr = input.text[word.start..end].parse().ok()?;
    let span = word.start..end;
    let path = input.before(span.start) == Some(b'/') && !input.text[..span.start].ends_with("//");
    if input.touches_word(&span) || matches!(input.before(span.start), Some(b'.' | b'-')) || path {
        return None;
    }
    if input.at(end) == Some(b'-') && input.at(end + 1).is_some_and(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let before = input.text[input.text.ceil_char_boundary(span.start.saturating_sub(10))..span.start]
        .to_ascii_lowercase();
    let before = before.trim_end_matches([' ', '=', ':', '"', '.']);
    let word = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or(before);
    let versioned = matches!(word, "version" | "ver" | "release" | "build" | "v");
    let octets = address.octets();
    let not_a_host = octets[0] == 0 || octets[0] == 255 || address.is_loopback() || versioned;
    Some(RuleMatch::pattern(span, if not_a_host { NOT_A_HOST } else { 0.85 }))
}

/// IPv6 address in the text forms of RFC 4291, as the standard library parses them.
fn ipv6(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let colon_before = input.bytes[..word.start].ends_with(b"::");
    if word.len() > 4 || input.at(word.end) != Some(b':') && !colon_before {
        return None;
    }
    let start = if colon_before { word.start - 2 } else { word.start };
    if matches!(input.before(start), Some(b':' | b'.' | b'-')) || input.touches_word_left(start) {
        return None;
    }
    let end = input.run(start, 46, |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    let text = input.text[start..end].trim_end_matches('.');
    // A sentence may go on after the address with a colon, but `::` ends one.
    let text = text.strip_suffix(':').filter(|t| !t.ends_with(':')).unwrap_or(text);
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let address: Ipv6Addr = text.parse().ok()?;
    let span = start..start + text.len();
    if input.touches_word(&span) {
        return None;
    }
    let not_a_host = address.is_loopback() || address.is_unspecified();
    let score = match groups {
        _ if not_a_host => NOT_A_HOST,
        // `c::B50` is also a path in several programming languages.
        0..=2 if matches!(text.find(':'), Some(1 | 2)) || !text.bytes().any(|b| b.is_ascii_digit()) => 0.3,
        _ => 0.85,
    };
    Some(RuleMatch::pattern(span, score))
}
