//! Numbered placeholders: personal data out of the texts of a request, and back into its answer.
//!
//! A value has one placeholder in a whole request, such as `[EMAIL_ADDRESS_1]`, and no placeholder is used that stands
//! somewhere in the request already, so what is restored is what was taken out and nothing else.

mod restore;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::{Engine, Entity, Selection};
pub use restore::{Escape, Originals};
use view::{Edit, View};

/// Longest text between brackets that is taken for a placeholder; entities' names are shorter.
const LONGEST: usize = 64;
/// A value of this length or longer is looked for everywhere once it was found somewhere.
const DISTINCT: usize = 6;
/// How many values are looked for everywhere.
const MOST_DISTINCT: usize = 1_000;

/// What looks like a placeholder and stands in a request already.
#[derive(Debug, Default)]
pub struct Taken(HashSet<String>);

impl Taken {
    /// Notes what stands in `text`, also in strings of JSON.
    pub fn note(&mut self, text: &str) {
        self.scan(text);
        if text.contains('\\') {
            self.scan(View::of(text).text());
        }
    }

    fn scan(&mut self, text: &str) {
        for (at, _) in text.match_indices('[') {
            let inside = &text.as_bytes()[at + 1..];
            let length = inside.iter().take(LONGEST).take_while(|byte| is_of_placeholder(**byte)).count();
            if inside.get(length) == Some(&b']') && length > 0 {
                self.0.insert(text[at..at + length + 2].to_owned());
            }
        }
    }
}

fn is_of_placeholder(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// What was taken out.
#[derive(Debug)]
pub struct Concealed {
    /// How often, by entity's name.
    pub counts: BTreeMap<&'static str, usize>,
    pub originals: Originals,
}

/// Puts placeholders into `texts`. `None` when `stop` was set meanwhile; some texts are changed then, some are not.
#[must_use]
pub fn conceal(
    engine: &Engine,
    selection: &Selection,
    taken: &Taken,
    texts: &mut [&mut String],
    stop: &AtomicBool,
) -> Option<Concealed> {
    let mut book = Book {
        taken,
        counts: BTreeMap::new(),
        last: HashMap::new(),
        by_value: HashMap::new(),
        all: Vec::new(),
    };
    let views: Vec<View<'_>> = texts.iter().map(|text| View::of(text)).collect();
    let mut marks = Vec::with_capacity(views.len());
    for view in &views {
        marks.push(book.found(view, engine, selection, stop)?);
    }
    if let Some(known) = book.distinct() {
        for (view, marks) in views.iter().zip(&mut marks) {
            book.found_again(view, &known, marks);
        }
    }
    let rewritten: Vec<Option<String>> =
        views.iter().zip(&marks).map(|(view, marks)| book.rewrite(view, marks)).collect();
    drop(views);
    for (text, new) in texts.iter_mut().zip(rewritten) {
        if let Some(new) = new {
            **text = new;
        }
    }
    Some(Concealed {
        counts: book.counts,
        originals: Originals::new(book.all.into_iter().map(Entry::into_pair)),
    })
}

/// Where a placeholder goes, by the value's place in the book.
type Mark = (Range<usize>, usize);

/// The placeholders of one request.
struct Book<'t> {
    taken: &'t Taken,
    counts: BTreeMap<&'static str, usize>,
    /// The last number of each entity.
    last: HashMap<Entity, u32>,
    by_value: HashMap<String, usize>,
    all: Vec<Entry>,
}

struct Entry {
    entity: Entity,
    placeholder: String,
    value: String,
}

impl Entry {
    fn into_pair(self) -> (String, String) {
        (self.placeholder, self.value)
    }
}

/// Values to look for everywhere, by their place in the book.
struct Known {
    search: AhoCorasick,
    entries: Vec<usize>,
}

