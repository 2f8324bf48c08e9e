//! Attackers who want the server for themselves, against the real program with few places: whatever they do, others are
//! served meanwhile, and in the end everything is as before.

mod silence;
mod work;

use std::time::{Duration, Instant};

use farebox::devnet::{Devnet, DevnetConfig};
use farebox_test_support::process::{ServerProcess, Setup};
use tokio::net::TcpStream;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");

/// Places of the server for connections.
pub const PLACES: usize = 64;

/// A server with few places, which waits shorter than usual.
pub struct Target {
    pub setup: Setup,
    pub server: ServerProcess,
    pub devnet: Devnet,
    _folder: tempfile::TempDir,
}

impl Target {
    pub async fn start() -> Self {
        let devnet = Devnet::start(DevnetConfig::default()).await.expect("a local chain");
        let folder = tempfile::tempdir().expect("temporary folder");
        let url = format!("sqlite://{}", folder.path().join("farebox.db").display());
        let setup = Setup::new(FAREBOX, &devnet, &url)
            .with("FAREBOX_SERVER_MAX_CONNECTIONS", PLACES.to_string())
            .with("FAREBOX_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "200")
            .with("FAREBOX_SERVER_HEADER_TIMEOUT_MS", "2000")
            .with("FAREBOX_SERVER_IDLE_TIMEOUT_MS", "3000")
            .with("FAREBOX_SERVER_WRITE_TIMEOUT_MS", "3000");
        let server = setup.serve().await;
        Self { setup, server, devnet, _folder: folder }
    }

    pub async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.setup.port)).await
    }

    /// Asks for the server's health on three new connections; returns how long the fastest took. A kernel whose queue of
    /// connections is full for a moment makes one of them wait for a second.
    pub async fn health(&self) -> Duration {
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let url = format!("{}/healthz", self.setup.origin());
            tries.spawn(async move {
                let began = Instant::now();
                let client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy();
                let client = client.timeout(Duration::from_secs(10)).build().expect("a client");
                assert_eq!(client.get(url).send().await.expect("it answers").status(), 200);
                began.elapsed()
            });
        }
        tries.join_all().await.into_iter().min().expect("three tries")
    }

    /// Resident memory of the server, in MiB.
    pub async fn resident(&self) -> u64 {
        let mut ps = tokio::process::Command::new("ps");
        let output = ps.args(["-o", "rss=", "-p", &self.server.id().to_string()]).output().await;
        let output = output.expect("ps runs").stdout;
        String::from_utf8(output).expect("text").trim().parse::<u64>().expect("KiB") / 1024
    }

    /// Files that the server has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.server.id())).map_or(0, Iterator::count)
    }

    pub async fn stop(self) {
        self.server.kill().await;
        self.devnet.stop().await;
    }
}
