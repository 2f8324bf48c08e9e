//! Class 37: sockets that say nothing, ask nothing, or do not take what they asked for.

use std::time::Duration;

use farebox_test_support::process::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{PLACES, Target};

/// HTTP/2's connection preface, and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// SETTINGS with `INITIAL_WINDOW_SIZE` 0: nothing of a body may be sent.
const NO_WINDOW: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// HEADERS of `GET /llms-full.txt`, with the indices of the static table and literals.
fn get_headers() -> Vec<u8> {
    let path = b"/llms-full.txt";
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    block.extend_from_slice(path);
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    let length = u8::try_from(block.len()).expect("short");
    let mut frame = vec![0, 0, length, 1, 0x5, 0, 0, 0, 1];
    frame.extend(block);
    frame
}

/// Ways to have a connection and give nothing for it.
fn silences() -> Vec<(&'static str, Vec<u8>)> {
    let whole = [PREFACE, SETTINGS].concat();
    vec![
        ("no byte", Vec::new()),
        ("one byte of either protocol", b"P".to_vec()),
        ("all but the last byte of the preface", PREFACE[..23].to_vec()),
        ("HTTP/2 without a request", whole),
        ("half a request line", b"GET /hea".to_vec()),
        ("headers without end", b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ".to_vec()),
    ]
}

/// True once the other end has closed the connection, whatever it sent before.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match tokio::time::timeout(Duration::from_millis(1), stream.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_37_silent_connections_take_no_place_for_long_and_never_health() {
    let target = Target::start().await;
    let idle = target.open_files();
    for (name, bytes) in silences() {
        let mut silent = Vec::new();
        for _ in 0..PLACES {
            let mut stream = target.connect().await.expect("it listens");
            stream.write_all(&bytes).await.expect("it takes them");
            silent.push(stream);
        }
        let health = target.health().await;
        assert!(health < Duration::from_secs(1), "{name}: {health:?}");
        // Who comes for something else while all places are taken is told so.
        let mut late = target.connect().await.expect("it listens");
        late.write_all(b"GET /mpp HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .expect("it takes them");
        let mut told = String::new();
        late.read_to_string(&mut told).await.expect("it answers");
        let is_full = told.starts_with("HTTP/1.1 503") && told.contains("retry-after");
        assert!(is_full || told.starts_with("HTTP/1.1 200"), "{name}: {told}");
        wait_until(name, async || {
            for stream in &mut silent {
                if !is_closed(stream).await {
                    return false;
                }
            }
            true
        })
        .await;
        wait_until("its files are closed", async || target.open_files() <= idle + 4).await;
    }
    assert!(target.resident().await < 400);
    target.stop().await;
}

/// An answer that is asked for and not taken, on either protocol.
#[tokio::test(flavor = "multi_thread")]
async fn attack_37_answers_that_nobody_takes_are_given_up() {
    let target = Target::start().await;
    let asking = b"GET /llms-full.txt HTTP/1.1\r\nhost: a\r\n\r\n".repeat(400);
    let no_window = [PREFACE, NO_WINDOW, &get_headers()].concat();
    for (name, bytes) in [("HTTP/1.1", asking), ("HTTP/2 with window 0", no_window)] {
        let mut streams = Vec::new();
        for _ in 0..16 {
            let mut stream = target.connect().await.expect("it listens");
            // The server stops reading when nobody takes its answers.
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&bytes)).await;
            streams.push(stream);
        }
        assert!(target.health().await < Duration::from_secs(1), "{name}");
        let idle = target.open_files() - 16;
        wait_until(name, async || target.open_files() <= idle + 2).await;
    }
    assert!(target.resident().await < 400);
    target.stop().await;
}

/// Who asks and takes keeps its connection for as long as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn attack_37_connections_that_are_used_are_kept() {
    let target = Target::start().await;
    let mut stream = target.connect().await.expect("it listens");
    for _ in 0..6 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is open");
        let mut bytes = [0; 1024];
        assert!(stream.read(&mut bytes).await.expect("it answers") > 0);
        // Longer than a first request may take, shorter than a connection may be idle.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    target.stop().await;
}
