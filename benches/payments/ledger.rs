//! Durable charges per second, beside the physical limit: one synced write after the other.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use farebox::db::{Db, Tx};
use farebox::id::{AccountId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{self, ChargeOutcome, HoldOutcome, Ledger, LedgerError};
use farebox::money::Money;
use farebox_test_support::db::{self, TestDb};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::report::{Table, median, number, real, title};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(700);
const SYNCING: Duration = Duration::from_millis(400);
/// Numbers of streams that charge at once.
const TASKS: [usize; 3] = [1, 64, 1000];
const BLOCK: [u8; 4096] = [7; 4096];
/// More than any run spends, in millionths of a dollar.
const FUNDS: i64 = 1_000_000_000_000;

/// One database with an open hold for every stream.
struct Contender {
    name: &'static str,
    ledger: Ledger,
    holds: Vec<HoldId>,
    runs: Vec<Run>,
    _database: (Option<TempDir>, Option<TestDb>),
}

/// Results of the rounds of one number of streams.
#[derive(Default)]
struct Run {
    rates: Vec<f64>,
    charges: u64,
    batches: u64,
}

pub async fn measure() -> Result<()> {
    title("3. Ledger: charges that are durable when answered, each stream waiting for its own");
    let folder = crate::folder()?;
    let path = folder.path().to_owned();
    let db = Db::connect(&format!("sqlite://{}", path.join("farebox.db").display()), 4).await?;
    db.migrate().await?;
    let mut contenders = vec![Contender::new("SQLite", db, (Some(folder), None)).await?];
    match db::postgres().await {
        Some(database) => {
            contenders.push(Contender::new("PostgreSQL", database.db.clone(), (None, Some(database))).await?);
        }
        None => println!("  SKIPPED: PostgreSQL does not answer and cannot be started"),
    }
    let (mut appends, mut overwrites) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        appends.push(synced_writes(&path, false)?);
        overwrites.push(synced_writes(&path, true)?);
        for (index, tasks) in TASKS.into_iter().enumerate() {
            for contender in &mut contenders {
                contender.round(index, tasks).await?;
            }
        }
    }
    print(&contenders, median(&appends), median(&overwrites));
    for Contender { name, ledger, .. } in &contenders {
        let report = audit(ledger.db()).await?;
        anyhow::ensure!(report.is_clean(), "{name}: {report}");
    }
    println!("  Afterwards every balance equals its entries and open holds.");
    Ok(())
}

impl Contender {
    async fn new(name: &'static str, db: Db, database: (Option<TempDir>, Option<TestDb>)) -> Result<Self> {
        let most = TASKS.into_iter().max().unwrap_or(0);
        let now = Timestamp::now();
        let holds = db
            .transaction(|mut tx| async move {
                let mut holds = Vec::with_capacity(most);
                for n in 0..most {
                    holds.push(open(&mut tx, n, now).await?);
                }
                Ok::<_, LedgerError>((tx, holds))
            })
            .await?;
        let runs = TASKS.iter().map(|_| Run::default()).collect();
        Ok(Self { name, ledger: Ledger::start(db), holds, runs, _database: database })
    }

    async fn round(&mut self, index: usize, tasks: usize) -> Result<()> {
        let before = self.ledger.batch_stats();
        let begun = Instant::now();
        let mut streams = JoinSet::new();
        for hold in self.holds.iter().take(tasks) {
            let (ledger, hold) = (self.ledger.clone(), hold.clone());
            streams.spawn(async move {
                while begun.elapsed() < ROUND {
                    let charged = ledger.charge(&hold, Money::from_micros(1)).await?;
                    if !matches!(charged, ChargeOutcome::Charged { .. }) {
                        bail!("a charge ended in {charged:?}");
                    }
                }
                Ok(())
            });
        }
        while let Some(done) = streams.join_next().await {
            done??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let after = self.ledger.batch_stats();
        let run = &mut self.runs[index];
        let charges = after.charges - before.charges;
        run.rates.push(real(charges) / seconds);
        run.charges += charges;
        run.batches += after.batches - before.batches;
        Ok(())
    }
}

/// Funds an account and opens a hold that reserves half of it, as streams do.
async fn open(tx: &mut Tx, n: usize, now: Timestamp) -> Result<HoldId, LedgerError> {
    let account = AccountId::parse(&format!("bench:{n}")).expect("a valid name");
    let source = SourceRef::parse(&format!("bench:{n}")).expect("a valid name");
    let funds = Money::from_micros(FUNDS);
    ledger::credit(tx, &account, funds, &source, now).await?;
    let half = Money::from_micros(FUNDS / 2);
    match ledger::hold(tx, &account, &RequestKey::new(now), half, now, now).await? {
        HoldOutcome::Opened(hold) | HoldOutcome::Existing(hold) => Ok(hold),
        HoldOutcome::Short { .. } => unreachable!("the account was just funded"),
    }
}

/// Writes of 4 KiB per second on the disk of the SQLite database, each synced before the next. A
/// file that grows needs a sync of its length as well; SQLite's log mostly does not grow.
fn synced_writes(folder: &Path, in_place: bool) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&BLOCK)?;
    file.sync_all()?;
    let (begun, mut writes) = (Instant::now(), 0);
    while begun.elapsed() < SYNCING {
        if in_place {
            file.rewind()?;
        }
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(real(writes) / begun.elapsed().as_secs_f64())
}

fn print(contenders: &[Contender], appends: f64, overwrites: f64) {
    let mut table = Table::new(&["", "charges/s", "of the disk", "commits/s", "charges/commit"]);
    for (index, tasks) in TASKS.into_iter().enumerate() {
        for Contender { name, runs, .. } in contenders {
            let Run { rates, charges, batches } = &runs[index];
            let (rate, size) = (median(rates), real(*charges) / real(*batches));
            let streams = if tasks == 1 { "stream" } else { "streams" };
            table.row(
                &format!("{name}, {tasks} {streams}"),
                [number(rate), number(rate / overwrites), number(rate / size), number(size)],
            );
        }
    }
    table.row("the disk: 4 KiB written in place and synced", [number(overwrites), number(1.0)]);
    table.row("the disk: 4 KiB appended and synced", [number(appends), number(appends / overwrites)]);
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds. The disk is that of the SQLite file.");
}
