//! A server that sells streams, as a process, and what its payers do there. The model it sells runs
//! in the test, so that it outlives the server.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use farebox::devnet::{Devnet, TOKENS};
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::{Agent, Challenge};
use farebox_test_support::db::TestDb;
use farebox_test_support::payer::Payer;
use farebox_test_support::process::{POLL_INTERVAL, Setup};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;
use tempfile::TempDir;

/// Price of a chunk, in base units.
pub const PRICE: u64 = 100;
/// Base units of the channels' token that a wallet starts with.
pub const FUNDS: u64 = 50_000_000;
/// Chunks that one kill may charge beyond those that arrived: three runs (`BATCH` and `IN_FLIGHT` in
/// `src/meter/stream.rs`), of which one is being written, one waits for that, and one is charged.
pub const IN_FLIGHT: u64 = 3 * 16;

const CHAT: &str = "/mpp/chat/completions";

/// Longest wait for a verdict. A settlement that was recorded and never sent, because the server
/// died between the two, holds its channel until no block can include it: its 25 seconds, and 60 more.
const VERDICT_LIMIT: Duration = Duration::from_mins(2);

/// Chain, model and the server's configuration.
pub struct Fixture {
    pub devnet: Devnet,
    pub setup: Setup,
    http: reqwest::Client,
    _model: ScriptedUpstream,
    _config: TempDir,
}

/// A channel as the database has it.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelRecord {
    pub state: String,
    pub pending: String,
    pub deposit: u64,
    pub accepted: u64,
    pub spent: u64,
    pub settled: u64,
}

impl Fixture {
    pub async fn new(db: &TestDb) -> Self {
        let devnet = crate::devnet().await;
        let model = ScriptedUpstream::start().await.expect("a free port");
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("farebox.toml");
        // Only the file can hold models.
        let text = format!(
            "[[upstreams]]\nname = \"scripted\"\nbase_url = \"{}\"\n\
             [[models]]\nid = \"scripted\"\nupstreams = [\"scripted\"]\nprice_per_chunk = \"0.0001\"\n\
             price_per_million_output = \"100\"\ncontext_length = 32768\nmax_output_tokens = 4096\n",
            model.base_url()
        );
        std::fs::write(&path, text).expect("written");
        let setup = Setup::new(crate::FAREBOX, &devnet, &db.url)
            .with("FAREBOX_CONFIG", path.to_str().expect("UTF-8"))
            .with("FAREBOX_SESSIONS_OPERATOR_KEY", alloy::hex::encode(devnet.accounts()[3].to_bytes()));
        // No connection is kept: a server that died must not be mistaken for one that answers.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a plain client");
        Self { devnet, setup, http, _model: model, _config: folder }
    }

    /// Sets one more key of the configuration.
    pub fn with(self, name: &'static str, value: &str) -> Self {
        Self { setup: self.setup.with(name, value), ..self }
    }

    /// A wallet with an open channel; the server is up.
    pub async fn payer_with_channel(&self, deposit: u64, allowed: u64) -> Payer {
        let agent = Agent::random();
        for token in [TOKENS[0], TOKENS[1]] {
            self.devnet.fund(agent.address(), token, FUNDS).await.expect("the faucet gives");
        }
        let unpaid = self.post(None, Some(&body(&json!({})))).send().await.expect("it answers");
        assert_eq!(unpaid.status(), StatusCode::PAYMENT_REQUIRED);
        let challenge = unpaid.headers()["www-authenticate"].to_str().expect("text");
        let payer = Payer::prepare(agent, Challenge::parse(challenge), deposit);
        self.done(&payer, payer.open(allowed)).await;
        payer
    }

    fn post(&self, authorization: Option<String>, body: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = self.http.post(format!("{}{CHAT}", self.setup.origin()));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// A request for a stream, under an id that the ledger's entries will have.
    pub async fn stream(
        &self,
        payer: &Payer,
        allowed: u64,
        script: &Value,
        id: &str,
    ) -> Result<Response, reqwest::Error> {
        let credential = payer.authorization(payer.voucher(allowed));
        self.post(Some(credential), Some(&body(script))).header("x-request-id", id).send().await
    }

    /// A credential without a body, until there is a verdict; an error when the server is gone.
    pub async fn manage(&self, payer: &Payer, payload: Value) -> Result<Response, reqwest::Error> {
        let deadline = Instant::now() + VERDICT_LIMIT;
        loop {
            let answer = self.post(Some(payer.authorization(payload.clone())), None).send().await?;
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer);
            }
            let problem = answer.text().await.unwrap_or_default();
            assert!(Instant::now() < deadline, "no verdict within {VERDICT_LIMIT:?}: {problem}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Presents a credential without a body, which must succeed.
    pub async fn done(&self, payer: &Payer, payload: Value) {
        let answer = self.manage(payer, payload).await.expect("the server is up");
        let status = answer.status();
        assert_eq!(status, StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap_or_default());
    }

    /// The chain closed the channel: the payee has what was charged or settled and the payer the
    /// rest, to the unit. Returns what was captured.
    pub async fn closed(&self, db: &TestDb, payer: &Payer) -> u64 {
        let channel_record = channel_record(db, payer.id).await;
        assert_eq!(
            (channel_record.state.as_str(), channel_record.pending.as_str()),
            ("closed", ""),
            "{channel_record:?}"
        );
        assert!(
            channel_record.spent <= channel_record.accepted
                && channel_record.accepted <= channel_record.deposit,
            "{channel_record:?}"
        );
        assert_eq!(
            channel_record.settled,
            channel_record.spent.max(channel_record.settled),
            "captured is what was charged or settled"
        );
        assert!(channel_record.settled <= channel_record.accepted, "{channel_record:?}");
        assert_eq!(
            FUNDS - self.balance(payer.agent.address()).await,
            channel_record.settled,
            "what the payer paid"
        );
        channel_record.settled
    }

    /// Balance of an account in the token that channels hold.
    pub async fn balance(&self, account: Address) -> u64 {
        self.devnet.balance(TOKENS[0], account).await.expect("the chain answers").to()
    }

    /// A request to the chain past all faults.
    pub async fn anvil(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(self.devnet.anvil_url()).json(&request).send().await.expect("it answers");
        answer.json().await.expect("JSON")
    }

    pub async fn stop(self) {
        self.devnet.stop().await;
    }
}

/// A request that makes the model do as `script` says.
fn body(script: &Value) -> String {
    let messages = json!([{ "role": "user", "content": script.to_string() }]);
    json!({ "model": "scripted", "messages": messages, "stream": true }).to_string()
}

pub async fn channel_record(db: &TestDb, channel: B256) -> ChannelRecord {
    let row = sqlx::query(
        "SELECT c.state, coalesce(c.pending_kind, '') AS pending, c.deposit, c.settled, \
         coalesce(b.posted + b.charged, 0) AS spent, \
         (SELECT coalesce(max(v.amount), 0) FROM vouchers v WHERE v.channel = c.id) AS accepted \
         FROM channels c LEFT JOIN balances b ON b.id = 'channel:' || c.id WHERE c.id = $1",
    )
    .bind(format!("{channel:#x}"))
    .fetch_one(&db.db.pool)
    .await
    .expect("the channel is known");
    let amount = |name: &str| u64::try_from(row.get::<i64, _>(name)).expect("not negative");
    ChannelRecord {
        state: row.get("state"),
        pending: row.get("pending"),
        deposit: amount("deposit"),
        accepted: amount("accepted"),
        spent: amount("spent"),
        settled: amount("settled"),
    }
}
