//! Concealed text is restored as it was, whole and in chunks; JSON stays JSON with the same meaning.

#![no_main]

use std::sync::{LazyLock, atomic::AtomicBool};

use farebox_pii::{Escape, ExistingPlaceholders, PiiEngine, Selection, conceal};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static ENGINE: LazyLock<PiiEngine> = LazyLock::new(PiiEngine::new);

// Texts are parted by a form feed, the last one says how the answer is cut.
fuzz_target!(|input: &str| {
    let mut texts: Vec<String> = input.split('\u{c}').take(4).map(str::to_owned).collect();
    let sent = texts.clone();
    let mut taken = ExistingPlaceholders::default();
    for text in &sent {
        taken.record(text);
    }
    let mut slots: Vec<&mut String> = texts.iter_mut().collect();
    let concealed = conceal(&ENGINE, &Selection::default(), &taken, &mut slots, &AtomicBool::new(false))
        .expect("nobody stops it");
    let originals = &concealed.originals;
    for (before, after) in sent.iter().zip(&texts) {
        let restored = originals.restore(after, Escape::None);
        match serde_json::from_str::<Value>(before).ok().filter(|json| json.is_object() || json.is_array()) {
            None => assert_eq!(&restored, before),
            Some(_) => assert!(serde_json::from_str::<Value>(after).is_ok(), "{before:?}\n{after:?}"),
        }
        for escape in [Escape::None, Escape::Json] {
            let whole = originals.restore(after, escape);
            let size = 1 + input.len() % 7;
            let (mut held, mut pieces) = (String::new(), String::new());
            let chars: Vec<char> = after.chars().collect();
            for piece in chars.chunks(size) {
                pieces.push_str(&originals.push(&mut held, &piece.iter().collect::<String>(), escape));
            }
            pieces.push_str(&held);
            assert_eq!(pieces, whole);
        }
    }
});
