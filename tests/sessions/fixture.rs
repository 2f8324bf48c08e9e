//! A server that sells streams of a scripted model, and what its payers do there.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::U256;
use farebox::config::{Config, ModelConfig, PATH_USD, Secret, UpstreamConfig};
use farebox::db::Engine;
use farebox::devnet::{Devnet, TOKENS};
use farebox::funding::channel::{Channel, Phase, worker};
use farebox::id::Timestamp;
use farebox::ledger::audit::audit;
use farebox::money::Money;
use farebox::payments::methods::tempo::session::ChannelId;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::{Agent, Challenge};
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{self, FUNDS, Reply, Server, eventually, reply, shared_chain};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::{Frame, Stream, text};
use reqwest::Method;
use serde_json::{Value, json};

pub const CHAT: &str = "/mpp/chat/completions";
pub const MODEL: &str = "scripted";
/// Price of a chunk, in base units.
pub const PRICE: u64 = 100;
/// A usual deposit: a thousand chunks.
pub const DEPOSIT: u64 = 1000 * PRICE;

/// Server, upstream and chain.
pub struct Fixture<'a> {
    pub server: Server,
    pub upstream: Arc<ScriptedUpstream>,
    pub chain: &'a Devnet,
}

/// Content of one stream, as a client got it.
#[derive(Debug, Default)]
pub struct Transcript {
    pub texts: Vec<String>,
    /// `requiredCumulative` of each request for a voucher.
    pub asks: Vec<u64>,
    pub errors: Vec<Value>,
    pub receipt: Value,
    pub done: bool,
}

impl Transcript {
    /// Cost of this request by its receipt, in base units.
    pub fn cost(&self) -> u64 {
        self.receipt["units"].as_u64().expect("units") * PRICE
    }
}

/// The operator's key: a dev account that no test uses otherwise.
pub fn operator_key(config: &mut Config, chain: &Devnet) {
    config.sessions.operator_key = Some(Secret::from(hex::encode(chain.accounts()[3].to_bytes())));
}

/// The configuration that sells `upstream`.
pub fn sell(config: &mut Config, chain: &Devnet, base_url: &str) {
    operator_key(config, chain);
    config.upstreams = vec![UpstreamConfig {
        name: "scripted".into(),
        base_url: base_url.into(),
        ..UpstreamConfig::default()
    }];
    config.models = vec![ModelConfig {
        id: MODEL.into(),
        description: "Follows a script".into(),
        upstreams: vec!["scripted".into()],
        price_per_chunk: Money::from_micros(100),
        price_per_million_input: Money::from_micros(1_000_000),
        price_per_million_output: Money::from_micros(100_000_000),
        context_length: 32_768,
        max_output_tokens: 4_096,
        ..ModelConfig::default()
    }];
}

/// Runs a test once on every engine, on the shared chain.
pub async fn on_every_engine(test: impl AsyncFn(&Fixture<'static>)) {
    for database in db::engines().await {
        let chain = shared_chain().await;
        let mut fixture = Fixture::on(database, chain, |_| {}).await;
        test(&fixture).await;
        fixture.server.stop().await;
    }
}

impl Fixture<'static> {
    /// Starts on SQLite and the shared chain.
    pub async fn start() -> Self {
        Self::with_config(|_| {}).await
    }

    pub async fn with_config(configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(db::sqlite().await, shared_chain().await, configure).await
    }
}

impl<'a> Fixture<'a> {
    pub async fn on(db: TestDb, chain: &'a Devnet, configure: impl FnOnce(&mut Config)) -> Self {
        let upstream = Arc::new(ScriptedUpstream::start().await.expect("a free port"));
        Self::with(db, chain, upstream, configure).await
    }

    pub async fn with(
        db: TestDb,
        chain: &'a Devnet,
        upstream: Arc<ScriptedUpstream>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let base_url = upstream.base_url();
        let server = Server::on(db, &chain.rpc_url(), |config| {
            sell(config, chain, &base_url);
            configure(config);
        })
        .await;
        Self { server, upstream, chain }
    }

    pub async fn restart(self, configure: impl FnOnce(&mut Config)) -> Self {
        Self { server: self.server.restart(configure).await, ..self }
    }

