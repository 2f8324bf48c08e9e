//! Databases for tests: every test that asks gets a fresh SQLite file and a fresh PostgreSQL
//! database, both gone when the test ends.
//!
//! PostgreSQL is taken from `FAREBOX_TEST_POSTGRES`, else from the usual local port, else started
//! from the installed binaries for the life of the test program. Only when there are none is it
//! skipped, loudly.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use farebox::db::{Db, Engine};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Connections per database: few enough for many tests at once on one server.
const CONNECTIONS: u32 = 4;

/// A fresh, migrated database of one engine.
pub struct TestDb {
    /// To connect a second time, as another instance would.
    pub url: String,
    /// Connected.
    pub db: Db,
    cleanup: Cleanup,
}

/// Resources to remove when the test ends.
enum Cleanup {
    File { _folder: TempDir },
    Database { admin_url: String, name: String },
    Nothing,
}

impl TestDb {
    /// Another set of connections to the same database, as another instance has.
    pub async fn connect_again(&self) -> Db {
        Db::connect(&self.url, CONNECTIONS).await.expect("connect again")
    }

    /// A handle of the same database for another instance; the database is removed with this one.
    pub async fn shared(&self) -> Self {
        Self { url: self.url.clone(), db: self.connect_again().await, cleanup: Cleanup::Nothing }
    }

    /// Reconnects to the same database, after [`Db::close`].
    pub async fn reconnected(mut self) -> Self {
        self.db = self.connect_again().await;
        self
    }

    /// Runs a statement behind the program's back.
    pub async fn execute(&self, statement: &str) {
        let mut connection = AnyConnection::connect(&self.url).await.expect("connect");
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        connection.close().await.expect("close");
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Cleanup::Database { admin_url, name } = &self.cleanup else {
            return;
        };
        let (url, statement) = (admin_url.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // Drop cannot await, and the runtime of the test must not be blocked from within.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("runtime").block_on(admin(&url, &statement))
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("could not drop the test database {name}");
        }
    }
}

/// A fresh database of every engine that is there.
pub async fn engines() -> Vec<TestDb> {
    let mut engines = vec![sqlite().await];
    engines.extend(postgres().await);
    engines
}

/// Runs a test once on every engine.
pub async fn for_each_engine(test: impl AsyncFn(&TestDb)) {
    for engine in engines().await {
        // Shown only when the test fails.
        println!("engine: {:?}", engine.db.engine);
        test(&engine).await;
        engine.db.close().await;
    }
}

/// A fresh SQLite database.
pub async fn sqlite() -> TestDb {
    migrated(new_sqlite().await).await
}

async fn new_sqlite() -> TestDb {
    let folder = tempfile::tempdir().expect("temporary folder");
    let url = format!("sqlite://{}", folder.path().join("farebox.db").display());
    connected(url, Cleanup::File { _folder: folder }).await
}

/// A fresh PostgreSQL database, when there is a server or one can be started.
pub async fn postgres() -> Option<TestDb> {
    Some(migrated(new_postgres().await?).await)
}

/// The database at a URL, which somebody else removes.
pub async fn at(url: &str) -> TestDb {
    migrated(connected(url.to_owned(), Cleanup::Nothing).await).await
}

async fn new_postgres() -> Option<TestDb> {
    static SERVER: OnceCell<Option<String>> = OnceCell::const_new();
    let admin_url = SERVER.get_or_init(find_server).await.clone()?;
    let name = format!("farebox_test_{}", uuid::Uuid::new_v4().simple());
    admin(&admin_url, &format!("CREATE DATABASE {name}")).await.expect("create the test database");
    let (server, _) = admin_url.rsplit_once('/').expect("the URL names a database");
    let url = format!("{server}/{name}");
    Some(connected(url, Cleanup::Database { admin_url, name }).await)
}

/// A database of every engine that is there, with the schema from before a migration.
pub async fn engines_before(version: i64) -> Vec<TestDb> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let all = Migrator::new(folder).await.expect("the folder");
    let before = all.iter().filter(|migration| migration.version < version).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(before), ..Migrator::DEFAULT };
    let mut engines = vec![new_sqlite().await];
    engines.extend(new_postgres().await);
    for engine in &engines {
        migrator.run(&engine.db.pool).await.expect("the schema of before");
    }
    engines
}

async fn migrated(database: TestDb) -> TestDb {
    database.db.migrate().await.expect("migrate");
    database
}

async fn connected(url: String, cleanup: Cleanup) -> TestDb {
    let db = Db::connect(&url, CONNECTIONS).await.expect("connect");
    let is_file = matches!(cleanup, Cleanup::File { .. });
    assert_eq!(db.engine, if is_file { Engine::Sqlite } else { Engine::Postgres });
    TestDb { url, db, cleanup }
}

async fn admin(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

/// The URL of a server on which databases can be made.
async fn find_server() -> Option<String> {
    if let Ok(url) = std::env::var("FAREBOX_TEST_POSTGRES") {
        admin(&url, "SELECT 1").await.expect("FAREBOX_TEST_POSTGRES names a server that answers");
        return Some(url);
    }
    let local = "postgres://root@127.0.0.1:5432/postgres";
    if admin(local, "SELECT 1").await.is_ok() {
        return Some(local.to_owned());
    }
    let started = match binaries(&["initdb", "postgres"]) {
        Some(binaries) => start_server(&binaries).await,
        None => None,
    };
    if started.is_none() {
        // Past the test runner's capture: nobody should believe that this was tested.
        let _ = writeln!(std::io::stderr(), "SKIPPED: PostgreSQL (no server, and none to start)");
    }
    started
}

/// The folder that has all of these programs of PostgreSQL.
pub(crate) fn binaries(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(installed.map(|version| version.path().join("bin")))
        .find(|folder| programs.iter().all(|program| folder.join(program).is_file()))
}

/// Starts a server that lives as long as this program: it watches a pipe that only we hold.
async fn start_server(binaries: &Path) -> Option<String> {
    let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
    let script = "set -e
        folder=$(mktemp -d)
        \"$1/initdb\" -D \"$folder/data\" -U root -A trust -E UTF8 >/dev/null
        \"$1/postgres\" -D \"$folder/data\" -p \"$2\" -h 127.0.0.1 -k \"$folder\" >/dev/null 2>&1 </dev/null &
        server=$!
        read -r _ || true
        kill -INT $server
        wait $server || true
        rm -rf \"$folder\"";
    let mut command = as_a_user("sh");
    command.args(["-c", script, "sh"]).arg(binaries).arg(port.to_string()).current_dir("/");
    let child: Child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
    // Never waited for and never dropped: its pipe closes when this program ends.
    std::mem::forget(child);
    let url = format!("postgres://root@127.0.0.1:{port}/postgres");
    for _ in 0..150 {
        if admin(&url, "SELECT 1").await.is_ok() {
            return Some(url);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}

/// A command that does not run as root, which PostgreSQL refuses.
pub(crate) fn as_a_user(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command
}
