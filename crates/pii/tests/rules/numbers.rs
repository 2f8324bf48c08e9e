//! Numbers of cards, accounts, people, vehicles and wallets: valid, one digit off, glued, unannounced.

use super::*;

#[test]
fn cards() {
    each_finds(
        Entity::CreditCard,
        &[
            "⟦4111 1111 1111 1111⟧",
            "⟦4111-1111-1111-1111⟧",
            "⟦4111111111111111⟧",
            "⟦378282246310005⟧",
            "⟦3782 822463 10005⟧",
            "⟦5555555555554444⟧,",
            "⟦6011111111111117⟧",
            "⟦3512729815608723⟧",
            "⟦3530111333300000⟧",
            "⟦30569309025904⟧",
            "⟦2223003122003222⟧",
            "card=⟦4242424242424242⟧;",
            "卡号⟦4242424242424242⟧",
            "⟦４２４２ ４２４２ ４２４２ ４２４２⟧",
        ],
    );
    none_finds(
        Entity::CreditCard,
        &[
            "4111 1111 1111 1112",
            "4111111111111112",
            "9111111111111111",
            "x4111111111111111",
            "4111111111111111x",
            "0000000000000000",
            "4111 1111-1111 1111",
            "_4111111111111111",
        ],
    );
}

#[test]
fn banking() {
    each_finds(
        Entity::IbanCode,
        &[
            "⟦GB82 WEST 1234 5698 7654 32⟧",
            "⟦DE89370400440532013000⟧",
            "⟦FR1420041010050500013M02606⟧ x",
            "⟦gb82west12345698765432⟧",
            "⟦NO93 8601 1117 947⟧.",
        ],
    );
    none_finds(
        Entity::IbanCode,
        &[
            "GB83 WEST 1234 5698 7654 32",
            "DE8937040044053201300",
            "ZZ89370400440532013000",
            "XDE89370400440532013000",
        ],
    );
    each_finds(Entity::SwiftCode, &["SWIFT: ⟦DEUTDEFF500⟧", "BIC ⟦NEDSZAJJ⟧", "swift code is ⟦CHASUS33⟧"]);
    none_finds(Entity::SwiftCode, &["DEUTDEFF", "BIC: ABCDZZ11", "FUNCTION"]);
    each_finds(Entity::AbaRoutingNumber, &["routing number ⟦021000021⟧", "ABA ⟦011401533⟧"]);
    none_finds(Entity::AbaRoutingNumber, &["021000021", "routing number 021000022"]);
    each_finds(
        Entity::UsBankNumber,
        &["account number: ⟦000123456789⟧", "acct ⟦9876543210⟧", "checking account ⟦12345678⟧"],
    );
    none_finds(Entity::UsBankNumber, &["000123456789", "account 1234", "account 00000000"]);
}

#[test]
fn card_details() {
    each_finds(Entity::CreditDebitCvv, &["CVV: ⟦123⟧", "cvc ⟦1234⟧", "security code is ⟦987⟧"]);
    none_finds(Entity::CreditDebitCvv, &["cvv12", "cvv: 12345", "123", "CVV of my card"]);
    each_finds(
        Entity::CreditDebitExpiry,
        &["exp: ⟦12/27⟧", "expires ⟦01/2029⟧", "valid thru ⟦09/31⟧", "expiry date ⟦3/28⟧"],
    );
    none_finds(Entity::CreditDebitExpiry, &["exp 13/27", "12/27", "expires soon"]);
    each_finds(Entity::Pin, &["my PIN is ⟦4821⟧", "pin: ⟦123456⟧", "PIN code ⟦0000⟧"]);
    none_finds(Entity::Pin, &["pin 13", "spin 4821", "GPIO pin 5", "pin the tail", "pinned 4821"]);
}

