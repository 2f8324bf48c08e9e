//! Classes 38 and 39: work and memory for who pays nothing, while somebody who pays is served.

use std::time::{Duration, Instant};

use farebox_test_support::agent::{Agent, Challenge, authorization};
use farebox_test_support::harness::funded;
use farebox_test_support::process::wait_until;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Response, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::Target;
use crate::silence::{PREFACE, SETTINGS};

/// Longest time that a customer's small request takes while others attack. Debug builds, two processors, and busy
/// neighbours: what is kept out took tens of seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Resident memory of the server at the most, in MiB.
const MEMORY: u64 = 400;

async fn post(target: &Target, path: &str, body: String, credential: Option<String>) -> Response {
    let mut request = reqwest::Client::new().post(format!("{}{path}", target.setup.origin())).body(body);
    request = request.header("content-type", "application/json");
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    request.send().await.expect("it answers")
}

async fn challenge(target: &Target, path: &str, body: &str) -> Challenge {
    let unpaid = post(target, path, body.to_owned(), None).await;
    assert_eq!(unpaid.status(), StatusCode::PAYMENT_REQUIRED, "{}", unpaid.text().await.unwrap_or_default());
    Challenge::parse(unpaid.headers()[WWW_AUTHENTICATE].to_str().expect("text"))
}

/// A customer's preview, from the first request to its answer.
async fn customer(target: &Target, agent: &Agent) -> Duration {
    let (body, began) = (r#"{"text":"Mail jane@example.com"}"#, Instant::now());
    let challenge = challenge(target, "/mpp/pii/preview", body).await;
    let credential = authorization(&agent.pull(&challenge));
    let answer = post(target, "/mpp/pii/preview", body.to_owned(), Some(credential)).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap_or_default());
    began.elapsed()
}

/// A challenge costs nothing, a wallet without a dollar neither, and a long text is seconds of work.
#[tokio::test(flavor = "multi_thread")]
async fn attack_38_text_is_examined_for_who_could_pay() {
    let target = Target::start().await;
    let honest = funded(&target.devnet).await;
    customer(&target, &honest).await;
    let body = json!({ "text": "Maria Gonzalez lives in Springfield, call +1 415 555 2671. ".repeat(3_000) })
        .to_string();
    let mut attackers = JoinSet::new();
    for _ in 0..16 {
        let challenge = challenge(&target, "/mpp/pii/preview", &body).await;
        let credential = authorization(&Agent::random().pull(&challenge));
        let url = format!("{}/mpp/pii/preview", target.setup.origin());
        let request = reqwest::Client::new().post(url).body(body.clone());
        let request = request.header("content-type", "application/json").header("authorization", credential);
        attackers.spawn(async move { request.send().await.expect("it answers").status() });
    }
    for _ in 0..3 {
        let taken = customer(&target, &honest).await;
        assert!(taken < PATIENCE, "{taken:?}");
        assert!(target.health().await < PATIENCE);
    }
    while let Some(status) = attackers.join_next().await {
        assert_eq!(status.expect("it ends"), StatusCode::PAYMENT_REQUIRED);
    }
    assert!(target.resident().await < MEMORY);
    target.stop().await;
}

/// Twenty million bytes of `[1,1,…` were 1.2 GB.
#[tokio::test(flavor = "multi_thread")]
async fn attack_39_json_of_many_values_takes_no_memory() {
    let target = Target::start().await;
    let honest = funded(&target.devnet).await;
    let bodies = [
        format!("{{\"text\":[{}1]}}", "1,".repeat(9_000_000)),
        format!("{{\"messages\":[{}{{}}]}}", "{},".repeat(6_000_000)),
        format!("{{\"text\":{}1{}}}", "[".repeat(9_000_000), "]".repeat(9_000_000)),
        format!("{{{}\"text\":\"a\"}}", "\"a\":1,".repeat(3_000_000)),
    ];
    let mut attackers = JoinSet::new();
    for body in bodies {
        let url = format!("{}/mpp/pii/preview", target.setup.origin());
        let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
        attackers.spawn(async move { request.send().await.expect("it answers").status() });
    }
    for _ in 0..3 {
        let taken = customer(&target, &honest).await;
        assert!(taken < PATIENCE, "{taken:?}");
        assert!(target.health().await < PATIENCE);
        assert!(target.resident().await < MEMORY, "{} MiB", target.resident().await);
    }
    while let Some(status) = attackers.join_next().await {
        assert_eq!(status.expect("it ends"), StatusCode::BAD_REQUEST);
    }
    target.stop().await;
}

