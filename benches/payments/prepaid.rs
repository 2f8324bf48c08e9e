//! Latency that `/v1` adds to a call of its upstream, with hold, capture and ledger on, beside `LiteLLM`'s proxy.
//!
//! The upstream is the scripted one: it answers at once, so nearly all that is measured is ours.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use farebox::config::Secret;
use farebox::db::Db;
use farebox::id::{AccountId, SourceRef, Timestamp};
use farebox::keys::{self, KeyLimits, Keys, KeysError, NewKey};
use farebox::ledger;
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::db::{self, TestDb};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use crate::http::{Connection, post_body};
use crate::program::{Program, end_with_parent};
use crate::report::{Table, median, micros, number, percentile, title};

const ROUNDS: usize = 3;
/// Of those in which times are measured, for a disk that is shared stands still now and then.
const PACED_ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// Clients, each of which waits for its answer before it asks again.
const CLIENTS: usize = 32;
const OWNER: &str = "0x00000000000000000000000000000000000000bb";
/// Words of an answer, and chunks of a stream.
const WORDS: usize = 20;
const LITELLM_KEY: &str = "sk-bench";

/// The first contenders, which sell nothing: the upstream, and a proxy that syncs.
const BASELINES: usize = 2;

/// A server, and what opens it.
struct Contender {
    name: &'static str,
    server: Program,
    key: String,
    /// True if it must not run beside the others: it works on after its rounds.
    rests: bool,
    _keep: (Option<TempDir>, Option<TestDb>),
}

/// Results of one run of the load.
#[derive(Clone, Copy)]
struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
    /// By how much the clock of the load was late, p99 in milliseconds: what the machine does to a
    /// thread that does nothing but wake.
    late: f64,
    /// Of the server, in microseconds.
    cpu: f64,
}

pub async fn measure() -> Result<()> {
    title("10. Prepaid chat: what /v1 adds to its upstream");
    let (model, _) = Program::own(&["scripted"])?;
    let address = model.address;
    let mut contenders = vec![
        Contender {
            name: "the upstream itself",
            server: model,
            key: "none".into(),
            rests: false,
            _keep: (None, None),
        },
        synced(address)?,
        farebox("farebox, SQLite", address, None).await?,
    ];
    match db::postgres().await {
        Some(database) => contenders.push(farebox("farebox, PostgreSQL", address, Some(database)).await?),
        None => println!("  SKIPPED: PostgreSQL does not answer and cannot be started"),
    }
    match litellm(address) {
        Ok(litellm) => contenders.push(litellm),
        Err(error) => println!("  SKIPPED: LiteLLM: {error:#}"),
    }
    for kind in ["whole", "stream"] {
        let capacity = rounds(&contenders, kind, ROUNDS, |_| 0.0)?;
        // Half of what each can do; what stands beside them at the pace of the first of them.
        let paces: Vec<f64> = capacity.iter().map(|seen| seen.rate / 2.0).collect();
        let paced = rounds(&contenders, kind, PACED_ROUNDS, |at| paces[at.max(BASELINES)])?;
        print(&contenders, kind, &capacity, &paced);
    }
    println!(
        "  Medians of {ROUNDS} alternating rounds, of {PACED_ROUNDS} for times, {CLIENTS} clients. Times at half of what each server can do, from \
         when a request was due;\n  what is added includes waiting for a processor, of which the load and the \
         upstream take their part: the clock's p99 is how long the load's own clock waits for one.\n  LiteLLM is stopped between its rounds, for it works on after them. It has a master \
         key and no database: its\n  database client fetches its engine from a host of its own."
    );
    Ok(())
}

fn rounds(
    contenders: &[Contender],
    kind: &str,
    count: usize,
    pace: impl Fn(usize) -> f64,
) -> Result<Vec<Seen>> {
    let mut seen = vec![Vec::new(); contenders.len()];
    for _ in 0..count {
        for (at, contender) in contenders.iter().enumerate() {
            seen[at].push(contender.round(kind, pace(at))?);
        }
    }
    let middle = |rounds: &[Seen], of: fn(&Seen) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    Ok(seen
        .iter()
        .map(|rounds| Seen {
            rate: middle(rounds, |seen| seen.rate),
            p50: middle(rounds, |seen| seen.p50),
            p99: middle(rounds, |seen| seen.p99),
            late: middle(rounds, |seen| seen.late),
            cpu: middle(rounds, |seen| seen.cpu),
        })
        .collect())
}

