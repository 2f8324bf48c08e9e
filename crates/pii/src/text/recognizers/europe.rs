//! Numbers issued on the European continent.

use crate::Entity;
use crate::text::{
    checksum::{all_same, digits, luhn, mod11_10, weighted},
    id_rule::{Check, IdRule},
};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::DeTaxId,
        name: "de_tax_id",
        layouts: &[("dd d{3} d{3} d{3}", 0.6), ("d{11}", 0.4)],
        check: Check::Checksum(de_tax_id),
        context: &[
            "steuer id",
            "steueridentifikationsnummer",
            "idnr",
            "tax id",
            "steuer idnr",
            "tax identification",
            "tin",
        ],
    },
    IdRule {
        entity: Entity::DeSocialSecurity,
        name: "de_social_security",
        layouts: &[("d{8}ad{3}", 0.8), ("dd d{6} a d{3}", 0.8)],
        check: Check::Checksum(de_social_security),
        context: &[
            "sozialversicherungsnummer",
            "versicherungsnummer",
            "rentenversicherungsnummer",
            "svnr",
            "rvnr",
        ],
    },
    IdRule {
        entity: Entity::DeVatId,
        name: "de_vat_id",
        layouts: &[("DEd{9}", 0.7), ("DE d{9}", 0.7), ("DE d{3} d{3} d{3}", 0.7)],
        check: Check::Checksum(|n| mod11_10(&n[2..]) && !n[2..].starts_with('0')),
        context: &["ust id", "ust idnr", "umsatzsteuer", "vat", "vat id"],
    },
    IdRule {
        entity: Entity::FrInsee,
        name: "fr_insee",
        layouts: &[("d~dd~dd~dx~d{3}~d{3}~dd", 0.95), ("d{6}xd{8}", 0.85), ("d{5}xxd{6} dd", 0.85)],
        check: Check::Checksum(fr_insee),
        context: &["insee", "securite sociale", "sécurité sociale", "nir", "numero de securite"],
    },
    IdRule {
        entity: Entity::EsNif,
        name: "es_nif",
        layouts: &[("d{8}a", 0.7), ("d{8}-a", 0.8), ("dd.d{3}.d{3}-a", 0.9)],
        check: Check::Checksum(es_nif),
        context: &["dni", "nif", "documento nacional", "identificación"],
    },
    IdRule {
        entity: Entity::EsNie,
        name: "es_nie",
        layouts: &[("ad{7}a", 0.85), ("a-d{7}-a", 0.9)],
        check: Check::Checksum(es_nie),
        context: &["nie", "extranjero", "identificación"],
    },
    IdRule {
        entity: Entity::ItFiscalCode,
        name: "it_fiscal_code",
        layouts: &[("a{6}xxaxxaxxxa", 0.95), ("a{3} a{3} xxaxx axxxa", 0.95)],
        check: Check::Checksum(it_fiscal_code),
        context: &["codice fiscale", "fiscal code", "cf"],
    },
    IdRule {
        entity: Entity::ItVatCode,
        name: "it_vat_code",
        layouts: &[("ITd{11}", 0.85), ("IT d{11}", 0.85), ("d{11}", 0.1)],
        check: Check::Checksum(it_vat),
        context: &["partita iva", "p iva", "piva", "vat", "iva"],
    },
    IdRule {
        entity: Entity::PlPesel,
        name: "pl_pesel",
        layouts: &[("d{11}", 0.4)],
        check: Check::Checksum(pl_pesel),
        context: &["pesel", "numer pesel"],
    },
    IdRule {
        entity: Entity::FiPersonalIdentityCode,
        name: "fi_personal_identity_code",
        layouts: &[("d{6}-d{3}x", 0.85), ("d{6}+d{3}x", 0.85), ("d{6}ad{3}x", 0.8)],
        check: Check::Checksum(fi_hetu),
        context: &["hetu", "henkilötunnus", "personbeteckning", "personal identity code"],
    },
];

/// ISO 7064 MOD 11,10; of the first ten digits exactly one occurs two or three times (Bundeszentralamt
/// für Steuern).
fn de_tax_id(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    let mut counts = [0; 10];
    for digit in &d[..10] {
        counts[*digit as usize] += 1;
    }
    let repeated: Vec<u32> = counts.into_iter().filter(|n| *n > 1).collect();
    d[0] != 0 && matches!(repeated[..], [2 | 3]) && mod11_10(number)
}

