//! A ledger of ten million entries beside an empty one. It takes minutes to fill, so it is measured
//! only when it is asked for by name.

pub mod fill;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use farebox::db::{Db, Engine};
use farebox::id::{AccountId, HoldId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{
    self, ChargeOutcome, CloseOutcome, EntryDetails, EntryKind, HoldOutcome, Ledger, LedgerError,
    SpendOutcome, StatementCursor,
};
use farebox::money::Money;
use farebox_test_support::db::{self, TestDb};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::report::{Table, median, number, real, title};

/// Another number can be asked for with `FAREBOX_BENCH_ENTRIES`.
const ENTRIES: u64 = 10_000_000;
/// Largest factor by which a large ledger may be slower.
const MAX_SLOWDOWN: f64 = 1.2;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(800);
/// Streams that charge at once, and requests that begin and end at once.
const STREAMS: usize = 64;
const REQUESTS: usize = 16;
/// Accounts that the requests are of, spread over all accounts there are.
const CUSTOMERS: u64 = 1_000;
/// Lines of a page, and entries of the account with few: more than a page.
const LINES: u32 = 50;
const FEW: usize = 80;

/// Measured operations a second, the account named by its number of entries.
const MEASURES: [Measure; 6] = [
    Measure::Charge,
    Measure::Cycle,
    Measure::Balance,
    Measure::Page(AccountSize::Few),
    Measure::Page(AccountSize::Many),
    Measure::Page(AccountSize::Middle),
];

#[derive(Debug, Clone, Copy)]
enum Measure {
    Charge,
    Cycle,
    Balance,
    Page(AccountSize),
}

#[derive(Debug, Clone, Copy)]
enum AccountSize {
    Few,
    Many,
    /// Of the many, half a year back.
    Middle,
}

/// One ledger, and what its rounds gave for each measure.
struct Contender {
    ledger: Ledger,
    holds: Vec<HoldId>,
    customers: Arc<Vec<AccountId>>,
    few: AccountId,
    many: AccountId,
    middle: StatementCursor,
    rates: [Vec<f64>; MEASURES.len()],
    _database: (Option<TempDir>, Option<TestDb>),
}

pub async fn measure() -> Result<()> {
    let wanted = std::env::var("FAREBOX_BENCH_ENTRIES").ok().map(|text| text.parse()).transpose()?;
    let entries: u64 = wanted.unwrap_or(ENTRIES);
    title(&format!("Large: a ledger of {} entries beside an empty one", number(real(entries))));
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(mut empty) = Contender::new(engine, 0).await? else {
            println!("  SKIPPED: PostgreSQL does not answer and cannot be started");
            continue;
        };
        let Some(mut large) = Contender::new(engine, entries).await? else { continue };
        for _ in 0..ROUNDS {
            for index in 0..MEASURES.len() {
                empty.round(index).await?;
                large.round(index).await?;
            }
        }
        print(engine, &empty, &large);
        for contender in [&empty, &large] {
            let begun = Instant::now();
            let report = audit(contender.ledger.db()).await?;
            ensure!(report.is_clean(), "{engine:?}: {report}");
            println!("  {} accounts audited in {:.1} s", report.accounts, begun.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

impl Contender {
    async fn new(engine: Engine, entries: u64) -> Result<Option<Self>> {
        let (url, database) = match engine {
            Engine::Sqlite => {
                let folder = crate::folder()?;
                (format!("sqlite://{}", folder.path().join("farebox.db").display()), (Some(folder), None))
            }
            Engine::Postgres => {
                let Some(database) = db::postgres().await else { return Ok(None) };
                database.db.close().await;
                (database.url.clone(), (None, Some(database)))
            }
        };
        let now = Timestamp::now();
        let db = Db::connect(&url, 4).await?;
        db.migrate().await?;
        if entries > 0 {
            db.close().await;
            let begun = Instant::now();
            fill::fill(&url, engine, entries, now.millis()).await?;
            println!("  {engine:?} filled in {:.0} s", begun.elapsed().as_secs_f64());
        }
        let db = Db::connect(&url, 4).await?;
        let ledger = Ledger::start(db);
        let customers = (0..CUSTOMERS).map(|n| fill::account(n * (fill::ACCOUNTS / CUSTOMERS) + 7));
        let customers = customers.map(|name| AccountId::parse(&name)).collect::<Result<Vec<_>, _>>()?;
        let holds = opened(&ledger, &customers, now).await?;
        let few = AccountId::parse("wallet:0x7f00000000000000000000000000000000000000")?;
        history(&ledger, &few).await?;
        let many = if entries > 0 { AccountId::parse(&fill::busy())? } else { few.clone() };
        // Half a year back, or past all lines where there are few.
        let past = if entries > 0 { 365 * 24 * 3_600_000 / 2 } else { -3_600_000 };
        let half = now.checked_sub_millis(past).unwrap_or(now);
        let middle = StatementCursor::parse(&format!("{}-~", half.millis()));
        let middle = middle.ok_or_else(|| anyhow::anyhow!("a cursor is not read"))?;
        let rates = Default::default();
        let customers = Arc::new(customers);
        Ok(Some(Self { ledger, holds, customers, few, many, middle, rates, _database: database }))
    }

    async fn round(&mut self, index: usize) -> Result<()> {
        let begun = Instant::now();
        let done = match MEASURES[index] {
            Measure::Charge => self.charges().await?,
            Measure::Cycle => self.cycles().await?,
            Measure::Balance => {
                let mut done = 0;
                for customer in self.customers.iter().cycle() {
                    if begun.elapsed() >= ROUND {
                        break;
                    }
                    self.ledger.balance(customer).await?;
                    done += 1;
                }
                done
            }
            Measure::Page(AccountSize::Few) => self.pages(&self.few, None).await?,
            Measure::Page(AccountSize::Many) => self.pages(&self.many, None).await?,
            Measure::Page(AccountSize::Middle) => self.pages(&self.many, Some(&self.middle)).await?,
        };
        self.rates[index].push(real(done) / begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Each stream charges its hold and waits for its own.
    async fn charges(&self) -> Result<u64> {
        let (begun, mut streams, mut done) = (Instant::now(), JoinSet::new(), 0);
        for hold in &self.holds {
            let (ledger, hold) = (self.ledger.clone(), hold.clone());
            streams.spawn(async move {
                let mut done = 0;
                while begun.elapsed() < ROUND {
                    match ledger.charge(&hold, Money::from_micros(1)).await? {
                        ChargeOutcome::Charged { .. } => done += 1,
                        other => bail!("a charge ended in {other:?}"),
                    }
                }
                Ok(done)
            });
        }
        while let Some(charged) = streams.join_next().await {
            done += charged??;
        }
        Ok(done)
    }

    /// Requests of many accounts: hold, charge, close.
    async fn cycles(&self) -> Result<u64> {
        let (begun, mut requests) = (Instant::now(), JoinSet::new());
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..REQUESTS {
            let (ledger, customers, next) =
                (self.ledger.clone(), Arc::clone(&self.customers), Arc::clone(&next));
            requests.spawn(async move {
                while begun.elapsed() < ROUND {
                    let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                    cycle(&ledger, &customers[index * 379 % customers.len()]).await?;
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(ended) = requests.join_next().await {
            ended??;
        }
        Ok(next.load(Ordering::Relaxed))
    }

    async fn pages(&self, account: &AccountId, cursor: Option<&StatementCursor>) -> Result<u64> {
        let (begun, mut done) = (Instant::now(), 0);
        while begun.elapsed() < ROUND {
            let page = self.ledger.entries(account, cursor, LINES).await?;
            ensure!(page.entries.len() == LINES as usize, "a page of {} lines", page.entries.len());
            done += 1;
        }
        Ok(done)
    }
}

fn details() -> EntryDetails {
    EntryDetails {
        kind: EntryKind::Usage,
        request_id: None,
        service: "model".to_owned(),
        units: 1,
        unit_price: Money::from_micros(1),
        meta: serde_json::json!({ "key": "abcdefghijklmnop", "prompt_tokens": 123 }),
    }
}

async fn cycle(ledger: &Ledger, account: &AccountId) -> Result<()> {
    let (now, unit) = (Timestamp::now(), Money::from_micros(1));
    let held = ledger.hold(account, &RequestKey::new(now), Money::from_micros(5), now, now).await?;
    let HoldOutcome::Opened(hold) = held else { bail!("a hold ended in {held:?}") };
    let charged = ledger.charge(&hold, unit).await?;
    ensure!(matches!(charged, ChargeOutcome::Charged { .. }), "a charge ended in {charged:?}");
    let closed = ledger.close(&hold, &details(), now).await?;
    ensure!(matches!(closed, CloseOutcome::Closed { .. }), "a close ended in {closed:?}");
    Ok(())
}

/// Credits every customer, and opens the holds of the streams.
async fn opened(ledger: &Ledger, customers: &[AccountId], now: Timestamp) -> Result<Vec<HoldId>> {
    let funds = Money::from_micros(1_000_000_000);
    let opened = ledger.db().transaction(|mut tx| async move {
        let mut holds = Vec::new();
        for (index, customer) in customers.iter().enumerate() {
            let source = SourceRef::parse(&format!("bench:{index}")).expect("a token");
            ledger::credit(&mut tx, customer, funds, &source, now).await?;
            if index % (customers.len() / STREAMS) == 0 && holds.len() < STREAMS {
                let key = RequestKey::new(now);
                let held = ledger::hold(&mut tx, customer, &key, Money::from_micros(500_000_000), now, now);
                if let HoldOutcome::Opened(hold) = held.await? {
                    holds.push(hold);
                }
            }
        }
        Ok::<_, LedgerError>((tx, holds))
    });
    let holds = opened.await?;
    ensure!(holds.len() == STREAMS, "{} holds are open", holds.len());
    Ok(holds)
}

/// Gives an account its few entries.
async fn history(ledger: &Ledger, account: &AccountId) -> Result<()> {
    let (now, unit) = (Timestamp::now(), Money::from_micros(1));
    ledger.credit(account, Money::from_micros(1_000), &SourceRef::parse("bench:few")?, now).await?;
    for _ in 0..FEW {
        let spent = ledger.spend(account, unit, &RequestKey::new(now), &details(), now).await?;
        ensure!(matches!(spent, SpendOutcome::Spent(_)), "a purchase ended in {spent:?}");
    }
    Ok(())
}

fn print(engine: Engine, empty: &Contender, large: &Contender) {
    let mut table = Table::new(&["a second", "empty", "large", "times slower", ""]);
    let mut slow = 0;
    for (index, measure) in MEASURES.into_iter().enumerate() {
        let what = match measure {
            Measure::Charge => format!("charges, {STREAMS} streams"),
            Measure::Cycle => format!("hold, charge and close, {REQUESTS} requests"),
            Measure::Balance => "balances".to_owned(),
            Measure::Page(AccountSize::Few) => format!("pages of {LINES}, an account with few entries"),
            Measure::Page(AccountSize::Many) => format!("pages of {LINES}, an account with many"),
            Measure::Page(AccountSize::Middle) => format!("pages of {LINES}, in the middle of many"),
        };
        let [before, after] = [empty, large].map(|contender| median(&contender.rates[index]));
        let times = before / after;
        slow += usize::from(times > MAX_SLOWDOWN);
        let verdict = if times > MAX_SLOWDOWN { "TOO SLOW" } else { "" };
        table.row(
            &format!("{engine:?}: {what}"),
            [number(before), number(after), number(times), verdict.to_owned()],
        );
    }
    table.print();
    println!("  Medians of {ROUNDS} alternating rounds; {slow} are more than {MAX_SLOWDOWN} times slower.");
    println!("  Beside the account with many stands the one with few of the empty ledger.");
}
