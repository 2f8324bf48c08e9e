//! Random kills under load.
//!
//! Several agents pay all the time, by pull and by push, with and without an idempotency key, while
//! the server is killed again and again. An agent whose payment was cut off sends the same
//! credential until it has its answer. `FAREBOX_TEST_SEED` repeats a run's moments of death.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farebox_test_support::db::{self, TestDb};
use farebox_test_support::process::{POLL_INTERVAL, Setup, wait_until};
use farebox_test_support::random::{Random, seed};
use farebox_test_support::sdk_agent::{PaidAnswer, PaidRequest, SdkAgent};
use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::{assert_nothing_open, assert_settled, send_until_verdict};

const SEED: u64 = 30;

/// Every so many kills the server lives until everything that was cut off has its answer: a signed
/// transaction is good for half a minute, and a busy machine needs that for a few payments.
const KILLS_BETWEEN_PAUSES: u32 = 10;

/// Payments that an agent has open before it waits for one of them.
const MAX_CUT_OFF: usize = 4;

/// State that the agents and the loop that kills share.
#[derive(Default)]
struct Load {
    /// No new payments.
    finished: AtomicBool,
    /// Payments whose first request got no answer, and that have none yet.
    cut_off: AtomicUsize,
}

/// Size of a run.
struct Run {
    kills: u32,
    agents: usize,
    /// Longest life of a server after its first answer.
    life_ms: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_100_random_kills_under_load() {
    random_kills(&db::sqlite().await, &Run { kills: 100, agents: 6, life_ms: 500 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_20_random_kills_under_load_postgres() {
    if let Some(db) = db::postgres().await {
        random_kills(&db, &Run { kills: 20, agents: 6, life_ms: 1000 }).await;
    }
}

async fn random_kills(db: &TestDb, run: &Run) {
    let (seed, begun) = (seed(SEED), Instant::now());
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let mut agents = Vec::new();
    for _ in 0..run.agents {
        agents.push(SdkAgent::funded(&devnet).await);
    }
    let load = Arc::new(Load::default());
    let paying: Vec<_> = agents
        .iter()
        .enumerate()
        .map(|(index, agent)| {
            tokio::spawn(keep_paying(index, agent.clone(), setup.origin(), Arc::clone(&load)))
        })
        .collect();

    let mut random = Random(seed);
    for kill in 0..run.kills {
        let mut server = setup.spawn();
        // Every eighth dies before it is up.
        if random.below(8) > 0 {
            server.answers().await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(run.life_ms))).await;
        if kill % KILLS_BETWEEN_PAUSES == KILLS_BETWEEN_PAUSES - 1 {
            server.answers().await;
            wait_until("what was cut off is finished", async || load.cut_off.load(Ordering::SeqCst) == 0)
                .await;
        }
        assert!(server.is_running(), "kill {kill}: the server ended by itself:\n{}", server.log());
        server.kill().await;
    }
    let server = setup.serve().await;
    load.finished.store(true, Ordering::SeqCst);
    let mut answers = Vec::new();
    for agent in paying {
        answers.push(agent.await.expect("every payment ends with its answer"));
    }
    let (kills, seconds) = (run.kills, begun.elapsed().as_secs_f64());
    println!("seed {seed}: {kills} kills, answers {answers:?}, {seconds:.1} s");

    for (agent, answers) in agents.iter().zip(&answers) {
        assert!(*answers > 0, "nothing was tested");
        assert_settled(&devnet, db, &setup, agent, *answers).await;
    }
    assert_nothing_open(db, &setup).await;
    server.kill().await;
    devnet.stop().await;
}

/// Pays until it is enough; returns how many answers came. What is cut off is finished beside new
/// payments, so that the server stays busy.
async fn keep_paying(index: usize, agent: SdkAgent, origin: String, load: Arc<Load>) -> u64 {
    let mut answers = 0;
    let mut cut_off = JoinSet::new();
    for payment in 0.. {
        if cut_off.len() == MAX_CUT_OFF {
            cut_off.join_next().await.expect("there are some").expect("it ends with its answer");
            answers += 1;
        }
        if load.finished.load(Ordering::SeqCst) {
            break;
        }
        let text = format!("From agent-{index}@example.com, payment {payment}");
        let mut request = PaidRequest::preview(&origin, &text);
        request.idempotency_key = (payment % 4 < 2).then(|| format!("{index}-{payment}"));
        let Ok(challenge) = agent.challenge(&request).await else {
            tokio::time::sleep(POLL_INTERVAL).await;
            continue;
        };
        let credential = match (index + payment) % 2 {
            0 => agent.pull(&challenge).await,
            _ => agent.push(&challenge).await,
        };
        match agent.send(&request, Some(&credential)).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                check(&answer, payment);
                answers += 1;
            }
            _ => {
                let (agent, load) = (agent.clone(), Arc::clone(&load));
                load.cut_off.fetch_add(1, Ordering::SeqCst);
                cut_off.spawn(async move {
                    check(&send_until_verdict(&agent, &request, &credential).await, payment);
                    load.cut_off.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
    answers + cut_off.join_all().await.len() as u64
}

/// An answer is the answer to its own request.
fn check(answer: &PaidAnswer, payment: usize) {
    assert_eq!(answer.status, StatusCode::OK, "payment {payment}: {}", answer.body);
    let own = format!("From <EMAIL_ADDRESS>, payment {payment}\"");
    assert!(answer.body.contains(&own) && answer.receipt.is_some(), "{}", answer.body);
}