    /// Another instance beside it, on the same database, which must be PostgreSQL.
    pub async fn second_instance(&self) -> Server {
        Server::boot(self.server.db.shared().await, self.server.app.config.clone()).await
    }

    /// The challenge of a streamed request.
    pub async fn challenge(&self) -> Challenge {
        self.challenge_at(CHAT).await
    }

    pub async fn challenge_at(&self, path: &str) -> Challenge {
        reply(self.server.post(path, &body(&json!({}), true))).await.challenge()
    }

    /// A wallet with money for deposits and for fees.
    pub async fn agent(&self) -> Agent {
        let agent = harness::funded(self.chain).await;
        self.chain.fund(agent.address(), TOKENS[1], FUNDS).await.expect("the faucet gives");
        agent
    }

    /// A channel that is signed and not sent yet.
    pub async fn payer(&self, deposit: u64) -> Payer {
        Payer::prepare(self.agent().await, self.challenge().await, deposit)
    }

    /// An open channel that allows `first`.
    pub async fn opened(&self, deposit: u64, first: u64) -> Payer {
        let payer = self.payer(deposit).await;
        self.done(&payer, payer.open(first)).await;
        payer
    }

    /// A credential without a body.
    pub async fn manage(&self, payer: &Payer, payload: Value) -> Reply {
        let request = self.server.request(Method::POST, CHAT);
        reply(request.header("authorization", payer.authorization(payload))).await
    }

    /// Presents a credential without a body, which must succeed; returns the receipt.
    pub async fn done(&self, payer: &Payer, payload: Value) -> Value {
        let reply = self.manage(payer, payload).await;
        assert_eq!(reply.status, 204, "{}", reply.text);
        reply.receipt()
    }

    /// A request with a body, its answer read whole.
    pub async fn reply(&self, payer: &Payer, payload: Value, body: &str) -> Reply {
        reply(self.server.post(CHAT, body).header("authorization", payer.authorization(payload))).await
    }

    /// A stream begins.
    pub async fn stream(&self, payer: &Payer, payload: Value, script: &Value) -> Stream {
        let request = self.server.post(CHAT, &body(script, true));
        let response = request.header("authorization", payer.authorization(payload)).send().await;
        let response = response.expect("the server answers");
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
        Stream::new(response)
    }

    /// Reads a stream to its end and pays what it asks for, as clients do.
    pub async fn read_and_pay(&self, payer: &Payer, stream: &mut Stream) -> Transcript {
        let mut transcript = Transcript::default();
        while let Some(frame) = stream.next().await {
            match frame {
                Frame::Chunk(chunk) => transcript.texts.extend(text(&chunk)),
                Frame::NeedVoucher(ask) => {
                    let required = amount(&ask["requiredCumulative"]);
                    transcript.asks.push(required);
                    self.done(payer, payer.voucher(required)).await;
                }
                Frame::Receipt(receipt) => transcript.receipt = receipt,
                Frame::Error(error) => transcript.errors.push(error),
                Frame::Done => transcript.done = true,
                Frame::Comment => {}
                Frame::Other(text) => panic!("unexpected in a stream: {text}"),
            }
        }
        transcript
    }

    /// A whole stream, paid as required.
    pub async fn run(&self, payer: &Payer, payload: Value, script: &Value) -> Transcript {
        let mut stream = self.stream(payer, payload, script).await;
        self.read_and_pay(payer, &mut stream).await
    }

    pub async fn channel(&self, payer: &Payer) -> Channel {
        let sessions = self.server.app.sessions.as_ref().expect("sessions are on");
        sessions.channels.find(ChannelId(payer.id)).await.expect("the database answers").expect("it is known")
    }

    /// State that a refused credential must not change: deposit, accepted, spent, settled, phase.
    pub async fn channel_amounts(&self, payer: &Payer) -> (u64, u64, u64, u64, Phase) {
        let channel = self.channel(payer).await;
        let [deposit, accepted, spent, settled] =
            [channel.deposit, channel.accepted(), channel.spent, channel.settled].map(units);
        (deposit, accepted, spent, settled, channel.phase)
    }

