//! Random interleavings of everything that can happen to channels, compared with a model of what
//! each channel may be (`model/rules.rs`).
//!
//! A run is a server, a chain of its own and three payers. They open, allow, top up, stream, go
//! away, ask for whole answers and close, one by one and several at once, while the chain is slow,
//! loses transactions or answers, is behind or gone, the worker settles and closes, payers close
//! past the server, and the server dies with requests in flight. Afterwards nothing may be stuck and
//! everything must be accounted for to the unit.
//!
//! `FAREBOX_TEST_RUNS` makes more runs; a failure names its seed, and with `FAREBOX_TEST_SEED` set to
//! it and one run it is repeated.

mod actions;
mod client;
mod faults;
mod reader;
mod rules;

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::U256;
use farebox::config::PATH_USD;
use farebox::devnet::Devnet;
use farebox::funding::channel::{Channel, Phase};
use farebox::id::Timestamp;
use farebox::payments::methods::tempo::session::ChannelId;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{FUNDS, eventually, own_chain, reply, run};
use farebox_test_support::random::{Random, seed};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Row as _;
use tokio_util::task::TaskTracker;

use crate::fixture::{CHAT, Fixture, PRICE, units};
use client::{Action, Client, answer, non_streaming_body};
use reader::Cost;
use rules::Range;

const SEED: u64 = 20_261_124;
/// Runs that the suite has time for.
const RUNS: u64 = 12;
const RUNS_POSTGRES: u64 = 6;
const STEPS: u32 = 60;
const CLIENTS: usize = 3;
/// Small, so that it is reached.
const DEPOSIT: u64 = 150 * PRICE;
/// Looks of the worker after which nothing may be open any more.
const ROUNDS: u32 = 8;

/// Number of answers of each kind to each kind of request, over all runs.
type Tally = BTreeMap<String, u64>;

/// One run.
struct Run<'a> {
    fixture: Option<Fixture<'a>>,
    clients: Vec<Client>,
    random: Random,
    /// Quiet channels are closed soon.
    idle: bool,
    /// The chain refuses connections.
    chain_stopped: bool,
    /// Transactions that left and can still be included.
    unconfirmed: Vec<String>,
    /// Transactions that cannot.
    expired: Vec<String>,
    /// Tasks of stopped servers: their transactions may still be sent.
    stopped: Vec<TaskTracker>,
    tally: Tally,
    trace: Trace,
}

/// Steps of a run, printed when it fails.
struct Trace {
    seed: u64,
    steps: Vec<String>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, steps } = self;
            eprintln!("{}", steps.join("\n"));
            eprintln!("after {} steps; again: FAREBOX_TEST_SEED={seed} FAREBOX_TEST_RUNS=1", steps.len());
        }
    }
}

#[test]
fn random_interleavings_agree_with_the_model() {
    run(interleavings("SQLite", RUNS, async || Some(db::sqlite().await)));
}

#[test]
fn random_interleavings_agree_with_the_model_postgres() {
    run(interleavings("PostgreSQL", RUNS_POSTGRES, async || db::postgres().await));
}

async fn interleavings(engine: &str, usual: u64, database: impl AsyncFn() -> Option<TestDb>) {
    let (first, begun, mut tally) = (seed(SEED), std::time::Instant::now(), Tally::new());
    let runs = std::env::var("FAREBOX_TEST_RUNS").map_or(usual, |runs| runs.parse().expect("a number"));
    let chain = own_chain().await;
    for seed in first..first + runs {
        let Some(database) = database().await else { return };
        let mut run = Run::new(seed, database, &chain).await;
        if seed.is_multiple_of(2) {
            // Channels open best while nothing is wrong; here they do not.
            run.break_chain().await;
            run.break_chain().await;
        }
        for _ in 0..STEPS {
            run.step().await;
        }
        for (what, times) in run.finish().await {
            *tally.entry(what).or_default() += times;
        }
    }
    chain.stop().await;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{engine}: {runs} interleavings of {STEPS} steps from seed {first} in {seconds:.1} s: {tally:?}"
    );
    if runs >= usual {
        for what in ["Open ok", "TopUp ok", "Close ok", "Stream ok", "Whole ok", "crash", "asked"] {
            assert!(tally.get(what).is_some_and(|times| *times > 0), "no run had this: {what}");
        }
    }
}

