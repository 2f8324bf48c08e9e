//! The server as a process: killed at every step, killed at random under load and during streams,
//! doubled on one database, stopped by a signal, and started on a bad configuration.
//!
//! Nothing in the server knows of these tests. It is stopped at an exact step from outside: the
//! chain holds back an answer, a trigger in the database refuses a change, a client does not read.

#[path = "crash/doctor.rs"]
mod doctor;
#[path = "crash/fixture.rs"]
mod fixture;
#[path = "crash/forced_close.rs"]
mod forced_close;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/processes.rs"]
mod processes;
#[path = "crash/startup.rs"]
mod startup;
#[path = "crash/steps.rs"]
mod steps;
#[path = "crash/streams.rs"]
mod streams;

use std::time::Instant;

use alloy::primitives::U256;
use farebox::devnet::{Devnet, DevnetConfig, Fault, Rule};
use farebox_test_support::db::TestDb;
use farebox_test_support::process::{POLL_INTERVAL, Setup, TIME_LIMIT, wait_until};
use farebox_test_support::sdk_agent::{self, CURRENCY, PaidAnswer, PaidRequest, SdkAgent};
use reqwest::StatusCode;
use sqlx::Row as _;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
/// The price of a preview in units of [`CURRENCY`]: $0.05, the default.
const PRICE: u64 = 50_000;

async fn devnet() -> Devnet {
    Devnet::start(DevnetConfig::default()).await.expect("the chain starts")
}

/// Sends a credential that has been presented before until there is a verdict. A server that is
/// not there is tried again, and so is one that answers 409 or 503, no sooner than after its `Retry-After`.
async fn send_until_verdict(agent: &SdkAgent, request: &PaidRequest, credential: &str) -> PaidAnswer {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let pause = match agent.send(request, Some(credential)).await {
            Ok(answer) => match answer.status {
                StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => {
                    answer.retry_after.expect("it says when to come again")
                }
                _ => return answer,
            },
            Err(_) => POLL_INTERVAL,
        };
        assert!(Instant::now() < deadline, "no verdict within {TIME_LIMIT:?}");
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
    wait_until(wanted, async || state(db, challenge).await.as_deref() == Some(wanted)).await;
}

async fn count(db: &TestDb, query: &'static str, value: &str) -> u64 {
    let row = sqlx::query(query).bind(value.to_owned()).fetch_one(&db.db.pool).await;
    let count: i64 = row.expect("the table can be read").get("n");
    u64::try_from(count).expect("a count")
}

/// Delays the next request of `method` for longer than the test takes.
fn delay_next(devnet: &Devnet, method: &str) {
    let ms = u64::try_from(TIME_LIMIT.as_millis()).expect("a short time");
    devnet.faults().set(Rule::new(Fault::Delay { ms }).on(method).times(1));
}

/// Waits until every counted fault was applied.
async fn faults_applied(devnet: &Devnet) {
    wait_until("the faults strike", async || devnet.faults().active().is_empty()).await;
}

/// Asserts that an agent was charged for `answers` answers in the end, on the chain and in
/// the ledger alike.
async fn assert_settled(devnet: &Devnet, db: &TestDb, setup: &Setup, agent: &SdkAgent, answers: u64) {
    let address = agent.address();
    let debits = agent.debits(setup.recipient).await;
    assert!(debits.iter().all(|(_, amount)| *amount == U256::from(PRICE)), "{debits:?}");
    assert_eq!(debits.len() as u64, answers, "debits on the chain of {address}");
    let left = devnet.balance(CURRENCY, address).await.expect("the chain answers").to::<u64>();
    assert_eq!(sdk_agent::FUNDS - left, answers * PRICE, "balance of {address}");
    let account = format!("wallet:{address:#x}");
    let entries = "SELECT count(*) AS n FROM entries WHERE account = $1";
    assert_eq!(count(db, entries, &account).await, answers, "entries of {address}");
}

/// Asserts that no payment is left half done.
async fn assert_nothing_open(db: &TestDb, setup: &Setup) {
    for state in ["claimed", "broadcast"] {
        let open = "SELECT count(*) AS n FROM payments WHERE state = $1";
        assert_eq!(count(db, open, state).await, 0, "payments left in {state}");
    }
    setup.audit().await;
}
