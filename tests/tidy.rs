//! The structure that ARCHITECTURE.md promises, checked against the sources.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/words.rs"]
mod words;

use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates");
/// Files longer than this hold a second idea.
const LONGEST_FILE: usize = 450;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// The crates of the program, without what only tests use.
fn crates() -> Vec<PathBuf> {
    let names = ["db", "devnet", "ledger", "payments", "pii", "types"];
    names.iter().map(|name| Path::new(CRATES).join(name).join("src")).collect()
}

fn all_sources() -> Vec<PathBuf> {
    let folders = std::iter::once(PathBuf::from(SRC)).chain(crates());
    // Unit tests that have a file of their own are no part of the program.
    folders.flat_map(|folder| sources(&folder)).filter(|path| !path.ends_with("tests.rs")).collect()
}

/// The code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is text");
    let lines: Vec<&str> = without_tests(&text);
    lines.into_iter().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The lines of a file without the items that are compiled for tests alone, each of which ends at the
/// first line that is indented like it and closes it.
fn without_tests(text: &str) -> Vec<&str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut kept, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        let ends = |next: &&str| indent(next) == indent(line) && next.ends_with(['}', ';']);
        lines.by_ref().find(ends);
    }
    kept
}

#[test]
fn unit_tests_are_left_out_and_nothing_after_them() {
    let text = "a\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nc\n    #[cfg(test)]\n    use d;\n    e";
    assert_eq!(without_tests(text), ["a", "c", "    e"]);
}

/// The module that a file belongs to: its first folder, or its name.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(SRC).expect("found there");
    let first = inside.iter().next().expect("not empty").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn arrows_point_inwards_only() {
    // What each module may use; modules not named here wire the program together.
    // Between crates the compiler holds the arrows.
    let allowed: &[(&str, &[&str])] = &[
        ("config", &["money"]),
        ("chain", &["config", "money", "outbound", "payments"]),
        ("limits", &["id"]),
        ("mcp_files", &["db", "id", "ledger", "permits"]),
        ("outbound", &["config"]),
        ("dependencies", &["chain", "db"]),
        ("permits", &[]),
        ("keys", &["config", "db", "id", "ledger", "limits", "money"]),
        (
            "funding",
            &["chain", "config", "db", "id", "keys", "ledger", "limits", "money", "outbound", "payments"],
        ),
        ("browser_sessions", &["config", "db", "id"]),
        ("seal", &["config"]),
        (
            "oauth",
            &["config", "db", "fetch", "id", "keys", "ledger", "limits", "money", "seal", "wallet_auth"],
        ),
        ("services", &["config", "fetch", "funding", "id", "keys", "money", "outbound"]),
        ("wallet_auth", &["browser_sessions", "chain", "config", "db", "id", "seal", "signature"]),
        ("meter", &["funding", "id", "ledger", "money", "payments", "services"]),
        ("fetch", &["config"]),
        ("offers", &["chain", "config", "db", "funding", "limits", "meter", "money", "payments", "services"]),
        (
            "sessions",
            &["chain", "config", "db", "funding", "limits", "meter", "money", "payments", "services"],
        ),
        (
            "workers",
            &[
                "browser_sessions",
                "chain",
                "config",
                "db",
                "funding",
                "id",
                "keys",
                "ledger",
                "mcp_files",
                "mcp_files",
                "meter",
                "oauth",
                "payments",
                "wallet_auth",
            ],
        ),
    ];
    // They wire the program together, and HTTP stands on all of it.
    let wiring = ["app", "commands", "dev", "doctor", "http", "lib", "main", "server", "telemetry"];
    for path in sources(Path::new(SRC)) {
        let own = module(&path);
        let Some((_, allowed)) = allowed.iter().find(|(name, _)| *name == own) else {
            assert!(wiring.contains(&own.as_str()), "`{own}` has no place in the list of arrows");
            let is_http = code(&path).contains("crate::http") && !["http", "server"].contains(&own.as_str());
            assert!(!is_http, "{}: `{own}` must not use `http`", path.display());
            continue;
        };
        for used in code(&path).split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(
                used == own || allowed.contains(&used.as_str()),
                "{}: `{own}` must not use `{used}`",
                path.display()
            );
        }
    }
}

