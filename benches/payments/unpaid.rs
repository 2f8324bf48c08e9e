//! Asking costs nothing: unpaid requests per second, and that nothing is written for one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farebox::db::Db;
use sqlx::Row as _;

use crate::http::{BODY, Connection, PREVIEW, field, post};
use crate::load::Load;
use crate::program::{NO_CHAIN, Program};
use crate::report::{Table, median, micros, number, real, title};

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(500);

/// One server and what its rounds gave.
struct Contender {
    name: &'static str,
    server: Program,
    rates: Vec<f64>,
    /// Processor microseconds of the server per answer.
    costs: Vec<f64>,
    bytes: usize,
}

pub async fn measure() -> Result<()> {
    title(&format!(
        "1. Unpaid requests: POST {PREVIEW} with {} bytes of JSON, answered 402; {CONNECTIONS} connections",
        BODY.len()
    ));
    let folder = crate::folder()?;
    let database = folder.path().join("farebox.db");
    let farebox = Program::farebox(folder.path(), &format!("sqlite://{}", database.display()), NO_CHAIN)?;
    let farebox = Contender::new("farebox serve, SQLite", farebox).await?;
    let (header, detail) = sizes(&farebox.server).await?;
    let (plain, _) = Program::own(&["plain", &header.to_string(), &detail.to_string()])?;
    let mut contenders = vec![farebox, Contender::new("plain axum handler", plain).await?];
    match Program::mppx() {
        Ok(mppx) => contenders.push(Contender::new("mppx server, Node.js", mppx).await?),
        Err(error) => println!("  SKIPPED: the mppx server: {error:#}"),
    }

    for contender in &contenders {
        Load::on(contender.server.address, CONNECTIONS, WARM_UP)?;
    }
    let before = State::of(&database).await?;
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            contender.round()?;
        }
    }
    let after = State::of(&database).await?;
    print(&contenders);
    ensure!(before.rows == 0 && after.rows == 0, "rows were written: {before:?}, then {after:?}");
    ensure!(before.files == after.files, "files were written: {before:?}, then {after:?}");
    println!("  Written for them: nothing (0 rows; the database's files are as they were).");
    Ok(())
}

impl Contender {
    async fn new(name: &'static str, server: Program) -> Result<Self> {
        let mut connection = Connection::open(server.address).await?;
        let answer = connection.exchange(&post(PREVIEW, &[])).await?;
        ensure!(answer.status == 402, "{name}: {}", answer.head);
        let bytes = answer.head.len() + answer.body.len();
        Ok(Self { name, server, rates: Vec::new(), costs: Vec::new(), bytes })
    }

    fn round(&mut self) -> Result<()> {
        let before = self.server.cpu()?;
        let load = Load::on(self.server.address, CONNECTIONS, ROUND)?;
        let cpu = self.server.cpu()?.saturating_sub(before);
        self.rates.push(real(load.answers) / load.seconds);
        self.costs.push(micros(cpu) / real(load.answers));
        Ok(())
    }
}

/// The sizes of what the yardstick imitates: the challenge header, and the body less its frame.
async fn sizes(server: &Program) -> Result<(usize, usize)> {
    let mut connection = Connection::open(server.address).await?;
    let answer = connection.exchange(&post(PREVIEW, &[])).await?;
    let challenge = field(answer.head, "www-authenticate").context("a 402 carries a challenge")?;
    Ok((challenge.len(), answer.body.len().saturating_sub(r#"{"detail":""}"#.len())))
}

fn print(contenders: &[Contender]) {
    let [rate, cost] = [|c: &Contender| median(&c.rates), |c: &Contender| median(&c.costs)];
    let yardstick = &contenders[1];
    let mut table =
        Table::new(&["", "answers/s", "of axum", "server CPU us/answer", "of axum", "bytes/answer"]);
    for contender in contenders {
        table.row(
            contender.name,
            [
                number(rate(contender)),
                number(rate(contender) / rate(yardstick)),
                number(cost(contender)),
                number(cost(contender) / cost(yardstick)),
                contender.bytes.to_string(),
            ],
        );
    }
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds; load and servers share the machine's cores.");
}

/// Counts of rows that any write would have changed.
#[derive(Debug)]
struct State {
    rows: i64,
    files: Vec<(PathBuf, u64, SystemTime)>,
}

impl State {
    async fn of(database: &Path) -> Result<Self> {
        // First, because a reader of its own may make the index of the log.
        let db = Db::connect(&format!("sqlite://{}?mode=ro", database.display()), 1).await?;
        let mut rows = 0;
        for table in [
            "SELECT count(*) AS n FROM payments",
            "SELECT count(*) AS n FROM accounts",
            "SELECT count(*) AS n FROM holds",
            "SELECT count(*) AS n FROM entries",
        ] {
            rows += sqlx::query(table).fetch_one(&db.pool).await?.try_get::<i64, _>("n")?;
        }
        db.close().await;
        let mut files = Vec::new();
        for name in [database.to_owned(), database.with_extension("db-wal")] {
            let metadata = std::fs::metadata(&name)?;
            files.push((name, metadata.len(), metadata.modified()?));
        }
        Ok(Self { rows, files })
    }
}
