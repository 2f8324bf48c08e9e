//! Finding anvil, running it, and ending it for sure.

use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::rpc::Rpc;
use super::{DevnetConfig, DevnetError};

/// Longest start of anvil: it is ready in under a second; a loaded machine gets more.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Longest end of anvil: it ends at once when its input closes.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Lines of anvil's output that an error shows.
const LOG_LINES: usize = 20;

/// Shell script that runs the command in its arguments until it ends or until standard input does.
/// Standard input is a pipe that only this process writes to, so the command ends with it even when
/// it is killed and cannot clean up.
const SUPERVISOR: &str = r#"
exec 3<&0 2>&1
"$@" </dev/null 3<&- &
command=$!
(read -r _ <&3; kill "$command") &
watcher=$!
wait "$command"
status=$?
kill "$watcher"
exit "$status"
"#;

/// A running anvil; it ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Anvil {
    supervisor: Child,
    url: String,
}

impl Anvil {
    /// Starts anvil on a port that the operating system picks and waits until it answers.
    pub(super) async fn start(config: &DevnetConfig) -> Result<Self, DevnetError> {
        let path = Search::of_this_process(config.anvil.clone()).find()?;
        let mut supervisor = command(&path, config)
            .spawn()
            .map_err(|source| DevnetError::Spawn { path: path.clone(), source })?;
        let stdout = supervisor.stdout.take().expect("standard output is piped");
        let mut log = OutputLog { lines: BufReader::new(stdout), seen: Vec::new() };

        let Ok(port) = timeout(READY_LIMIT, log.listening_port()).await else {
            return Err(DevnetError::AnvilSlow { path, seconds: READY_LIMIT.as_secs(), log: log.tail() });
        };
        let Some(port) = port else {
            return Err(DevnetError::AnvilEnded { path, log: log.tail() });
        };
        let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        if timeout(READY_LIMIT, ready(&url)).await.is_err() {
            return Err(DevnetError::AnvilSlow { path, seconds: READY_LIMIT.as_secs(), log: log.tail() });
        }
        tokio::spawn(log.drain());
        Ok(Self { supervisor, url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Ends anvil and waits for it.
    pub(super) async fn stop(&mut self) {
        drop(self.supervisor.stdin.take());
        if timeout(END_LIMIT, self.supervisor.wait()).await.is_err() {
            tracing::warn!("anvil did not end in time");
        }
    }
}

fn command(anvil: &Path, config: &DevnetConfig) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SUPERVISOR, "supervisor"]).arg(anvil);
    command.args(["--host", "127.0.0.1", "--port", "0", "--network", "tempo"]);
    command.args(["--chain-id", &config.chain_id.to_string(), "--hardfork", &config.hardfork]);
    // Blocks at every second keep the clock of `eth_call` fresh, blocks at every transaction keep
    // tests fast.
    command.args(["--block-time", "1", "--mixed-mining"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Ctrl-C in a terminal reaches every process of the group at once: the server still needs the
    // chain to settle.
    command.process_group(0);
    command
}

/// Returns when the chain at `url` answers.
async fn ready(url: &str) {
    let rpc = Rpc::new(url.to_owned());
    while rpc.call::<String>("eth_chainId", json!([])).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Anvil's output. It has to be read to the end, or anvil blocks on a full pipe.
struct OutputLog {
    lines: BufReader<ChildStdout>,
    seen: Vec<String>,
}

impl OutputLog {
    async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
    }

    /// The port that anvil prints that it listens on; `None` when it ends without one.
    async fn listening_port(&mut self) -> Option<u16> {
        loop {
            let line = self.next().await?;
            if let Some(address) = line.strip_prefix("Listening on ") {
                return address.rsplit(':').next()?.parse().ok();
            }
            self.seen.push(line);
        }
    }

    fn tail(&self) -> String {
        self.seen[self.seen.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    async fn drain(mut self) {
        while let Some(line) = self.next().await {
            tracing::trace!(target: "anvil", "{line}");
        }
    }
}

/// Places to look for anvil.
struct Search {
    /// Named by the configuration or else by `FAREBOX_ANVIL`. Nothing else is tried then: running
    /// another anvil than the one that was asked for would only confuse.
    named: Option<PathBuf>,
    /// The folders on the `PATH`, then `.tools/bin` in the working directory and in its parents.
    folders: Vec<PathBuf>,
}

impl Search {
    fn of_this_process(configured: Option<PathBuf>) -> Self {
        let on_path = env::var_os("PATH").unwrap_or_default();
        let here = env::current_dir().unwrap_or_default();
        Self {
            named: configured.or_else(|| env::var_os("FAREBOX_ANVIL").map(PathBuf::from)),
            folders: env::split_paths(&on_path)
                .chain(here.ancestors().map(|folder| folder.join(".tools/bin")))
                .collect(),
        }
    }

    fn find(self) -> Result<PathBuf, DevnetError> {
        if let Some(named) = self.named {
            return if named.is_file() {
                Ok(named)
            } else {
                Err(DevnetError::AnvilMissing { looked_at: named.display().to_string() })
            };
        }
        self.folders
            .into_iter()
            .map(|folder| folder.join("anvil"))
            .find(|path| path.is_file())
            .ok_or_else(|| DevnetError::AnvilMissing { looked_at: "the PATH or .tools/bin".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with_anvil() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("anvil"), "").unwrap();
        folder
    }

    #[test]
    fn the_first_folder_with_an_anvil_wins() {
        let (empty, first, second) = (tempfile::tempdir().unwrap(), folder_with_anvil(), folder_with_anvil());
        let folders = [&empty, &first, &second].map(|folder| folder.path().to_owned()).to_vec();
        let found = Search { named: None, folders }.find().unwrap();
        assert_eq!(found, first.path().join("anvil"));
    }

    #[test]
    fn a_named_anvil_that_is_missing_is_not_replaced_by_another() {
        let there = folder_with_anvil();
        let search = Search { named: Some("/nowhere/anvil".into()), folders: vec![there.path().to_owned()] };
        let error = search.find().unwrap_err().to_string();
        assert!(error.contains("/nowhere/anvil") && error.contains("make tools"), "{error}");
    }
}
