//! Vehicle identification.

use crate::Entity;
use crate::text::id_rule::{Check, IdRule};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::VehicleIdentificationNumber,
        name: "vin",
        layouts: &[("x{17}", 0.7)],
        check: Check::Checksum(vin),
        context: &["vin", "vehicle", "chassis", "vehicle identification"],
    },
    IdRule {
        entity: Entity::VehicleIdentificationNumber,
        name: "vin_without_check_digit",
        layouts: &[("x{17}", 0.1)],
        check: Check::Plausible(looks_like_vin),
        context: &["vin", "chassis", "vehicle identification"],
    },
    IdRule {
        entity: Entity::LicensePlate,
        name: "license_plate",
        layouts: &[
            ("x{5,8}", 0.05),
            ("a{2}d{2}", 0.05),
            ("x{1,3}-x{3,5}", 0.1),
            ("a{2,3} d{3,4}", 0.1),
            ("d{3} x{3}", 0.1),
            ("dxx d{3}", 0.1),
            ("add xaa", 0.1),
            ("aadd a{3}", 0.3),
            ("aa-d{3}-aa", 0.3),
            ("aa dd aa d{4}", 0.3),
        ],
        check: Check::Plausible(|plate| plate.bytes().any(|b| b.is_ascii_digit())),
        context: &[
            "license plate",
            "licence plate",
            "plate number",
            "number plate",
            "plate",
            "license plate number",
            "plates",
            "vehicle registration",
        ],
    },
];

/// No I, O or Q; letters and digits both; a serial that ends in digits (ISO 3779, 49 CFR 565).
fn looks_like_vin(vin: &str) -> bool {
    let letters = vin.bytes().filter(u8::is_ascii_alphabetic).count();
    !vin.contains(['I', 'O', 'Q'])
        && !vin.starts_with("0X")
        && letters >= 2
        && vin[13..].bytes().all(|b| b.is_ascii_digit())
}

/// The ninth character is the weighted sum modulo 11, X for ten (49 CFR 565.15).
fn vin(vin: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    if !looks_like_vin(vin) {
        return false;
    }
    let sum: u32 = vin.bytes().zip(WEIGHTS).map(|(byte, weight)| u32::from(value(byte)) * weight).sum();
    vin[8..].starts_with(char::from_digit(sum % 11, 10).unwrap_or('X'))
}

/// Transliteration of 49 CFR 565.15, table III. The letters I, O and Q do not occur.
fn value(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'H' => byte - b'A' + 1,
        b'J'..=b'R' => byte - b'J' + 1,
        b'S'..=b'Z' => byte - b'S' + 2,
        _ => 0,
    }
}
