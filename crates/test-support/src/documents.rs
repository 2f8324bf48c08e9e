//! Documents as their readers use them: the code blocks of a Markdown text, in order, as if they were pasted into a
//! terminal, against `farebox dev` and a double of Ollama.
//!
//! Blocks of `sh`, `js`, `python` and `rust` are run. A block that is marked `server` (```` ```sh server ````) runs
//! beside what follows, as in a terminal of its own. One that is marked `not-run` is for the reader's machine only.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::dev::{Dev, installed, root, succeeds};
use crate::process::free_port;

/// Programs of these languages begin with a comment that installs their packages, versions named.
const INSTALLERS: [(&str, &str, &str); 3] =
    [("js", "// ", "npm install "), ("python", "# ", "pip install "), ("rust", "// ", "cargo add ")];

/// Code block of a document.
struct Block {
    language: String,
    marks: Vec<String>,
    text: String,
    /// Number of its first line in the document.
    line: usize,
}

/// Reader of the documents, in a folder with what a clone has.
pub struct Reader {
    folder: TempDir,
    pub dev: Dev,
    program: String,
    /// Ports that the documents name, and what stands for them here.
    ports: [(&'static str, u16); 4],
    _ollama: Child,
}

impl Reader {
    /// Starts `farebox dev` with the built program, and the double of Ollama.
    pub async fn new(program: &str) -> Self {
        // As `cargo test` does, unless it is told which test to build.
        let build = ["build", "--quiet", "--example", "agent", "--example", "pay"];
        let built = Command::new(cargo()).args(build).current_dir(root()).status().await;
        assert!(built.is_ok_and(|status| status.success()), "the examples are built");
        let dev = Dev::start(program).await;
        let folder = tempfile::tempdir().expect("a folder");
        let data = dev.json().parent().expect("a folder").to_owned();
        std::os::unix::fs::symlink(data, folder.path().join(".farebox")).expect("a link");
        let (ollama, ollama_port) = ollama().await;
        let port = dev.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let ports = [("8402", port), ("8410", free_port()), ("8411", free_port()), ("11434", ollama_port)];
        let reader = Self { folder, dev, program: program.to_owned(), ports, _ollama: ollama };
        reader.copy(&root().join("examples"), &reader.folder.path().join("examples"));
        reader
    }

    /// Runs every block of a document of the repository, each in a new terminal; returns what was printed.
    pub async fn picks_from(&self, document: &str) -> String {
        let in_new = |commands: &str| format!("(\n{commands})\n");
        self.reads(document, "", in_new).await
    }

    /// Runs every block of a document of the repository, one after the other in one terminal; returns what was printed.
    ///
    /// `begins` is the folder in which the reader is, below the clone.
    pub async fn follows(&self, document: &str, begins: &str) -> String {
        self.reads(document, begins, str::to_owned).await
    }

    async fn reads(&self, document: &str, begins: &str, typed: impl Fn(&str) -> String) -> String {
        let text = std::fs::read_to_string(root().join(document)).expect("the document is there");
        let blocks = blocks(&text);
        assert!(blocks.iter().any(Block::is_run), "{document} has no block to run");
        let mut script = String::new();
        for block in blocks.iter().filter(|block| block.is_run()) {
            let _ = writeln!(script, "echo '--- {document}, line {}'", block.line);
            let commands = self.commands(document, block);
            // A server stays when its terminal is left.
            script.push_str(&if block.is_server() { commands } else { typed(&commands) });
        }
        self.runs(&script, begins).await
    }

    /// Runs commands; returns what was printed.
    pub async fn runs(&self, commands: &str, begins: &str) -> String {
        let stand_ins = root().join("tests/clients/stand-ins");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(stand_ins).chain(std::env::split_paths(&path)));
        let mut bash = Command::new("bash");
        let script = format!(
            "set -euo pipefail\ntrap 'for job in $(jobs -p); do kill -- -$job || :; done' EXIT\ncd {}\n{commands}",
            self.folder.path().join(begins).display()
        );
        bash.args(["-c", &self.with_ports(&script)]);
        bash.env("PATH", path.expect("a path")).env("NO_UPDATE_NOTIFIER", "1").env("NO_COLOR", "1");
        // What a client remembers stays in the folder.
        for (name, folder) in
            [("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")]
        {
            bash.env(name, self.folder.path().join(folder));
        }
        bash.env("DOCUMENTS_ROOT", absolute(root())).env("DOCUMENTS_FAREBOX", &self.program);
        bash.env("DOCUMENTS_CARGO", cargo());
        bash.env("DOCUMENTS_MODULES", absolute(&installed("tests/clients/node_modules")));
        bash.env("DOCUMENTS_PYTHON", absolute(&root().join(".tools")).join("python/bin/python"));
        succeeds(&mut bash).await
    }

    /// Copies a folder of examples, without what is installed in it, and with the ports that are taken here.
    fn copy(&self, from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("the folder is there").flatten() {
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            if path.ends_with("node_modules") || path.ends_with(".venv") {
                continue;
            }
            if path.is_dir() {
                self.copy(&path, &target);
                continue;
            }
            std::fs::copy(&path, &target).expect("a copy");
            if let Ok(text) = std::fs::read_to_string(&path) {
                std::fs::write(&target, self.with_ports(&text)).expect("a file");
            }
        }
    }

    fn with_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (named, port)| {
            text.replace(&format!(":{named}"), &format!(":{port}"))
        })
    }

    /// Makes the commands that a reader of a block types.
    fn commands(&self, document: &str, block: &Block) -> String {
        let place = format!("{document}, line {}", block.line);
        let installs = INSTALLERS.iter().find(|(language, ..)| *language == block.language);
        let install = installs.map(|(_, comment, installer)| {
            let lines = block.text.lines().map_while(|line| line.strip_prefix(comment));
            let lines: Vec<_> = lines.take_while(|line| line.starts_with(installer)).collect();
            assert!(
                !lines.is_empty(),
                "{place}: the first line says what to install: {comment}{installer}<name and version>"
            );
            lines.join("\n")
        });
        let file = |name: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, self.with_ports(&block.text)).expect("a file");
            path.display().to_string()
        };
        let line = block.line;
        match (block.language.as_str(), install) {
            ("js", Some(install)) => {
                let program = file(&format!("block-{line}.mjs"));
                format!("{install}\ncp {program} . 2>/dev/null || :\nnode ./block-{line}.mjs\n")
            }
            ("python", Some(install)) => {
                format!("{install}\npython {}\n", file(&format!("block-{line}.py")))
            }
            ("rust", Some(install)) => {
                check_crates(&place, &install);
                format!("cargo run --example {}\n", example(&place, &block.text))
            }
            _ if block.is_server() => {
                let (program, log) = (file(&format!("block-{line}.sh")), format!("block-{line}.log"));
                format!(
                    "set -m\nbash -eu {program} >{log} 2>&1 &\nset +m\nuntil curl -sf -o /dev/null \
                     http://localhost:8410/healthz; do kill -0 $! || {{ cat {log}; exit 1; }}; sleep 0.1; done\n"
                )
            }
            _ => block.text.clone(),
        }
    }
}

