//! Lists in the documents, checked against the sources: attack classes and their tests, and metrics.
//!
//! The list of tests in `docs/attacks.md` is made from the sources: after adding or renaming one, run
//! `FAREBOX_BLESS=1 cargo test --test tidy` and commit the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ATTACKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md");
const METRICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
/// Text after this line in `docs/attacks.md` is made from the sources.
const TESTS_BEGIN: &str = "<!-- made by `FAREBOX_BLESS=1 cargo test --test tidy` -->\n";

/// The Rust files below some folders of the repository, in order, without this one.
fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| Path::new(ROOT).join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !["target", "node_modules", "fuzz"].iter().any(|other| name == *other) {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with(file!()) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a text that begin with `start`, as identifiers.
fn words<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(start).map(move |(at, _)| {
        let word = &text[at..];
        &word[..word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len())]
    })
}

/// The class of a name such as `attack_07_push`.
fn class(name: &str) -> Option<u32> {
    name.strip_prefix("attack_")?.get(..2)?.parse().ok()
}

/// By class and file, the tests that carry a class in their name.
fn attack_tests() -> BTreeMap<u32, BTreeMap<String, Vec<String>>> {
    let mut tests: BTreeMap<u32, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for path in rust_files(&["src", "crates", "tests"]) {
        let file = path.strip_prefix(ROOT).expect("found there").display().to_string();
        let text = read(&path);
        for (at, _) in text.match_indices("fn attack_") {
            let name = words(&text[at + 3..], "attack_").next().expect("it begins with one");
            let class = class(name).unwrap_or_else(|| panic!("{file}: {name} has no class of two digits"));
            tests.entry(class).or_default().entry(file.clone()).or_default().push(name.to_owned());
        }
    }
    tests
}

/// Classes of the table, and their cells about tests.
fn attack_rows(document: &str) -> BTreeMap<u32, String> {
    let rows = document.lines().filter_map(|line| {
        let (class, rest) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        let (_, tests) = rest.rsplit_once(" | ")?;
        Some((class.parse().ok()?, tests.to_owned()))
    });
    rows.collect()
}

fn listed(tests: &BTreeMap<u32, BTreeMap<String, Vec<String>>>) -> String {
    let mut text = String::new();
    for (class, files) in tests {
        let _ = write!(text, "\n### Class {class}\n\n");
        for (file, names) in files {
            let _ = writeln!(text, "- `{file}`");
            for name in names {
                let _ = writeln!(text, "  - `{name}`");
            }
        }
    }
    text
}

/// The last cell of a row.
fn covered(tests: Option<&BTreeMap<String, Vec<String>>>, class: u32) -> String {
    match tests.map(|files| files.values().map(Vec::len).sum::<usize>()) {
        None => "open".to_owned(),
        Some(1) => format!("[1 test](#class-{class})"),
        Some(count) => format!("[{count} tests](#class-{class})"),
    }
}

