//! The vocabulary of `docs/glossary.md`: words that were retired stay away, a name stands for one
//! thing, and documentation begins with what it defines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{all_sources, sources, without_tests};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Words that once stood for what has a standard term.
const RETIRED: [&str; 21] = [
    "abroad",
    "bell",
    "bells",
    "desk",
    "desks",
    "door",
    "doors",
    "grudging",
    "heard",
    "purse",
    "purses",
    "rung",
    "stranger",
    "strangers",
    "tab",
    "tabs",
    "till",
    "tills",
    "unwritten",
    "wish",
    "wishes",
];

/// Places where one of them has its ordinary meaning.
const ORDINARY: [(&str, &[&str]); 3] =
    [("crates/pii", &["tab", "tabs"]), ("SECURITY.md", &["tab"]), ("docs/migrations.md", &["tabs"])];

/// First words of documentation that defines nothing.
const RIDDLES: [&str; 9] = ["What", "How", "Whether", "Who", "Whose", "Why", "Where", "When", "The same"];

fn documents() -> Vec<PathBuf> {
    let mut open = vec![Path::new(ROOT).join("docs")];
    let mut files: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
        .map(|file| Path::new(ROOT).join(file))
        .into();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                files.push(path);
            }
        }
    }
    files
}

/// The words of a text in lower case: `OpenTab` and `open_tab` have two.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        let begins = !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

#[test]
fn retired_words_stay_away() {
    let tests = sources(&Path::new(ROOT).join("tests")).into_iter().filter(|path| !path.ends_with(file!()));
    let tests = tests.filter(|path| !path.components().any(|part| part.as_os_str() == "node_modules"));
    let mut found = Vec::new();
    for path in all_sources().into_iter().chain(documents()).chain(tests) {
        let text = fs::read_to_string(&path).expect("text");
        let inside = path.strip_prefix(ROOT).expect("found there");
        let ordinary =
            ORDINARY.iter().find(|(place, _)| inside.starts_with(place)).map_or(&[][..], |(_, w)| *w);
        for (number, line) in (1..).zip(text.lines()) {
            for word in words(line) {
                if RETIRED.contains(&word.as_str()) && !ordinary.contains(&word.as_str()) {
                    found.push(format!("{}:{number}: {word}", inside.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "retired words, see docs/glossary.md: {found:#?}");
    assert_eq!(words("OpenTab, open_tab"), ["open", "tab", "", "open", "tab"]);
}

/// The name of the type that a line declares at the top level.
fn declared(line: &str) -> Option<&str> {
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|word| line.strip_prefix(word))
        .unwrap_or(line);
    let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| line.strip_prefix(word))?;
    Some(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())])
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("text");
        for name in without_tests(&text).into_iter().filter_map(declared) {
            let place = path.strip_prefix(ROOT).expect("found there").display().to_string();
            places.entry(name.to_owned()).or_default().push(place);
        }
    }
    let doubled: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:#?}");
}

#[test]
fn documentation_begins_with_what_it_defines() {
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("text");
        let mut is_first = true;
        for (number, line) in (1..).zip(text.lines()) {
            let Some(words) = ["///", "//!"].iter().find_map(|mark| line.trim_start().strip_prefix(mark))
            else {
                is_first = true;
                continue;
            };
            let riddle = RIDDLES.iter().find(|start| {
                words.trim_start().strip_prefix(**start).is_some_and(|rest| rest.starts_with([' ', ',']))
            });
            let place = path.strip_prefix(ROOT).expect("found there").display();
            assert!(
                !is_first || riddle.is_none(),
                "{place}:{number}: begins with `{}`",
                riddle.unwrap_or(&"")
            );
            is_first = false;
        }
    }
}
