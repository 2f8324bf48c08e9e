//! Random kills under load.
//!
//! Several agents pay all the time, by pull and by push, with and without an idempotency key, while
//! the server is killed again and again. An agent whose payment was cut off sends the same
//! credential until it has its answer. `FAREBOX_TEST_SEED` repeats a run's moments of death.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::agent::{Agent, Order};
use crate::db::TestDb;
use crate::process::{BLINK, Setup};
use crate::{insist, nothing_open, settled_accounts};

const SEED: u64 = 30;

/// How heavy a run is.
struct Run {
    kills: u32,
    agents: usize,
    /// How long a server lives after it first answered, at most.
    life_ms: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_100_random_kills_under_load() {
    random_kills(&crate::db::sqlite().await, &Run { kills: 100, agents: 6, life_ms: 500 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_20_random_kills_under_load_postgres() {
    if let Some(db) = crate::db::postgres().await {
        // An agent that was cut off waits for the dead server's lease to end, so it takes more of
        // them to keep the server busy.
        random_kills(&db, &Run { kills: 20, agents: 20, life_ms: 1200 }).await;
    }
}

async fn random_kills(db: &TestDb, run: &Run) {
    let seed = std::env::var("FAREBOX_TEST_SEED").map_or(SEED, |seed| seed.parse().expect("a number"));
    let begun = Instant::now();
    let devnet = crate::devnet().await;
    let setup = Setup::new(&devnet, &db.url);
    let mut agents = Vec::new();
    for _ in 0..run.agents {
        agents.push(Agent::funded(&devnet).await);
    }
    let enough = Arc::new(AtomicBool::new(false));
    let paying: Vec<_> = agents
        .iter()
        .enumerate()
        .map(|(index, agent)| {
            tokio::spawn(keep_paying(index, agent.clone(), setup.origin(), Arc::clone(&enough)))
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
        assert!(server.is_running(), "kill {kill}: the server ended by itself:\n{}", server.log());
        server.kill().await;
    }
    let server = setup.serve().await;
    enough.store(true, Ordering::Relaxed);
    let mut answers = Vec::new();
    for agent in paying {
        answers.push(agent.await.expect("every payment ends with its answer"));
    }
    let (kills, seconds) = (run.kills, begun.elapsed().as_secs_f64());
    println!("seed {seed}: {kills} kills, answers {answers:?}, {seconds:.1} s");

    for (agent, answers) in agents.iter().zip(&answers) {
        assert!(*answers > 0, "nothing was tested");
        settled_accounts(&devnet, db, &setup, agent, *answers).await;
    }
    nothing_open(db, &setup).await;
    server.kill().await;
    devnet.stop().await;
}

/// Pays until it is `enough`; returns how many answers came.
async fn keep_paying(index: usize, agent: Agent, origin: String, enough: Arc<AtomicBool>) -> u64 {
    let mut answers = 0;
    while !enough.load(Ordering::Relaxed) {
        let text = format!("From agent-{index}-{answers}@example.com, and agent {index} again");
        let mut order = Order::preview(&origin, &text);
        order.idempotency_key = (answers % 4 < 2).then(|| format!("{index}-{answers}"));
        let Ok(challenge) = agent.challenge(&order).await else {
            tokio::time::sleep(BLINK).await;
            continue;
        };
        let credential = match (index + answers) % 2 {
            0 => agent.pull(&challenge).await,
            _ => agent.push(&challenge).await,
        };
        let answer = insist(&agent, &order, &credential).await;
        assert_eq!(answer.status, StatusCode::OK, "agent {index}, payment {answers}: {}", answer.body);
        let own = format!("From <EMAIL_ADDRESS>, and agent {index} again");
        assert!(answer.body.contains(&own) && answer.receipt.is_some(), "{}", answer.body);
        answers += 1;
    }
    answers as u64
}

/// SplitMix64: moments of death that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