/// Slowest of many looks at the server's health while bodies are sent to it.
async fn slowest_health(target: &Target, path: &str, bodies: Vec<String>) -> Duration {
    let mut senders = JoinSet::new();
    for body in bodies {
        let url = format!("{}{path}", target.setup.origin());
        let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
        senders.spawn(async move { request.send().await.expect("it answers").status() });
    }
    let mut slowest = target.health().await;
    while !senders.is_empty() {
        slowest = slowest.max(target.health().await);
        while let Some(status) = senders.try_join_next() {
            assert!(status.expect("it ends").is_client_error());
        }
    }
    slowest
}

/// Bodies of twenty million bytes, refused at once or read to their end: whoever asks for health does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn attack_39_large_bodies_do_not_keep_others_waiting() {
    let target = Target::start().await;
    let numbers = format!("{{\"text\":[{}1]}}", "1,".repeat(9_900_000));
    let text = format!("{{\"text\":\"{}\"}}", "\\n".repeat(9_900_000));
    for (what, body) in [("numbers", numbers), ("text", text)] {
        let slowest = slowest_health(&target, "/mpp/pii/preview", vec![body; 6]).await;
        println!("{what}: {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{what}: {slowest:?}");
    }
    target.stop().await;
}

/// The head of a POST of JSON, and a part of its body: the stream stays open.
fn unfinished(stream: u8, body: usize) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04, 16];
    block.extend_from_slice(b"/mpp/pii/preview");
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    block.extend_from_slice(&[0x0f, 16, 16]); // content-type, index 31
    block.extend_from_slice(b"application/json");
    let frame = |length: usize, kind: u8, flags: u8| {
        let length = u32::try_from(length).expect("short").to_be_bytes();
        vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream]
    };
    let mut bytes = [frame(block.len(), 1, 0x4), block].concat();
    bytes.extend(frame(body, 0, 0));
    bytes.extend(vec![b' '; body]);
    bytes
}

/// Two hundred unfinished bodies on each connection were 237 MB.
#[tokio::test(flavor = "multi_thread")]
async fn attack_39_unfinished_bodies_of_many_streams_take_little() {
    let target = Target::start().await;
    let honest = funded(&target.devnet).await;
    customer(&target, &honest).await;
    let (idle, files) = (target.resident().await, target.open_files());
    let mut connections = Vec::new();
    for _ in 0..30 {
        let mut connection = target.connect().await.expect("it listens");
        let mut bytes = [PREFACE, SETTINGS].concat();
        for stream in (1..=127).step_by(2) {
            bytes.extend(unfinished(stream, 1_000));
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), connection.write_all(&bytes)).await;
        connections.push(connection);
    }
    let taken = customer(&target, &honest).await;
    assert!(taken < PATIENCE, "{taken:?}");
    let resident = target.resident().await;
    assert!(resident < MEMORY && resident < idle + 100, "{idle} -> {resident} MiB");
    drop(connections);
    wait_until("its files are closed", async || target.open_files() <= files + 2).await;
    target.stop().await;
}

/// A credential that nobody can read was 59 KB of log.
#[tokio::test(flavor = "multi_thread")]
async fn attack_40_junk_leaves_no_log() {
    let target = Target::start().await;
    let before = target.server.log().len();
    for length in [10, 1_000, 30_000] {
        for _ in 0..20 {
            let junk = format!("Payment {}", "e".repeat(length));
            let refused = post(&target, "/mpp/pii/preview", r#"{"text":"a"}"#.to_owned(), Some(junk)).await;
            assert!(refused.status().is_client_error());
        }
    }
    let written = target.server.log().len() - before;
    assert!(written < 10_000, "{written} bytes");
    target.stop().await;
}
