//! The load, in a process of its own: `load ADDRESS CONNECTIONS MILLISECONDS`.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;

use crate::http::{Connection, PREVIEW, post};

/// Most requests that a connection sends, however fast the server is.
const MOST_PER_CONNECTION: u64 = 50_000;

/// Results of one run.
pub struct Load {
    pub answers: u64,
    pub seconds: f64,
}

impl Load {
    /// Runs it against `address` and waits for its end.
    pub fn on(address: SocketAddr, connections: usize, time: Duration) -> Result<Self> {
        let program = std::env::current_exe()?;
        let (address, connections) = (address.to_string(), connections.to_string());
        let time = time.as_millis().to_string();
        let output = Command::new(program).args(["load", &address, &connections, &time]).output()?;
        ensure!(output.status.success(), "the load failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let (answers, seconds) = text.trim().split_once(' ').context("two numbers")?;
        Ok(Self { answers: answers.parse()?, seconds: seconds.parse()? })
    }
}

pub fn run(arguments: &[&str]) -> Result<()> {
    let [address, connections, time] = arguments else {
        bail!("usage: load ADDRESS CONNECTIONS MILLISECONDS");
    };
    let time = Duration::from_millis(time.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = runtime.block_on(drive(address.parse()?, connections.parse()?, time))?;
    println!("{} {}", load.answers, load.seconds);
    Ok(())
}

async fn drive(address: SocketAddr, connections: usize, time: Duration) -> Result<Load> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let begun = Instant::now();
    let mut tasks: JoinSet<Result<u64>> =
        open.into_iter().map(|connection| ask(connection, begun + time)).collect();
    let mut answers = 0;
    while let Some(done) = tasks.join_next().await {
        answers += done??;
    }
    Ok(Load { answers, seconds: begun.elapsed().as_secs_f64() })
}

/// Asks without paying, until the time is over.
async fn ask(mut connection: Connection, end: Instant) -> Result<u64> {
    let request = post(PREVIEW, &[]);
    let mut answers = 0;
    while answers < MOST_PER_CONNECTION && Instant::now() < end {
        let answer = connection.exchange(&request).await?;
        ensure!(answer.status == 402, "{}", answer.head);
        answers += 1;
    }
    Ok(answers)
}