fn print(contenders: &[Contender], kind: &str, capacity: &[Seen], paced: &[Seen]) {
    println!("\n  {kind}, {WORDS} words:");
    let mut table = Table::new(&[
        "",
        "requests/s",
        "CPU us/request",
        "requests/s per core",
        "paced at",
        "p50 ms",
        "p99 ms",
        "the clock's p99",
        "added p50",
        "added p99",
    ]);
    for (at, contender) in contenders.iter().enumerate() {
        let (full, half) = (capacity[at], paced[at]);
        let mut cells = vec![
            number(full.rate),
            number(full.cpu),
            number(1e6 / full.cpu),
            number(half.rate),
            number(half.p50),
            number(half.p99),
            number(half.late),
        ];
        if at > 0 {
            cells.extend([number(half.p50 - paced[0].p50), number(half.p99 - paced[0].p99)]);
        }
        table.row(contender.name, cells);
    }
    table.print();
}

impl Contender {
    fn round(&self, kind: &str, pace: f64) -> Result<Seen> {
        if !self.rests {
            return self.measured(kind, pace);
        }
        self.server.pause(false)?;
        let seen = self.measured(kind, pace);
        self.server.pause(true)?;
        seen
    }

    fn measured(&self, kind: &str, pace: f64) -> Result<Seen> {
        let before = self.server.cpu()?;
        let address = self.server.address.to_string();
        let (pace, time) = (pace.to_string(), ROUND.as_millis().to_string());
        let mut load = Command::new(std::env::current_exe()?);
        let output = load.args(["chat", &address, &self.key, kind, &pace, &time]).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {message}", self.name);
        let text = String::from_utf8(output.stdout)?;
        let numbers = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [answers, seconds, p50, p99, late] = numbers[..] else { bail!("the load said {text}") };
        let cpu = micros(self.server.cpu()?.saturating_sub(before)) / answers;
        Ok(Seen { rate: answers / seconds, p50, p99, late, cpu })
    }
}

/// The least that can be done for an answer that is paid for.
fn synced(model: SocketAddr) -> Result<Contender> {
    let folder = crate::folder()?;
    let server = Program::own(&["synced", &model.to_string(), &folder.path().display().to_string()])?.0;
    Ok(Contender {
        name: "a proxy that syncs a line",
        server,
        key: "none".into(),
        rests: false,
        _keep: (Some(folder), None),
    })
}

async fn farebox(name: &'static str, model: SocketAddr, database: Option<TestDb>) -> Result<Contender> {
    let folder = crate::folder()?;
    let configuration = configuration(model);
    let seeded = Program::seeded(folder.path(), &configuration, database.as_ref(), async |db| {
        customer(db, OWNER).await
    });
    let (server, key) = seeded.await?;
    Ok(Contender {
        name,
        server,
        key: key.expose().to_owned(),
        rests: false,
        _keep: (Some(folder), database),
    })
}

/// A wallet with more than is ever spent, and a key without limits that matter.
pub async fn customer(db: &Db, owner: &str) -> Result<Secret> {
    let minted = Keys::new(db.clone(), "pryv_").mint();
    let limits = KeyLimits { rpm: Some(u32::MAX), tpm: Some(u32::MAX), ..KeyLimits::default() };
    let (account, source) = (AccountId::wallet(owner)?, SourceRef::parse("bench:credit")?);
    let new = NewKey {
        id: &minted.id,
        owner,
        name: "bench",
        limits: &limits,
        expires_at: None,
        hash: &minted.hash,
    };
    let (new, account, source) = (&new, &account, &source);
    db.transaction(|mut tx| async move {
        let now = Timestamp::now();
        ledger::credit(&mut tx, account, Money::from_micros(1_000_000_000_000), source, now).await?;
        keys::create(&mut tx, new, now).await?;
        Ok::<_, KeysError>((tx, ()))
    })
    .await?;
    Ok(minted.text)
}

pub fn configuration(model: SocketAddr) -> String {
    format!(
        r#"
[[upstreams]]
name = "bench"
base_url = "http://{model}/v1"

[[models]]
id = "bench"
upstreams = ["bench"]
price_per_chunk = "0.000001"
price_per_million_input = "1"
price_per_million_output = "1"
context_length = 100000
max_output_tokens = 4000
"#
    )
}

