//! Durable charges per second, beside the physical limit: one synced write after the other; and whole requests, each of
//! which posts an entry.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use farebox::db::{Db, Tx};
use farebox::id::{AccountId, EntryId, HoldId, RequestId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{
    self, Budget, Capture, ChargeOutcome, CloseOutcome, EntryDetails, EntryKind, Estimate, HoldOutcome,
    HoldRequest, Ledger, LedgerError, OpenOutcome, Owed,
};
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
/// Requests that are served at once, each of an account of its own.
const REQUESTS: usize = 64;
const BLOCK: [u8; 4096] = [7; 4096];
/// More than any run spends, in millionths of a dollar.
const FUNDS: i64 = 1_000_000_000_000;

/// One database with an open hold for every stream.
struct Contender {
    name: &'static str,
    ledger: Ledger,
    holds: Vec<HoldId>,
    runs: Vec<Run>,
    /// Requests a second, of each round.
    requests: Vec<f64>,
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
        for contender in &mut contenders {
            contender.request_round().await?;
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
        let ledger = Ledger::start(db);
        Ok(Self { name, ledger, holds, runs, requests: Vec::new(), _database: database })
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

impl Contender {
    /// Requests that open a hold and capture it, one after the other on each of some accounts.
    async fn request_round(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut streams = JoinSet::new();
        for n in 0..REQUESTS {
            let (ledger, account) = (self.ledger.clone(), account(n));
            streams.spawn(async move {
                let mut done = 0;
                while begun.elapsed() < ROUND {
                    serve(&ledger, &account, n).await?;
                    done += 1;
                }
                Ok::<u64, anyhow::Error>(done)
            });
        }
        let mut done = 0;
        while let Some(served) = streams.join_next().await {
            done += served??;
        }
        self.requests.push(real(done) / begun.elapsed().as_secs_f64());
        Ok(())
    }
}

fn account(n: usize) -> AccountId {
    AccountId::parse(&format!("bench:{n}")).expect("a valid name")
}

async fn serve(ledger: &Ledger, account: &AccountId, n: usize) -> Result<()> {
    let now = Timestamp::now();
    let key = format!("benchkey{n:08}");
    let opening = HoldRequest {
        hold: HoldId::new(now),
        account: account.clone(),
        idempotency_key: None,
        budget: Some(Budget::on(&key, now, None, None)),
        estimate: Estimate { wanted: Money::from_micros(10), least: Money::from_micros(10) },
        now,
        expires_at: now,
    };
    let opened = ledger.open(opening).await?;
    let OpenOutcome::Open { hold, .. } = opened else { bail!("an opening ended in {opened:?}") };
    let details = EntryDetails {
        kind: EntryKind::Usage,
        request_id: Some(RequestId::new(now)),
        service: "model".to_owned(),
        units: 168,
        unit_price: Money::ZERO,
        meta: serde_json::json!({ "key": key, "promptTokens": 123, "completionTokens": 45, "end": "complete",
            "items": [{ "item": "input", "tokens": 123, "pricePerMillion": "0.20" }] }),
    };
    let owed = Owed::InAll(Money::from_micros(7));
    let captured = ledger.capture(Capture { hold, entry: EntryId::new(now), owed, details, now }).await?;
    anyhow::ensure!(matches!(captured, CloseOutcome::Closed { .. }), "a capture ended in {captured:?}");
    Ok(())
}

/// Funds an account and opens a hold that reserves half of it, as streams do.
async fn open(tx: &mut Tx, n: usize, now: Timestamp) -> Result<HoldId, LedgerError> {
    let account = account(n);
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
    for Contender { name, requests, .. } in contenders {
        let rate = median(requests);
        table.row(&format!("{name}, requests that open and capture, {REQUESTS} at once"), [number(rate)]);
    }
    table.row("the disk: 4 KiB written in place and synced", [number(overwrites), number(1.0)]);
    table.row("the disk: 4 KiB appended and synced", [number(appends), number(appends / overwrites)]);
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds. The disk is that of the SQLite file.");
}
