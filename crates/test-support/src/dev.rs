//! `farebox dev` as its users start it, and other people's clients, unmodified, against it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::{client, eventually};

/// Longest run of a client. A validator that opens a stream and never pays for more of it is cut off
/// after a minute.
const TIME_LIMIT: Duration = Duration::from_mins(5);

/// File in its folder that has what it printed.
const PRINTED: &str = "printed.txt";

/// A running `farebox dev`, ended with this value.
pub struct Dev {
    folder: TempDir,
    pub url: String,
    _process: Child,
}

impl Dev {
    pub async fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
        let printed = std::fs::File::create(folder.path().join(PRINTED)).expect("a file");
        command.current_dir(root()).stdin(Stdio::null()).stdout(printed).stderr(Stdio::null());
        let mut process = command.kill_on_drop(true).spawn().expect("farebox starts");
        let described = eventually("farebox dev is up", async || {
            assert_eq!(process.try_wait().expect("a child"), None, "farebox dev ended; run `make tools`");
            let text = std::fs::read_to_string(folder.path().join("dev.json")).ok()?;
            let dev: Value = serde_json::from_str(&text).ok()?;
            let health = format!("{}/healthz", dev["url"].as_str()?);
            client().get(health).send().await.ok().map(|_| dev)
        });
        let described = described.await;
        let url = described["url"].as_str().expect("a URL").to_owned();
        Self { folder, url, _process: process }
    }

    pub fn json(&self) -> PathBuf {
        self.folder.path().join("dev.json")
    }

    /// The text that it has printed for its user.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(PRINTED)).expect("a file")
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// An installed program or script of the test clients. `TEST_CLIENTS` and `TEST_PYTHON` name folders with other versions.
pub fn installed(path: &str) -> PathBuf {
    let others = [("tests/clients", "TEST_CLIENTS"), (".tools/python", "TEST_PYTHON")];
    let other = others.into_iter().find_map(|(folder, variable)| {
        let rest = path.strip_prefix(folder)?.trim_start_matches('/');
        Some(PathBuf::from(std::env::var_os(variable)?).join(rest))
    });
    let path = other.unwrap_or_else(|| root().join(path));
    assert!(path.exists(), "{} is missing: run `make tools`", path.display());
    path
}

/// Runs a client to its end; returns whether it succeeded and what it printed.
pub async fn output(command: &mut Command) -> (bool, String) {
    command.current_dir(root()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIME_LIMIT, command.output()).await.expect("in time").expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

pub async fn succeeds(command: &mut Command) -> String {
    let (success, text) = output(command).await;
    assert!(success, "{command:?}\n{text}");
    text
}

/// `CHROMIUM`, or what is on the path. It is the one program that `make tools` cannot install without
/// root, so where it is missing the test says so and is skipped.
pub fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        let programs = ["chromium", "chromium-browser", "google-chrome"];
        let mut places =
            std::env::split_paths(&path).flat_map(|folder| programs.map(|program| folder.join(program)));
        places.find(|place| place.is_file())
    });
    if found.is_none() {
        // Past the test runner's capture: nobody should believe that this was tested.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the browser (no chromium; see scripts/tools.sh)");
    }
    found
}