impl<'a> Run<'a> {
    async fn new(seed: u64, database: TestDb, chain: &'a Devnet) -> Self {
        let mut random = Random(seed);
        let idle = random.below(5) == 0;
        let (above, after) = ([500, 1_000_000][below(&mut random, 2)], [0, 600][below(&mut random, 2)]);
        let fixture = Fixture::on(database, chain, |config| {
            // A server that is stopped is one that crashes: nothing may end well.
            config.server.drain_seconds = 0;
            config.chain.request_timeout_ms = 1_000;
            config.chain.confirm_timeout_ms = 600;
            config.sessions.settle_above = farebox::money::Money::from_micros(above);
            config.sessions.settle_after_seconds = after;
            config.sessions.close_idle_seconds = if idle { 1 } else { 7 * 24 * 3600 };
        })
        .await;
        let clients = join_all((0..CLIENTS).map(async |index| {
            let non_streaming_challenge =
                reply(fixture.server.post(CHAT, &non_streaming_body(&json!({})))).await.challenge();
            Client::new(format!("client-{index}"), fixture.payer(DEPOSIT).await, non_streaming_challenge)
        }))
        .await;
        fixture.disable_own_worker().await;
        let trace = Trace { seed, steps: Vec::new() };
        Self {
            fixture: Some(fixture),
            clients,
            random,
            idle,
            chain_stopped: false,
            unconfirmed: Vec::new(),
            expired: Vec::new(),
            stopped: Vec::new(),
            tally: Tally::new(),
            trace,
        }
    }

