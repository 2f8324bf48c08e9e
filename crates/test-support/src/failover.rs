//! A PostgreSQL server with a synchronous standby, and a switch in front that always leads to the one that writes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener as StdListener;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpStream};

use crate::db;

/// Way in which the first server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switchover {
    /// It is stopped, after it has sent everything to the standby.
    Planned,
    /// It is killed.
    Crash,
}

/// Two servers, and the switch. Both end with this.
pub struct ServerPair {
    /// URL of a database behind the switch.
    pub url: String,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    target: Arc<AtomicU16>,
    standby: u16,
}

/// Reads commands until its input ends: the switchovers of a pair of servers.
const SCRIPT: &str = r#"set -e
bin=$1; first=$2; second=$3
folder=$(mktemp -d)
end() { kill -INT $(head -qn1 "$folder"/*/postmaster.pid 2>/dev/null) 2>/dev/null || true; sleep 1; rm -rf "$folder"; }
trap end EXIT
serve() { "$bin/postgres" -D "$folder/$1" -p "$2" -h 127.0.0.1 -k "$folder" >/dev/null 2>&1 </dev/null & }
"$bin/initdb" -D "$folder/a" -U root -A trust -E UTF8 >/dev/null
# Nothing reaches the disk or the standby but what a commit waits for.
echo "wal_writer_delay = '10s'" >> "$folder/a/postgresql.conf"
serve a "$first"
until "$bin/psql" -qX -h 127.0.0.1 -p "$first" -U root postgres -c 'CREATE DATABASE farebox' >/dev/null 2>&1; do sleep 0.1; done
"$bin/pg_basebackup" -D "$folder/b" -R -h 127.0.0.1 -p "$first" -U root -X stream -c fast
serve b "$second"
"$bin/psql" -qX -h 127.0.0.1 -p "$first" -U root postgres -c "ALTER SYSTEM SET synchronous_standby_names = '*'" -c 'SELECT pg_reload_conf()' >/dev/null
echo ready
while read -r command; do
  case $command in
    Planned) "$bin/pg_ctl" -D "$folder/a" stop -m fast -w >/dev/null;;
    Crash) kill -9 $(head -n1 "$folder/a/postmaster.pid");;
  esac
  "$bin/pg_ctl" -D "$folder/b" promote -w >/dev/null
  echo promoted
done"#;

impl ServerPair {
    /// Starts both; `None`, said loudly, where PostgreSQL is not installed.
    pub async fn start() -> Option<Self> {
        let programs = ["initdb", "postgres", "pg_basebackup", "pg_ctl", "psql"];
        let Some(binaries) = db::binaries(&programs) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: failover of PostgreSQL (it is not installed)");
            return None;
        };
        let port = || StdListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port());
        let (first, standby) = (port().expect("a port"), port().expect("a port"));
        let mut command = db::as_a_user("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&binaries).arg(first.to_string()).arg(standby.to_string());
        let spawned = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("a shell");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let target = Arc::new(AtomicU16::new(first));
        let switch = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = switch.local_addr().expect("an address").port();
        tokio::spawn(forward(switch, Arc::clone(&target)));
        let url = format!("postgres://root@127.0.0.1:{port}/farebox");
        let pair = Self { url, child, commands, answers, target, standby };
        Some(pair.told("ready").await)
    }

    /// Makes the standby the one that writes. Returns when it does; connections to the other are gone by then.
    pub async fn switch(mut self, how: Switchover) -> Self {
        let commands = self.commands.as_mut().expect("the shell runs");
        writeln!(commands, "{how:?}").expect("it reads");
        self = self.told("promoted").await;
        self.target.store(self.standby, Ordering::Relaxed);
        self
    }

    /// Waits for an answer of the shell, on a thread of its own.
    async fn told(mut self, expected: &'static str) -> Self {
        let waiting = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("the shell answers");
            assert_eq!(line.trim_end(), expected);
            self
        });
        waiting.await.expect("it is told")
    }
}

impl Drop for ServerPair {
    fn drop(&mut self) {
        // The shell cleans up when its input ends.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// Leads each connection to the server that writes at its beginning.
async fn forward(switch: TcpListener, target: Arc<AtomicU16>) {
    while let Ok((mut client, _)) = switch.accept().await {
        let port = target.load(Ordering::Relaxed);
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
