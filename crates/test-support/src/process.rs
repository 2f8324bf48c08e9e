//! The program as its operator runs it: a process of its own that can be killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use farebox::devnet::{Devnet, DevnetConfig};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longest wait for anything here, on a busy machine.
pub const TIME_LIMIT: Duration = Duration::from_mins(1);
/// Pause between two polls of something that cannot be awaited.
pub const POLL_INTERVAL: Duration = Duration::from_millis(3);

/// Polls until `condition` holds.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIME_LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {TIME_LIMIT:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A port that was free a moment ago, below those that systems give to whoever asks for any: no neighbour gets it until it
/// is used.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(37);
    let ports =
        std::iter::repeat_with(|| 20_000 + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let mut ports = ports.take(12_000).filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// `farebox` with nothing configured but the `PATH`. `path` is that of the built program.
pub fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Configuration of a server. Every start of it is the same instance: same address, same database.
#[derive(Debug)]
pub struct Setup {
    /// Path of the built program.
    program: &'static str,
    pub port: u16,
    pub recipient: Address,
    settings: Vec<(&'static str, String)>,
    logs: TempDir,
}

impl Setup {
    /// A server on `devnet` and the database at `url`; its recipient is an account of its own.
    pub fn new(program: &'static str, devnet: &Devnet, url: &str) -> Self {
        let (port, recipient) = (free_port(), PrivateKeySigner::random().address());
        let settings = vec![
            ("FAREBOX_SERVER_LISTEN", format!("127.0.0.1:{port}")),
            ("FAREBOX_SERVER_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("FAREBOX_SERVER_PUBLIC_URL", format!("http://127.0.0.1:{port}")),
            ("FAREBOX_DATABASE_URL", url.to_owned()),
            ("FAREBOX_PAYMENTS_SECRET", "a secret of at least thirty-two bytes".to_owned()),
            ("FAREBOX_PAYMENTS_RECIPIENT", format!("{recipient:#x}")),
            ("FAREBOX_CHAIN_RPC_URL", devnet.rpc_url()),
            ("FAREBOX_CHAIN_CHAIN_ID", DevnetConfig::default().chain_id.to_string()),
        ];
        Self { program, port, recipient, settings, logs: tempfile::tempdir().expect("temporary folder") }
    }

    /// A second instance beside this one: its own address, everything else the same.
    #[must_use]
    pub fn second_instance(&self) -> Self {
        let port = free_port();
        let second_instance = Self {
            program: self.program,
            port,
            recipient: self.recipient,
            settings: self.settings.clone(),
            logs: tempfile::tempdir().expect("temporary folder"),
        };
        second_instance
            .with("FAREBOX_SERVER_LISTEN", format!("127.0.0.1:{port}"))
            .with("FAREBOX_SERVER_PUBLIC_URL", format!("http://127.0.0.1:{port}"))
    }

    /// Sets one key of the configuration, by the name of its environment variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.into()));
        self
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The program under this configuration, ready for a subcommand.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = program(self.program);
        command.arg(subcommand).envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `farebox serve`.
    pub fn spawn(&self) -> ServerProcess {
        let log = self.logs.path().join("log");
        let file = File::options().create(true).append(true).open(&log).expect("log file");
        let mut command = self.command("serve");
        let begun = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the program starts");
        ServerProcess {
            child,
            log,
            health: format!("{}/healthz", self.origin()),
            begun,
            starting: Duration::ZERO,
        }
    }

    /// Starts `farebox serve` and waits until it answers.
    pub async fn serve(&self) -> ServerProcess {
        let mut server = self.spawn();
        server.answers().await;
        server
    }

    /// Runs `farebox audit`; a difference in the ledger fails the test.
    pub async fn audit(&self) {
        let output = self.command("audit").output().await.expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "farebox audit: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("0 differences"), "{text}");
    }
}

/// A running `farebox serve`.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    log: PathBuf,
    health: String,
    begun: Instant,
    /// From exec to the first answer.
    pub starting: Duration,
}

impl ServerProcess {
    pub fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Waits for its first answer.
    pub async fn answers(&mut self) {
        let client = reqwest::Client::new();
        wait_until("farebox serve answers", async || {
            assert!(self.is_running(), "farebox serve ended:\n{}", self.log());
            client.get(&self.health).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
        self.starting = self.begun.elapsed();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state is known").is_none()
    }

    /// kill -9, and waits until the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        signal("TERM", self.id()).await;
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(TIME_LIMIT, self.child.wait()).await;
        ended.expect("it ends in time").expect("its status is known")
    }

    /// The log of this server and its predecessors under the same [`Setup`].
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Sends a signal by name.
pub async fn signal(name: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().await;
    assert!(sent.expect("sh runs").success(), "kill -{name} {process}");
}
