//! Numbered placeholders that replace personal data in a request and are replaced in its answer.
//!
//! A value has one placeholder in a whole request, such as `[EMAIL_ADDRESS_1]`, and no placeholder is used that the
//! request contains already: only values that were taken out are put back.

mod readable_text;
mod restore;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::entity::is_placeholder_byte;
use crate::{Entity, PiiEngine, Selection};
use readable_text::{ReadableText, TextEdit};
pub use restore::{Escape, Originals};

/// Most bytes between the brackets of a placeholder; entities' names are shorter.
const MAX_PLACEHOLDER: usize = 64;
/// Least bytes of a value that is replaced wherever it occurs, once it was found somewhere.
const MIN_DISTINCTIVE: usize = 6;
/// Most values that are replaced wherever they occur.
const MAX_DISTINCTIVE: usize = 1_000;

/// Placeholders that a request contains already, and that are not given to values.
#[derive(Debug, Default)]
pub struct ExistingPlaceholders(HashSet<String>);

impl ExistingPlaceholders {
    /// Records the placeholders in `text`, also those in JSON strings with escapes.
    pub fn record(&mut self, text: &str) {
        self.scan(text);
        if text.contains('\\') {
            self.scan(ReadableText::of(text).text());
        }
    }

    fn scan(&mut self, text: &str) {
        for (at, _) in text.match_indices('[') {
            let inside = &text.as_bytes()[at + 1..];
            let length =
                inside.iter().take(MAX_PLACEHOLDER).take_while(|byte| is_placeholder_byte(**byte)).count();
            if inside.get(length) == Some(&b']') && length > 0 {
                self.0.insert(text[at..at + length + 2].to_owned());
            }
        }
    }
}

/// Values that were replaced.
#[derive(Debug)]
pub struct Concealed {
    /// Number of replacements by wire name of the entity.
    pub counts: BTreeMap<&'static str, usize>,
    pub originals: Originals,
}

/// Replaces the personal data in `texts` by placeholders. `None` if `stop` was set meanwhile; the texts are
/// unchanged then.
#[must_use]
pub fn conceal(
    engine: &PiiEngine,
    selection: &Selection,
    existing: &ExistingPlaceholders,
    texts: &mut [&mut String],
    stop: &AtomicBool,
) -> Option<Concealed> {
    let mut table = PlaceholderTable {
        existing,
        counts: BTreeMap::new(),
        last: HashMap::new(),
        entry_by_value: HashMap::new(),
        entries: Vec::new(),
    };
    let views: Vec<ReadableText<'_>> = texts.iter().map(|text| ReadableText::of(text)).collect();
    let mut replacements = Vec::with_capacity(views.len());
    for view in &views {
        replacements.push(table.replace_findings(view, engine, selection, stop)?);
    }
    if let Some(known) = table.distinctive_values() {
        for (view, replacements) in views.iter().zip(&mut replacements) {
            table.replace_known(view, &known, replacements);
        }
    }
    let rewritten: Vec<Option<String>> = views
        .iter()
        .zip(&replacements)
        .map(|(view, replacements)| table.rewrite(view, replacements))
        .collect();
    drop(views);
    for (text, new) in texts.iter_mut().zip(rewritten) {
        if let Some(new) = new {
            **text = new;
        }
    }
    Some(Concealed {
        counts: table.counts,
        originals: Originals::new(table.entries.into_iter().map(PlaceholderEntry::into_pair)),
    })
}

/// Span of readable text, and the index of the entry whose placeholder replaces it.
type Replacement = (Range<usize>, usize);

/// Placeholders of one request.
struct PlaceholderTable<'t> {
    existing: &'t ExistingPlaceholders,
    counts: BTreeMap<&'static str, usize>,
    /// Last number given, by entity.
    last: HashMap<Entity, u32>,
    entry_by_value: HashMap<String, usize>,
    entries: Vec<PlaceholderEntry>,
}

struct PlaceholderEntry {
    entity: Entity,
    placeholder: String,
    value: String,
}

impl PlaceholderEntry {
    fn into_pair(self) -> (String, String) {
        (self.placeholder, self.value)
    }
}

/// Values that are replaced wherever they occur, with the indices of their entries.
struct KnownValues {
    search: AhoCorasick,
    entries: Vec<usize>,
}

