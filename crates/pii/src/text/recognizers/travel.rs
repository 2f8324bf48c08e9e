//! Passports, identity cards and driving licences of countries other than the United States.
//!
//! Few of them carry a check digit where people write them down, so that most need a word that names them.

use crate::Entity;
use crate::text::id_rule::{Check, IdRule};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::UkPassport,
        name: "uk_passport",
        layouts: &[("d{9}", 0.05), ("aad{7}", 0.1)],
        check: Check::Shape,
        context: &[
            "uk passport",
            "uk passport number",
            "british passport",
            "british passport number",
            "passport uk",
            "passport gbr",
            "passport",
        ],
    },
    IdRule {
        entity: Entity::UkDrivingLicence,
        name: "uk_driving_licence",
        layouts: &[("x{5}d{6}xxxaa", 0.7)],
        check: Check::Plausible(uk_driving_licence),
        context: &["driving licence", "driving license", "dvla", "licence number", "licence"],
    },
    IdRule {
        entity: Entity::CaPassport,
        name: "ca_passport",
        layouts: &[("aad{6}", 0.1), ("ad{6}aa", 0.1)],
        check: Check::Shape,
        context: &[
            "passport",
            "passport number",
            "canadian passport",
            "canadian passport number",
            "passeport",
        ],
    },
    IdRule {
        entity: Entity::AuPassport,
        name: "au_passport",
        layouts: &[("ad{7}", 0.1), ("aad{7}", 0.1)],
        check: Check::Shape,
        context: &["australian passport", "australian passport number"],
    },
    IdRule {
        entity: Entity::InPassport,
        name: "in_passport",
        layouts: &[("ad{7}", 0.1)],
        check: Check::Plausible(|n| !matches!(n.as_bytes()[0], b'Q' | b'X' | b'Z') && &n[1..2] != "0"),
        context: &["passport", "passport number", "indian passport", "indian passport number"],
    },
    IdRule {
        entity: Entity::DeIdCard,
        name: "de_id_card",
        layouts: &[("ax{8}d", 0.1)],
        check: Check::Checksum(|n| b"LMNPRTVWXY".contains(&n.as_bytes()[0]) && icao_9303(n)),
        context: &["personalausweis", "ausweisnummer", "ausweis", "ausweis nr", "identity card", "id card"],
    },
    IdRule {
        entity: Entity::DePassport,
        name: "de_passport",
        layouts: &[("ax{8}d", 0.1)],
        check: Check::Checksum(|n| b"CFGHJK".contains(&n.as_bytes()[0]) && icao_9303(n)),
        context: &["reisepass", "passnummer", "pass nr", "german passport", "passport", "passport number"],
    },
    IdRule {
        entity: Entity::FrIdCard,
        name: "fr_id_card",
        layouts: &[("d{12}", 0.05), ("x{9}", 0.05)],
        check: Check::Plausible(|n| n.bytes().filter(u8::is_ascii_digit).count() >= 2),
        context: &[
            "carte nationale didentité",
            "carte didentité",
            "carte nationale didentite",
            "carte didentite",
            "cni",
            "french identity card",
        ],
    },
    IdRule {
        entity: Entity::FrPassport,
        name: "fr_passport",
        layouts: &[("ddaad{5}", 0.2)],
        check: Check::Shape,
        context: &["passeport", "french passport", "passport", "passport number"],
    },
    IdRule {
        entity: Entity::EsPassport,
        name: "es_passport",
        layouts: &[("a{3}d{6}", 0.1)],
        check: Check::Shape,
        context: &["pasaporte", "spanish passport", "passport", "passport number"],
    },
    IdRule {
        entity: Entity::ItPassport,
        name: "it_passport",
        layouts: &[("aad{7}", 0.1)],
        check: Check::Shape,
        context: &["passaporto", "numero passaporto", "italian passport", "italian passport number"],
    },
    IdRule {
        entity: Entity::ItIdentityCard,
        name: "it_identity_card",
        layouts: &[("aad{5}aa", 0.2), ("aad{7}", 0.1)],
        check: Check::Shape,
        context: &["carta didentità", "carta identità", "carta didentita", "cie", "italian identity card"],
    },
    IdRule {
        entity: Entity::ItDriverLicense,
        name: "it_driver_license",
        layouts: &[("aad{7}a", 0.2), ("U1x{7}a", 0.2)],
        check: Check::Shape,
        context: &["patente", "patente di guida", "numero patente", "italian driver license"],
    },
];

/// Weights 7, 3, 1 over nine characters, the check digit last (ICAO Doc 9303, part 3, 4.9). German serials hold
/// no vowels and none of B, D, Q and S (Ordinance on Identity Cards).
fn icao_9303(number: &str) -> bool {
    let values: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(36)).collect();
    let Some((check, body)) = values.as_deref().and_then(<[u32]>::split_last) else { return false };
    let sum: u32 = body.iter().zip([7, 3, 1].into_iter().cycle()).map(|(value, weight)| value * weight).sum();
    number.bytes().filter(u8::is_ascii_digit).count() >= 2
        && !number.contains(['A', 'B', 'D', 'E', 'I', 'O', 'Q', 'S', 'U'])
        && sum % 10 == *check
}

/// Five letters of the surname, padded with nines; the date of birth around its decade, fifty added to a woman's
/// month; initials (DVLA, driver number).
fn uk_driving_licence(number: &str) -> bool {
    let surname = number[..5].trim_end_matches('9');
    let month: u32 = number[6..8].parse().unwrap_or(0);
    let day: u32 = number[8..10].parse().unwrap_or(0);
    !surname.is_empty()
        && surname.bytes().all(|b| b.is_ascii_alphabetic())
        && matches!(month, 1..=12 | 51..=62)
        && (1..=31).contains(&day)
        && number[11..13].bytes().all(|b| b.is_ascii_alphabetic() || b == b'9')
}
