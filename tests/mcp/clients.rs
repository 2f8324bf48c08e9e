//! Other people's clients, unmodified, against `farebox dev` as its users start it.

use farebox_test_support::dev::{Dev, installed, succeeds};
use farebox_test_support::harness::run;
use tokio::process::Command;

#[test]
fn mppx_pays_by_the_call_over_both_official_sdks() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        installed("tests/clients/node_modules/@modelcontextprotocol/client");
        let script = installed("tests/clients/mcp_pay.mjs");
        for era in ["2025", "2026"] {
            succeeds(Command::new("node").arg(&script).arg(dev.json()).arg(era)).await;
        }
    });
}