impl Book<'_> {
    fn found(
        &mut self,
        view: &View<'_>,
        engine: &Engine,
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Option<Vec<Mark>> {
        let mut marks: Vec<Mark> = Vec::new();
        for finding in engine.analyze_until(view.text(), selection, stop, NonZeroUsize::MIN).ok()? {
            for part in view.parts(finding.start_byte..finding.end_byte) {
                // A number of JSON is replaced as a whole, and once.
                if marks.last().is_none_or(|(last, _)| last.end <= part.start) {
                    let entry = self.enter(finding.entity, &view.text()[part.clone()]);
                    marks.push((part, entry));
                }
            }
        }
        Some(marks)
    }

    fn enter(&mut self, entity: Entity, value: &str) -> usize {
        let known = self.by_value.get(value).copied();
        let entry = known.unwrap_or_else(|| {
            let placeholder = self.free(entity);
            self.all.push(Entry { entity, placeholder, value: value.to_owned() });
            self.by_value.insert(value.to_owned(), self.all.len() - 1);
            self.all.len() - 1
        });
        self.count(entry);
        entry
    }

    fn free(&mut self, entity: Entity) -> String {
        let last = self.last.entry(entity).or_default();
        loop {
            *last += 1;
            let placeholder = format!("[{entity}_{last}]");
            if !self.taken.0.contains(&placeholder) {
                return placeholder;
            }
        }
    }

    fn count(&mut self, entry: usize) {
        *self.counts.entry(self.all[entry].entity.name()).or_default() += 1;
    }

    /// What is recognised by the words around it stands elsewhere without them, such as a password that an answer
    /// repeated. Short values and plain words are left alone there: they mean something else.
    fn distinct(&self) -> Option<Known> {
        let is_distinct = |entry: &Entry| {
            entry.value.len() >= DISTINCT && !entry.value.bytes().all(|b| b.is_ascii_lowercase())
        };
        let entries: Vec<usize> =
            (0..self.all.len()).filter(|at| is_distinct(&self.all[*at])).take(MOST_DISTINCT).collect();
        if entries.is_empty() {
            return None;
        }
        let values = entries.iter().map(|at| &self.all[*at].value);
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values).ok()?;
        Some(Known { search, entries })
    }

    fn found_again(&mut self, view: &View<'_>, known: &Known, marks: &mut Vec<Mark>) {
        let text = view.text();
        let mut more: Vec<Mark> = Vec::new();
        for hit in known.search.find_iter(text) {
            let span = hit.range();
            let next = marks.partition_point(|(mark, _)| mark.end <= span.start);
            let is_free = marks.get(next).is_none_or(|(mark, _)| span.end <= mark.start);
            if is_free && is_whole(text, &span) && view.parts(span.clone()) == [span.clone()] {
                more.push((span, known.entries[hit.pattern().as_usize()]));
            }
        }
        for (_, entry) in &more {
            self.count(*entry);
        }
        marks.append(&mut more);
        marks.sort_unstable_by_key(|(span, _)| span.start);
    }

    fn rewrite(&self, view: &View<'_>, marks: &[Mark]) -> Option<String> {
        let edits: Vec<Edit<'_>> = marks
            .iter()
            .map(|(span, entry)| Edit { span: span.clone(), with: &self.all[*entry].placeholder })
            .collect();
        (!edits.is_empty()).then(|| view.rewrite(&edits))
    }
}

/// Whether `span` is not cut out of a longer word or number.
fn is_whole(text: &str, span: &Range<usize>) -> bool {
    let glued = |inside: Option<char>, outside: Option<char>| {
        [inside, outside].iter().all(|c| c.is_some_and(char::is_alphanumeric))
    };
    let value = &text[span.clone()];
    !glued(value.chars().next(), text[..span.start].chars().next_back())
        && !glued(value.chars().next_back(), text[span.end..].chars().next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn concealed(texts: &[&str]) -> (Vec<String>, Concealed) {
        let engine = Engine::new();
        let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let mut taken = Taken::default();
        for text in &texts {
            taken.note(text);
        }
        let mut slots: Vec<&mut String> = texts.iter_mut().collect();
        let concealed = conceal(&engine, &Selection::default(), &taken, &mut slots, &AtomicBool::new(false))
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
        assert!(Entity::ALL.iter().all(|entity| entity.name().len() + 16 < LONGEST));
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let mut text = "jane@example.com".to_owned();
        let stopped = conceal(
            &Engine::new(),
            &Selection::default(),
            &Taken::default(),
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

        /// What the model would echo comes back as it was sent.
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