#[test]
fn united_states() {
    each_finds(
        Entity::UsSsn,
        &[
            "⟦123-45-6789⟧",
            "SSN ⟦536 22 8765⟧",
            "ssn: ⟦536228765⟧",
            "⟦536228765⟧ is her social security number",
            "(⟦536-22-8765⟧)",
            "⟦536\u{2011}22\u{2011}8765⟧",
            "⟦5\u{200b}36-22-8765⟧",
            "SSN-⟦536-22-8765⟧",
            "\"socialSecurityNumber\":\"⟦536228765⟧\"",
        ],
    );
    none_finds(
        Entity::UsSsn,
        &[
            "536228765",
            "000-12-3456",
            "666-12-3456",
            "912-12-3456",
            "123-00-4567",
            "123-45-0000",
            "078-05-1120",
            "1123-45-6789",
            "123-45-67890",
            "A123-45-6789",
            "123-45-6789-1",
            "9-123-45-6789",
        ],
    );
    each_finds(Entity::UsItin, &["⟦912-70-1234⟧", "ITIN ⟦912701234⟧"]);
    none_finds(Entity::UsItin, &["912-49-1234", "912-93-1234", "912701234"]);
    each_finds(Entity::UsPassport, &["passport ⟦512345678⟧", "Passport No. ⟦A12345678⟧"]);
    none_finds(Entity::UsPassport, &["512345678", "A12345678"]);
    each_finds(
        Entity::UsDriverLicense,
        &["driver's license ⟦D1234567⟧", "DL: ⟦F255-9215-0094⟧", "driver license number is ⟦12345678⟧"],
    );
    none_finds(Entity::UsDriverLicense, &["D1234567", "12345678"]);
    each_finds(Entity::UsNpi, &["NPI ⟦1234567893⟧"]);
    none_finds(Entity::UsNpi, &["NPI 1234567894", "1234567893"]);
    each_finds(Entity::UsMbi, &["⟦1EG4-TE5-MK73⟧", "⟦1EG4TE5MK73⟧"]);
    none_finds(Entity::UsMbi, &["1EG4-TE5-MB73", "0EG4-TE5-MK73"]);
    each_finds(Entity::MedicalLicense, &["DEA ⟦AB1234563⟧", "prescriber: ⟦FJ0098120⟧"]);
    none_finds(Entity::MedicalLicense, &["DEA AB1234564", "AB1234563"]);
}

#[test]
fn commonwealth() {
    each_finds(Entity::UkNhs, &["NHS number ⟦943 476 5919⟧", "nhs: ⟦9434765919⟧"]);
    none_finds(Entity::UkNhs, &["NHS number 943 476 5918", "9434765919"]);
    each_finds(Entity::UkNino, &["⟦AB 12 34 56 C⟧", "⟦AB123456C⟧", "NI number ⟦ab123456c⟧"]);
    none_finds(Entity::UkNino, &["GB123456C", "AB123456E", "DA123456A", "XAB123456C"]);
    each_finds(Entity::UkUtr, &["UTR ⟦1955839661⟧"]);
    none_finds(Entity::UkUtr, &["UTR 2955839661"]);
    each_finds(Entity::CaSin, &["SIN ⟦130692544⟧", "⟦130-692-544⟧"]);
    none_finds(Entity::CaSin, &["SIN 130692545", "130692544", "SIN 046454286"]);
    each_finds(
        Entity::CaHealthNumber,
        &["OHIP ⟦9876-543-217-AB⟧", "health card ⟦9876543217⟧", "PHN ⟦9876543218⟧"],
    );
    none_finds(Entity::CaHealthNumber, &["health card 9876543211"]);
    each_finds(Entity::AuAbn, &["⟦51 824 753 556⟧", "ABN ⟦51824753556⟧"]);
    none_finds(Entity::AuAbn, &["51 824 753 557"]);
    each_finds(Entity::AuAcn, &["ACN ⟦004 085 616⟧"]);
    none_finds(Entity::AuAcn, &["ACN 004 085 617", "004 085 616"]);
    each_finds(Entity::AuTfn, &["TFN ⟦123 456 782⟧", "tax file number ⟦876543210⟧"]);
    none_finds(Entity::AuTfn, &["TFN 123 456 783"]);
    each_finds(Entity::AuMedicare, &["⟦2123 45670 1⟧", "Medicare ⟦2123456701⟧"]);
    none_finds(Entity::AuMedicare, &["2123 45671 1", "2123456701"]);
}

