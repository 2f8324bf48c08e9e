//! Other people's clients and judges, unmodified, against `farebox dev` as its users start it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mpp::client::{Fetch as _, TempoProvider};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::agent::CHAIN_ID;
use crate::harness::{BODY, PREVIEW, SPONSORED, Server, client, eventually, funded, run, shared_chain};

/// Longer than any client needs. A judge that opens a stream and never pays for it to go on is sent
/// away after a minute.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running `farebox dev`, ended with this value.
struct Dev {
    folder: TempDir,
    url: String,
    _process: Child,
}

impl Dev {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_farebox"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
        command.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.kill_on_drop(true).spawn().expect("farebox starts");
        let described = eventually("farebox dev is up", async || {
            assert_eq!(process.try_wait().expect("a child"), None, "farebox dev ended; run `make tools`");
            let text = std::fs::read_to_string(folder.path().join("dev.json")).ok()?;
            let dev: Value = serde_json::from_str(&text).ok()?;
            let health = format!("{}/healthz", dev["url"].as_str()?);
            client().get(health).send().await.ok().map(|_| dev)
        });
        let described = described.await;
        let url = described["url"].as_str().expect("a URL").to_owned();
        Self { folder, url, _process: process }
    }

    fn json(&self) -> PathBuf {
        self.folder.path().join("dev.json")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An installed program or script of the test clients.
fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing: run `make tools`", path.display());
    path
}

/// Runs a client to its end; returns whether it succeeded and what it printed.
async fn output(command: &mut Command) -> (bool, String) {
    command.current_dir(root()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

async fn succeeds(command: &mut Command) -> String {
    let (success, text) = output(command).await;
    assert!(success, "{command:?}\n{text}");
    text
}

#[test]
fn mppx_pays_by_pull_push_sponsored_and_proof() {
    run(async {
        let dev = Dev::start().await;
        installed("tests/clients/node_modules/mppx");
        let script = installed("tests/clients/mppx_pay.mjs");
        for (mode, target) in
            [("pull", PREVIEW), ("push", PREVIEW), ("sponsored", SPONSORED), ("proof", "GET /mpp/account")]
        {
            let mut node = Command::new("node");
            succeeds(node.arg(&script).arg(dev.json()).args([mode, target])).await;
        }
    });
}

#[test]
fn pympp_pays_by_pull_and_sponsored() {
    run(async {
        let dev = Dev::start().await;
        let python = installed(".tools/python/bin/python");
        let script = installed("tests/clients/pympp_pay.py");
        for (mode, target) in [("pull", PREVIEW), ("sponsored", SPONSORED)] {
            succeeds(Command::new(&python).arg(&script).arg(dev.json()).args([mode, target])).await;
        }
    });
}

#[test]
fn mppx_validate_finds_nothing_to_complain_about() {
    run(async {
        let dev = Dev::start().await;
        let mut judge = Command::new(installed("tests/clients/node_modules/.bin/mppx"));
        judge.args(["validate", &dev.url, "--yes"]);
        judge.env("FAREBOX_DEV", dev.json()).env("MPPX_CONFIG", "tests/clients/mppx.config.mjs");
        let verdict = succeeds(judge.env("NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1")).await;
        let summary = verdict.lines().find_map(|line| line.strip_prefix("Summary: ")).unwrap_or_default();
        // Failures, warnings and skipped checks would follow after a comma.
        assert!(summary.ends_with(" passed") && !summary.contains(','), "{verdict}");
        assert!(verdict.contains("Payment: successful (HTTP 200)"), "{verdict}");
    });
}

#[test]
fn agentcash_discovery_has_no_warnings() {
    run(async {
        let dev = Dev::start().await;
        let program = installed("tests/clients/node_modules/.bin/discovery");
        let preview = format!("{}{PREVIEW}", dev.url);
        for (verb, target) in [("discover", &dev.url), ("check", &preview)] {
            let text = succeeds(Command::new(&program).args([verb, target, "--json"])).await;
            let start = text.find('{').unwrap_or_else(|| panic!("no JSON: {text}"));
            let mut documents = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
            let verdict = documents.next().expect("a document").expect("JSON");
            assert_eq!(verdict["warnings"], serde_json::json!([]), "{verb}: {verdict:#}");
        }
    });
}

/// Chat whole and streamed, errors, models: as its users write it, with only the base URL changed.
#[test]
fn openais_own_client_works_with_prepaid_credits() {
    run(async {
        let dev = Dev::start().await;
        installed("tests/clients/node_modules/openai");
        let script = installed("tests/clients/openai_chat.mjs");
        let verdict = succeeds(Command::new("node").arg(&script).arg(dev.json())).await;
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
    });
}

#[test]
fn the_mpp_crates_client_pays() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let wallet = TempoProvider::new(agent.signer.clone(), chain.rpc_url()).expect("a wallet");
        let wallet = wallet.with_expected_chain_id(CHAIN_ID);
        for request in [server.post(PREVIEW, BODY), server.post(SPONSORED, BODY), server.get("/mpp/account")]
        {
            let request = request.header("accept-payment", "tempo/charge");
            let answer = request.send_with_payment(&wallet).await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 200);
            assert!(answer.headers().contains_key("payment-receipt"));
        }
        server.assert_books(chain, 2).await;
    });
}
