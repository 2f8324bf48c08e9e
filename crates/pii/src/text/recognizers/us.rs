//! Numbers issued in the United States.

use crate::Entity;
use crate::text::{
    checksum::{all_same, digits, luhn, weighted},
    id_rule::{Check, IdRule},
};

pub(crate) const RULES: &[IdRule] = &[
    IdRule {
        entity: Entity::UsSsn,
        name: "us_ssn",
        layouts: &[("d{3}-dd-d{4}", 0.85), ("d{3}~dd~d{4}", 0.4), ("d{9}", 0.05)],
        check: Check::Plausible(ssn),
        context: &["ssn", "social security", "social security number", "social", "ssns", "ssn no"],
    },
    IdRule {
        entity: Entity::UsItin,
        name: "us_itin",
        layouts: &[("9dd-dd-d{4}", 0.85), ("9dd~dd~d{4}", 0.4), ("9d{8}", 0.05)],
        check: Check::Plausible(itin),
        context: &[
            "itin",
            "taxpayer identification",
            "tax id",
            "tax payer",
            "taxpayer",
            "individual taxpayer",
        ],
    },
    IdRule {
        entity: Entity::UsPassport,
        name: "us_passport",
        layouts: &[("d{9}", 0.05), ("ad{8}", 0.1)],
        check: Check::Shape,
        context: &["passport", "passport number", "passport no", "travel document"],
    },
    IdRule {
        entity: Entity::UsDriverLicense,
        name: "us_driver_license",
        layouts: &[
            ("ad{6,8}", 0.1),
            ("ad{11,14}", 0.1),
            ("aad{5,7}", 0.1),
            ("d{7,9}", 0.05),
            ("d{3}-d{3}-d{4}", 0.05),
            ("ad{3}-d{4}-d{4}", 0.3),
            ("ad{3}-d{3}-dd-d{3}-d", 0.5),
            ("dd-d{3}-d{3}", 0.05),
            ("d{12}", 0.05),
            ("ad{4}-d{5}-d{5}", 0.5),
            ("aaddd{4,6}a", 0.1),
        ],
        check: Check::Shape,
        context: &[
            "driver license",
            "drivers license",
            "driver licence",
            "drivers licence",
            "driving licence",
            "driving license",
            "driver id",
            "dl number",
            "dl no",
            "dl",
            "dln",
            "license number",
            "license no",
            "licence number",
            "driver s license",
        ],
    },
    IdRule {
        entity: Entity::UsBankNumber,
        name: "us_bank_number",
        layouts: &[("d{8,17}", 0.05), ("d{4}~d{4}~d{2,6}", 0.05)],
        check: Check::Plausible(|n| !all_same(n)),
        context: &[
            "bank account",
            "account number",
            "account no",
            "acct",
            "checking",
            "checking account",
            "savings",
            "savings account",
            "bank",
            "debit account",
            "account",
        ],
    },
    IdRule {
        entity: Entity::AbaRoutingNumber,
        name: "aba_routing_number",
        layouts: &[("d{9}", 0.05), ("d{4}-d{4}-d", 0.3)],
        check: Check::Checksum(aba),
        context: &["routing", "routing number", "aba", "rtn", "transit number", "bank routing"],
    },
    IdRule {
        entity: Entity::UsNpi,
        name: "us_npi",
        layouts: &[("d{10}", 0.05)],
        check: Check::Checksum(npi),
        context: &["npi", "national provider", "provider identifier", "provider number"],
    },
    IdRule {
        entity: Entity::UsMbi,
        name: "us_mbi",
        layouts: &[("dxxd-axd-aadd", 0.85), ("dxxdaxdaadd", 0.5)],
        check: Check::Plausible(mbi),
        context: &["medicare", "mbi", "beneficiary", "cms"],
    },
    IdRule {
        entity: Entity::MedicalLicense,
        name: "us_dea_number",
        layouts: &[("aad{7}", 0.4), ("a9d{7}", 0.4)],
        check: Check::Checksum(dea),
        context: &[
            "dea",
            "dea number",
            "medical license",
            "medical licence",
            "prescriber",
            "physician",
            "certificate",
            "registration number",
        ],
    },
];

/// Areas 000, 666 and 900-999, group 00 and serial 0000 are never issued (SSA, POMS RM 10201.030), nor
/// are the two numbers printed on sample cards.
fn ssn(number: &str) -> bool {
    let (area, group, serial) = (&number[..3], &number[3..5], &number[5..]);
    !matches!(area, "000" | "666")
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000"
        && !matches!(number, "078051120" | "219099999")
        && !all_same(number)
}

/// Groups 50-65, 70-88, 90-92 and 94-99 (IRS, publication 1915).
fn itin(number: &str) -> bool {
    number.starts_with('9')
        && number[3..5].parse::<u32>().is_ok_and(|g| matches!(g, 50..=65 | 70..=88 | 90..=92 | 94..=99))
}

/// Weights 3, 7, 1 sum to a multiple of ten; the first two digits name a Federal Reserve district, a
/// thrift, an electronic route or a traveller's cheque (ABA, routing number policy).
fn aba(number: &str) -> bool {
    let Some(d) = digits(number) else { return false };
    matches!(d[0] * 10 + d[1], 1..=12 | 21..=32 | 61..=72 | 80)
        && weighted(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// Luhn behind the issuer prefix 80840 (CMS, NPI check digit).
fn npi(number: &str) -> bool {
    matches!(number.as_bytes()[0], b'1' | b'2') && luhn(&format!("80840{number}"))
}

/// Position types and letters without S, L, O, I, B, Z (CMS, MBI format).
fn mbi(number: &str) -> bool {
    !number.starts_with('0')
        && number.as_bytes()[1].is_ascii_alphabetic()
        && !number.contains(['S', 'L', 'O', 'I', 'B', 'Z'])
}

/// The seventh digit ends d1 + d3 + d5 + 2 (d2 + d4 + d6); registrant types from 21 CFR 1301.
fn dea(number: &str) -> bool {
    let Some(d) = digits(&number[2..]) else { return false };
    "ABCDEFGHJKLMPRSTUX".contains(&number[..1])
        && weighted(&d[..6], &[1, 2, 1, 2, 1, 2]) % 10 == d[6]
        && !all_same(&number[2..])
}