#[test]
fn attacks_and_their_tests_are_listed() {
    let tests = attack_tests();
    let mut document = read(ATTACKS);
    if std::env::var_os("FAREBOX_BLESS").is_some() {
        let (table, _) = document.split_once(TESTS_BEGIN).expect("the line is there");
        let mut blessed = String::new();
        for line in table.lines() {
            let class = line.strip_prefix("| ").and_then(|row| row.split(' ').next()?.parse().ok());
            match class.zip(line.strip_suffix(" |").and_then(|row| row.rsplit_once(" | "))) {
                Some((class, (row, _))) => {
                    let _ = writeln!(blessed, "{row} | {} |", covered(tests.get(&class), class));
                }
                None => {
                    let _ = writeln!(blessed, "{line}");
                }
            }
        }
        document = format!("{blessed}{TESTS_BEGIN}{}", listed(&tests));
        fs::write(ATTACKS, &document).expect("docs/attacks.md can be written");
    }
    let rows = attack_rows(&document);
    assert!(
        rows.keys().copied().eq((1..=47).chain(60..=76)),
        "docs/attacks.md has the rows {:?}",
        rows.keys()
    );
    for class in tests.keys() {
        assert!(rows.contains_key(class), "docs/attacks.md has no row {class}");
    }
    // Modules, and whatever else is named after a class.
    for path in rust_files(&["tests"]) {
        for word in words(&read(&path), "attack_").filter(|word| class(word).is_some()) {
            let class = class(word).expect("just seen");
            assert!(rows.contains_key(&class), "{}: docs/attacks.md has no row {class}", path.display());
        }
    }
    let how = "run `FAREBOX_BLESS=1 cargo test --test tidy`";
    for (class, cell) in &rows {
        assert_eq!(*cell, covered(tests.get(class), *class), "docs/attacks.md, row {class}: {how}");
    }
    let (table, list) = document.split_once(TESTS_BEGIN).expect("docs/attacks.md has the line");
    let made = listed(&tests);
    let differs = list.lines().zip(made.lines()).find(|(there, wanted)| there != wanted);
    assert!(list == made, "the tests in docs/attacks.md are others than there are, first {differs:?}: {how}");
    // What the text above the list names must exist as well.
    let there: BTreeSet<_> = tests.values().flat_map(BTreeMap::values).flatten().collect();
    for named in words(table, "attack_").filter(|word| word.len() > "attack_00_".len()) {
        assert!(there.iter().any(|test| *test == named), "docs/attacks.md names {named}, which is no test");
    }
}

/// The names of metrics in a text: of every string that begins like one, where `is_one` says so of what stands before
/// the quote.
fn metrics(path: &Path, is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let text = read(path);
    let quoted = text.match_indices("\"farebox_").filter(|(at, _)| is_one(text[..*at].trim_end()));
    quoted.filter_map(|(at, _)| words(&text[at + 1..], "farebox_").next().map(str::to_owned)).collect()
}

#[test]
fn metrics_are_documented_and_documented_metrics_are_there() {
    let files = rust_files(&["src", "crates"]);
    let measures = |before: &str| {
        ["counter!(", "gauge!(", "histogram!(", " count("].iter().any(|call| before.ends_with(call))
    };
    let measured: BTreeSet<String> = files.iter().flat_map(|path| metrics(path, measures)).collect();
    let telemetry = Path::new(ROOT).join("src/telemetry.rs");
    let described: BTreeSet<String> = metrics(&telemetry, |_| true).into_iter().collect();
    let gone: Vec<_> = described.difference(&measured).collect();
    assert!(gone.is_empty(), "described in src/telemetry.rs and not measured: {gone:?}");
    let document = read(METRICS);
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> =
        rows.filter(|name| name.starts_with("farebox_")).map(str::to_owned).collect();
    assert_eq!(documented, measured, "left: docs/metrics.md, right: the sources");
}

/// The Markdown files of the repository's top level and of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut open = vec![PathBuf::from(ROOT).join("docs")];
    let top = fs::read_dir(ROOT).expect("the repository is there");
    let mut documents: Vec<PathBuf> = top.flatten().map(|entry| entry.path()).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                documents.push(entry.path());
            }
        }
    }
    documents.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    documents
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in documents() {
        let text = read(&path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let there = path.parent().expect("a file is in a folder").join(file);
            assert!(there.exists(), "{}: {target} leads nowhere", path.display());
        }
    }
}

#[test]
fn files_that_documents_name_are_there() {
    let folders =
        ["benches/", "contracts/", "crates/", "examples/", "migrations/", "scripts/", "src/", "tests/"];
    for path in documents() {
        for quoted in read(&path).split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| quoted.starts_with(folder))
                && quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && !quoted.contains("NN");
            assert!(
                !is_path || Path::new(ROOT).join(quoted).exists(),
                "{} names {quoted}, which is not there",
                path.display()
            );
        }
    }
}