impl Block {
    fn is_server(&self) -> bool {
        self.marks.iter().any(|mark| mark == "server")
    }

    fn is_run(&self) -> bool {
        ["sh", "js", "python", "rust"].contains(&self.language.as_str())
            && !self.marks.iter().any(|mark| mark == "not-run")
    }
}

/// The documents of a folder of the repository that have a block to run, by name.
pub fn with_blocks_to_run(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there").flatten();
    let has =
        |path: &Path| blocks(&std::fs::read_to_string(path).expect("a document")).iter().any(Block::is_run);
    let with = entries.filter(|entry| has(&entry.path()));
    let mut names: Vec<_> = with.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                open = Some(Block { language, marks: words.collect(), text: String::new(), line: at + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// The example of the repository with this very text: Rust is compiled with the tests, not by them.
fn example(place: &str, text: &str) -> String {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let examples = manifest.split("[[example]]").skip(1).filter_map(|entry| {
        let field =
            |name: &str| Some(entry.split_once(&format!("{name} = \""))?.1.split('"').next()?.to_owned());
        Some((field("name")?, field("path")?))
    });
    let same = |path: &str| std::fs::read_to_string(root().join(path)).is_ok_and(|there| there == text);
    let found = examples.into_iter().find(|(_, path)| same(path));
    found.unwrap_or_else(|| panic!("{place}: no [[example]] of Cargo.toml has this text")).0
}

/// Checks that the crates that a line adds are those of the lock file.
fn check_crates(place: &str, install: &str) {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("a lock file");
    for named in install.split_whitespace().filter(|word| word.contains('@')) {
        let (name, version) = named.trim_end_matches(';').split_once('@').expect("just seen");
        let locked = lock.contains(&format!("name = \"{name}\"\nversion = \"{version}"));
        assert!(locked, "{place}: {named} is not the version that is tested (Cargo.lock)");
    }
}

/// Starts the double of Ollama; returns it and its port.
async fn ollama() -> (Child, u16) {
    let mut node = Command::new("node");
    node.arg(installed("tests/clients/ollama_double.mjs")).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut child = node.kill_on_drop(true).spawn().expect("node starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let port = lines.next_line().await.expect("it prints").expect("a line");
    (child, port.parse().expect("a port"))
}

/// The cargo that runs the tests; the one on the path of a document is a stand-in.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", path.display()))
}
