//! What a client that pays nothing can cause: processor time and memory of the server for each attack, and how long others
//! wait meanwhile. Each attack is on a process of its own, so that its peak of memory is its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use farebox_test_support::agent::{Agent, Challenge, authorization};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::http::{Connection, PREVIEW, field, post_body};
use crate::program::Program;
use crate::report::{Table, millis, number, real, title};

/// Time for which connections that wait for nothing are kept.
const KEPT: Duration = Duration::from_secs(3);
/// Time after which an attack is over, whether it got its answers or not.
const LONGEST: Duration = Duration::from_mins(2);
/// HTTP/2's connection preface, and an empty SETTINGS frame (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Requests that are sent at once, one on each connection.
struct Attack {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    /// False for connections that are kept open.
    is_answered: bool,
}

struct Cost {
    megabytes_sent: f64,
    seconds: f64,
    memory: f64,
    slowest_health: Duration,
}

pub async fn measure() -> Result<()> {
    title("11. Attacks without money: the server's cost of each, and the slowest /healthz meanwhile");
    let chain = match Chain::start() {
        Ok(chain) => chain,
        Err(error) => {
            println!("  SKIPPED: no local chain ({error:#}); run `make tools`");
            return Ok(());
        }
    };
    let mut table =
        Table::new(&["", "MB sent", "CPU s", "CPU s per MB", "MB of memory", "per MB", "slowest health, ms"]);
    let names = ["silent", "values", "nested", "text", "streams", "credentials"];
    for name in names {
        let folder = crate::folder()?;
        let database = format!("sqlite://{}", folder.path().join("farebox.db").display());
        let server = Program::farebox(folder.path(), &database, &chain.rpc_url)?;
        let attack = prepare(name, &server).await?;
        let (name, is_silent) = (attack.name, attack.requests.iter().all(|request| request.len() < 100));
        let cost = run(&server, attack).await?;
        let per_megabyte = |value: f64| {
            if is_silent { "-".to_owned() } else { number(value / cost.megabytes_sent) }
        };
        table.row(
            name,
            [
                number(cost.megabytes_sent),
                number(cost.seconds),
                per_megabyte(cost.seconds),
                number(cost.memory),
                per_megabyte(cost.memory),
                number(millis(cost.slowest_health)),
            ],
        );
    }
    table.print();
    println!("  Memory is the highest resident size less that of the idle process. Limits are the defaults.");
    Ok(())
}

async fn prepare(name: &str, server: &Program) -> Result<Attack> {
    let same = |count: usize, body: &str| vec![post_body(PREVIEW, &[], body); count];
    let (name, requests, is_answered) = match name {
        "silent" => ("400 connections that send one byte", vec![b"P".to_vec(); 400], false),
        "values" => {
            let body = format!("{{\"text\":[{}1]}}", "1,".repeat(9_900_000));
            ("4 bodies of 9.9 million numbers", same(4, &body), true)
        }
        "nested" => {
            let body = format!("{{\"text\":{}{}}}", "[".repeat(9_900_000), "]".repeat(9_900_000));
            ("4 bodies of 9.9 million brackets", same(4, &body), true)
        }
        "text" => {
            let words = "Maria Gonzalez lives in Springfield, call +1 415 555 2671. ".repeat(3_300);
            let body = serde_json::json!({ "text": words }).to_string();
            let mut requests = Vec::new();
            for _ in 0..48 {
                let mut connection = Connection::open(server.address).await?;
                let unpaid = connection.exchange(&post_body(PREVIEW, &[], &body)).await?;
                let challenge = field(unpaid.head, "www-authenticate").context("a challenge")?;
                let credential = authorization(&Agent::random().pull(&Challenge::parse(challenge)));
                requests.push(post_body(PREVIEW, &[("authorization", &credential)], &body));
            }
            ("48 texts of 195 kB, signed by empty wallets", requests, true)
        }
        "streams" => {
            let bytes = [PREFACE, &(1..=199).step_by(2).flat_map(unfinished).collect::<Vec<u8>>()].concat();
            ("50 connections with 100 unfinished HTTP/2 bodies", vec![bytes; 50], false)
        }
        _ => {
            let junk = format!("Payment {}", "e".repeat(30_000));
            let request = post_body(PREVIEW, &[("authorization", &junk)], r#"{"text":"a"}"#);
            ("400 credentials of 30 kB that nobody can read", vec![request; 400], true)
        }
    };
    Ok(Attack { name, requests, is_answered })
}

/// The head of a POST of JSON, and a kilobyte of its body; the stream stays open.
fn unfinished(stream: u8) -> Vec<u8> {
    let name = |text: &[u8]| [&[u8::try_from(text.len()).unwrap_or(0)], text].concat();
    let block = [
        &[0x83, 0x86, 0x04][..],
        &name(PREVIEW.as_bytes()),
        &[0x01],
        &name(b"localhost"),
        &[0x0f, 16],
        &name(b"application/json"),
    ]
    .concat();
    let body = [b' '; 1000];
    let frame = |length: usize, kind: u8, flags: u8| {
        let [.., high, middle, low] = length.to_be_bytes();
        [high, middle, low, kind, flags, 0, 0, 0, stream]
    };
    [&frame(block.len(), 1, 4)[..], &block, &frame(body.len(), 0, 0), &body].concat()
}

async fn run(server: &Program, attack: Attack) -> Result<Cost> {
    let (idle, cpu, address) = (server.resident()?, server.cpu()?, server.address);
    let bytes: usize = attack.requests.iter().map(Vec::len).sum();
    let mut connections = JoinSet::new();
    for request in attack.requests {
        let is_answered = attack.is_answered;
        connections.spawn(async move {
            let exchange = async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(&request).await?;
                if is_answered {
                    stream.read_exact(&mut [0; 12]).await?;
                } else {
                    tokio::time::sleep(KEPT).await;
                }
                Ok::<_, std::io::Error>(())
            };
            // A connection that is cut off has been answered too.
            let _ = tokio::time::timeout(LONGEST, exchange).await;
        });
    }
    let mut slowest_health = Duration::ZERO;
    while !connections.is_empty() {
        let began = Instant::now();
        let mut connection = Connection::open(address).await?;
        let health = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        anyhow::ensure!(connection.exchange(health).await?.status == 200, "it is not healthy");
        slowest_health = slowest_health.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
        while connections.try_join_next().is_some() {}
    }
    Ok(Cost {
        megabytes_sent: real(bytes as u64) / 1e6,
        seconds: server.cpu()?.saturating_sub(cpu).as_secs_f64(),
        memory: server.peak()? - idle,
        slowest_health,
    })
}