/// The area, a date of birth, a letter read as its place in the alphabet in two digits, and a serial; digit sums
/// of the products with weights 2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1 end in the check digit (VKVV, section 2).
fn de_social_security(number: &str) -> bool {
    const WEIGHTS: [u32; 12] = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let letter = u32::from(number.as_bytes()[8] - b'A') + 1;
    let Some(mut d) = digits(&format!("{}{letter:02}{}", &number[..8], &number[9..])) else { return false };
    let check = d.pop();
    let sum: u32 = d.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).map(|p| p / 10 + p % 10).sum();
    matches!(d[2] * 10 + d[3], 1..=31 | 51..=81)
        && matches!(d[4] * 10 + d[5], 1..=12)
        && check == Some(sum % 10)
}

/// Key 97 minus the number modulo 97; Corsican departments 2A and 2B read as 19 and 18 (INSEE).
fn fr_insee(number: &str) -> bool {
    let (body, key) = number.split_at(13);
    let body = body.replacen("2A", "19", 1).replacen("2B", "18", 1);
    let (Ok(value), Ok(key), Ok(month)) = (body.parse::<u64>(), key.parse::<u64>(), body[3..5].parse::<u8>())
    else {
        return false;
    };
    matches!(body.as_bytes()[0], b'1' | b'2' | b'3' | b'4' | b'7' | b'8')
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && 97 - value % 97 == key
}

const NIF_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// The letter at the number modulo 23 (Spanish Ministry of the Interior).
fn es_nif(number: &str) -> bool {
    let (body, letter) = number.split_at(number.len() - 1);
    let letter_at = |value: usize| NIF_LETTERS[value % 23];
    !all_same(body) && body.parse().map(letter_at).is_ok_and(|wanted| letter.as_bytes() == [wanted])
}

/// X, Y and Z stand for 0, 1 and 2 in front of the number.
fn es_nie(number: &str) -> bool {
    let first = match number.as_bytes()[0] {
        b'X' => '0',
        b'Y' => '1',
        b'Z' => '2',
        _ => return false,
    };
    es_nif(&format!("{first}{}", &number[1..]))
}

/// Values of characters in odd places, 0-9 and A-J alike (Ministry of Finance decree of 23 December 1976).
const FISCAL_ODD: [u32; 26] =
    [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/// Check letter over fifteen characters; digits may be replaced by the letters L to V (omocodia).
fn it_fiscal_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    let digit_places = [6, 7, 9, 10, 12, 13, 14];
    let digits_hold =
        digit_places.iter().all(|p| bytes[*p].is_ascii_digit() || b"LMNPQRSTUV".contains(&bytes[*p]));
    let sum: u32 = bytes[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let value = if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
            if place % 2 == 0 { FISCAL_ODD[usize::from(value)] } else { u32::from(value) }
        })
        .sum();
    digits_hold && b"ABCDEHLMPRST".contains(&bytes[8]) && sum % 26 == u32::from(bytes[15] - b'A')
}

/// Luhn over eleven digits, with or without the country prefix (Agenzia delle Entrate).
fn it_vat(number: &str) -> bool {
    let number = number.strip_prefix("IT").unwrap_or(number);
    !all_same(number) && luhn(number)
}

/// Weights 1, 3, 7, 9 and a date of birth whose month carries the century (Polish act on population records).
fn pl_pesel(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    let (month, day) = ((d[2] * 10 + d[3]) % 20, d[4] * 10 + d[5]);
    matches!(month, 1..=12)
        && matches!(day, 1..=31)
        && weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

/// Character at the date and serial modulo 31 (Finnish Digital and Population Data Services Agency).
fn fi_hetu(code: &str) -> bool {
    const CHECK: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let bytes = code.as_bytes();
    let century_holds = bytes.len() == 10 || b"ABCDEFYXWVU".contains(&bytes[6]);
    let (date, serial) = (&code[..6], &code[bytes.len() - 4..bytes.len() - 1]);
    let plausible = matches!(date[..2].parse(), Ok(1..=31)) && matches!(date[2..4].parse(), Ok(1..=12));
    let check = format!("{date}{serial}").parse::<usize>().map(|value| CHECK[value % 31]);
    century_holds && plausible && check.is_ok_and(|wanted| bytes[bytes.len() - 1] == wanted)
}