impl PlaceholderTable<'_> {
    fn replace_findings(
        &mut self,
        view: &ReadableText<'_>,
        engine: &PiiEngine,
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Option<Vec<Replacement>> {
        let mut replacements: Vec<Replacement> = Vec::new();
        for finding in engine.analyze_until(view.text(), selection, stop, NonZeroUsize::MIN).ok()? {
            for part in view.parts(finding.start_byte..finding.end_byte) {
                // A number of JSON is replaced as a whole, and once.
                if replacements.last().is_none_or(|(last, _)| last.end <= part.start) {
                    let entry = self.entry_for(finding.entity, &view.text()[part.clone()]);
                    replacements.push((part, entry));
                }
            }
        }
        Some(replacements)
    }

    fn entry_for(&mut self, entity: Entity, value: &str) -> usize {
        let known = self.entry_by_value.get(value).copied();
        let entry = known.unwrap_or_else(|| {
            let placeholder = self.unused_placeholder(entity);
            self.entries.push(PlaceholderEntry { entity, placeholder, value: value.to_owned() });
            self.entry_by_value.insert(value.to_owned(), self.entries.len() - 1);
            self.entries.len() - 1
        });
        self.count(entry);
        entry
    }

    fn unused_placeholder(&mut self, entity: Entity) -> String {
        let last = self.last.entry(entity).or_default();
        loop {
            *last += 1;
            let placeholder = format!("[{entity}_{last}]");
            if !self.existing.0.contains(&placeholder) {
                return placeholder;
            }
        }
    }

    fn count(&mut self, entry: usize) {
        *self.counts.entry(self.entries[entry].entity.name()).or_default() += 1;
    }

    /// Values that are long and distinctive enough to be replaced wherever they occur: a password that was
    /// recognised by the words around it may be repeated without them. Short values and plain words mean something
    /// else elsewhere.
    fn distinctive_values(&self) -> Option<KnownValues> {
        let is_distinctive = |entry: &PlaceholderEntry| {
            entry.value.len() >= MIN_DISTINCTIVE && !entry.value.bytes().all(|b| b.is_ascii_lowercase())
        };
        let entries: Vec<usize> = (0..self.entries.len())
            .filter(|at| is_distinctive(&self.entries[*at]))
            .take(MAX_DISTINCTIVE)
            .collect();
        if entries.is_empty() {
            return None;
        }
        let values = entries.iter().map(|at| &self.entries[*at].value);
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values).ok()?;
        Some(KnownValues { search, entries })
    }

    fn replace_known(
        &mut self,
        view: &ReadableText<'_>,
        known: &KnownValues,
        replacements: &mut Vec<Replacement>,
    ) {
        let text = view.text();
        let mut more: Vec<Replacement> = Vec::new();
        for hit in known.search.find_iter(text) {
            let span = hit.range();
            let next = replacements.partition_point(|(replacement, _)| replacement.end <= span.start);
            let is_free = replacements.get(next).is_none_or(|(replacement, _)| span.end <= replacement.start);
            if is_free && is_whole(text, &span) && view.parts(span.clone()) == [span.clone()] {
                more.push((span, known.entries[hit.pattern().as_usize()]));
            }
        }
        for (_, entry) in &more {
            self.count(*entry);
        }
        replacements.append(&mut more);
        replacements.sort_unstable_by_key(|(span, _)| span.start);
    }

    fn rewrite(&self, view: &ReadableText<'_>, replacements: &[Replacement]) -> Option<String> {
        let edits: Vec<TextEdit<'_>> = replacements
            .iter()
            .map(|(span, entry)| TextEdit { span: span.clone(), with: &self.entries[*entry].placeholder })
            .collect();
        (!edits.is_empty()).then(|| view.rewrite(&edits))
    }
}

