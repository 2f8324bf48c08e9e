//! Other people's session clients, unmodified, against `farebox dev`: they open a channel, stream,
//! send vouchers, top up and close, and the chain agrees with the receipts in the end.

use farebox_test_support::dev::{Dev, installed, succeeds};
use farebox_test_support::harness::{client, run};
use mpp::client::TempoSessionProvider;
use serde_json::Value;
use tokio::process::Command;

use crate::chat;
use crate::fixture::{CHAT, Fixture, PRICE, amount};

const MODEL: &str = "dev-scripted";

/// The script checks balances, events and receipts against each other, to the unit.
#[test]
fn mppx_streams_tops_up_resumes_and_closes() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let script = installed("tests/clients/mppx_session.mjs");
        for flow in ["stream", "two-requests", "topup", "close", "resume"] {
            let mut node = Command::new("node");
            let prompt = r#"{"chunks": 90, "intervalMs": 2}"#;
            succeeds(node.arg(&script).arg(dev.json()).args([flow, MODEL, prompt])).await;
        }
        // A prompt that costs more than the answer.
        for flow in ["stream", "topup", "close"] {
            let prompt = format!(r#"{{"chunks": 9, "intervalMs": 2}}{}"#, " ".repeat(60_000));
            let mut node = Command::new("node");
            succeeds(node.arg(&script).arg(dev.json()).args([flow, MODEL, &prompt])).await;
        }
    });
}

/// As its users write it, with a whole answer or a stream as the first request of the channel, with and without
/// `max_tokens`. The command line forgets the vouchers that it signs during the first stream of a channel, so it is
/// asked for one before it begins (decision 14); and it signs for more than it spent, up to the deposit that the
/// challenge at hand suggests.
#[test]
fn mppx_on_the_command_line_opens_streams_and_closes() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let limited = [(true, 150, Some(200)), (false, 5, Some(200)), (true, 150, Some(200))];
        let whole_first = [(false, 5, None), (true, 150, None), (true, 20, None)];
        let stream_first = [(true, 150, None), (true, 150, None), (true, 1, None)];
        for requests in [limited, whole_first, stream_first] {
            let line = CommandLine::new(&dev);
            let mut chunks = 0;
            for (stream, length, max_tokens) in requests {
                let script = serde_json::json!({ "chunks": length, "intervalMs": 2 }).to_string();
                let mut body = serde_json::json!({
                    "model": MODEL, "stream": stream, "messages": [{ "role": "user", "content": script }],
                });
                if let Some(max_tokens) = max_tokens {
                    body["max_tokens"] = max_tokens.into();
                }
                let message = line.pays(&dev, &body).await;
                assert!(message.contains(&format!("word{}", length - 1)), "{message}");
                chunks += length;
            }
            let listed = succeeds(line.mppx().args(["sessions", "list", "--format", "json"])).await;
            let listed: Value = serde_json::from_str(&listed).expect("JSON");
            let sessions = listed["sessions"].as_array().expect("a list");
            assert_eq!(sessions.len(), 1, "one channel for all: {listed}");
            assert_eq!(sessions[0]["confirmedSpend"], (chunks * 100).to_string());
            let channel = sessions[0]["channelId"].as_str().expect("an id");
            let mut close = line.mppx();
            let closed = succeeds(close.args(["sessions", "close", channel, "--format", "json"])).await;
            assert!(closed.contains("closed") && closed.contains(&format!("{}", chunks * 100)), "{closed}");
        }
    });
}

/// mppx's command line with a home of its own: it keeps its channels there.
struct CommandLine {
    home: tempfile::TempDir,
    key: String,
    rpc_url: String,
}

impl CommandLine {
    fn new(dev: &Dev) -> Self {
        let described: Value =
            serde_json::from_str(&std::fs::read_to_string(dev.json()).expect("dev.json")).expect("JSON");
        let text = |name: &str| described[name].as_str().expect("a text").to_owned();
        let home = tempfile::tempdir().expect("a folder");
        Self { home, key: text("agentPrivateKey"), rpc_url: text("rpcUrl") }
    }

    fn mppx(&self) -> Command {
        let mut command = Command::new(installed("tests/clients/node_modules/.bin/mppx"));
        command.env("HOME", self.home.path()).env("MPPX_PRIVATE_KEY", &self.key);
        command.env("MPPX_RPC_URL", &self.rpc_url).env("NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1");
        command
    }

    async fn pays(&self, dev: &Dev, body: &Value) -> String {
        let chat = format!("{}/mpp/chat/completions", dev.url);
        succeeds(self.mppx().args([&chat, "-J", &body.to_string()])).await
    }
}

/// The `mpp` crate's own client, as the example agent uses it: the second stream outgrows the deposit
/// that the challenge suggests, so it tops up.
#[test]
fn the_mpp_crates_client_streams_tops_up_and_closes() {
    run(async {
        let fixture = Fixture::with_config(|config| config.sessions.suggested_deposit_units = 200).await;
        let signer = fixture.agent().await.signer;
        let wallet = TempoSessionProvider::new(signer, fixture.chain.rpc_url()).expect("a wallet");
        let wallet = wallet.with_max_deposit(u128::from(1_000 * PRICE));
        let url = format!("{}{CHAT}", fixture.server.url);
        let mut total = 0;
        for chunks in [50, 400] {
            let prompt = serde_json::json!({ "chunks": chunks }).to_string();
            let chat = chat::stream(client(), &wallet, &url, crate::fixture::MODEL, &prompt).await;
            let chat = chat.expect("it streams to its end");
            total += chunks as u64 * PRICE;
            assert_eq!((chat.chunks, amount(&chat.receipt["spent"])), (chunks, total));
        }
        let receipt = wallet.close(client(), &url).await.expect("it closes").expect("a receipt");
        assert_eq!(fixture.earned().await, total, "{receipt:?}");
        let sql = "SELECT count(*) FROM channels WHERE state = 'closed' AND deposit >= 45000";
        assert_eq!(fixture.server.count(sql).await, 1, "one channel, topped up");
        fixture.assert_audit().await;
        fixture.finish().await;
    });
}