    fn fixture(&self) -> &Fixture<'a> {
        self.fixture.as_ref().expect("taken only while it restarts")
    }

    fn note(&mut self, step: String) {
        self.trace.steps.push(step);
    }

    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    fn below(&mut self, end: usize) -> usize {
        below(&mut self.random, end)
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..=46 => self.one_action().await,
            47..=60 => self.concurrently().await,
            61..=68 => self.read_and_pay().await,
            69..=73 => self.leave(),
            74..=80 => self.run_worker().await,
            81..=88 => self.break_chain().await,
            89..=91 => self.repair_chain().await,
            93 => self.expire_transactions().await,
            94..=95 => self.request_close_on_chain().await,
            92 | 96 => self.include_late().await,
            _ => self.crash().await,
        }
        self.check_invariants().await;
    }

    /// One request, whose answer is known before where the payer knows how its channel stands.
    async fn one_action(&mut self) {
        let who = self.below(CLIENTS);
        let action = self.choose(who, &[]).await;
        self.one(who, action).await;
    }

    async fn one(&mut self, who: usize, action: Action) {
        let before = self.channel(who).await;
        let unreliable = self.is_chain_unreliable() || is_waiting(before.as_ref());
        let fixture = self.fixture.as_ref().expect("taken only while it restarts");
        let (request, name) = self.clients[who].request(fixture, &action);
        let answer = answer(request).await;
        let after = self.channel(who).await;
        let spent = Range { low: spent(before.as_ref()), high: spent(after.as_ref()) };
        let allowed = self.clients[who].expects(&action, spent, unreliable, is_stale(before.as_ref()));
        self.note(format!("{name} {action:?} -> {} (trouble {unreliable})", answer.code));
        assert!(
            allowed.contains(answer.code.as_str()),
            "{name} {action:?}: {}, allowed {allowed:?}, believed {:?}, spent {spent:?}, {after:?}",
            answer.code,
            self.clients[who].belief
        );
        self.count(&format!("{} {}", kind(&action), answer.code));
        self.clients[who].record(&action, name, answer, unreliable);
    }

    /// Makes several requests on one channel at once, and sometimes runs the worker too.
    async fn concurrently(&mut self) {
        let (who, count) = (self.below(CLIENTS), 2 + self.below(2));
        let mut actions = Vec::new();
        for _ in 0..count {
            let action = self.choose(who, &actions).await;
            actions.push(action);
        }
        let (works, possible) = (self.below(3) == 0, self.clients[who].belief.all_answers());
        let fixture = self.fixture.as_ref().expect("taken only while it restarts");
        let requests: Vec<_> =
            actions.iter().map(|action| self.clients[who].request(fixture, action)).collect();
        let (requests, names): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let worker = async {
            if works {
                fixture.run_worker().await;
            }
        };
        let (answers, ()) = tokio::join!(join_all(requests.into_iter().map(answer)), worker);
        for ((action, name), answer) in actions.into_iter().zip(names).zip(answers) {
            self.note(format!("{name} at once {action:?} -> {} (worker {works})", answer.code));
            assert!(possible.contains(answer.code.as_str()), "{name} {action:?}: {}", answer.code);
            self.count(&format!("{} {}", kind(&action), answer.code));
            self.clients[who].record(&action, name, answer, true);
        }
    }

    /// Waits for some chunks of a running stream.
    async fn read_and_pay(&mut self) {
        let (who, more) = (self.below(CLIENTS), 1 + self.random.below(20));
        let client = &self.clients[who];
        let wanted = client.received() + more;
        eventually("it goes on, waits or ends", async || {
            (client.received() >= wanted || client.required_voucher().is_some() || !client.is_streaming())
                .then_some(())
        })
        .await;
        self.note(format!("client-{who} listens for {more} chunks"));
    }

    fn leave(&mut self) {
        let who = self.below(CLIENTS);
        let left = self.clients[who].leave();
        self.note(format!("client-{who} leaves its stream: {left}"));
        if left {
            self.count("left");
        }
    }

    async fn channel(&self, who: usize) -> Option<Channel> {
        let sessions = self.fixture().server.app.sessions.as_ref().expect("sessions are on");
        let id = ChannelId(self.clients[who].payer.id);
        sessions.channels.find(id).await.expect("the database answers")
    }

    /// Checks the invariants that hold at every moment.
    async fn check_invariants(&mut self) {
        for who in 0..CLIENTS {
            // Read before the ledger: what is received later is charged later.
            let received = self.clients[who].received();
            let channel = self.channel(who).await;
            self.clients[who].check_invariants(channel.as_ref(), received, self.idle);
            let out = channel.and_then(|channel| channel.pending).map(|pending| pending.raw);
            let known = |raw: &String| self.unconfirmed.contains(raw) || self.expired.contains(raw);
            let out = out.filter(|raw| !known(raw));
            self.unconfirmed.extend(out);
        }
    }

    /// Nothing is stuck: with a chain that works, a few looks of the worker end everything.
    async fn resolve_everything(&mut self) {
        self.repair_chain().await;
        for _ in 0..ROUNDS {
            for who in 0..CLIENTS {
                for action in self.clients[who].unresolved.clone() {
                    self.one(who, action).await;
                }
            }
            self.expire_transactions().await;
            self.run_worker().await;
            self.check_invariants().await;
        }
        for who in 0..CLIENTS {
            let channel = self.channel(who).await;
            assert!(self.clients[who].unresolved.is_empty(), "{who}: no verdict: {channel:?}");
            assert!(!is_waiting(channel.as_ref()), "{who}: stuck: {channel:?}");
            let app = &self.fixture().server.app;
            if let Some(channel) = channel.filter(|channel| channel.phase == Phase::Open) {
                let state = app.chain.channel(app.config.sessions.escrow, channel.id).await;
                let state = state.expect("the chain answers");
                let recorded = (channel.deposit, channel.settled);
                assert_eq!((state.deposit, state.settled), recorded, "the chain's state: {channel:?}");
            }
        }
    }

    /// Closes everything and accounts for it; returns what was tried.
    async fn finish(mut self) -> Tally {
        let mut costs = Vec::new();
        self.resolve_everything().await;
        for who in 0..CLIENTS {
            self.clients[who].leave();
            for _ in 0..ROUNDS {
                let Some(channel) = self.channel(who).await else { break };
                if channel.phase != Phase::Open {
                    break;
                }
                self.one(who, Action::Close(units(channel.accepted()))).await;
                self.run_worker().await;
                self.check_invariants().await;
            }
            costs.push(self.clients[who].finish().await);
        }
        let mut earned = 0;
        for (who, costs) in costs.into_iter().enumerate() {
            earned += self.account_for(who, costs).await;
        }
        let fixture = self.fixture.take().expect("taken only while it restarts");
        assert_eq!(fixture.earned().await, earned, "what the payee has got");
        assert_eq!(fixture.open_holds().await, 0, "open holds");
        fixture.assert_audit().await;
        fixture.finish().await;
        std::mem::take(&mut self.tally)
    }

    /// A payer's requests, its channel and its wallet; returns what was captured.
    async fn account_for(&mut self, who: usize, costs: Vec<Cost>) -> u64 {
        let channel = self.channel(who).await;
        let client = &self.clients[who];
        let mut charged = charges(self.fixture(), client).await;
        for Cost { request, units } in costs {
            let paid = charged.remove(&request).unwrap_or(0) / PRICE;
            assert!(units.holds(paid), "{request}: charged {paid}, should be {units:?}");
        }
        assert!(charged.is_empty(), "charged for what nobody asked: {charged:?}");
        let captured = channel.map_or(0, |channel| {
            assert!(matches!(channel.phase, Phase::Closed | Phase::Failed), "{channel:?}");
            assert_eq!(channel.pending, None);
            assert_eq!(channel.settled, channel.capture(), "captured is what was charged or settled");
            units(channel.settled)
        });
        let left = self.fixture().chain.balance(PATH_USD, client.payer.agent.address()).await;
        let left = left.expect("the chain answers");
        assert_eq!(U256::from(FUNDS) - left, U256::from(captured), "what {} paid", client.name);
        captured
    }
}

