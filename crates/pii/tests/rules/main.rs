//! The rule engine against tables of numbers that are valid, nearly valid, and nothing of the kind.

use std::sync::LazyLock;

use farebox_pii::{AvailableModels, Entity, Finding, PiiEngine, Selection, counts, redact};
use serde_json::json;

mod names;
mod networks;
mod numbers;
mod properties;
mod speed;
mod text;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);

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

/// Text that engineers paste all day, without personal data.
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
    "pub const VHOST_SET_VRING_CALL: u32 = 1074310945;",
    "pub UserName: LSA_UNICODE_STRING,",
    "pub log_passwd: __u32,",
    "user_id: i32,",
    "110 => Some(c::B110),",
    "0x20c0000000000000000000000000000000000000",
    "2024-06-15T07:00:00.123000000-04",
    "0x3FF000000000000",
    "+10000-09-09 01",
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
    let parse = |body: serde_json::Value| {
        Selection::from_request(body.as_object().expect("object"), &AvailableModels::default())
            .expect("valid")
    };
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
