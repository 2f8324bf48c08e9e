//! Payment cards and bank accounts.

use crate::Entity;
use crate::text::{
    checksum::{luhn, mod97},
    id_rule::{Check, IdRule},
    input::{RecognizerInput, Word},
};

use super::{RuleMatch, WordRule};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::CreditCard,
        name: "payment_card",
        layouts: &[
            ("d{14,19}", 0.85),
            ("d{12,13}", 0.6),
            ("d{4}~d{4}~d{4}~d{4}", 0.95),
            ("d{4}~d{6}~d{5}", 0.95),
            ("d{4}~d{6}~d{4}", 0.95),
            ("d{4}~d{4}~d{4}~d{4}~d{3}", 0.95),
            ("d{4}~d{4}~d{5}", 0.6),
        ],
        check: Check::Checksum(card),
        context: &[
            "card",
            "credit card",
            "debit card",
            "visa",
            "mastercard",
            "amex",
            "american express",
            "discover",
            "card number",
            "cc",
            "ccn",
            "payment",
            "maestro",
            "jcb",
            "diners",
        ],
    },
    IdRule {
        entity: Entity::SwiftCode,
        name: "swift_bic",
        layouts: &[("a{6}xx", 0.05), ("a{6}x{5}", 0.05)],
        check: Check::Plausible(bic),
        context: &["swift", "bic", "swift code", "bic code", "swift bic"],
    },
];

pub(crate) const WORDS: &[WordRule] = &[WordRule { entity: Entity::IbanCode, name: "iban", find: iban }];

/// Luhn behind an issuer prefix of that network's lengths; rounded figures are none (ISO/IEC 7812-1, networks' published ranges).
fn card(number: &str) -> bool {
    issued(number) && luhn(number) && !number.ends_with("00000000")
}

fn issued(number: &str) -> bool {
    let Ok(prefix) = number[..4].parse::<u32>() else { return false };
    let length = number.len();
    match prefix {
        // Visa.
        4000..=4999 => matches!(length, 13 | 16 | 19),
        // Mastercard, Mir.
        5100..=5599 | 2221..=2720 | 2200..=2205 => length == 16,
        // American Express; JCB's older range.
        3400..=3499 | 3700..=3799 | 1800 | 2131 => length == 15,
        // Diners Club.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => length == 14 || length == 16,
        // JCB, Discover, UnionPay, RuPay.
        3500..=3599 | 6011 | 6440..=6599 | 6200..=6299 | 8100..=8171 => (16..=19).contains(&length),
        // Maestro.
        5018 | 5020 | 5038 | 5600..=5899 | 6304 | 6390 | 6759 | 6761..=6763 => (12..=19).contains(&length),
        _ => false,
    }
}

/// Length of an IBAN by country (SWIFT, IBAN registry).
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// ISO 13616: country, length, MOD 97-10 over the rotated characters. Spaces or hyphens may part it.
fn iban(input: RecognizerInput<'_>, word: Word) -> Option<RuleMatch> {
    let head = input.bytes.get(word.start..word.start + 4)?;
    let shape = head[0].is_ascii_alphabetic()
        && head[1].is_ascii_alphabetic()
        && head[2..].iter().all(u8::is_ascii_digit);
    if !shape {
        return None;
    }
    let country = input.text[word.start..word.start + 2].to_ascii_uppercase();
    let place = IBAN_LENGTHS.binary_search_by_key(&country.as_str(), |(code, _)| code).ok()?;
    let length = IBAN_LENGTHS[place].1;
    let mut compact = String::with_capacity(length);
    let mut at = word.start;
    while compact.len() < length {
        let byte = input.at(at)?;
        if byte.is_ascii_alphanumeric() {
            compact.push(char::from(byte));
        } else if !matches!(byte, b' ' | b'-') || !input.at(at + 1)?.is_ascii_alphanumeric() {
            return None;
        }
        at += 1;
    }
    let span = word.start..at;
    let rotated = compact[4..].chars().chain(compact[..4].chars());
    (!input.touches_word(&span) && mod97(rotated) == Some(1)).then(|| RuleMatch::certain(span, 1.0))
}

/// ISO 3166-1 alpha-2, in pairs.
const COUNTRIES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCI\
CKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIM\
INIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNG\
NINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTO\
TRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";

/// ISO 9362: the fifth and sixth letters name a country.
fn bic(code: &str) -> bool {
    COUNTRIES.as_bytes().chunks_exact(2).any(|country| country == &code.as_bytes()[4..6])
}
