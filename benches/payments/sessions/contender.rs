//! The servers that are compared, and one round of load on one of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use farebox_test_support::db::TestDb;
use tempfile::TempDir;

use super::load::{Running, Seen};
use super::seed::Payer;
use super::{CHAT, OPERATOR_KEY, peers, prompt};
use crate::http::{Connection, field, post_body};
use crate::program::Program;
use crate::report::real;

/// Longest wait for a server to end the streams of a round.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a peer, which is restarted then.
const PEER_TIME_LIMIT: Duration = Duration::from_secs(3);
/// A server that uses no processor time for so long has nothing left to do.
const IDLE_TIME: Duration = Duration::from_millis(300);

type Start = Box<dyn Fn() -> Result<Program>>;

/// One server, and what each of its streams sends.
pub struct Contender {
    pub name: &'static str,
    pub server: Program,
    /// A header in each line.
    headers: PathBuf,
    /// Start of a peer; farebox is started once.
    start: Option<Start>,
    /// Restarts of a peer that went on after its readers had gone.
    pub restarts: usize,
    folder: TempDir,
    _database: Option<TestDb>,
}

/// One round.
pub struct Round {
    pub seen: Seen,
    pub cpu: Duration,
    /// Of the ledger's batch writer, per second.
    pub charges: f64,
    pub commits: f64,
}

impl Round {
    pub fn rate(&self) -> f64 {
        real(self.seen.chunks) / self.seen.seconds
    }
}

impl Contender {
    /// `farebox serve` on SQLite, or on a given database of PostgreSQL.
    pub async fn farebox(
        name: &'static str,
        model: SocketAddr,
        channels: usize,
        database: Option<TestDb>,
    ) -> Result<Self> {
        let folder = crate::folder()?;
        let seed = async |db: &_| Payer::with_channels(db, channels).await;
        let configuration = configuration(model);
        let seeded = Program::seeded(folder.path(), &configuration, database.as_ref(), seed);
        let (server, payer) = seeded.await?;
        let mut connection = Connection::open(server.address).await?;
        let asked = connection.exchange(&post_body(CHAT, &[], &prompt(1, 0))).await?;
        let challenge = field(asked.head, "www-authenticate").context("a 402 carries a challenge")?;
        let credentials = payer.credentials(challenge)?;
        let headers = credentials.iter().map(|credential| format!("authorization: {credential}"));
        let headers = written(&folder, headers)?;
        Ok(Self { name, server, headers, start: None, restarts: 0, folder, _database: database })
    }

    /// A server that looks at no credential.
    pub fn peer(
        name: &'static str,
        channels: usize,
        start: impl Fn() -> Result<Program> + 'static,
    ) -> Result<Self> {
        let server = start()?;
        let folder = crate::folder()?;
        let headers = (0..channels).map(|number| format!("{}: {}", peers::CHANNEL, peers::channel(number)));
        let headers = written(&folder, headers)?;
        Ok(Self { name, server, headers, start: Some(Box::new(start)), restarts: 0, folder, _database: None })
    }

    /// Opens streams, measures for a while, and waits until the server has ended them all.
    pub fn round(&mut self, streams: usize, rate: u64, time: Duration) -> Result<Round> {
        let load = Running::start(self.server.address, &self.headers, streams, rate, time)
            .with_context(|| format!("{}: {}", self.name, self.log()))?;
        let (ledger, cpu) = (self.ledger()?, self.server.cpu()?);
        let seen = load.seen().with_context(|| format!("{}: {}", self.name, self.log()))?;
        let cpu = self.server.cpu()?.saturating_sub(cpu);
        let after = self.ledger()?;
        let elapsed = (after.at - ledger.at).as_secs_f64();
        self.settle()?;
        Ok(Round {
            seen,
            cpu,
            charges: real(after.charges - ledger.charges) / elapsed,
            commits: real(after.batches - ledger.batches) / elapsed,
        })
    }

    /// Opens streams that say nothing but their beginning; returns the resident memory with them.
    pub fn idle(&mut self, streams: usize, time: Duration) -> Result<f64> {
        // More streams than there ever are: the model waits for them.
        let load = Running::idle(self.server.address, &self.headers, streams, time)
            .with_context(|| format!("{}: {}", self.name, self.log()))?;
        let resident = self.server.resident()?;
        load.seen()?;
        self.settle()?;
        Ok(resident)
    }

    /// Waits until it does nothing any more.
    fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut before = self.server.cpu()?;
        loop {
            std::thread::sleep(IDLE_TIME);
            let now = self.server.cpu()?;
            if now.saturating_sub(before) <= Duration::from_millis(10) {
                return Ok(());
            }
            if let Some(start) = self.start.as_ref().filter(|_| begun.elapsed() > PEER_TIME_LIMIT) {
                self.server = start()?;
                self.restarts += 1;
                return Ok(());
            }
            ensure!(begun.elapsed() < TIME_LIMIT, "{} does not come to rest", self.name);
            before = now;
        }
    }

    pub fn is_farebox(&self) -> bool {
        self.start.is_none()
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    /// Counts of the batch writer so far.
    fn ledger(&self) -> Result<Ledger> {
        let at = Instant::now();
        if !self.is_farebox() {
            return Ok(Ledger { at, charges: 0, batches: 0 });
        }
        let text = self.server.metrics()?;
        let value = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.map_or(Ok(0), |value| value.trim().parse())?)
        };
        Ok(Ledger {
            at,
            charges: value("farebox_ledger_charges_total ")?,
            batches: value("farebox_ledger_batches_total ")?,
        })
    }
}

/// The ledger's counters at a moment.
struct Ledger {
    at: Instant,
    charges: u64,
    batches: u64,
}

fn written(folder: &TempDir, lines: impl Iterator<Item = String>) -> Result<PathBuf> {
    let file = folder.path().join("headers");
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n"))?;
    Ok(file)
}

/// The model's price is one unit of the smallest, so that no channel ever runs dry.
fn configuration(model: SocketAddr) -> String {
    format!(
        r#"
[sessions]
operator_key = "{OPERATOR_KEY}"

[[upstreams]]
name = "bench"
base_url = "http://{model}/v1"
idle_timeout_ms = 600000

[[models]]
id = "bench"
upstreams = ["bench"]
price_per_chunk = "0.000001"
price_per_million_input = "1"
price_per_million_output = "1"
context_length = 100000000
max_output_tokens = 100000000
"#
    )
}
