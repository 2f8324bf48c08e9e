//! Random kills during streams.
//!
//! Fifty payers stream on their channels all the time and pay vouchers as asked, while the server is
//! killed again and again, in the middle of charges and of settlements. A payer that is cut off
//! begins anew on the same channel with its highest voucher. Each remembers every chunk it received;
//! in the end the ledger knows of each of them, and of no more than was on its way at each death.
//! The suite's hundred kills take about a minute in a debug build, and the closes up to a minute and a
//! half more where a settlement was written down and never left. `FAREBOX_TEST_SEED` repeats a run's
//! moments of death.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use farebox::db::Engine;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::payer::Payer;
use farebox_test_support::process::{POLL_INTERVAL, wait_until};
use farebox_test_support::random::{Random, seed};
use farebox_test_support::sse::{Frame, Stream, text};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::count;
use crate::fixture::{Fixture, IN_FLIGHT, PRICE, channel_record};

const SEED: u64 = 50;
const PAYERS: usize = 50;
/// More than a run can spend.
const DEPOSIT: u64 = 40_000_000;
/// Chunks of the stream that each channel must still serve in the end.
const LAST_CHUNKS: u64 = 7;
/// Chunks that all payers together receive of a server before it is killed.
const CHUNKS_OF_A_LIFE: u64 = 100;

/// One request, as its payer recorded it.
#[derive(Debug)]
struct SentRequest {
    id: String,
    chunks: u64,
    /// True if an answer began.
    begun: bool,
    /// True if the stream was complete.
    complete: bool,
}

/// A payer with its channel.
struct Client {
    payer: Payer,
    /// The highest voucher that was signed.
    allowed: u64,
    /// Amount that its vouchers exceed the required one by: some sign seldom and much.
    step: u64,
    requests: Vec<SentRequest>,
    name: String,
    /// Chunks that all payers received.
    received: Arc<AtomicU64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_100_random_kills_during_streams() {
    random_kills(&db::sqlite().await, 100, 700).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_20_random_kills_during_streams_postgres() {
    if let Some(db) = db::postgres().await {
        random_kills(&db, 20, 2000).await;
    }
}

/// Kills a server `kills` times, each after it lived for `life_ms` at most.
async fn random_kills(db: &TestDb, kills: u32, life_ms: u64) {
    let (seed, begun) = (seed(SEED), Instant::now());
    // Settlements go on all the time, so that they are cut off too.
    let fixture = Arc::new(Fixture::new(db).await.with("FAREBOX_SESSIONS_SETTLE_ABOVE", "0.02"));
    let mut server = fixture.setup.serve().await;
    let received = Arc::new(AtomicU64::new(0));
    let clients = join_all((0..PAYERS).map(|index| Client::open(&fixture, index, &received))).await;
    let (opened, finished) = (begun.elapsed(), Arc::new(AtomicBool::new(false)));
    let streaming: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(client.keep_streaming(Arc::clone(&fixture), Arc::clone(&finished))))
        .collect();

    let (mut random, killing) = (Random(seed), Instant::now());
    for kill in 0..kills {
        // Every other one is killed while it streams, however slow the machine is.
        if kill % 2 == 0 {
            let before = received.load(Ordering::SeqCst);
            wait_until("chunks arrive", async || received.load(Ordering::SeqCst) > before + CHUNKS_OF_A_LIFE)
                .await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(life_ms))).await;
        assert!(server.is_running(), "kill {kill}: the server ended by itself:\n{}", server.log());
        server.kill().await;
        server = fixture.setup.spawn();
        // Every eighth dies before it is up.
        if random.below(8) > 0 {
            server.answers().await;
        }
    }
    server.answers().await;
    let killed = killing.elapsed();
    finished.store(true, Ordering::SeqCst);
    let mut clients = Vec::new();
    for client in streaming {
        clients.push(client.await.expect("every channel is of use after all kills"));
    }
    let settled = "SELECT count(*) AS n FROM channels WHERE published > 0 AND state = $1";
    let settled = count(db, settled, "open").await;
    join_all(clients.iter().map(|client| fixture.done(&client.payer, client.close()))).await;
    let tally = check(&fixture, db, &clients).await;
    println!(
        "seed {seed}: {kills} kills; {} streams, {} cut off, {} chunks received, {} charged, {settled} of \
         {PAYERS} channels settled on the way; opened {:.1} s, killed {:.1} s, in all {:.1} s",
        tally.streams,
        tally.cut_off,
        tally.received,
        tally.charged,
        opened.as_secs_f64(),
        killed.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    // On PostgreSQL the lease of a worker that was killed can outlast the run.
    let settles = db.db.engine == Engine::Postgres || settled > 0;
    assert!(tally.cut_off > u64::from(kills) && settles, "nothing was tested");
    server.kill().await;
    Arc::into_inner(fixture).expect("nobody else uses it").stop().await;
}

#[derive(Debug, Default)]
struct Tally {
    streams: u64,
    cut_off: u64,
    received: u64,
    charged: u64,
}

/// Compares the payers' records with the ledger and the chain.
async fn check(fixture: &Fixture, db: &TestDb, clients: &[Client]) -> Tally {
    let (mut tally, mut earned) = (Tally::default(), 0);
    for client in clients {
        let mut charged = charges(db, client.payer.id).await;
        for SentRequest { id, chunks, begun, complete } in &client.requests {
            let units = charged.remove(id).unwrap_or(0) / PRICE;
            let most = if *complete { *chunks } else { chunks + IN_FLIGHT };
            assert!((*chunks..=most).contains(&units), "{id}: {chunks} received, {units} charged");
            tally.streams += u64::from(*begun);
            tally.cut_off += u64::from(*begun && !complete);
            tally.received += chunks;
            tally.charged += units;
        }
        assert!(charged.is_empty(), "charged for what nobody asked: {charged:?}");
        assert!(client.requests.iter().any(|sent| !sent.complete && sent.chunks > 0), "nothing was tested");
        earned += fixture.closed(db, &client.payer).await;
        let channel_record = channel_record(db, client.payer.id).await;
        assert!(
            channel_record.accepted <= client.allowed,
            "{} of {}",
            channel_record.accepted,
            client.allowed
        );
    }
    assert_eq!(fixture.balance(fixture.setup.recipient).await, earned, "what the payee has got");
    let open = "SELECT count(*) AS n FROM holds WHERE state = $1";
    assert_eq!(count(db, open, "open").await, 0, "open holds");
    fixture.setup.audit().await;
    tally
}

/// Charges of a channel in the ledger, by request. Each request has one entry.
async fn charges(db: &TestDb, channel: B256) -> HashMap<String, u64> {
    let rows = sqlx::query("SELECT request_id, amount FROM entries WHERE account = $1")
        .bind(format!("channel:{channel:#x}"))
        .fetch_all(&db.db.pool)
        .await
        .expect("the table can be read");
    let mut charges = HashMap::new();
    for row in rows {
        let (id, amount): (String, i64) = (row.get("request_id"), row.get("amount"));
        let twice = charges.insert(id, u64::try_from(amount).expect("not negative"));
        assert_eq!(twice, None, "two entries for one request");
    }
    charges
}

impl Client {
    async fn open(fixture: &Fixture, index: usize, received: &Arc<AtomicU64>) -> Self {
        let payer = fixture.payer_with_channel(DEPOSIT, PRICE).await;
        let step = if index.is_multiple_of(2) { 0 } else { 2_000 * PRICE };
        Self {
            payer,
            allowed: PRICE,
            step,
            requests: Vec::new(),
            name: format!("payer-{index}"),
            received: Arc::clone(received),
        }
    }

