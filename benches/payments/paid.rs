//! Paid previews, from a signed credential to the answer: the chain's part is waited for but runs
//! in other processes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use farebox_test_support::db::{self, TestDb};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::http::{Connection, PREVIEW, field, post};
use crate::program::Program;
use crate::report::{Table, median, micros, millis, number, percentile, real, title};

const ROUNDS: usize = 3;
/// Concurrent payments, and payments of a round. A round must be over before
/// its signatures expire: the local chain takes transactions that expire within 30 s.
const WAVES: [(usize, usize); 2] = [(1, 32), (16, 96)];

/// One server, its database, and its waves.
struct Contender {
    name: &'static str,
    server: Program,
    waves: Vec<Wave>,
    _database: (Option<TempDir>, Option<TestDb>),
}

/// Results of the payments of one concurrency, over all rounds.
#[derive(Default)]
struct Wave {
    rates: Vec<f64>,
    latencies: Vec<f64>,
    cpu: Duration,
}

pub async fn measure() -> Result<()> {
    title("2. Paid previews: validated, broadcast to a local chain, settled and delivered");
    let chain = match Chain::start() {
        Ok(chain) => chain,
        Err(error) => {
            println!("  SKIPPED: no local chain ({error:#}); run `make tools`");
            return Ok(());
        }
    };
    let mut contenders = vec![on_sqlite(&chain)?];
    match db::postgres().await {
        Some(database) => contenders.push(on_postgres(&chain, database)?),
        None => println!("  SKIPPED: PostgreSQL does not answer and cannot be started"),
    }
    for contender in &contenders {
        // First payments are different: accounts and connections are new.
        contender.wave(&chain, 4, 8).await?;
    }
    for _ in 0..ROUNDS {
        for (index, (concurrency, payments)) in WAVES.into_iter().enumerate() {
            for contender in &mut contenders {
                let wave = contender.wave(&chain, concurrency, payments).await?;
                contender.waves[index].add(wave);
            }
        }
    }
    print(&contenders);
    Ok(())
}

fn on_sqlite(chain: &Chain) -> Result<Contender> {
    let folder = crate::folder()?;
    let database = format!("sqlite://{}", folder.path().join("farebox.db").display());
    let server = Program::farebox(folder.path(), &database, &chain.rpc_url)?;
    Ok(Contender::new("SQLite", server, (Some(folder), None)))
}

fn on_postgres(chain: &Chain, database: TestDb) -> Result<Contender> {
    let folder = crate::folder()?;
    let server = Program::farebox(folder.path(), &database.url, &chain.rpc_url)?;
    Ok(Contender::new("PostgreSQL", server, (Some(folder), Some(database))))
}

impl Contender {
    fn new(name: &'static str, server: Program, database: (Option<TempDir>, Option<TestDb>)) -> Self {
        let waves = WAVES.iter().map(|_| Wave::default()).collect();
        Self { name, server, waves, _database: database }
    }

    /// Signs this many payments, then pays them, `concurrency` at a time.
    async fn wave(&self, chain: &Chain, concurrency: usize, payments: usize) -> Result<Wave> {
        let mut requests = vec![Vec::new(); concurrency];
        let mut connection = Connection::open(self.server.address).await?;
        for n in 0..payments {
            let asked = connection.exchange(&post(PREVIEW, &[])).await?;
            let challenge = field(asked.head, "www-authenticate").context("a 402 carries a challenge")?;
            let credential = chain.sign(n, challenge).await?;
            requests[n % concurrency].push(post(PREVIEW, &[("authorization", &credential)]));
        }
        let before = self.server.cpu()?;
        let begun = Instant::now();
        let mut payers = JoinSet::new();
        for requests in requests {
            payers.spawn(pay(Connection::open(self.server.address).await?, requests));
        }
        let mut latencies = Vec::with_capacity(payments);
        while let Some(paid) = payers.join_next().await {
            latencies.extend(paid??);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = self.server.cpu()?.saturating_sub(before);
        Ok(Wave { rates: vec![real(payments as u64) / seconds], latencies, cpu })
    }
}

impl Wave {
    fn add(&mut self, other: Self) {
        self.rates.extend(other.rates);
        self.latencies.extend(other.latencies);
        self.cpu += other.cpu;
    }
}

/// Pays one after the other; returns the milliseconds each took.
async fn pay(mut connection: Connection, requests: Vec<Vec<u8>>) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        let begun = Instant::now();
        let answer = connection.exchange(&request).await?;
        latencies.push(millis(begun.elapsed()));
        let text = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == 200, "a payment was answered {}: {text}", answer.head);
        ensure!(field(answer.head, "payment-receipt").is_some(), "no receipt: {}", answer.head);
    }
    Ok(latencies)
}

fn print(contenders: &[Contender]) {
    let mut table = Table::new(&["", "previews/s", "p50 ms", "p99 ms", "server CPU us/preview", "previews"]);
    for (index, (concurrency, _)) in WAVES.into_iter().enumerate() {
        for Contender { name, waves, .. } in contenders {
            let Wave { rates, latencies, cpu } = &waves[index];
            let count = real(latencies.len() as u64);
            table.row(
                &format!("{name}, {concurrency} at a time"),
                [
                    number(median(rates)),
                    number(median(latencies)),
                    number(percentile(latencies, 99)),
                    number(micros(*cpu) / count),
                    number(count),
                ],
            );
        }
    }
    table.print();
    println!(
        "  Rates are medians of {ROUNDS} alternating rounds; latencies and CPU are of all previews. The CPU \
         time is that\n  of farebox alone, SQLite within it and PostgreSQL not; rates and latencies include the \
         chain, which shares\n  the cores."
    );
}
