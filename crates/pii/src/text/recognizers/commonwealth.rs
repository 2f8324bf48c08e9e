//! Numbers issued in the United Kingdom, Canada and Australia.

use crate::Entity;
use crate::text::{
    checksum::{all_same, digits, luhn, weighted},
    id_rule::{Check, IdRule},
};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::UkNhs,
        name: "uk_nhs",
        layouts: &[("d{3}~d{3}~d{4}", 0.3), ("d{10}", 0.1)],
        check: Check::Checksum(nhs),
        context: &["nhs", "nhs number", "national health", "health service", "nhs no"],
    },
    IdRule {
        entity: Entity::UkNino,
        name: "uk_nino",
        layouts: &[("aa~dd~dd~dd~a", 0.85), ("aa d{6} a", 0.7), ("aad{6}a", 0.6)],
        check: Check::Plausible(nino),
        context: &["national insurance", "ni number", "nino", "insurance number", "ni no"],
    },
    IdRule {
        entity: Entity::UkUtr,
        name: "uk_utr",
        layouts: &[("d{10}", 0.05), ("d{5} d{5}", 0.2)],
        check: Check::Checksum(utr),
        context: &["utr", "unique taxpayer", "taxpayer reference", "hmrc", "self assessment"],
    },
    IdRule {
        entity: Entity::CaSin,
        name: "ca_social_insurance_number",
        layouts: &[("d{3}-d{3}-d{3}", 0.5), ("d{3} d{3} d{3}", 0.4), ("d{9}", 0.05)],
        check: Check::Checksum(|n| !n.starts_with(['0', '8']) && !all_same(n) && luhn(n)),
        context: &["sin", "social insurance", "sin number", "nas", "assurance sociale"],
    },
    IdRule {
        entity: Entity::CaHealthNumber,
        name: "ca_health_number",
        layouts: &[("d{4}~d{3}~d{3}~aa", 0.8), ("d{4}~d{3}~d{3}", 0.2), ("d{10}aa", 0.4), ("d{10}", 0.05)],
        check: Check::Checksum(ca_health),
        context: &[
            "ohip",
            "health card",
            "health number",
            "health insurance",
            "phn",
            "personal health number",
        ],
    },
    IdRule {
        entity: Entity::AuAbn,
        name: "au_abn",
        layouts: &[("dd~d{3}~d{3}~d{3}", 0.7), ("d{11}", 0.3)],
        check: Check::Checksum(abn),
        context: &["abn", "australian business number", "business number"],
    },
    IdRule {
        entity: Entity::AuAcn,
        name: "au_acn",
        layouts: &[("d{3}~d{3}~d{3}", 0.2), ("d{9}", 0.05)],
        check: Check::Checksum(acn),
        context: &["acn", "australian company number", "company number"],
    },
    IdRule {
        entity: Entity::AuTfn,
        name: "au_tfn",
        layouts: &[("d{3}~d{3}~d{3}", 0.2), ("d{9}", 0.05), ("d{8}", 0.05)],
        check: Check::Checksum(tfn),
        context: &["tfn", "tax file", "tax file number"],
    },
    IdRule {
        entity: Entity::AuMedicare,
        name: "au_medicare",
        layouts: &[("d{4} d{5} d", 0.6), ("d{4}-d{5}-d", 0.6), ("d{10,11}", 0.1)],
        check: Check::Checksum(medicare),
        context: &["medicare", "medicare number", "medicare card"],
    },
];

/// Modulus 11 with weights 10 down to 2 (NHS Data Model and Dictionary, NHS NUMBER).
fn nhs(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    let check = (11 - weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    check == d[9] && !all_same(number)
}

/// Prefix letters and suffix A to D (HMRC, National Insurance manual NIM39110).
fn nino(number: &str) -> bool {
    let prefix = number.as_bytes();
    !matches!(prefix[0], b'D' | b'F' | b'I' | b'Q' | b'U' | b'V')
        && !matches!(prefix[1], b'D' | b'F' | b'I' | b'O' | b'Q' | b'U' | b'V')
        && !matches!(&number[..2], "BG" | "GB" | "KN" | "NK" | "NT" | "TN" | "ZZ")
        && matches!(prefix[8], b'A'..=b'D')
}

/// Check digit first, from weights 6, 7, 8, 9, 10, 5, 4, 3, 2 modulo 11 (HMRC, UTR check).
fn utr(number: &str) -> bool {
    const CHECK: [u32; 11] = [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    let Some(d) = digits(number) else { return false };
    let rest = weighted(&d[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    CHECK[rest as usize] == d[0]
}

/// Luhn over ten digits (Ontario), or modulus 11 behind a 9 (British Columbia).
fn ca_health(number: &str) -> bool {
    let (number, version) = number.split_at(10);
    let Some(d) = digits(number) else { return false };
    let british_columbia = || {
        let rest = weighted(&d[1..9], &[2, 4, 8, 5, 10, 9, 7, 3]) % 11;
        d[0] == 9 && version.is_empty() && 11 - rest == d[9]
    };
    (d[0] != 0 && luhn(number) || british_columbia()) && !all_same(number)
}

/// Weighted sum modulo 89 after taking one from the first digit (Australian Business Register).
fn abn(number: &str) -> bool {
    let Some(mut d) = digits(number) else { return false };
    if d[0] == 0 {
        return false;
    }
    d[0] -= 1;
    weighted(&d, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
}

/// Weights 8 down to 1, complement to ten (ASIC, ACN check digit).
fn acn(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    (10 - weighted(&d[..8], &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == d[8] && !all_same(number)
}

/// Modulus 11 over eight or nine digits (ATO, tax file number algorithm).
fn tfn(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    let weights: &[u32] =
        if d.len() == 9 { &[1, 4, 3, 7, 5, 8, 6, 9, 10] } else { &[10, 7, 8, 4, 6, 3, 5, 1] };
    weighted(&d, weights).is_multiple_of(11) && !all_same(number)
}

/// Ninth digit from weights 1, 3, 7, 9 modulo ten; the first is 2 to 6 (Services Australia).
fn medicare(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    matches!(d[0], 2..=6) && weighted(&d[..8], &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == d[8] && d[9] != 0
}
