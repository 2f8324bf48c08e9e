//! What the MCP server adds to a call of the same work over `/v1`, beside a server on the official TypeScript SDK that has
//! the same tools in memory, asks for no token and charges nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use farebox::config::Secret;
use farebox_test_support::agent::Agent;
use farebox_test_support::login::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::prepaid::{self, drive};
use crate::program::Program;
use crate::report::{Table, median, micros, number, percentile, title};

const ROUNDS: usize = 3;
/// Of those in which times are measured.
const PACED_ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// Calls that are open while memory is measured.
const OPEN: usize = 1_000;
const TEXT: &str = "Mail jane@example.com or call +1 415 555 2671.";

/// One way to ask for some work.
struct Door<'a> {
    name: &'static str,
    server: &'a Program,
    request: Vec<u8>,
}

/// Results of one run of the load.
#[derive(Clone, Copy)]
struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Of the server, in microseconds.
    cpu: f64,
}

pub async fn measure() -> Result<()> {
    title("12. MCP: what /mcp adds to the same call over /v1, and 1000 open calls");
    let (model, _) = Program::own(&["scripted"])?;
    let wallet = Agent::random();
    let folder = crate::folder()?;
    let (server, key) = farebox(&folder, model.address, &wallet).await?;
    let origin = format!("http://{}", server.address);
    let tokens = Client::registered(&origin).await.log_in(&origin, &wallet, &json!({ "limits": {} })).await;
    let peer = Program::mcp_peer().map_err(|error| println!("  SKIPPED: the TypeScript SDK: {error:#}")).ok();
    let token = tokens.access.as_str();
    for tool in ["list_models", "pii_preview"] {
        let arguments =
            if tool == "pii_preview" { json!({ "text": TEXT, "model": "rules" }) } else { json!({}) };
        let mut doors = vec![
            Door { name: "farebox, /v1", server: &server, request: over_v1(&server, key.expose(), tool) },
            Door {
                name: "farebox, /mcp",
                server: &server,
                request: over_mcp(server.address, "/mcp", Some(token), tool, &arguments),
            },
        ];
        if let Some(peer) = &peer {
            let arguments = if tool == "pii_preview" { json!({ "text": TEXT }) } else { json!({}) };
            let request = over_mcp(peer.address, "/mcp", None, tool, &arguments);
            doors.push(Door { name: "the TypeScript SDK, in memory", server: peer, request });
        }
        compare(tool, &doors)?;
    }
    println!(
        "  Medians of {ROUNDS} alternating rounds, of {PACED_ROUNDS} for times, 32 clients on SQLite. Times at half of what each can do, from when a \
         call was due.\n  The peer looks for addresses of mail with one regular expression; pii_preview of ours has a wallet pay for it, durably."
    );
    open_calls(&server, token).await
}

/// The server, and a key of the same wallet for `/v1`.
async fn farebox(folder: &TempDir, model: SocketAddr, wallet: &Agent) -> Result<(Program, Secret)> {
    let configuration = format!(
        "{}\n[pii]\npreview_price = \"0.000001\"\n[keys]\ndefault_rpm = 4000000000\ndefault_tpm = 4000000000\n",
        prepaid::configuration(model)
    );
    let owner = format!("{:#x}", wallet.address());
    Program::seeded(folder.path(), &configuration, None, async |db| prepaid::customer(db, &owner).await).await
}

