//! Properties of every text: spans are disjoint, ordered, on boundaries; redacted text is clean.

use proptest::prelude::*;

use farebox_pii::RecognitionModel;

use super::*;

/// One piece of every kind of trouble.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
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
    ]
}

/// Pieces glued together in any order.
fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..14).prop_map(|pieces| pieces.concat())
}

fn all_low() -> Selection {
    let body = json!({ "piiConfig": { "threshold": 0.0 } });
    Selection::from_request(body.as_object().expect("object"), &AvailableModels::default()).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_are_ordered_on_boundaries_and_counted_alike(text in pieces()) {
        for selection in [Selection::default(), all_low(), Selection::all(RecognitionModel::Fast)] {
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

    /// Whoever redacts a redacted text changes nothing. (Where data touches data without anything in between, a
    /// second look can find more: the neighbour is no letter any more.)
    #[test]
    fn redaction_is_idempotent(pieces in prop::collection::vec(piece(), 0..14), separator in prop::sample::select(vec![
        " ", "\n", "\r\n", ", ", "; ", " | ", "\t",
    ])) {
        let text = pieces.join(separator);
        let once = redact(&text, &find(&text));
        let twice = redact(&once, &find(&once));
        prop_assert_eq!(&twice, &once, "from {:?}", text);
    }

    /// Invisible characters hide nothing: with joiners, marks of direction or accents inside, a number is found all the same,
    /// and what is left of the text holds none of its digits.
    #[test]
    fn invisible_characters_hide_nothing(
        value in prop::sample::select(vec![
            "212-555-0123", "4111 1111 1111 1111", "536-22-8765", "GB82 WEST 1234 5698 7654 32", "ada@example.org", "203.0.113.77",
        ]),
        at in 1_usize..9,
        trick in prop::sample::select(vec!["\u{200b}", "\u{200d}", "\u{202e}", "\u{feff}", "\u{ad}", "\u{2066}", "\u{fe0f}", "\u{e0041}"]),
        before in prop::sample::select(vec!["", "Hi 👩‍👩‍👧 ", "שלום ", "é\r\n", "مرحبا ", "\r\n\r\n"]),
        after in prop::sample::select(vec!["", " 👋🏽", " שלום", "\r\n", ".", " e\u{301}"]),
    ) {
        let text = format!("{before}{}{trick}{}{after}", &value[..at], &value[at..]);
        let redacted = redact(&text, &find(&text));
        prop_assert!(redacted.starts_with(before) && redacted.ends_with(after), "{:?}", redacted);
        let inner = &redacted[before.len()..redacted.len() - after.len()];
        prop_assert!(inner.starts_with('<') && inner.ends_with('>') && inner.matches('<').count() == 1, "{:?}", redacted);
    }

    /// Lines that end as Windows ends them hold the same as others.
    #[test]
    fn line_ends_change_nothing(lines in prop::collection::vec(prop::sample::select(vec![
        "a@b.com", "212-555-0123", "4111 1111 1111 1111", "ssn: 536228765", "password: hunter2", "born 1985-03-12", "", "the end",
        "https://x.example/a", "March 12, 1985", "203.0.113.7", "GB82 WEST 1234 5698 7654 32",
    ]), 0..8)) {
        prop_assert_eq!(found(&lines.join("\n")), found(&lines.join("\r\n")));
    }
}
