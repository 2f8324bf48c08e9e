//! The rule engine against tables of numbers that are valid, nearly valid, and nothing of the kind.

use std::sync::LazyLock;

use farebox::services::pii::{Engine, Entity, Finding, Selection, counts, redact};
use serde_json::json;

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);

fn find(text: &str) -> Vec<Finding> {
    ENGINE.analyze(text, &Selection::default())
}

/// Findings as `ENTITY=covered text`.
fn found(text: &str) -> Vec<String> {
    find(text).iter().map(|f| format!("{}={}", f.entity, &text[f.start_byte..f.end_byte])).collect()
}

/// Fails once for a whole table, listing every row that went wrong.
#[track_caller]
fn check(rows: impl Iterator<Item = (String, bool)>) {
    let wrong: Vec<String> = rows
        .filter(|(_, holds)| !holds)
        .map(|(text, _)| format!("{text:?} gives {:?}", found(&text)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[track_caller]
fn finds(entity: Entity, text: &str, covered: &str) {
    assert_eq!(found(text), [format!("{entity}={covered}")], "in {text:?}");
}

/// Each text holds exactly one finding: the part between the brackets.
#[track_caller]
fn each_finds(entity: Entity, texts: &[&str]) {
    check(texts.iter().map(|marked| {
        let covered = marked.split(['⟦', '⟧']).nth(1).expect("marked");
        let text = marked.replace(['⟦', '⟧'], "");
        let holds = found(&text) == [format!("{entity}={covered}")];
        (text, holds)
    }));
}

/// No text holds a finding of this entity.
#[track_caller]
fn none_finds(entity: Entity, texts: &[&str]) {
    check(texts.iter().map(|text| ((*text).to_owned(), find(text).iter().all(|f| f.entity != entity))));
}

#[test]
fn email() {
    each_finds(
        Entity::EmailAddress,
        &[
            "write to ⟦ada.lovelace+work@mail.example.co.uk⟧.",
            "<⟦a@b.io⟧>",
            "mailto:⟦x_y@example.com⟧?subject=1",
            "{\"email\":\"⟦j.doe@example.com⟧\"}",
            "⟦josé@exämple.de⟧",
            "(⟦o'brien@example.org⟧)",
            "⟦ａｂ@example.com⟧ wide",
            "邮箱 ⟦li@example.cn⟧",
            "⟦a@example.com⟧。",
            "⟦a@b-c.museum⟧\r\nnext",
        ],
    );
    none_finds(
        Entity::EmailAddress,
        &[
            "npm i @scope/pkg",
            "lodash@4.17.21",
            "icon@2x.png",
            "git@github.com:o/r.git",
            "user@localhost",
            "a@.com",
            "@@@@",
            "a@b..c",
            "x@-b.com",
        ],
    );
}

#[test]
fn phone() {
    each_finds(
        Entity::PhoneNumber,
        &[
            "call ⟦(212) 555-0123⟧ now",
            "⟦212-555-0123⟧",
            "⟦212.555.0123⟧",
            "⟦+1 212 555 0123⟧",
            "⟦+12125550123⟧",
            "⟦1-800-555-0199⟧",
            "⟦+44 (0)20 7946 0958⟧",
            "⟦+44 20 7946 0958⟧",
            "⟦020 7946 0958⟧",
            "⟦+33 1 23 45 67 89⟧",
            "⟦01 23 45 67 89⟧",
            "⟦+49 30 1234567⟧",
            "⟦(212) 555-0123 ext. 42⟧",
            "⟦212-555-0123x4567⟧",
            "phone: ⟦2125550123⟧",
            "⟦001-234-567-8901x1234⟧",
            "tel:⟦5550123⟧",
            "⟦(234)567-8901⟧",
            "⟦+91 98765 43210⟧",
            "电话⟦+8613812345678⟧",
            "⟦+1 (212) 555‑0123⟧",
            "cell ⟦212 555 0123⟧",
        ],
    );
    none_finds(
        Entity::PhoneNumber,
        &[
            "2125550123",
            "order 212555",
            "+1 23",
            "a212-555-0123",
            "212-555-0123b",
            "1.212.555.0123.9",
            "192.168.100.200",
            "2024-01-02",
            "0x2125550123",
            "+999 1234 5678 9012 3456",
        ],
    );
}

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
fn network() {
    each_finds(
        Entity::IpAddress,
        &[
            "from ⟦203.0.113.7⟧:443",
            "⟦2001:db8::8a2e:370:7334⟧",
            "[⟦2001:db8:85a3:0:0:8a2e:370:7334⟧]:80",
            "⟦fe80::1⟧.",
            "ip=⟦10.1.2.3⟧/24",
            "⟦::ffff:192.0.2.128⟧",
        ],
    );
    none_finds(
        Entity::IpAddress,
        &[
            "1.2.3",
            "256.1.1.1",
            "1.2.3.4.5",
            "version 1.2.3.4",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.0",
            "::1",
            "std::mem::take",
            "01.02.03.04",
            "a::b",
            "12:34:56",
            "v1.2.3.4",
        ],
    );
    each_finds(Entity::MacAddress, &["⟦00:1B:44:11:3A:B7⟧", "⟦00-1b-44-11-3a-b7⟧", "⟦aa:bb:cc:dd:ee:f1⟧"]);
    none_finds(
        Entity::MacAddress,
        &["00:1B:44:11:3A", "00:00:00:00:00:00", "00:1B:44-11:3A:B7", "00:1B:44:11:3A:B7C"],
    );
}

#[test]
fn url() {
    each_finds(
        Entity::Url,
        &[
            "see ⟦https://example.com/a?b=c#d⟧.",
            "(⟦http://example.org/x_(y)⟧)",
            "⟦www.example.net⟧,",
            "go to ⟦example.com⟧!",
            "⟦shop.example.co.uk/p/1⟧",
            "⟦ftp://files.example.org/⟧",
            "<⟦HTTPS://EXAMPLE.COM⟧>",
            "⟦smith.info⟧",
        ],
    );
    none_finds(
        Entity::Url,
        &[
            "ASP.NET",
            "http://",
            "foo.dev()",
            "self.app",
            "www.",
            "java.net.URL",
            "x.committed",
            "@example.com",
            "https:///",
        ],
    );
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
fn dates_and_ages() {
    each_finds(
        Entity::DateTime,
        &[
            "born ⟦1985-03-12⟧",
            "on ⟦12/03/1985⟧",
            "⟦12.03.1985⟧",
            "⟦March 12, 1985⟧",
            "⟦12 March 1985⟧",
            "the ⟦3rd of May 2020⟧",
            "DOB: ⟦3/12/85⟧",
            "⟦Jan 5th⟧",
            "admitted ⟦2024-01-02 10:11:12⟧",
            "⟦March 1985⟧",
        ],
    );
    none_finds(
        Entity::DateTime,
        &[
            "2024-01-02T10:11:12Z",
            "2024-01-02 10:11:12,123 INFO",
            "1985-13-12",
            "32/13/1985",
            "you may 5",
            "1.2.3",
            "10/12",
            "may",
            "Nov 24 10:11:12 host",
        ],
    );
    each_finds(
        Entity::Age,
        &["she is ⟦34 years old⟧", "a ⟦34-year-old⟧ man", "aged ⟦67⟧", "Age: ⟦42⟧", "⟦34yo⟧"],
    );
    none_finds(Entity::Age, &["34", "max-age=30", "page 42", "age: 3600", "age 34%", "image 42"]);
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
        &["license plate ⟦ABC-1234⟧", "plate number: ⟦7ABC123⟧", "number plate ⟦AB12 CDE⟧"],
    );
    none_finds(Entity::LicensePlate, &["ABC-1234", "7ABC123"]);
}

#[test]
fn passwords_and_names_of_accounts() {
    each_finds(
        Entity::Password,
        &[
            "password: ⟦hunter2⟧",
            "password is ⟦S3cret!x⟧.",
            "DB_PASSWORD=⟦pa55word!⟧",
            "\"password\": \"⟦correct horse⟧\"",
            "pwd = '⟦letmein1⟧'",
            "password: ⟦swordfish⟧\n",
        ],
    );
    none_finds(
        Entity::Password,
        &[
            "password: String,",
            "password = get_password()",
            "password is required",
            "password=None",
            "if password == other.password:",
            "password: ${DB_PASSWORD}",
            "forgot your password?",
            "password: ********",
            "let password = &args.password;",
            "bypass: yes1234",
            "password: <PASSWORD>",
            "fn check(password: &str)",
        ],
    );
    each_finds(Entity::Username, &["username: ⟦jdoe42⟧", "login=\"⟦jane.doe⟧\"", "username: ⟦jdoe⟧\n"]);
    none_finds(
        Entity::Username,
        &[
            "username = user.name",
            "user_id = 42",
            "login required",
            "username is required",
            "username: String,",
        ],
    );
}

#[test]
fn secrets() {
    let aws_secret = format!("aws_secret_access_key = ⟦{}⟧", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    each_finds(Entity::AwsSecretKey, &[&aws_secret]);
    each_finds(Entity::AwsAccessKey, &["⟦AKIAIOSFODNN7EXAMPLE⟧"]);
    none_finds(
        Entity::AwsAccessKey,
        &["AKIAIOSFODNN7EXAMPL", "akiaiosfodnn7example", "AKIAIOSFODNN7EXAMPLEX"],
    );
    let tail = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
    for prefix in ["sk-", "sk-ant-", "sk_live_", "ghp_", "npm_", "hf_", "xoxb-", "gsk_"] {
        each_finds(Entity::ApiKey, &[&format!("key ⟦{prefix}{tail}⟧.")]);
    }
    each_finds(
        Entity::ApiKey,
        &["api_key = \"⟦9f8e7d6c5b4a39281706⟧\"", "Authorization: Bearer ⟦abcDEF123456ghiJKL789⟧"],
    );
    none_finds(
        Entity::ApiKey,
        &[
            "sk-learn-is-a-library-of-some-kind",
            "api_key = os.environ['API_KEY']",
            "api_key: str",
            "Bearer token",
            "ask-me-anything-1234567890-about-it",
        ],
    );
    each_finds(
        Entity::Jwt,
        &["⟦eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U⟧"],
    );
    none_finds(Entity::Jwt, &["eyJhbGciOiJIUzI1NiJ9", "eyJa.b.c"]);
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAK\nabc=\n-----END RSA PRIVATE KEY-----";
    finds(Entity::PrivateKey, &format!("key:\n{pem}\nend"), pem);
    finds(
        Entity::PrivateKey,
        "-----BEGIN PRIVATE KEY-----\nMIIB cut off",
        "-----BEGIN PRIVATE KEY-----\nMIIB cut off",
    );
    none_finds(
        Entity::PrivateKey,
        &["-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"],
    );
    each_finds(
        Entity::ConnectionString,
        &["⟦postgres://app:s3cret@db.internal:5432/main⟧", "url=⟦redis://:pw@cache:6379/0⟧"],
    );
    none_finds(Entity::ConnectionString, &["postgres://localhost/main", "redis://cache:6379"]);
}

/// What engineers paste all day. Nothing here is about a person.
const CLEAN: &[&str] = &[
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "order 4500123456 shipped, tracking 1Z999AA10123456784",
    "550e8400-e29b-41d4-a716-446655440000",
    "version 1.12.3-beta.4",
    "2024-01-02T10:11:12.123456Z INFO started in 123ms",
    "[1700000000] 1700000000123 heartbeat",
    "fn add(a: i64, b: i64) -> i64 { a + b }",
    "std::collections::HashMap::<u8, u8>::new()",
    "let x = 0xdeadbeef; let y = 1_000_000_000;",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "invoice INV-2024-000123 total 1,234,567.89 USD",
    "127.0.0.1:8080 GET /api/v1/users/123456789 200 1234",
    "SKU 123456789 qty 10 price 19.99",
    "row 123456789012 of 987654321098",
    "ticket #123456",
    "build 20240102.1",
    "const MAX: u64 = 18446744073709551615;",
    "import os, sys",
    "git@github.com:owner/repo.git",
    "npm install react@18.2.0",
    "pid 12345 tid 140735340871680",
    "0x7ffee4b3a8c0",
    "3.141592653589793",
    "order 123456789",
    "case 1234567 closed",
    "job 8675309 failed after 3 retries",
    "isbn 9780306406157",
    "a1b2c3d4e5f6a7b8c9d0",
    "X-Request-Id: 7f3c9a52",
    "pin_mode(13, OUTPUT)",
    "cache-control: max-age=3600",
    "width: 1920px; height: 1080px;",
    "docker pull nginx:1.25.3",
    "port 5432",
    "error code 404",
    "etag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
    "SELECT * FROM t WHERE id = 1234567890;",
    "00 01 02 03 04 05 06 07 08 09",
    "epoch 1700000000, next 1700003600",
    "lat 40.712776 lon -74.005974",
    "10:11:12.345 [main] DEBUG c.e.App - took 15 ms",
    "error[E0308]: mismatched types --> src/main.rs:10:5",
    "password: impl Into<String>",
    "class User < ApplicationRecord; end",
    "return self.session.login(user, password)",
    "100-200-300",
    "1.0.0-rc.1+build.5114f85",
    "ABC-1234 and XY99",
];

#[test]
fn clean_text_has_no_findings() {
    check(CLEAN.iter().map(|text| ((*text).to_owned(), find(text).is_empty())));
    assert_eq!(found(&CLEAN.join("\n")), [""; 0]);
}

#[test]
fn overlaps_keep_the_stronger_reading() {
    assert_eq!(found("https://x.example/?mail=a@b.com"), ["URL=https://x.example/?mail=a@b.com"]);
    assert_eq!(
        found("Phone: 212-555-0123, SSN: 536228765"),
        ["PHONE_NUMBER=212-555-0123", "US_SSN=536228765"]
    );
    assert_eq!(
        found("card 4242 4242 4242 4242 exp 12/27 cvv 123"),
        ["CREDIT_CARD=4242 4242 4242 4242", "CREDIT_DEBIT_EXPIRY=12/27", "CREDIT_DEBIT_CVV=123"]
    );
}

#[test]
fn selection_and_thresholds_are_honoured() {
    let parse =
        |body: serde_json::Value| Selection::from_request(body.as_object().expect("object")).expect("valid");
    let text = "a@b.com 212-555-0123 536228765";
    let only = |body| ENGINE.analyze(text, &parse(body)).iter().map(|f| f.entity).collect::<Vec<_>>();
    assert_eq!(only(json!({ "piiEntities": ["PHONE"] })), [Entity::PhoneNumber]);
    assert_eq!(only(json!({ "piiConfig": { "threshold": 0.9 } })), [Entity::EmailAddress]);
    let low = only(json!({ "piiEntities": ["SSN"], "piiConfig": { "thresholds": { "SSN": 0.05 } } }));
    assert_eq!(low, [Entity::UsSsn]);
    assert_eq!(
        counts(&find("a@b.com, c@d.org, 212-555-0123")).into_iter().collect::<Vec<_>>(),
        [("EMAIL_ADDRESS", 2), ("PHONE_NUMBER", 1)]
    );
}

#[test]
fn redaction_replaces_and_stays() {
    let text = "Ada: a@b.com, 536-22-8765\r\n卡 4242424242424242 👩‍👩‍👧 password: hunter2\n";
    let redacted = redact(text, &find(text));
    assert_eq!(redacted, "Ada: <EMAIL_ADDRESS>, <US_SSN>\r\n卡 <CREDIT_CARD> 👩‍👩‍👧 password: <PASSWORD>\n");
    assert_eq!(found(&redacted), [""; 0]);
    assert_eq!(redact("abc", &[]), "abc");
}

#[test]
fn offsets_count_characters_and_bytes_of_the_original() {
    let text = "é👍🏽 \u{200f}ש a\u{200b}@b.com e\u{301} ４１１１\u{a0}1111\u{2011}x 4111 1111 1111 1111";
    let findings = find(text);
    assert_eq!(findings.len(), 2, "{findings:?}");
    let email = &findings[0];
    assert_eq!(&text[email.start_byte..email.end_byte], "a\u{200b}@b.com");
    assert_eq!((email.start_char, email.end_char), (7, 15));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of every kind of trouble, to be glued together in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "a@b.com",
                "212-555-0123",
                "+44 20 7946 0958",
                "4111 1111 1111 1111",
                "536-22-8765",
                "536228765",
                "203.0.113.7",
                "fe80::1",
                "https://x.example/a(b)",
                "example.com",
                "GB82 WEST 1234 5698 7654 32",
                "AKIAIOSFODNN7EXAMPLE",
                "-----BEGIN PRIVATE KEY-----",
                "-----END PRIVATE KEY-----",
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
                "postgres://a:b@c/d",
                "March 12, 1985",
                "1985-03-12",
                "password: hunter2",
                "pin 1234",
                "34 years old",
                "ssn",
                "phone",
                "account",
                "passport",
                "exp 12/27",
                "S1234567D",
            ])
            .prop_map(str::to_owned),
            prop::sample::select(vec![
                " ",
                "\n",
                "\r\n",
                "\t",
                "-",
                ".",
                "/",
                ":",
                "@",
                "<",
                ">",
                "\"",
                "'",
                ",",
                "(",
                ")",
                "_",
                "é",
                "e\u{301}",
                "\u{200b}",
                "\u{202e}",
                "שלום",
                "👩‍👩‍👧",
                "１２３",
                "٣",
                "卡",
                "\u{feff}",
                "1\u{fe0f}\u{20e3}",
                "ﬁ",
                "½",
                "\u{301}",
                "\0",
                "x",
                "0",
                "US",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,6}",
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    fn all_low() -> Selection {
        let body = json!({ "piiConfig": { "threshold": 0.0 } });
        Selection::from_request(body.as_object().expect("object")).expect("valid")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn spans_are_ordered_on_boundaries_and_counted_alike(text in pieces()) {
            for selection in [Selection::default(), all_low()] {
                let mut done = 0;
                for f in ENGINE.analyze(&text, &selection) {
                    prop_assert!(done <= f.start_byte && f.start_byte < f.end_byte);
                    let covered = text.get(f.start_byte..f.end_byte);
                    prop_assert!(covered.is_some());
                    prop_assert_eq!(text[..f.start_byte].chars().count(), f.start_char);
                    prop_assert_eq!(text[..f.end_byte].chars().count(), f.end_char);
                    prop_assert!((0.0..=1.0).contains(&f.score));
                    done = f.end_byte;
                }
            }
        }

        #[test]
        fn redacted_text_is_clean(words in prop::collection::vec(prop::sample::select(vec![
            "a@b.com", "212-555-0123", "4111 1111 1111 1111", "536-22-8765", "536228765", "https://x.example/a", "password: hunter2", "ssn", "phone",
            "1985-03-12", "born", "the", "and", "is", "account", "000123456789", "pin 1234", "34 years old", "203.0.113.7", "S1234567D", "exp 12/27",
            "postgres://a:b@c/d", "username: jdoe42", "March 12, 1985", "\n", "GB82 WEST 1234 5698 7654 32",
        ]), 0..12), separator in prop::sample::select(vec![" ", ", ", "\n", "; "])) {
            let text = words.join(separator);
            let redacted = redact(&text, &find(&text));
            prop_assert_eq!(found(&redacted), Vec::<String>::new(), "{} from {}", redacted, text);
        }
    }
}

/// The best of three runs, in seconds.
fn seconds(text: &str) -> f64 {
    let run = || {
        let start = std::time::Instant::now();
        std::hint::black_box(find(text));
        start.elapsed().as_secs_f64()
    };
    run().min(run()).min(run())
}

#[test]
fn hostile_text_costs_linear_time() {
    let size = 32 << 10;
    for unit in [
        "a",
        "1",
        "@",
        "-",
        ":",
        ".",
        "1 ",
        "1-",
        "1.",
        "a@",
        "a.com/",
        ".com",
        "-----BEGIN",
        "-----BEGIN PRIVATE KEY-----",
        "http://",
        "http:///",
        "www.",
        "eyJ-",
        "eyJa.eyJa.",
        "sk-",
        "(1",
        "+1",
        "::",
        "1:",
        "ssn 123456789 ",
        "password=",
        "password: '",
        "4111 ",
        "postgres://a:",
        "May 1 ",
        "1/",
        "\u{200b}",
        "e\u{301}",
        "<US_SSN>",
        "_1",
        "A ",
        "A1",
        "pin 1234 ",
        "Bearer a",
        "１",
        "((((",
        "é@é.é",
    ] {
        let text = unit.repeat(size / unit.len());
        let (once, twice) = (seconds(&text), seconds(&text.repeat(2)));
        println!("{:10.1} kB/s {unit:?}", size as f64 / once / 1e3);
        assert!(twice < 4.0 * once + 0.02, "{unit:?}: {once:.3} s, twice as much {twice:.3} s");
    }
}

/// `cargo test --release --test pii_rules -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, meaningful in release builds only"]
fn throughput() {
    let size = 8 << 20;
    let prose = "It was a bright cold day in April, and the clocks were striking thirteen. Nobody in the street looked up. ";
    let code = "fn add(a: i64, b: i64) -> Result<i64, Error> {\n    let sum = a.checked_add(b).ok_or(Error::Overflow)?;\n    Ok(sum)\n}\n";
    let log = "2024-01-02T10:11:12.123456Z INFO request{id=7f3c9a52 method=GET path=/api/v1/users/1234567} finished in 123ms status=200\n";
    let cyrillic = "Был холодный ясный апрельский день, и часы пробили тринадцать. Никто не смотрел вверх. ";
    let dense = "Call 212-555-0123 or mail a@b.com, SSN 536-22-8765, card 4111 1111 1111 1111. ";
    for (name, unit) in
        [("prose", prose), ("code", code), ("log", log), ("cyrillic", cyrillic), ("dense", dense)]
    {
        let text = unit.repeat(size / unit.len());
        #[allow(clippy::cast_precision_loss, reason = "a few megabytes")]
        let rate = text.len() as f64 / seconds(&text) / 1e6;
        println!("{name:>9}: {rate:7.1} MB/s");
    }
}
