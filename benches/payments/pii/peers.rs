//! Presidio and `RapidOCR`, in a process of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The process that runs them.
pub struct Peers {
    child: Child,
    tasks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peers {
    pub fn start() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".tools/pii-peers/bin/python");
        ensure!(python.exists(), "they are not installed; run `scripts/tools.sh pii-peers`");
        let mut child = Command::new(python)
            .arg(root.join("benches/payments/pii/peers.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let tasks = child.stdin.take().context("a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, tasks, answers })
    }

    /// Seconds for one task, and how much was found.
    pub fn run(&mut self, task: &Value) -> Result<(f64, u64)> {
        writeln!(self.tasks, "{task}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("the peers ended")?;
        Ok((answer["seconds"].as_f64().context("seconds")?, answer["found"].as_u64().context("found")?))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