    pub async fn open_holds(&self) -> i64 {
        self.server.count("SELECT count(*) FROM holds WHERE state = 'open'").await
    }

    /// Waits until no request is being charged for.
    pub async fn idle(&self) {
        eventually("all holds are closed", async || (self.open_holds().await == 0).then_some(())).await;
    }

    /// Runs the worker once over all channels, as if it had not run for a while.
    pub async fn run_worker(&self) {
        self.server.db.execute("UPDATE channels SET checked_at = 0").await;
        self.check_due(Timestamp::now()).await;
    }

    /// Runs the worker once over the channels that are due at a time.
    pub async fn check_due(&self, now: Timestamp) {
        let sessions = self.server.app.sessions.as_ref().expect("sessions are on");
        worker::Rounds::default().check_due(&sessions.channels, now).await.expect("the database answers");
    }

    /// Disables the worker of every server on this database from its next round on: the test decides when it works. A lease
    /// of somebody else would not do, for one that lasts too long is not believed.
    pub async fn disable_own_worker(&self) {
        let db = &self.server.db;
        let condition = "WHEN (NEW.name = 'channels')";
        if db.db.engine == Engine::Sqlite {
            let text = "CREATE TRIGGER no_worker BEFORE INSERT ON leases";
            return db.execute(&format!("{text} {condition} BEGIN SELECT RAISE(IGNORE); END")).await;
        }
        let text = "CREATE FUNCTION no_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
        db.execute(text).await;
        let text = "CREATE TRIGGER no_worker BEFORE INSERT ON leases FOR EACH ROW";
        db.execute(&format!("{text} {condition} EXECUTE FUNCTION no_row()")).await;
    }

    /// The newest block's number, past all faults.
    pub async fn block(&self) -> u64 {
        harness::newest_block(self.chain).await
    }

    /// Balance of the payee on the chain.
    pub async fn earned(&self) -> u64 {
        let balance = self.chain.balance(PATH_USD, self.server.recipient()).await.expect("the chain answers");
        balance.to()
    }

    /// Closes a channel and checks it on the chain and in the ledger: the payee got what was
    /// charged or settled, the payer the rest, and nothing is left open.
    pub async fn close(&self, payer: &Payer) -> u64 {
        let before = self.channel(payer).await;
        let accepted = units(before.accepted());
        self.done(payer, payer.authorized_close(accepted)).await;
        self.closed(payer).await
    }

    /// Checks a closed channel on the chain and in the ledger; returns what was captured.
    pub async fn closed(&self, payer: &Payer) -> u64 {
        let channel = self.channel(payer).await;
        assert_eq!((channel.phase, channel.pending.clone()), (Phase::Closed, None));
        let captured = channel.spent.max(channel.settled);
        assert_eq!(channel.settled, captured, "captured is what was charged or settled");
        assert!(channel.spent <= channel.accepted() && channel.accepted() <= channel.deposit);
        let left = self.chain.balance(PATH_USD, payer.agent.address()).await.expect("the chain answers");
        assert_eq!(U256::from(FUNDS) - left, U256::from(units(captured)), "what the payer paid");
        self.assert_audit().await;
        units(captured)
    }

    pub async fn assert_audit(&self) {
        let report = audit(&self.server.db.db).await.expect("the audit runs");
        assert!(report.is_clean(), "{report}");
        let disagreements = farebox::funding::audit::audit(&self.server.db.db).await.expect("the audit runs");
        assert_eq!(disagreements, [], "payments and ledger");
    }

    pub async fn finish(mut self) {
        self.server.stop().await;
    }
}

/// A request that makes the model do as `script` says.
pub fn body(script: &Value, stream: bool) -> String {
    let content = script.to_string();
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": content }], "stream": stream })
        .to_string()
}

pub fn units(money: Money) -> u64 {
    u64::try_from(money.micros()).expect("not negative")
}

pub fn amount(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("an amount: {value}")).parse().expect("a number")
}

/// Tries `times` things at once and returns all answers.
pub async fn concurrently<T>(tasks: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let all = futures_util::future::join_all(tasks);
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("in time")
}
