//! Numbers issued in India and Singapore.

use crate::Entity;
use crate::text::{
    checksum::{all_same, digits, verhoeff, weighted},
    id_rule::{Check, IdRule},
};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::InAadhaar,
        name: "in_aadhaar",
        layouts: &[("d{4}~d{4}~d{4}", 0.6), ("d{12}", 0.2)],
        check: Check::Checksum(aadhaar),
        context: &["aadhaar", "aadhar", "uidai", "uid", "adhaar"],
    },
    IdRule {
        entity: Entity::InPan,
        name: "in_pan",
        layouts: &[("a{5}d{4}a", 0.7)],
        check: Check::Plausible(pan),
        context: &["pan", "permanent account", "income tax"],
    },
    IdRule {
        entity: Entity::InGstin,
        name: "in_gstin",
        layouts: &[("dda{5}d{4}axax", 0.9)],
        check: Check::Checksum(gstin),
        context: &["gstin", "gst", "gst number", "goods and services tax"],
    },
    IdRule {
        entity: Entity::InVoterNumber,
        name: "in_voter_number",
        layouts: &[("a{3}d{7}", 0.2)],
        check: Check::Shape,
        context: &["voter", "epic", "elector", "voter id", "electoral"],
    },
    IdRule {
        entity: Entity::InNrega,
        name: "in_nrega_job_card",
        layouts: &[("aa-dd-d{3}-d{3}-d{3}/d{1,7}", 0.8)],
        check: Check::Shape,
        context: &["nrega", "mgnrega", "job card", "rozgar"],
    },
    IdRule {
        entity: Entity::SgNricFin,
        name: "sg_nric_fin",
        layouts: &[("ad{7}a", 0.8)],
        check: Check::Checksum(nric),
        context: &["nric", "fin", "identity card", "singapore"],
    },
];

/// Verhoeff over twelve digits, the first 2 to 9 (UIDAI); palindromes are not issued.
fn aadhaar(number: &str) -> bool {
    !number.starts_with(['0', '1']) && !number.bytes().eq(number.bytes().rev()) && verhoeff(number)
}

/// The fourth letter is the kind of holder (Income Tax Department).
fn pan(number: &str) -> bool {
    "PCHABGJLFTE".contains(&number[3..4]) && &number[5..9] != "0000"
}

/// State, permanent account number, a `Z`, and a check character: Luhn in base 36 (GST Network).
fn gstin(number: &str) -> bool {
    let values: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(36)).collect();
    let Some((check, body)) = values.as_deref().and_then(<[u32]>::split_last) else { return false };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, value)| if place % 2 == 0 { *value } else { value * 2 })
        .map(|product| product / 36 + product % 36)
        .sum();
    matches!(number[..2].parse(), Ok(1..=38 | 97 | 99))
        && pan(&number[2..12])
        && number.as_bytes()[13] == b'Z'
        && (36 - sum % 36) % 36 == *check
}

/// Weights 2, 7, 6, 5, 4, 3, 2; an offset and an alphabet for each series (Immigration and Checkpoints Authority).
fn nric(number: &str) -> bool {
    let Some(d) = digits(&number[1..8]) else { return false };
    let (offset, alphabet): (u32, &[u8; 11]) = match number.as_bytes()[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    let rest = (offset + weighted(&d, &[2, 7, 6, 5, 4, 3, 2])) % 11;
    alphabet[rest as usize] == number.as_bytes()[8] && !all_same(&number[1..8])
}
