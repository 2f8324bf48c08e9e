//! The structure that ARCHITECTURE.md promises, checked against the sources.

#[path = "tidy/documents.rs"]
mod documents;

use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates");
/// The engine that finds personal data.
const PII: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/pii/src");
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

fn all_sources() -> Vec<PathBuf> {
    [SRC, PII].iter().flat_map(|folder| sources(Path::new(folder))).collect()
}

/// The code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is text");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
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
    let allowed: &[(&str, &[&str])] = &[
        ("money", &[]),
        ("id", &[]),
        ("db", &[]),
        ("config", &["money"]),
        ("mpp", &["config", "id", "money", "signature"]),
        ("chain", &["config", "money", "mpp"]),
        ("ledger", &["db", "id", "money"]),
        ("limits", &["id"]),
        ("keys", &["config", "db", "id", "ledger", "limits", "money"]),
        ("funding", &["chain", "config", "db", "id", "keys", "ledger", "limits", "money", "mpp"]),
        ("services", &["config", "fetch", "funding", "id", "keys", "money"]),
        ("wallet_auth", &["chain", "config", "db", "id", "signature"]),
        ("meter", &["funding", "id", "ledger", "money", "mpp", "services"]),
        ("devnet", &[]),
        ("fetch", &["config"]),
        ("permits", &[]),
        ("offers", &["config", "money", "payments"]),
        (
            "workers",
            &["chain", "config", "db", "funding", "id", "keys", "ledger", "meter", "payments", "wallet_auth"],
        ),
        (
            "app",
            &[
                "chain",
                "config",
                "db",
                "fetch",
                "funding",
                "id",
                "keys",
                "ledger",
                "limits",
                "meter",
                "offers",
                "payments",
                "permits",
                "services",
                "sessions",
                "wallet_auth",
                "workers",
            ],
        ),
    ];
    for path in sources(Path::new(SRC)) {
        let own = module(&path);
        let Some((_, allowed)) = allowed.iter().find(|(name, _)| *name == own) else {
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
    let pure = [
        "mpp",
        "ledger/account.rs",
        "funding/payment.rs",
        "funding/channel/state.rs",
        "funding/card/signature.rs",
        "funding/card/event.rs",
        "funding/card/state.rs",
        "meter/state.rs",
        "services/chat/tariff.rs",
        "money.rs",
        "limits",
        "fetch/address.rs",
        "fetch/target.rs",
        "fetch/html.rs",
        "fetch/body.rs",
        "fetch/pdf/cmap.rs",
        "fetch/pdf/layout.rs",
        "wallet_auth/message.rs",
        "wallet_auth/siwe.rs",
        "wallet_auth/signature.rs",
    ];
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
        if !path.starts_with(PII) && !pure.iter().any(|place| path.starts_with(Path::new(SRC).join(place))) {
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
    let tables = ["accounts", "balances", "budgets", "credits", "entries", "holds"];
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
    for path in sources(Path::new(SRC)).into_iter().chain(sources(Path::new(CRATES))) {
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
