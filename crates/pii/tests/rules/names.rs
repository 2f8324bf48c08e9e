//! Names by the small model: what it finds, what it leaves alone, and that it stops.

use std::{num::NonZeroUsize, sync::atomic::AtomicBool};

use farebox_pii::{Classifier, RecognitionModel, Stopped};

use super::*;

fn names(text: &str) -> Vec<String> {
    let findings = ENGINE.analyze(text, &Selection::all(RecognitionModel::Fast));
    findings.iter().map(|f| format!("{}={}", f.entity, &text[f.start_byte..f.end_byte])).collect()
}

#[test]
fn people_places_and_organisations() {
    let table: [(&str, &[&str]); 5] = [
        ("My name is Olga Brown and I live in Madrid.", &["PERSON=Olga Brown", "LOCATION=Madrid"]),
        ("Dear Mr. Thompson, thank you.", &["PERSON=Thompson"]),
        ("She works for Acme Widgets Ltd in Berlin.", &["ORGANIZATION=Acme Widgets Ltd", "LOCATION=Berlin"]),
        ("Ship it to 12 Main St, Springfield, IL 62704.", &["LOCATION=12 Main St, Springfield, IL 62704"]),
        ("The meeting is on Monday at noon.", &[]),
    ];
    for (text, expected) in table {
        let found: Vec<String> = names(text).into_iter().filter(|f| !f.starts_with("DATE")).collect();
        assert_eq!(found, expected, "in {text:?}");
    }
}

#[test]
fn a_set_flag_stops_the_work() {
    let stop = AtomicBool::new(true);
    let stopped =
        ENGINE.analyze_until("Olga Brown", &Selection::all(RecognitionModel::Fast), &stop, NonZeroUsize::MIN);
    assert_eq!(stopped, Err(Stopped));
}

#[test]
fn what_is_no_network_is_refused() {
    let config = r#"{"id2label": {"0": "O", "1": "B-PER"}}"#;
    let vocabulary = "[UNK]\n[CLS]\n[SEP]\na";
    let refused = |network: &[u8], vocabulary, config| {
        Classifier::from_onnx(network.to_vec(), vocabulary, config)
            .map(|_| ())
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(b"", vocabulary, config).starts_with("the network"));
    assert!(refused(b"nonsense", vocabulary, config).starts_with("the network"));
    assert!(refused(b"", "a", config).starts_with("the vocabulary"));
    assert!(refused(b"", vocabulary, "{}").starts_with("the configuration"));
}
