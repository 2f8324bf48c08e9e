//! The work is linear in the text, whatever the text; how fast it is on ordinary text.

#![allow(clippy::cast_precision_loss, reason = "rates for people")]

use super::*;

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
        // A busy machine can spoil a measurement, but not five; more than
        // linear work spoils them all.
        let linear = (0..5).any(|_| {
            let (once, twice) = (seconds(&text), seconds(&text.repeat(2)));
            println!("{:10.1} kB/s {unit:?}", size as f64 / once / 1e3);
            twice < 4.0 * once + 0.02
        });
        assert!(linear, "{unit:?}: twice the text takes four times as long");
    }
}

/// `cargo test --release -p farebox-pii --test rules -- --ignored --nocapture`
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
