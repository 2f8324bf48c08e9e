//! Addresses, dates and secrets in the text around them.

use super::*;

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
            "call me at ⟦55182641⟧",
            "Contact: ⟦5413-3747⟧",
            "cell ⟦212 555 0123⟧",
            "⟦+55 11 93283-0332⟧-Office",
            "⟦212-555-0123x42⟧-Fax",
            "my number: ⟦01414960405⟧",
            "her number is ⟦2614597755⟧",
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
            "SKU 093-6548-916 is gone",
            "Invoice INV-0934-222123",
        ],
    );
}

#[test]
fn network() {
    each_finds(
        Entity::IpAddress,
        &[
            "from ⟦203.0.113.7⟧:443",
            "Server ⟦203.0.113.7⟧ answered",
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
            "[![MIT](⟦https://example.com/mit.svg⟧)](./LICENSE)",
            "⟦http://[2001:db8::1]:80/x⟧",
            "Read ⟦helvetia.fr⟧ first.",
            "see ⟦ironbark.de/⟧ for more",
            "⟦library.ac.uk⟧",
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
            "locale.fr",
            "app.locales.de_DE",
            "just do.it",
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
        &[
            "⟦postgres://app:s3cret@db.internal:5432/main⟧",
            "url=⟦redis://:pw@cache:6379/0⟧",
            "clone ⟦https://bot:s3cret@git.example.com/x.git⟧",
        ],
    );
    none_finds(
        Entity::ConnectionString,
        &["postgres://localhost/main", "redis://cache:6379", "https://example.com/a:b@c"],
    );
}

#[test]
fn identifiers_and_groups_of_persons() {
    let uuid = "550e8400-e29b-41d4-a716-446655440000";
    each_finds(Entity::Uuid, &[&format!("user id ⟦{uuid}⟧"), &format!("\"customerId\": \"⟦{uuid}⟧\"")]);
    none_finds(
        Entity::Uuid,
        &[uuid, &format!("request {uuid}"), "user id 550e8400-e29b-01d4-a716-446655440000"],
    );
    each_finds(
        Entity::Nrp,
        &["Nationality: ⟦Norwegian⟧", "she is a ⟦Muslim⟧ and", "I'm ⟦Welsh⟧", "\"religion\": \"⟦Hindu⟧\""],
    );
    none_finds(
        Entity::Nrp,
        &["French toast", "The Norwegian coast", "he is Julian", "she is polish", "nationality is asked"],
    );
}

#[test]
fn keys_of_more_vendors() {
    let hex = "0123456789abcdef0123456789abcdef";
    each_finds(
        Entity::ApiKey,
        &[
            &format!("⟦SK{hex}⟧"),
            &format!("bot ⟦123456789:AA{}⟧", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q"),
            &format!("⟦dckr_pat_{}⟧", "a1B2c3D4e5F6g7H8i9J0k1L2m3N"),
            &format!("⟦nvapi-{hex}{hex}⟧"),
        ],
    );
    none_finds(
        Entity::ApiKey,
        &[&format!("SK{hex}0"), &format!("sk{hex}"), "12345678:AAbbccdd", "re_export_2_of_3"],
    );
}
