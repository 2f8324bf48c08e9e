//! Findings of any text are ordered, disjoint, on characters, counted alike; redacting comes to an end.

#![no_main]

use std::sync::LazyLock;

use farebox_pii::{AvailableModels, PiiEngine, Selection, redact};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);
/// Everything that is a candidate at all.
static ALL: LazyLock<Selection> = LazyLock::new(|| {
    let body = serde_json::json!({ "piiConfig": { "threshold": 0.0 } });
    Selection::from_request(body.as_object().expect("an object"), &AvailableModels::default()).expect("valid")
});

fuzz_target!(|text: &str| {
    for selection in [&Selection::default(), &*ALL] {
        let (mut bytes, mut chars) = (0, 0);
        let mut at = 0;
        for finding in ENGINE.analyze(text, selection) {
            assert!(bytes <= finding.start_byte && finding.start_byte < finding.end_byte, "{finding:?}");
            assert!(text.get(finding.start_byte..finding.end_byte).is_some(), "{finding:?}");
            assert!((0.0..=1.0).contains(&finding.score), "{finding:?}");
            chars += text[at..finding.start_byte].chars().count();
            assert_eq!(chars, finding.start_char);
            chars += text[finding.start_byte..finding.end_byte].chars().count();
            assert_eq!(chars, finding.end_char);
            at = finding.end_byte;
            bytes = finding.end_byte;
        }
    }
    // Where data touches data, a second look can find more; it comes to an end.
    let once = |text: &str| redact(text, &ENGINE.analyze(text, &Selection::default()));
    let redacted = once(&once(&once(&once(text))));
    let again = once(&redacted);
    assert!(again == redacted, "{text:?}\n{redacted:?}\n{again:?}");
});
