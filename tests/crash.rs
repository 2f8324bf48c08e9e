//! The server as a process: killed at every step, killed at random under load and during streams,
//! doubled on one database, told to stop, and started on a bad configuration.
//!
//! Nothing in the server knows of these tests. It is stopped at an exact step from outside: the
//! chain holds back an answer, a trigger in the database refuses a change, a client does not read.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/db.rs"]
mod db;
#[path = "crash/forced_close.rs"]
mod forced_close;
#[path = "crash/load.rs"]
mod load;
#[path = "support/process.rs"]
mod process;
#[path = "crash/processes.rs"]
mod processes;
#[path = "support/random.rs"]
mod random;
#[path = "crash/shop.rs"]
mod shop;
#[path = "crash/startup.rs"]
mod startup;
#[path = "crash/steps.rs"]
mod steps;
#[path = "crash/streams.rs"]
mod streams;

use std::time::Instant;

use alloy::primitives::U256;
use farebox::devnet::{Devnet, DevnetConfig, Fault, Rule};
use reqwest::StatusCode;
use sqlx::Row as _;

use agent::{Agent, Answer, CURRENCY, Order};
use db::TestDb;
use process::{BLINK, PATIENCE, Setup, until};

/// The price of a preview in units of [`CURRENCY`]: $0.05, the default.
const PRICE: u64 = 50_000;

async fn devnet() -> Devnet {
    Devnet::start(DevnetConfig::default()).await.expect("the chain starts")
}

/// A credential that has been presented before: sends it until there is a verdict. A server that is
/// not there is asked again, and so is one that says so (409, 503), no sooner than it says.
async fn insist(agent: &Agent, order: &Order, credential: &str) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pause = match agent.send(order, Some(credential)).await {
            Ok(answer) => match answer.status {
                StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => {
                    answer.retry_after.expect("it says when to come again")
                }
                _ => return answer,
            },
            Err(_) => BLINK,
        };
        assert!(Instant::now() < deadline, "no verdict within {PATIENCE:?}");
        tokio::time::sleep(pause).await;
    }
}

/// The state of a payment, `None` while it is unknown.
async fn state(db: &TestDb, challenge: &str) -> Option<String> {
    let row = sqlx::query("SELECT state FROM payments WHERE id = $1").bind(challenge.to_owned());
    let row = row.fetch_optional(&db.db.pool).await.expect("the table can be read");
    row.map(|row| row.get("state"))
}

/// Waits until a payment is in `wanted`.
async fn await_state(db: &TestDb, challenge: &str, wanted: &str) {
    until(wanted, async || state(db, challenge).await.as_deref() == Some(wanted)).await;
}

async fn count(db: &TestDb, query: &'static str, value: &str) -> u64 {
    let row = sqlx::query(query).bind(value.to_owned()).fetch_one(&db.db.pool).await;
    let count: i64 = row.expect("the table can be read").get("n");
    u64::try_from(count).expect("a count")
}

/// Holds back the next request of `method`, for longer than the test takes.
fn hold(devnet: &Devnet, method: &str) {
    let ms = u64::try_from(PATIENCE.as_millis()).expect("a short time");
    devnet.faults().set(Rule::new(Fault::Delay { ms }).on(method).times(1));
}

/// Waits until every counted fault has struck.
async fn struck(devnet: &Devnet) {
    until("the faults strike", async || devnet.faults().active().is_empty()).await;
}

/// What must hold of an agent in the end: it was charged for `answers` answers, on the chain and in
/// the ledger alike.
async fn settled_accounts(devnet: &Devnet, db: &TestDb, setup: &Setup, agent: &Agent, answers: u64) {
    let address = agent.address();
    let debits = agent.debits(setup.recipient).await;
    assert!(debits.iter().all(|(_, amount)| *amount == U256::from(PRICE)), "{debits:?}");
    assert_eq!(debits.len() as u64, answers, "debits on the chain of {address}");
    let left = devnet.balance(CURRENCY, address).await.expect("the chain answers").to::<u64>();
    assert_eq!(agent::FUNDS - left, answers * PRICE, "balance of {address}");
    let account = format!("wallet:{address:#x}");
    let entries = "SELECT count(*) AS n FROM entries WHERE account = $1";
    assert_eq!(count(db, entries, &account).await, answers, "entries of {address}");
}

/// Nothing is left half done.
async fn nothing_open(db: &TestDb, setup: &Setup) {
    for state in ["claimed", "broadcast"] {
        let open = "SELECT count(*) AS n FROM payments WHERE state = $1";
        assert_eq!(count(db, open, state).await, 0, "payments left in {state}");
    }
    setup.audit().await;
}
