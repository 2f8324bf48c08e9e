//! Benchmarks of the server's guarantees, measured side by side in one run: `cargo bench`, or
//! `cargo bench -- ledger latency` for some of its sections. `large` runs only when it is named.
//!
//! Servers, the chain and the load run in processes of their own, so that each one's processor
//! time can be told apart; this program starts itself again for those that are no other program.
//! Contenders take turns, round by round, so that a machine that is busy for a while is
//! busy for all. All traffic stays on the loopback interface.

mod chain;
mod hostile;
mod http;
mod large;
mod ledger;
mod load;
mod mcp;
mod paid;
mod pii;
mod plain;
mod prepaid;
mod program;
mod report;
mod sessions;
mod start;
mod synced;
mod unpaid;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const SECTIONS: [&str; 12] = [
    "unpaid",
    "paid",
    "ledger",
    "pii",
    "start",
    "memory",
    "throughput",
    "latency",
    "vouchers",
    "prepaid",
    "hostile",
    "mcp",
];

/// Measured when it is named: what takes too long for every time.
const BY_NAME: [&str; 1] = ["large"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["load", rest @ ..] => load::run(rest),
        ["plain", rest @ ..] => plain::run(rest),
        ["chain"] => chain::run(),
        ["upstream"] => sessions::run_upstream(),
        ["unmetered", rest @ ..] => sessions::run_unmetered(rest),
        ["mpp-rs", rest @ ..] => sessions::run_mpp_rs(rest),
        ["streams", rest @ ..] => sessions::run_streams(rest),
        ["scripted"] => prepaid::run_upstream(),
        ["chat", rest @ ..] => prepaid::run_load(rest),
        ["calls", rest @ ..] => mcp::run_load(rest),
        ["synced", rest @ ..] => synced::run(rest),
        sections => bench(sections),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(wanted: &[&str]) -> Result<()> {
    let known = || SECTIONS.into_iter().chain(BY_NAME);
    if let Some(other) = wanted.iter().find(|name| !known().any(|known| known == **name)) {
        anyhow::bail!("{other} is no section; there are {}", known().collect::<Vec<_>>().join(", "));
    }
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("farebox {}, {}", env!("CARGO_PKG_VERSION"), report::machine());
    for section in known() {
        let named = wanted.contains(&section);
        if !named && (BY_NAME.contains(&section) || !wanted.is_empty()) {
            continue;
        }
        match section {
            "unpaid" => runtime.block_on(unpaid::measure()),
            "paid" => runtime.block_on(paid::measure()),
            "ledger" => runtime.block_on(ledger::measure()),
            "large" => runtime.block_on(large::measure()),
            "pii" => pii::measure(),
            "start" => runtime.block_on(start::measure()),
            "hostile" => runtime.block_on(hostile::measure()),
            "prepaid" => runtime.block_on(prepaid::measure()),
            "mcp" => runtime.block_on(mcp::measure()),
            streams => runtime.block_on(sessions::measure(streams)),
        }
        .context(section)?;
    }
    println!("\nDone in {:.0} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A folder on the disk that holds the build, which unlike `/tmp` is never memory.
fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}