/// True if `span` is not cut out of a longer word or number.
fn is_whole(text: &str, span: &Range<usize>) -> bool {
    let joined = |inside: Option<char>, outside: Option<char>| {
        [inside, outside].iter().all(|c| c.is_some_and(char::is_alphanumeric))
    };
    let value = &text[span.clone()];
    !joined(value.chars().next(), text[..span.start].chars().next_back())
        && !joined(value.chars().next_back(), text[span.end..].chars().next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn concealed(texts: &[&str]) -> (Vec<String>, Concealed) {
        let engine = PiiEngine::new();
        let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let mut existing = ExistingPlaceholders::default();
        for text in &texts {
            existing.record(text);
        }
        let mut slots: Vec<&mut String> = texts.iter_mut().collect();
        let concealed =
            conceal(&engine, &Selection::default(), &existing, &mut slots, &AtomicBool::new(false))
                .expect("not stopped");
        (texts, concealed)
    }

    #[test]
    fn a_value_has_one_placeholder_everywhere() {
        let (texts, concealed) =
            concealed(&["Mail jane@example.com or joe@example.org.", "jane@example.com, SSN 536-90-4399"]);
        assert_eq!(texts[0], "Mail [EMAIL_ADDRESS_1] or [EMAIL_ADDRESS_2].");
        assert_eq!(texts[1], "[EMAIL_ADDRESS_1], SSN [US_SSN_1]");
        assert_eq!(concealed.counts, BTreeMap::from([("EMAIL_ADDRESS", 3), ("US_SSN", 1)]));
        assert_eq!(concealed.originals.restore(&texts[1], Escape::None), "jane@example.com, SSN 536-90-4399");
    }

    #[test]
    fn what_stands_in_the_request_already_is_never_ours() {
        let literal = "Keep [EMAIL_ADDRESS_1] and [EMAIL_ADDRESS_3]: jane@example.com joe@example.org";
        let (texts, concealed) = concealed(&[literal]);
        assert_eq!(
            texts[0],
            "Keep [EMAIL_ADDRESS_1] and [EMAIL_ADDRESS_3]: [EMAIL_ADDRESS_2] [EMAIL_ADDRESS_4]"
        );
        assert_eq!(concealed.originals.restore(&texts[0], Escape::None), literal);
        // Hidden by an escape of JSON, which a model reads.
        let (texts, _) =
            super::tests::concealed(&[r#"{"note":"\u005bEMAIL_ADDRESS_1]"}"#, "jane@example.com"]);
        assert_eq!(texts[1], "[EMAIL_ADDRESS_2]");
    }

    #[test]
    fn json_is_read_as_it_is_meant() {
        let (texts, concealed) = concealed(&[
            r#"{"to":"a\njane\u0040example.com","n":1.50,"note":"x"}"#,
            r#"{"ssn": 536904399}"#,
            "jane@example.com",
        ]);
        assert_eq!(texts[0], r#"{"to":"a\n[EMAIL_ADDRESS_1]","n":1.50,"note":"x"}"#);
        assert_eq!(texts[1], r#"{"ssn": "[US_SSN_1]"}"#);
        assert_eq!(texts[2], "[EMAIL_ADDRESS_1]");
        assert_eq!(concealed.originals.restore("[US_SSN_1]", Escape::None), "536904399");
    }

    #[test]
    fn what_was_found_somewhere_is_replaced_everywhere() {
        let (texts, concealed) = concealed(&[
            "password: hunter2!x",
            "Is hunter2!x weak? shunter2!x is not it.",
            r#"{"p":"hunter2!x"}"#,
        ]);
        assert_eq!(texts[0], "password: [PASSWORD_1]");
        assert_eq!(texts[1], "Is [PASSWORD_1] weak? shunter2!x is not it.");
        assert_eq!(texts[2], r#"{"p":"[PASSWORD_1]"}"#);
        assert_eq!(concealed.counts, BTreeMap::from([("PASSWORD", 3)]));
    }

    /// Whoever sends a redacted text sends the same text again.
    #[test]
    fn placeholders_are_no_personal_data() {
        let text = Entity::ALL
            .iter()
            .fold(String::new(), |text, entity| format!("{text} [{entity}_1], [{entity}_23]"));
        let (texts, concealed) = concealed(&[&text]);
        assert_eq!(texts[0], text);
        assert!(concealed.counts.is_empty() && concealed.originals.is_empty(), "{:?}", concealed.counts);
        assert!(Entity::ALL.iter().all(|entity| entity.name().len() + 16 < MAX_PLACEHOLDER));
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let mut text = "jane@example.com".to_owned();
        let stopped = conceal(
            &PiiEngine::new(),
            &Selection::default(),
            &ExistingPlaceholders::default(),
            &mut [&mut text],
            &AtomicBool::new(true),
        );
        assert!(stopped.is_none());
    }

    #[test]
    fn attack_28_originals_are_not_printed() {
        let (_, concealed) = concealed(&["jane@example.com"]);
        assert!(!format!("{concealed:?}").contains("jane"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// JSON stays JSON, and what a tool is told of it means the same.
        #[test]
        fn json_stays_json(
            items in proptest::collection::vec(
                ("[a-z\"\\\\é]{0,6}", prop_oneof![
                    Just("jane@example.com"), Just("password: x\"y\\\\z9"), Just("a\njoe@example.org\t"), Just("[EMAIL_ADDRESS_1]"),
                ], any::<bool>()),
                1..6,
            ),
            pretty in any::<bool>(),
        ) {
            let members = items.iter().enumerate().map(|(at, (name, text, listed))| {
                let value = if *listed { serde_json::json!([at, text, null]) } else { serde_json::json!(text) };
                (format!("{name}{at}"), value)
            });
            let json = serde_json::Value::Object(members.collect());
            let text = if pretty { format!("{json:#}") } else { json.to_string().replace('@', "\\u0040") };
            let (replaced, concealed) = concealed(&[&text]);
            prop_assert!(!replaced[0].contains("jane") && serde_json::from_str::<serde_json::Value>(&replaced[0]).is_ok());
            let restored = concealed.originals.restore(&replaced[0], Escape::Json);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&restored).expect("JSON"), json);
        }

        /// A text that the model echoes is restored to what was sent.
        #[test]
        fn an_echo_is_the_original(
            texts in proptest::collection::vec(
                proptest::collection::vec(
                    prop_oneof![
                        Just("jane@example.com".to_owned()), Just("[EMAIL_ADDRESS_1]".to_owned()),
                        Just("SSN 536-90-4399".to_owned()), Just("[".to_owned()), Just("_1]".to_owned()),
                        Just("\u{200b}j\u{e9}@example.org".to_owned()), Just("４１１１ 1111 1111 1111".to_owned()),
                        Just("\\u0040 \" ".to_owned()), "[a-z é😀]{0,6}".prop_map(|text| format!(" {text} ")),
                    ],
                    0..8,
                ).prop_map(|pieces| pieces.concat()),
                0..4,
            ),
        ) {
            let sent: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (replaced, concealed) = concealed(&sent);
            for (text, replaced) in texts.iter().zip(&replaced) {
                prop_assert_eq!(&concealed.originals.restore(replaced, Escape::None), text);
            }
        }
    }
}