/// `LiteLLM`'s proxy in front of the same upstream, with one worker.
fn litellm(model: SocketAddr) -> Result<Contender> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/litellm/bin/litellm");
    ensure!(program.exists(), "it is not installed; run `scripts/tools.sh litellm`");
    let folder = crate::folder()?;
    let file = folder.path().join("litellm.yaml");
    let configuration = json!({
        "model_list": [{ "model_name": "bench", "litellm_params": {
            "model": "openai/bench", "api_base": format!("http://{model}/v1"), "api_key": "none",
        } }],
        "general_settings": { "master_key": LITELLM_KEY },
    });
    // YAML takes JSON.
    std::fs::write(&file, configuration.to_string())?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&file).args(["--host", "127.0.0.1", "--num_workers", "1"]);
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_LOG", "ERROR");
    let server = Program::listening(&mut command, "--port", "/health/liveliness", folder.path())?;
    server.pause(true)?;
    Ok(Contender {
        name: "LiteLLM",
        server,
        key: LITELLM_KEY.into(),
        rests: true,
        _keep: (Some(folder), None),
    })
}

/// `scripted`: the scripted upstream, until its parent ends.
pub fn run_upstream() -> Result<()> {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let upstream = ScriptedUpstream::start().await?;
        let url = upstream.base_url();
        let address = url.trim_start_matches("http://").split('/').next().context("an address")?;
        println!("{address}");
        std::future::pending().await
    })
}

/// `chat ADDRESS KEY whole|stream PACE MILLISECONDS`: clients of one server; with a pace, so many requests a second
/// altogether. Says how many answers, in how many seconds, their p50 and p99 in milliseconds, and by how much the clock
/// was late, p99.
pub fn run_load(arguments: &[&str]) -> Result<()> {
    let [address, key, kind, pace, time] = arguments else {
        bail!("usage: chat ADDRESS KEY whole|stream PACE MILLISECONDS");
    };
    let (address, pace): (SocketAddr, f64) = (address.parse()?, pace.parse()?);
    let time = Duration::from_millis(time.parse()?);
    let prompt = json!({ "chunks": WORDS }).to_string();
    let body = json!({
        "model": "bench", "max_tokens": 50, "stream": *kind == "stream",
        "messages": [{ "role": "user", "content": prompt }],
    });
    let bearer = format!("Bearer {key}");
    let request = post_body("/v1/chat/completions", &[("authorization", &bearer)], &body.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (latencies, late, seconds) = runtime.block_on(drive(address, request, pace, time))?;
    let [p50, p99] = [50, 99].map(|of| percentile(&latencies, of));
    println!("{} {seconds} {p50} {p99} {}", latencies.len(), percentile(&late, 99));
    Ok(())
}

/// Latencies, by how much the clock was late, and seconds.
pub async fn drive(
    address: SocketAddr,
    request: Vec<u8>,
    pace: f64,
    time: Duration,
) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(Connection::open(address).await?);
    }
    let begun = Instant::now();
    let (clocks, dues): (Vec<_>, Vec<_>) = connections.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let paced = pace > 0.0;
    let period = Duration::from_secs_f64(if paced { 1.0 / pace } else { 0.0 });
    let clock = paced.then(|| std::thread::spawn(move || send_ticks(begun, period, time, &clocks)));
    let mut clients = JoinSet::new();
    for (connection, dues) in connections.into_iter().zip(dues) {
        let request = request.clone();
        clients.spawn(ask(connection, request, paced.then_some(dues), begun + time));
    }
    let mut latencies = Vec::new();
    while let Some(done) = clients.join_next().await {
        latencies.extend(done??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let late = clock.and_then(|clock| clock.join().ok()).unwrap_or_default();
    Ok((latencies, late, seconds))
}

/// Tells the clients, in turn, that a request is due. The runtime's own timers count in milliseconds:
/// they would gather requests that are spread evenly into bursts. By how many milliseconds each was
/// late.
fn send_ticks(
    begun: Instant,
    period: Duration,
    time: Duration,
    clients: &[UnboundedSender<Instant>],
) -> Vec<f64> {
    let (mut due, mut late) = (begun, Vec::new());
    for client in clients.iter().cycle() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // The receiver is gone when its server failed.
        if due >= begun + time || client.send(due).is_err() {
            break;
        }
        late.push(due.elapsed().as_secs_f64() * 1e3);
        due += period;
    }
    late
}

/// One client, until the time is over: asks when a request is due, or as soon as it has its answer.
/// Milliseconds from when each was due.
async fn ask(
    mut connection: Connection,
    request: Vec<u8>,
    mut dues: Option<UnboundedReceiver<Instant>>,
    end: Instant,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    loop {
        let due = match &mut dues {
            Some(dues) => dues.recv().await,
            None => Some(Instant::now()).filter(|now| *now < end),
        };
        let Some(due) = due else { return Ok(latencies) };
        let answer = connection.exchange(&request).await?;
        ensure!(answer.status == 200, "{} {}", answer.head, String::from_utf8_lossy(answer.body));
        latencies.push(due.elapsed().as_secs_f64() * 1e3);
    }
}