/// Charges of a payer's channel in the ledger, by request.
async fn charges(fixture: &Fixture<'_>, client: &Client) -> HashMap<String, u64> {
    let rows = sqlx::query("SELECT request_id, amount FROM entries WHERE account = $1")
        .bind(format!("channel:{:#x}", client.payer.id))
        .fetch_all(&fixture.server.db.db.pool)
        .await
        .expect("the database answers");
    let entry = |row: &sqlx::any::AnyRow| {
        (
            row.get::<String, _>("request_id"),
            u64::try_from(row.get::<i64, _>("amount")).expect("not negative"),
        )
    };
    let charges: HashMap<_, _> = rows.iter().map(entry).collect();
    assert_eq!(charges.len(), rows.len(), "two entries for one request");
    charges
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("below a usize")
}

/// True if a transaction about the channel is pending.
fn is_waiting(channel: Option<&Channel>) -> bool {
    channel.is_some_and(|channel| channel.pending.is_some())
}

/// True if the server's knowledge of a channel is so old that it reads the chain before it accepts a voucher.
fn is_stale(channel: Option<&Channel>) -> bool {
    let minute = |channel: &Channel| Timestamp::now().checked_millis_since(channel.checked_at);
    channel.and_then(minute).is_some_and(|age| age > 60_000)
}

fn spent(channel: Option<&Channel>) -> u64 {
    channel.map_or(0, |channel| units(channel.spent))
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Open { .. } => "Open",
        Action::Voucher(_) => "Voucher",
        Action::TopUp { .. } => "TopUp",
        Action::Stream { .. } => "Stream",
        Action::NonStreaming { .. } => "Whole",
        Action::Close(_) => "Close",
    }
}
