//! The programs under measurement: children that end with this process.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use farebox::db::Db;
use farebox_test_support::db::TestDb;

/// Longer than any program here takes to start on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// `USER_HZ`: what Linux counts processor time in, on every architecture it matters for.
const TICKS_PER_SECOND: u32 = 100;
/// Nothing listens there: for servers that are never paid.
pub const NO_CHAIN: &str = "http://127.0.0.1:9";

/// A running server.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    /// Listener with the metrics, where there is one.
    admin: Option<SocketAddr>,
    /// From exec to the first answer; the line with its address for those that print one.
    pub starting: Duration,
}

impl Program {
    /// `farebox serve` as an operator runs it, on a database and a chain, keeping a log in `folder`.
    pub fn farebox(folder: &Path, database: &str, chain: &str) -> Result<Self> {
        Self::serve(folder, database, chain, None)
    }

    /// A server with a configuration of its own, on SQLite, or on a given database of PostgreSQL, which `seed` fills before: a SQLite
    /// file has one owner.
    pub async fn seeded<T>(
        folder: &Path,
        configuration: &str,
        database: Option<&TestDb>,
        seed: impl AsyncFnOnce(&Db) -> Result<T>,
    ) -> Result<(Self, T)> {
        let file = folder.join("farebox.toml");
        std::fs::write(&file, configuration)?;
        let url = match database {
            Some(database) => database.url.clone(),
            None => format!("sqlite://{}", folder.join("farebox.db").display()),
        };
        let db = Db::connect(&url, 2).await?;
        db.migrate().await?;
        let seeded = seed(&db).await?;
        db.close().await;
        Ok((Self::serve(folder, &url, NO_CHAIN, Some(&file))?, seeded))
    }

    fn serve(folder: &Path, database: &str, chain: &str, file: Option<&Path>) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let log = folder.join("log");
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let settings = [
            ("LISTEN", address.to_string()),
            ("ADMIN_LISTEN", admin.to_string()),
            ("PUBLIC_URL", format!("http://{address}")),
            // All clients are of one address here.
            ("MAX_CONNECTIONS_PER_ADDRESS", "4096".to_owned()),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_farebox"));
        command.arg("serve").env_clear().envs(settings.map(|(key, v)| (format!("FAREBOX_SERVER_{key}"), v)));
        command
            .env("FAREBOX_DATABASE_URL", database)
            .env("FAREBOX_PAYMENTS_SECRET", "a secret of at least thirty-two bytes")
            .env("FAREBOX_PAYMENTS_RECIPIENT", "0x8f3a2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c")
            .env("FAREBOX_PAYMENTS_CHALLENGE_TTL_SECONDS", "300")
            .env("FAREBOX_CHAIN_RPC_URL", chain)
            .env("FAREBOX_CHAIN_CHAIN_ID", "1337")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log)?);
        if let Some(file) = file {
            command.arg("--config").arg(file);
        }
        let begun = Instant::now();
        let child = command.spawn().context("farebox serve")?;
        let mut server = Self { child, address, admin: Some(admin), starting: Duration::ZERO };
        while !is_alive(address) {
            let ended = server.child.try_wait()?.is_some() || begun.elapsed() > TIME_LIMIT;
            ensure!(!ended, "farebox serve does not answer: {}", std::fs::read_to_string(&log)?);
            std::thread::sleep(Duration::from_micros(500));
        }
        server.starting = begun.elapsed();
        Ok(server)
    }

    /// This program again, in another role that prints a line once it is up.
    pub fn own(arguments: &[&str]) -> Result<(Self, String)> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::spawn_and_read_line(command.args(arguments))
    }

    /// The mppx server of the test clients, on a port of its own.
    ///
    /// # Errors
    /// Reason when there is none.
    pub fn mppx() -> Result<Self> {
        Self::node("mppx_server.mjs", &[])
    }

    /// The meter of mppx in front of a model, with funded channels.
    ///
    /// # Errors
    /// Reason when there is none.
    pub fn mppx_streams(model: SocketAddr, channels: usize, funds: i64) -> Result<Self> {
        let arguments = [model.port().to_string(), channels.to_string(), funds.to_string()];
        Self::node("mppx_streams.mjs", &arguments)
    }

    /// The server on the official SDK of MCP that the tests have as a peer.
    ///
    /// # Errors
    /// Reason when there is none.
    pub fn mcp_peer() -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        ensure!(
            folder.join("node_modules/@modelcontextprotocol/sdk").is_dir(),
            "it is not installed; run `make tools`"
        );
        let mut command = Command::new("node");
        let (mut server, line) = Self::spawn_and_read_line(command.arg("mcp_peer.mjs").current_dir(folder))?;
        let address = line.trim().trim_start_matches("http://").trim_end_matches("/mcp");
        server.address = address.parse().with_context(|| line.clone())?;
        Ok(server)
    }

    fn node(script: &str, arguments: &[String]) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        ensure!(folder.join("node_modules/mppx").is_dir(), "mppx is not installed; run `make tools`");
        let port = free_port()?;
        let mut command = Command::new("node");
        command.arg(script).arg(port.to_string()).args(arguments).current_dir(folder);
        let (mut server, _) = Self::spawn_and_read_line(&mut command)?;
        server.address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(server)
    }

    /// Another server, which gets its port and answers 200 at `health` once it is up; its
    /// log goes to `folder`.
    pub fn listening(command: &mut Command, port: &str, health: &str, folder: &Path) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        command.args([port, &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let mut server = Self { child: command.spawn()?, address, admin: None, starting: Duration::ZERO };
        while !is_up(address, health) {
            let ended = server.child.try_wait()?.is_some() || begun.elapsed() > 4 * TIME_LIMIT;
            ensure!(!ended, "it does not answer: {}", std::fs::read_to_string(&log)?);
            std::thread::sleep(Duration::from_millis(50));
        }
        server.starting = begun.elapsed();
        Ok(server)
    }

    /// Starts a command and waits for its first line, which ends with its address.
    fn spawn_and_read_line(command: &mut Command) -> Result<(Self, String)> {
        let begun = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        // Anything else is for whoever called to read.
        let address = line.trim().parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Self { child, address, admin: None, starting: begun.elapsed() };
        ensure!(!line.is_empty(), "{command:?} ended before it was up");
        Ok((server, line))
    }

    /// Processor time it has used so far, in user mode and in the kernel; a multiple of 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the name, in parentheses, and may hold anything.
        let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
    }

    /// Keeps it from running, or lets it run again.
    pub fn pause(&self, is_paused: bool) -> Result<()> {
        let signal = if is_paused { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal} failed");
        Ok(())
    }

    /// The answer to a GET of the metrics, head and all.
    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin.context("it has no metrics")?)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        let request = "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Resident memory, in MB.
    pub fn resident(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory has been, in MB.
    pub fn peak(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &'static str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("process {} could not be ended: {error}", self.child.id());
        }
    }
}

/// For our own roles: their parent holds the other end of this pipe, and may be killed.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        // Whatever comes, and however it ends: nobody is there any more.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// True if `/healthz` answers 200.
fn is_alive(address: SocketAddr) -> bool {
    is_up(address, "/healthz")
}

fn is_up(address: SocketAddr, path: &str) -> bool {
    let ask = || -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        if status.ends_with(b" 200") { Ok(()) } else { bail!("not healthy") }
    };
    ask().is_ok()
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
