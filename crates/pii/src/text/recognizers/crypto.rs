//! Addresses on public chains. Every one has a checksum.

use std::ops::Range;

use alloy_primitives::Address;
use sha2::{Digest as _, Sha256};

use crate::Entity;
use crate::text::input::{RecognizerInput, Word};

use super::{LiteralRule, RuleMatch, WordEdges, WordRule};

pub(crate) const WORDS: &[WordRule] = &[
    WordRule { entity: Entity::Crypto, name: "bitcoin_base58", find: bitcoin_base58 },
    WordRule { entity: Entity::Crypto, name: "ethereum", find: ethereum },
];

pub(crate) const LITERAL_RULES: &[LiteralRule] = &[LiteralRule {
    entity: Entity::Crypto,
    name: "bitcoin_bech32",
    literals: &["bc1", "tb1"],
    edges: WordEdges::Left,
    find: bitcoin_bech32,
}];

/// P2PKH and P2SH addresses: `Base58Check` over one version byte and a 20-byte hash.
fn bitcoin_base58(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    if !(26..=35).contains(&word.len()) || !matches!(input.bytes[word.start], b'1' | b'3') {
        return None;
    }
    let span = word.start..word.end;
    let payload = base58(&input.bytes[span.clone()])?;
    let (body, check) = payload.split_at(21);
    let hash = Sha256::digest(Sha256::digest(body));
    (check == &hash[..4] && matches!(body[0], 0 | 5) && !input.touches_word(&span))
        .then(|| RuleMatch::certain(span, 1.0))
}

/// Decodes the 25 bytes of a Base58 string.
fn base58(text: &[u8]) -> Option<[u8; 25]> {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for c in text {
        let mut carry = ALPHABET.iter().position(|a| a == c)?;
        for byte in bytes.iter_mut().rev() {
            carry += 58 * usize::from(*byte);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

/// Segregated witness addresses: BIP 173 (constant 1) and BIP 350 (Bech32m).
fn bitcoin_bech32(input: RecognizerInput<'_>, prefix: Range<usize>) -> Option<RuleMatch> {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const BECH32M: u32 = 0x2bc8_30a3;
    let end = input.run(prefix.start, 91, |b| b.is_ascii_alphanumeric());
    let span = prefix.start..end;
    let text = &input.text[span.clone()];
    let mixed = text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase());
    if !(26..=90).contains(&text.len()) || mixed || input.touches_word(&span) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (human, data) = text.split_once('1')?;
    let expanded = human.bytes().map(|b| b >> 5).chain([0]).chain(human.bytes().map(|b| b & 31));
    let mut check = expanded.fold(1, bech32_step);
    for c in data.bytes() {
        let value = ALPHABET.iter().position(|a| *a == c)?;
        check = bech32_step(check, u8::try_from(value).ok()?);
    }
    matches!(check, 1 | BECH32M).then(|| RuleMatch::certain(span, 1.0))
}

/// One step of the BCH code of BIP 173.
fn bech32_step(check: u32, value: u8) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = check >> 25;
    let shifted = ((check & 0x01ff_ffff) << 5) ^ u32::from(value);
    (0..5).filter(|bit| top >> bit & 1 == 1).fold(shifted, |sum, bit| sum ^ GENERATOR[bit])
}

/// Twenty bytes in hexadecimal; mixed case must satisfy EIP-55.
fn ethereum(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let span = word.start..word.end;
    let text = &input.text[span.clone()];
    let hex = text
        .strip_prefix("0x")
        .filter(|hex| hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let mixed = hex.bytes().any(|b| b.is_ascii_lowercase()) && hex.bytes().any(|b| b.is_ascii_uppercase());
    if input.touches_word(&span) || mixed && Address::parse_checksummed(text, None).is_err() {
        return None;
    }
    // Precompiles, system contracts and made-up addresses repeat a few digits.
    let distinct = (0..16).filter(|digit| hex.chars().any(|c| c.to_digit(16) == Some(*digit))).count();
    (distinct > 5).then(|| if mixed { RuleMatch::certain(span, 1.0) } else { RuleMatch::pattern(span, 0.8) })
}
