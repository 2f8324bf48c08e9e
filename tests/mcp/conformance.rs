//! The official conformance suite, in the version of `tests/clients/package.json`, against `farebox dev`: the table of
//! docs/mcp-conformance.md says which scenarios pass, and why the others do not, and is compared with a run.

use std::collections::BTreeMap;
use std::path::Path;

use farebox_test_support::dev::{Dev, installed, output, root};
use farebox_test_support::harness::run;
use farebox_test_support::process::free_port;
use serde_json::json;
use tokio::process::Command;

use crate::clients::{Conversation, agent, comes_back, consent};
use crate::login;

const TABLE: &str = "docs/mcp-conformance.md";

/// Results by scenario, as they stand in a column of the table.
type Results = BTreeMap<String, String>;

fn suite(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(installed(".tools/bin/node22"));
    command.arg(installed("tests/clients/node_modules/.bin/conformance")).args(arguments);
    command.arg("--output-dir").arg(folder);
    command
}

/// Runs all server scenarios against a URL.
async fn served(url: &str) -> Results {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (_, printed) = output(&mut suite(&["server", "--url", url, "--suite", "all"], folder.path())).await;
    let (_, summary) =
        printed.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("no summary: {printed}"));
    summary.lines().filter_map(result).collect()
}

/// A line such as `✗ caching: 1 passed, 6 failed`.
fn result(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("✓ ").or_else(|| line.strip_prefix("✗ "))?;
    let (name, counts) = line.split_once(": ")?;
    let passed: u32 = counts.split(' ').next()?.parse().ok()?;
    let (_, failed) = counts.split_once(", ")?;
    let failed: u32 = failed.split(' ').next()?.parse().ok()?;
    let result = match (passed, failed) {
        (0, 0) => "skipped".to_owned(),
        (_, 0) => "passes".to_owned(),
        (_, failed) => format!("{failed} of {} fail", passed + failed),
    };
    Some((name.to_owned(), result))
}

/// The cells of the table's rows, and those of scenarios that do not pass have a reason.
fn documented() -> Vec<(String, [String; 2])> {
    let text = std::fs::read_to_string(root().join(TABLE)).expect("the document is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, account, pay_per_call, reason, ..] = cells[..] else { panic!("four cells: {row}") };
        let is_plain = [account, pay_per_call].iter().all(|result| *result == "passes");
        assert!(is_plain || reason.len() > 10, "a reason for {name}");
        (name.trim_matches('`').to_owned(), [account.to_owned(), pay_per_call.to_owned()])
    })
    .collect()
}

#[test]
fn the_official_suite_finds_what_the_document_says() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let tokens = login::Client::registered(&dev.url).await;
        let tokens = tokens.log_in(&dev.url, &agent(&dev), &json!({})).await;
        let script = installed("tests/clients/token_proxy.mjs");
        let mut proxy =
            Conversation::begin(Command::new("node").arg(script).arg(&dev.url).arg(&tokens.access));
        let proxied = proxy.line_with("http://").await;
        let account = served(&format!("{proxied}/mcp")).await;
        let pay_per_call = served(&format!("{}/mpp/mcp", dev.url)).await;
        let names: Vec<&String> = account.keys().collect();
        assert!(names.len() > 50 && names == pay_per_call.keys().collect::<Vec<_>>(), "{names:?}");
        let found: BTreeMap<_, _> = account
            .iter()
            .map(|(name, result)| (name.clone(), [result.clone(), pay_per_call[name].clone()]))
            .collect();
        let documented: BTreeMap<_, _> = documented().into_iter().collect();
        let differing: Vec<_> =
            found.iter().filter(|(name, results)| documented.get(*name) != Some(results)).collect();
        assert!(differing.is_empty(), "{TABLE} says otherwise: {differing:#?}");
        assert_eq!(found.len(), documented.len(), "scenarios of the table that there are not");
    });
}

/// Both scenarios for authorization servers; a person consents in between.
#[test]
fn the_official_suite_logs_in() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let program = login::Client::registered(&dev.url).await;
        let (port, resource) = (free_port().to_string(), format!("{}/mcp", dev.url));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let arguments = ["authorization", "--url", &dev.url, "--client-id", &program.id];
        let more = ["--resource", &resource, "--port", &port];
        let mut suite = Conversation::begin(&mut suite(&[&arguments[..], &more].concat(), folder.path()));
        let page = suite.line_with(&format!("{}/oauth/authorize", dev.url)).await;
        comes_back(&consent(&dev, &page).await).await;
        let printed = suite.end().await;
        let (_, summary) =
            printed.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("no summary: {printed}"));
        let results: Results = summary.lines().filter_map(result).collect();
        let names = ["authorization-code-grant", "authorization-server-metadata-endpoint"];
        let passes = names.map(|name| (name.to_owned(), "passes".to_owned()));
        assert_eq!(results, Results::from(passes), "{printed}");
    });
}