    /// Streams until it is enough, and then a short stream to its end.
    async fn keep_streaming(mut self, fixture: Arc<Fixture>, finished: Arc<AtomicBool>) -> Self {
        for request in 0.. {
            let script = match request % 4 {
                0 => json!({ "chunks": 30 }),
                1 => json!({ "endless": true, "intervalMs": 5 }),
                _ => json!({ "endless": true, "intervalMs": 20 }),
            };
            if finished.load(Ordering::SeqCst) {
                break;
            }
            self.stream(&fixture, &script, &finished).await;
        }
        let nobody = AtomicBool::new(false);
        while !self.stream(&fixture, &json!({ "chunks": LAST_CHUNKS }), &nobody).await {}
        let last = self.requests.last().expect("it was remembered");
        assert_eq!((last.chunks, last.complete), (LAST_CHUNKS, true), "{last:?}");
        self
    }

    /// One stream. Whether it could begin; the payer goes away when it is `finished`.
    async fn stream(&mut self, fixture: &Fixture, script: &Value, finished: &AtomicBool) -> bool {
        let id = format!("{}-{}", self.name, self.requests.len());
        let mut sent = SentRequest { id, chunks: 0, begun: false, complete: false };
        let answer = fixture.stream(&self.payer, self.allowed, script, &sent.id).await;
        match answer {
            Ok(answer) if answer.status() == StatusCode::OK => {
                sent.begun = true;
                self.read_and_pay(fixture, answer, &mut sent, finished).await;
            }
            Ok(answer) => self.refused(answer).await,
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
        let begun = sent.begun;
        self.requests.push(sent);
        begun
    }

    async fn read_and_pay(
        &mut self,
        fixture: &Fixture,
        answer: reqwest::Response,
        sent: &mut SentRequest,
        finished: &AtomicBool,
    ) {
        let mut stream = Stream::new(answer);
        while let Some(frame) = stream.next().await {
            match frame {
                Frame::Chunk(chunk) => {
                    if let Some(text) = text(&chunk) {
                        assert_eq!(text, format!(" word{}", sent.chunks), "{}: a chunk is missing", sent.id);
                        sent.chunks += 1;
                        self.received.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Frame::NeedVoucher(ask) => {
                    let required = ask["requiredCumulative"].as_str().and_then(|text| text.parse().ok());
                    self.allow(required.expect("an amount"));
                    let paid = fixture.manage(&self.payer, self.payer.voucher(self.allowed)).await;
                    // The server may be gone by now, and then the stream is too.
                    if let Ok(answer) = paid {
                        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{}", sent.id);
                    }
                }
                Frame::Receipt(receipt) => assert_eq!(receipt["units"], json!(sent.chunks), "{}", sent.id),
                Frame::Done => sent.complete = true,
                Frame::Comment => {}
                Frame::Error(_) | Frame::Other(_) => panic!("{}: unexpected: {frame:?}", sent.id),
            }
            if finished.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Only another voucher may be required, or a later attempt.
    async fn refused(&mut self, answer: reqwest::Response) {
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        match (status, problem["code"].as_str()) {
            (StatusCode::PAYMENT_REQUIRED, Some("insufficient_balance")) => {
                self.allow(self.allowed + 50 * PRICE);
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => tokio::time::sleep(POLL_INTERVAL).await,
            _ => panic!("{}: {status} {problem}", self.name),
        }
    }

    fn allow(&mut self, required: u64) {
        self.allowed = required.max(self.allowed + self.step).min(DEPOSIT);
    }

    fn close(&self) -> Value {
        self.payer.authorized_close(self.allowed)
    }
}
