//! The dashboard in a real browser, against `farebox dev` as people start it.

use farebox_test_support::dev::{Dev, chromium, installed, succeeds};
use farebox_test_support::harness::run;
use tokio::process::Command;

/// A newcomer with a wallet, another with a passkey alone, one who buys a key on the chain; then every page, in light and
/// dark, narrow and wide, with axe. No page logs an error, asks another origin, or breaks its policy.
#[test]
fn people_use_the_dashboard_in_a_browser() {
    run(async {
        let Some(browser) = chromium() else { return };
        installed("dashboard/dist/index.html");
        installed("tests/clients/node_modules/playwright-core");
        let script = installed("tests/clients/browser_dashboard.mjs");
        let dev = Dev::start(env!("CARGO_BIN_EXE_farebox")).await;
        let mut node = Command::new("node");
        let node = node.arg(&script).arg(&dev.url).arg(dev.json()).env("CHROMIUM", browser);
        let verdict = succeeds(node).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}
