//! Starting and idling: `farebox serve` on a database that is there already.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::{Connection, PREVIEW, post};
use crate::program::{NO_CHAIN, Program};
use crate::report::{Table, median, millis, number, title};

const STARTS: usize = 10;
const REQUESTS: usize = 1000;
/// Start-up work is over by then.
const SETTLING: Duration = Duration::from_millis(500);

pub async fn measure() -> Result<()> {
    title("5. The process: farebox serve on a SQLite database that is there already");
    let folder = crate::folder()?;
    let database = format!("sqlite://{}", folder.path().join("farebox.db").display());
    let start = || Program::farebox(folder.path(), &database, NO_CHAIN);
    // Makes the database.
    drop(start()?);
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        times.push(millis(start()?.starting));
    }
    let server = start()?;
    tokio::time::sleep(SETTLING).await;
    let idle = server.resident()?;
    let mut connection = Connection::open(server.address).await?;
    let request = post(PREVIEW, &[]);
    for _ in 0..REQUESTS {
        let answer = connection.exchange(&request).await?;
        ensure!(answer.status == 402, "{}", answer.head);
    }
    let used = server.resident()?;

    let slowest = times.iter().copied().fold(0.0, f64::max);
    let mut table = Table::new(&["", "measured", "unit", "aim"]);
    let mut row = |name: &str, value: f64, unit: &str, aim: &str| {
        table.row(name, [number(value), unit.to_owned(), aim.to_owned()]);
    };
    row("exec to first answer, median", median(&times), "ms", "< 300");
    row("exec to first answer, slowest", slowest, "ms", "");
    row("resident memory, idle", idle, "MB", "< 40");
    row(&format!("resident memory after {REQUESTS} unpaid requests"), used, "MB", "< 40");
    table.print();
    println!("  {STARTS} starts, each after a kill -9 of the one before.");
    Ok(())
}