fn http(method: &str, address: SocketAddr, path: &str, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    // The MCP server looks at the host.
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    if !body.is_empty() {
        request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    request += body;
    request.into_bytes()
}

fn over_v1(server: &Program, key: &str, tool: &str) -> Vec<u8> {
    let headers = [("authorization", format!("Bearer {key}"))];
    if tool == "list_models" {
        return http("GET", server.address, "/v1/models", &headers, "");
    }
    let body = json!({ "text": TEXT, "piiConfig": { "model": "rules" } }).to_string();
    http("POST", server.address, "/v1/pii/preview", &headers, &body)
}

fn over_mcp(address: SocketAddr, path: &str, token: Option<&str>, tool: &str, arguments: &Value) -> Vec<u8> {
    let params = json!({ "name": tool, "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let mut headers = vec![
        ("accept", "application/json, text/event-stream".to_owned()),
        ("mcp-protocol-version", "2025-06-18".to_owned()),
    ];
    headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
    http("POST", address, path, &headers, &body.to_string())
}

fn compare(tool: &str, doors: &[Door<'_>]) -> Result<()> {
    let capacity = rounds(doors, ROUNDS, |_| 0.0)?;
    let paces: Vec<f64> = capacity.iter().map(|seen| seen.rate / 2.0).collect();
    let paced = rounds(doors, PACED_ROUNDS, |at| paces[at])?;
    println!("\n  {tool}:");
    let mut table =
        Table::new(&["", "calls/s", "CPU us/call", "paced at", "p50 ms", "p99 ms", "added p50", "added p99"]);
    for (at, door) in doors.iter().enumerate() {
        let (full, half) = (capacity[at], paced[at]);
        let mut cells =
            vec![number(full.rate), number(full.cpu), number(half.rate), number(half.p50), number(half.p99)];
        if at > 0 {
            cells.extend([number(half.p50 - paced[0].p50), number(half.p99 - paced[0].p99)]);
        }
        table.row(door.name, cells);
    }
    table.print();
    Ok(())
}

fn rounds(doors: &[Door<'_>], count: usize, pace: impl Fn(usize) -> f64) -> Result<Vec<Seen>> {
    let mut seen = vec![Vec::new(); doors.len()];
    for _ in 0..count {
        for (at, door) in doors.iter().enumerate() {
            seen[at].push(door.round(pace(at))?);
        }
    }
    let middle = |rounds: &[Seen], of: fn(&Seen) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let of = |rounds: &Vec<Seen>| Seen {
        rate: middle(rounds, |seen| seen.rate),
        p50: middle(rounds, |seen| seen.p50),
        p99: middle(rounds, |seen| seen.p99),
        cpu: middle(rounds, |seen| seen.cpu),
    };
    Ok(seen.iter().map(of).collect())
}

impl Door<'_> {
    fn round(&self, pace: f64) -> Result<Seen> {
        let folder = crate::folder()?;
        let file = folder.path().join("request");
        std::fs::write(&file, &self.request)?;
        let before = self.server.cpu()?;
        let (address, file) = (self.server.address.to_string(), file.display().to_string());
        let (pace, time) = (pace.to_string(), ROUND.as_millis().to_string());
        let output =
            Command::new(std::env::current_exe()?).args(["calls", &address, &file, &pace, &time]).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {message}", self.name);
        let text = String::from_utf8(output.stdout)?;
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [answers, seconds, p50, p99] = numbers[..] else { bail!("the load said {text}") };
        let cpu = micros(self.server.cpu()?.saturating_sub(before)) / answers;
        Ok(Seen { rate: answers / seconds, p50, p99, cpu })
    }
}

/// `calls ADDRESS FILE PACE MILLISECONDS`: clients that send the request in a file again and again. Says how many
/// answers, in how many seconds, and their p50 and p99 in milliseconds.
pub fn run_load(arguments: &[&str]) -> Result<()> {
    let [address, file, pace, time] = arguments else {
        bail!("usage: calls ADDRESS FILE PACE MILLISECONDS");
    };
    let (request, pace) = (std::fs::read(file)?, pace.parse()?);
    let time = Duration::from_millis(time.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (latencies, _, seconds) = runtime.block_on(drive(address.parse()?, request, pace, time))?;
    let [p50, p99] = [50, 99].map(|of| percentile(&latencies, of));
    println!("{} {seconds} {p50} {p99}", latencies.len());
    Ok(())
}

/// Memory of calls that wait for a model and have told of their progress.
async fn open_calls(server: &Program, token: &str) -> Result<()> {
    let before = server.resident()?;
    let script = json!({ "chunks": 1, "firstMs": 600_000 }).to_string();
    let params = json!({
        "name": "chat", "arguments": { "model": "bench", "prompt": script, "maxTokens": 10 },
        "_meta": { "progressToken": 1 },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let headers = [
        ("accept", "application/json, text/event-stream".to_owned()),
        ("mcp-protocol-version", "2025-06-18".to_owned()),
        ("authorization", format!("Bearer {token}")),
    ];
    let request = http("POST", server.address, "/mcp", &headers, &body);
    let mut calls = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.write_all(&request).await?;
        calls.push(stream);
    }
    for call in &mut calls {
        tokio::time::timeout(Duration::from_secs(60), progress(call))
            .await
            .context("no progress in time")??;
    }
    let with = server.resident()?;
    println!(
        "\n  {OPEN} open calls of chat with progress: {} MB of resident memory, {} MB before, {} kB a call",
        number(with),
        number(before),
        number((with - before) * 1e3 / f64::from(u32::try_from(OPEN)?))
    );
    Ok(())
}

/// Reads a call's stream until it tells of progress.
async fn progress(call: &mut TcpStream) -> Result<()> {
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 2048];
        let length = call.read(&mut piece).await?;
        received.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&received);
        ensure!(length > 0 && text.starts_with("HTTP/1.1 200"), "{text}");
        if text.contains("notifications/progress") {
            return Ok(());
        }
    }
}
