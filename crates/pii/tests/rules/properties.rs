//! What holds for every text: spans are disjoint, ordered, on boundaries; redacted text is clean.

use proptest::prelude::*;

use farebox_pii::Model;

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
            "Dear Ms Olga Brown",
            "12 Main St, Springfield, IL 62704",
            "Acme Widgets Ltd",
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
    Selection::from_request(body.as_object().expect("object"), &Offer::default()).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_are_ordered_on_boundaries_and_counted_alike(text in pieces()) {
        for selection in [Selection::default(), all_low(), Selection::all(Model::Fast)] {
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