#[test]
fn asia() {
    each_finds(Entity::InAadhaar, &["⟦2341 2341 2346⟧", "Aadhaar ⟦234123412346⟧"]);
    none_finds(Entity::InAadhaar, &["2341 2341 2347", "1341 2341 2346", "234123412346"]);
    each_finds(Entity::InPan, &["PAN ⟦ABCPD1234E⟧", "⟦AAACR5055K⟧"]);
    none_finds(Entity::InPan, &["ABCQD1234E", "XABCPD1234E", "ABCPD1234"]);
    each_finds(Entity::InVoterNumber, &["voter id ⟦ABC1234567⟧"]);
    none_finds(Entity::InVoterNumber, &["ABC1234567"]);
    each_finds(Entity::InNrega, &["job card ⟦RJ-02-001-001-001/123⟧"]);
    each_finds(Entity::SgNricFin, &["⟦S1234567D⟧", "⟦G1234567X⟧", "⟦M1234567K⟧", "⟦T1234567J⟧"]);
    none_finds(Entity::SgNricFin, &["S1234567E", "A1234567D"]);
}

#[test]
fn europe() {
    each_finds(Entity::DeTaxId, &["⟦86 095 742 719⟧", "Steuer-ID: ⟦86095742719⟧"]);
    none_finds(Entity::DeTaxId, &["Steuer-ID: 86095742718", "86095742719"]);
    each_finds(Entity::FrInsee, &["⟦2 55 08 14 168 025 38⟧", "⟦255081416802538⟧"]);
    none_finds(Entity::FrInsee, &["255081416802539"]);
    each_finds(Entity::EsNif, &["⟦12345678Z⟧", "⟦12345678-Z⟧"]);
    none_finds(Entity::EsNif, &["12345678A"]);
    each_finds(Entity::EsNie, &["⟦X1234567L⟧", "⟦Y-1234567-X⟧"]);
    none_finds(Entity::EsNie, &["X1234567M"]);
    each_finds(Entity::ItFiscalCode, &["⟦RSSMRA85T10A562S⟧", "codice fiscale ⟦RSSMRA85T10A562S⟧"]);
    none_finds(Entity::ItFiscalCode, &["RSSMRA85T10A562T"]);
    each_finds(Entity::ItVatCode, &["⟦IT00743110157⟧", "partita IVA ⟦00743110157⟧"]);
    none_finds(Entity::ItVatCode, &["IT00743110158", "00743110157"]);
    each_finds(Entity::PlPesel, &["PESEL ⟦44051401359⟧"]);
    none_finds(Entity::PlPesel, &["PESEL 44051401358", "44051401359"]);
    each_finds(Entity::FiPersonalIdentityCode, &["⟦131052-308T⟧", "⟦131052A308T⟧"]);
    none_finds(Entity::FiPersonalIdentityCode, &["131052-308U", "991052-308T"]);
}

#[test]
fn crypto() {
    each_finds(
        Entity::Crypto,
        &[
            "⟦1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa⟧",
            "⟦3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy⟧",
            "⟦bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4⟧",
            "⟦bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0⟧",
            "⟦0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed⟧",
            "⟦0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed⟧",
        ],
    );
    none_finds(
        Entity::Crypto,
        &[
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "0x0000000000000000000000000000000000000000",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed00",
        ],
    );
}

#[test]
fn vehicles() {
    each_finds(
        Entity::VehicleIdentificationNumber,
        &["⟦1HGBH41JXMN109186⟧", "⟦1M8GDM9AXKP042788⟧", "VIN ⟦WVWZZZ1JZXW000001⟧"],
    );
    none_finds(
        Entity::VehicleIdentificationNumber,
        &["1HGBH41J1MN109186", "1HGBH41JXMN10918", "12345678901234567"],
    );
    each_finds(
        Entity::LicensePlate,
        &[
            "license plate ⟦ABC-1234⟧",
            "plate number: ⟦7ABC123⟧",
            "license plate ⟦1VP0318⟧",
            "license plate ⟦841 HRB⟧",
            "number plate ⟦AB12 CDE⟧",
        ],
    );
    none_finds(Entity::LicensePlate, &["ABC-1234", "7ABC123"]);
}

