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

/// mppx 0.11's command line takes a stream as the *first* request of a channel for a fraud as soon as
/// it needs a voucher on the way: it compares the receipt with a copy of the channel from before the
/// stream. So the channel is opened with a whole answer; streams on it work.
#[test]
fn mppx_on_the_command_line_opens_streams_and_closes() {
    run(async {
        let dev = Dev::start(crate::FAREBOX).await;
        let described: Value =
            serde_json::from_str(&std::fs::read_to_string(dev.json()).expect("dev.json")).expect("JSON");
        let home = tempfile::tempdir().expect("a folder");
        let mppx = || {
            let mut command = Command::new(installed("tests/clients/node_modules/.bin/mppx"));
            let key = described["agentPrivateKey"].as_str().expect("a key");
            command.env("HOME", home.path()).env("MPPX_PRIVATE_KEY", key);
            command.env("MPPX_RPC_URL", described["rpcUrl"].as_str().expect("a URL"));
            command.env("NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1");
            command
        };
        let chat = format!("{}/mpp/chat/completions", dev.url);
        for (stream, chunks) in [(false, 5), (true, 150), (true, 150)] {
            let script = serde_json::json!({ "chunks": chunks, "intervalMs": 2 }).to_string();
            let body = serde_json::json!({
                "model": MODEL, "stream": stream, "max_tokens": 200,
                "messages": [{ "role": "user", "content": script }],
            });
            let message = succeeds(mppx().args([&chat, "-J", &body.to_string()])).await;
            assert!(message.contains(&format!("word{}", chunks - 1)), "{message}");
        }
        let listed = succeeds(mppx().args(["sessions", "list", "--format", "json"])).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let sessions = listed["sessions"].as_array().expect("a list");
        assert_eq!(sessions.len(), 1, "one channel for all: {listed}");
        assert_eq!(sessions[0]["confirmedSpend"], (305 * 100).to_string());
        let channel = sessions[0]["channelId"].as_str().expect("an id");
        let closed = succeeds(mppx().args(["sessions", "close", channel, "--format", "json"])).await;
        assert!(closed.contains("closed") && closed.contains("30500"), "{closed}");
    });
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
