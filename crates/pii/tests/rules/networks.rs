//! A network that the caller loads from bytes, through `Model::Named`. `network/make.py` makes it.

use farebox_pii::{Classifier, NameClassifiers, RecognitionModel};

use super::*;

const NETWORK: &[u8] = include_bytes!("network/model.onnx");
const VOCABULARY: &str = include_str!("network/vocab.txt");
const CONFIG: &str = include_str!("network/config.json");

fn engine() -> PiiEngine {
    let classifier = Classifier::from_onnx(NETWORK.to_vec(), VOCABULARY, CONFIG).expect("loads");
    PiiEngine::with_classifiers(NameClassifiers { accurate: None, named: vec![("tiny".into(), classifier)] })
}

fn found_by(engine: &PiiEngine, model: &str, text: &str) -> Vec<String> {
    let offer = engine.available_models(RecognitionModel::Fast);
    let body = json!({ "piiConfig": { "model": model } });
    let selection = Selection::from_request(body.as_object().expect("object"), &offer).expect("valid");
    let findings = engine.analyze(text, &selection);
    findings
        .iter()
        .map(|f| format!("{}={} {}", f.entity, &text[f.start_byte..f.end_byte], f.recognizer))
        .collect()
}

#[test]
fn a_named_network_owns_what_it_knows() {
    let engine = engine();
    assert_eq!(
        engine.available_models(RecognitionModel::Fast).names().collect::<Vec<_>>(),
        ["rules", "fast", "tiny"]
    );
    // Small letters are the network's own, "Mary Smith" it does not know; places are left to `fast`, numbers to rules.
    let text = "call ada lovelace of ACME about Mary Smith, who lives in Madrid: mail a@b.com";
    assert_eq!(
        found_by(&engine, "tiny", text),
        [
            "PERSON=ada lovelace network",
            "ORGANIZATION=ACME network",
            "LOCATION=Madrid names",
            "EMAIL_ADDRESS=a@b.com email"
        ]
    );
    let fast = found_by(&engine, "fast", text);
    assert!(fast.contains(&"PERSON=Mary Smith names".to_owned()), "{fast:?}");
}

#[test]
fn a_long_text_is_read_whole() {
    let engine = engine();
    let text = format!("{}ada {}lovelace", "the ".repeat(500), "the é漢 ".repeat(300));
    assert_eq!(found_by(&engine, "tiny", &text), ["PERSON=ada network", "PERSON=lovelace network"]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |vocabulary: &str, config: &str| {
        Classifier::from_onnx(NETWORK.to_vec(), vocabulary, config).err().expect("refused").to_string()
    };
    let two = r#"{"id2label": {"0": "O", "1": "B-PER"}}"#;
    assert_eq!(
        refused(VOCABULARY, two),
        "the network is not a token classifier: its output has no column for each of 2 labels"
    );
    let bpe = r#"{"model": {"type": "BPE", "vocab": {}}}"#;
    assert_eq!(refused(bpe, CONFIG), "the vocabulary cannot be read: it is of the kind BPE, not WordPiece");
    let larger = refused(include_str!("network/tokenizer.json"), CONFIG);
    assert!(larger.contains("does not take 62 pieces of its vocabulary"), "{larger}");
}