#[test]
fn papers_of_travellers_and_drivers() {
    each_finds(
        Entity::UkPassport,
        &["UK passport ⟦512345678⟧", "British passport number: ⟦512345678⟧", "passport ⟦AB1234567⟧"],
    );
    each_finds(Entity::UkDrivingLicence, &["⟦MORGA657054SM9IJ⟧", "driving licence ⟦FOX99857054SM9IJ⟧"]);
    none_finds(Entity::UkDrivingLicence, &["MORGA613054SM9IJ", "MOR9A657054SM9IJ", "MORGA657054SM9I"]);
    each_finds(Entity::CaPassport, &["Canadian passport ⟦AB123456⟧", "passport number ⟦P123456AA⟧"]);
    each_finds(Entity::AuPassport, &["Australian passport ⟦N1234567⟧"]);
    each_finds(Entity::InPassport, &["Indian passport ⟦J8369854⟧", "passport: ⟦J8369854⟧"]);
    none_finds(Entity::InPassport, &["J8369854", "passport Q8369854"]);
    each_finds(Entity::DeIdCard, &["Personalausweis ⟦LZ6311T475⟧", "Ausweisnummer: ⟦T220001293⟧"]);
    none_finds(Entity::DeIdCard, &["Personalausweis LZ6311T476", "LZ6311T475"]);
    each_finds(Entity::DePassport, &["Reisepass ⟦C01X00T478⟧"]);
    none_finds(Entity::DePassport, &["Reisepass C01X00T479"]);
    each_finds(Entity::FrIdCard, &["Carte nationale d'identité n° ⟦880692310285⟧", "CNI ⟦X4RTBPFW4⟧"]);
    each_finds(Entity::FrPassport, &["passeport ⟦12AB34567⟧"]);
    each_finds(Entity::EsPassport, &["pasaporte ⟦AAA123456⟧"]);
    each_finds(Entity::ItPassport, &["passaporto ⟦YA1234567⟧"]);
    each_finds(Entity::ItIdentityCard, &["carta d'identità ⟦CA12345AA⟧", "carta d’identità ⟦AR1234567⟧"]);
    each_finds(Entity::ItDriverLicense, &["patente ⟦AB1234567C⟧", "patente di guida ⟦U1H43A789L⟧"]);
}

#[test]
fn tax_and_insurance_of_more_countries() {
    each_finds(Entity::InGstin, &["⟦27AAPFU0939F1ZV⟧", "GSTIN: ⟦27AAPFU0939F1ZV⟧"]);
    none_finds(Entity::InGstin, &["27AAPFU0939F1ZW", "GSTIN 47AAPFU0939F1ZV"]);
    each_finds(Entity::DeSocialSecurity, &["⟦65170839J003⟧", "SVNR ⟦65 170839 J 003⟧"]);
    none_finds(Entity::DeSocialSecurity, &["65170839J004", "65171339J003"]);
    each_finds(Entity::DeVatId, &["USt-IdNr. ⟦DE136695976⟧", "⟦DE136695976⟧"]);
    none_finds(Entity::DeVatId, &["DE136695977", "136695976"]);
}

/// Groups of a longer row are no numbers of their own, unless a word names them.
#[test]
fn rows_of_groups() {
    none_finds(Entity::InAadhaar, &["Reference 1595 4151 6580 0697 noted", "9 4151 6580 0697"]);
    each_finds(Entity::InAadhaar, &["Aadhaar ⟦4151 6580 0697⟧ 2"]);
    none_finds(Entity::UsSsn, &["12 536 22 8765 11"]);
}