#[test]
fn pure_cores_read_no_clock_and_do_no_io() {
    let crates = ["pii/src", "payments/src", "types/src/money.rs", "types/src/signature.rs"]
        .map(|place| Path::new(CRATES).join(place));
    let ledger = ["account.rs", "decide.rs", "working_set.rs"]
        .map(|file| Path::new(CRATES).join("ledger/src").join(file));
    let modules = [
        "funding/channel/policy.rs",
        "funding/channel/state.rs",
        "funding/card/signature.rs",
        "funding/card/event.rs",
        "funding/card/state.rs",
        "meter/state.rs",
        "services/chat/tariff.rs",
        "limits",
        "fetch/address.rs",
        "fetch/target.rs",
        "fetch/html.rs",
        "fetch/body.rs",
        "fetch/pdf/cmap.rs",
        "fetch/pdf/layout.rs",
        "oauth/client.rs",
        "oauth/consent.rs",
        "oauth/pkce.rs",
        "oauth/redirect.rs",
        "oauth/request.rs",
        "oauth/resource.rs",
        "oauth/scope.rs",
        "seal.rs",
        "wallet_auth/message.rs",
        "wallet_auth/siwe.rs",
        "wallet_auth/signature.rs",
    ]
    .map(|place| Path::new(SRC).join(place));
    let pure: Vec<&PathBuf> = crates.iter().chain(&ledger).chain(&modules).collect();
    for place in &pure {
        assert!(place.exists(), "{} has moved", place.display());
    }
    let impure = [
        "Timestamp::now",
        "SystemTime",
        "Instant::now",
        "tokio::",
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "sqlx::",
        "reqwest",
    ];
    for path in all_sources() {
        if !pure.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let code = code(&path);
        for word in impure {
            assert!(!code.contains(word), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn the_http_layer_reads_the_clock_in_one_place() {
    let readers = [("Timestamp::now", "clock.rs"), ("new_v4", "request.rs")];
    for path in sources(&Path::new(SRC).join("http")) {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        for (word, allowed) in readers {
            let reads = code(&path).contains(word) && file != allowed;
            assert!(!reads, "{} uses {word}; take the request's time or nonce", path.display());
        }
    }
}

#[test]
fn the_local_chain_is_for_development_only() {
    for path in sources(Path::new(SRC)) {
        let user = module(&path);
        if code(&path).contains("devnet::") {
            assert!(["dev", "devnet"].contains(&user.as_str()), "{} uses the local chain", path.display());
        }
    }
}

/// Statements that name a table of the ledger, as `FROM holds`.
fn ledger_statements(code: &str) -> Vec<String> {
    let tables = ["accounts", "balances", "budgets", "credits", "daily_usage", "entries", "holds"];
    let keywords = ["FROM", "JOIN", "INTO", "UPDATE"];
    let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let named = words.windows(2).filter(|pair| keywords.contains(&pair[0]) && tables.contains(&pair[1]));
    named.map(|pair| pair.join(" ")).collect()
}

#[test]
fn only_the_ledger_reads_and_writes_its_tables() {
    // The audit of payments compares both sides in one snapshot.
    let exceptions = ["funding/audit.rs"].map(|file| Path::new(SRC).join(file));
    for path in all_sources() {
        if path.starts_with(Path::new(CRATES).join("ledger")) || exceptions.contains(&path) {
            continue;
        }
        let found = ledger_statements(&code(&path));
        assert!(found.is_empty(), "{}: {found:?} belongs into crates/ledger", path.display());
    }
    let split = "SELECT id FROM \\\n  holds; DELETE FROM holds_archive; SELECT 1 FROM charges JOIN credits c";
    assert_eq!(ledger_statements(split), ["FROM holds", "JOIN credits"]);
}

#[test]
fn files_hold_one_idea() {
    for path in all_sources() {
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    for path in all_sources() {
        let code = code(&path);
        for word in ["todo!(", "unimplemented!(", "dbg!(", ".unwrap()"] {
            assert!(!code.contains(word), "{} contains {word}", path.display());
        }
    }
}

#[test]
fn cargo_test_runs_the_tests_of_every_crate() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the manifest is text");
    let members = manifest.lines().find(|line| line.starts_with("default-members = "));
    let members = members.expect("the manifest lists the default members");
    for entry in fs::read_dir(CRATES).expect("the crates are there").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        let is_listed = members.contains(&format!("\"crates/{name}\""));
        assert_eq!(is_listed, name != "test-support", "default-members and crates/{name}");
    }
}
