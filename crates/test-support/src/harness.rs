//! The real server on a real database and a real chain, and a plain HTTP client in front of it.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U64, U256};
use farebox::app::App;
use farebox::config::{Config, PATH_USD, Secret};
use farebox::devnet::{Devnet, DevnetConfig};
use farebox::ledger::audit::audit;
use farebox::payments::Payment;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox::{server, telemetry};
use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::Row as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

use crate::agent::{Agent, Challenge, authorization};
use crate::db::{self, TestDb};

/// Challenges are made with this, so a test can make its own.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef-api-tests";
/// A request body that is worth its price.
pub const BODY: &str = r#"{"text":"Mail jane@example.com"}"#;
pub const PREVIEW: &str = "/mpp/pii/preview";
pub const SPONSORED: &str = "/mpp/pii/preview?feePayer=true";
/// Price of a preview, in base units.
pub const PRICE: u64 = 50_000;
/// Balance of a new agent, in base units.
pub const FUNDS: u64 = 10_000_000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    crate::capture::install();
    tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime")
});

/// Runs a test on the runtime that all tests share: what they share lives on it.
pub fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// The chain that all tests share. Those that break it start their own.
pub async fn shared_chain() -> &'static Devnet {
    static CHAIN: OnceCell<Devnet> = OnceCell::const_new();
    CHAIN.get_or_init(own_chain).await
}

pub async fn own_chain() -> Devnet {
    Devnet::start(DevnetConfig::default())
        .await
        .expect("the chain starts; run `make tools` if anvil is missing")
}

/// The recorder is the process's: all servers count into one.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| telemetry::metrics().expect("the first recorder")).clone()
}

pub fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        let never = reqwest::redirect::Policy::none();
        reqwest::Client::builder().no_proxy().redirect(never).build().expect("a client")
    });
    &CLIENT
}

/// A running server.
pub struct Server {
    pub url: String,
    /// Origin of the operator's own listener.
    pub admin_url: String,
    pub app: Arc<App>,
    pub db: TestDb,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on SQLite and the shared chain.
    pub async fn start() -> Self {
        Self::with_config(|_| {}).await
    }

    /// Starts on SQLite and the shared chain, with a changed configuration.
    pub async fn with_config(configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(db::sqlite().await, &shared_chain().await.rpc_url(), configure).await
    }

    /// Starts on a chain of the test's own, with short timeouts.
    pub async fn with_short_timeouts(chain: &Devnet) -> Self {
        Self::on(db::sqlite().await, &chain.rpc_url(), |config| {
            config.chain.request_timeout_ms = 1_000;
            config.chain.confirm_timeout_ms = 1_500;
        })
        .await
    }

    pub async fn on(db: TestDb, rpc_url: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.database.url = Secret::from(db.url.as_str());
        config.database.max_connections = 4;
        config.chain.rpc_url = Secret::from(rpc_url);
        config.chain.chain_id = crate::agent::CHAIN_ID;
        config.payments.secret = Secret::from(SECRET);
        // An account of its own: whatever it holds was paid to this server.
        config.payments.recipient = Agent::random().address();
        config.server.drain_seconds = 5;
        config.keys.management_rpm = 60_000;
        config.payments.failed_rpm = 60_000;
        // As behind a proxy on the same machine: tests name addresses, and all come from one.
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.sponsor.private_key = Some(Secret::from(hex::encode(sponsor_key())));
        configure(&mut config);
        Self::boot(db, config).await
    }

    pub async fn boot(db: TestDb, mut config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let admin = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let admin_url = format!("http://{}", admin.local_addr().expect("bound"));
        config.server.public_url.clone_from(&url);
        config.validate().expect("a valid configuration");
        let app = App::start(config, metrics()).await.expect("the server starts");
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let done = tokio::spawn(server::serve(Arc::clone(&app), listener, Some(admin), stopped));
        Self { url, admin_url, app, db, stop: Some(stop), done: Some(done) }
    }

    /// Stops it gracefully.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(done) = self.done.take() {
            done.await.expect("the server ends without a panic");
        }
    }

    /// Stops it and starts it again on the same database, with a changed configuration.
    pub async fn restart(mut self, configure: impl FnOnce(&mut Config)) -> Self {
        self.stop().await;
        let Self { app, db, .. } = self;
        let mut config = app.config.clone();
        drop(app);
        configure(&mut config);
        Self::boot(db, config).await
    }

    /// Ends server and chain of a test that had its own.
    pub async fn finish(mut self, chain: Devnet) {
        chain.faults().clear();
        self.stop().await;
        chain.stop().await;
    }

    /// The metrics, as the operator's own listener shows them.
    pub async fn metrics(&self) -> String {
        let answer = client().get(format!("{}/metrics", self.admin_url)).send().await.expect("it answers");
        answer.text().await.expect("text")
    }

    pub fn recipient(&self) -> Address {
        self.app.config.payments.recipient
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("{}{path}", self.url))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A POST of JSON.
    pub fn post(&self, path: &str, body: &str) -> RequestBuilder {
        let request = self.request(Method::POST, path).body(body.to_owned());
        request.header("content-type", "application/json")
    }

    /// The challenge for the usual request.
    pub async fn challenge(&self) -> Challenge {
        reply(self.post(PREVIEW, BODY)).await.challenge()
    }

    pub async fn sponsored_challenge(&self) -> Challenge {
        reply(self.post(SPONSORED, BODY)).await.challenge()
    }

    pub async fn proof_challenge(&self) -> Challenge {
        reply(self.get("/mpp/account")).await.challenge()
    }

    /// The usual request with a credential, as it was challenged.
    pub fn paying(&self, credential: &Value) -> RequestBuilder {
        self.post(PREVIEW, BODY).header("authorization", authorization(credential))
    }

    pub async fn pay(&self, credential: &Value) -> Reply {
        reply(self.paying(credential)).await
    }

    pub async fn pay_sponsored(&self, credential: &Value) -> Reply {
        reply(self.post(SPONSORED, BODY).header("authorization", authorization(credential))).await
    }

    pub async fn prove(&self, credential: &Value) -> Reply {
        reply(self.get("/mpp/account").header("authorization", authorization(credential))).await
    }

    /// The payment of a challenge, as stored.
    pub async fn payment(&self, id: &str) -> Option<Payment> {
        self.app.charges.payments().find(id).await.expect("the database answers")
    }

    /// Waits until the server has noted that the answer left, which it does after that.
    pub async fn delivered(&self, id: &str) {
        eventually("delivered", async || {
            self.payment(id).await.filter(|payment| payment.state.as_str() == "delivered")
        })
        .await;
    }

    /// One number from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let row = sqlx::query(sql).fetch_one(&self.db.db.pool).await.expect("the database answers");
        row.try_get(0).expect("a number")
    }

    /// Asserts that `paid` payments were made, on the chain and in the ledger, and nothing else.
    pub async fn assert_ledger(&self, chain: &Devnet, paid: u64) {
        let earned = chain.balance(PATH_USD, self.recipient()).await.expect("the chain answers");
        assert_eq!(earned, U256::from(paid * PRICE), "what the chain says was paid");
        let paid = i64::try_from(paid).expect("small");
        let settled = "SELECT count(*) FROM payments WHERE state IN ('settled', 'delivered') AND amount > 0";
        assert_eq!(self.count(settled).await, paid, "settled payments");
        assert_eq!(self.count("SELECT count(*) FROM credits").await, paid, "credits");
        assert_eq!(self.count("SELECT count(*) FROM entries").await, paid, "entries");
        let report = audit(&self.db.db).await.expect("the audit runs");
        assert!(report.is_clean(), "{report}");
    }
}

/// The private key of the account that sponsors fees: the local chain's second.
pub fn sponsor_key() -> alloy::primitives::B256 {
    static KEY: LazyLock<alloy::primitives::B256> = LazyLock::new(|| {
        use alloy::signers::local::{MnemonicBuilder, coins_bip39::English};
        let builder = MnemonicBuilder::<English>::default().phrase(farebox::devnet::MNEMONIC).index(2);
        builder.and_then(|builder| builder.build()).expect("a constant phrase").to_bytes()
    });
    *KEY
}

/// RFC 9530 digest of a request body.
pub fn digest(body: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(body.as_bytes());
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(hash))
}

/// An agent with money on this chain.
pub async fn funded(chain: &Devnet) -> Agent {
    let agent = Agent::random();
    chain.fund(agent.address(), PATH_USD, FUNDS).await.expect("the faucet gives");
    agent
}

/// Calls a method of the chain past the server and all faults, and returns its result.
pub async fn call_chain(chain: &Devnet, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = client().post(chain.anvil_url()).json(&request).send().await.expect("anvil answers");
    let mut answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer.get("error"), None, "the chain takes {method}");
    answer["result"].take()
}

/// Sends a raw transaction past the server and waits for its block.
pub async fn send_raw(chain: &Devnet, raw: &str) -> Value {
    call_chain(chain, "eth_sendRawTransactionSync", json!([raw])).await
}

/// Number of the chain's newest block, past all faults.
pub async fn newest_block(chain: &Devnet) -> u64 {
    let number = call_chain(chain, "eth_blockNumber", json!([])).await;
    number.as_str().and_then(|number| number.parse::<U64>().ok()).expect("a number").to()
}

/// Moves the chain's clock on, with a block.
pub async fn advance(chain: &Devnet, seconds: u64) {
    call_chain(chain, "evm_increaseTime", json!([seconds])).await;
    call_chain(chain, "evm_mine", json!([])).await;
}

/// Waits until the model has been asked more often than `before`.
pub async fn asked(model: &ScriptedUpstream, before: u64) {
    eventually("the model is asked", async || (model.observed().requests > before).then_some(())).await;
}

/// Waits until `holds` answers with a value.
pub async fn eventually<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = holds().await {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

pub async fn reply(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let reply = Reply { status, headers, text: response.text().await.expect("a whole answer") };
    reply.assert_well_formed();
    reply
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(HeaderName::try_from(name).expect("a name")).and_then(|value| value.to_str().ok())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The stable code of an error, of any shape.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json["code"].as_str().or_else(|| json["error"]["code"].as_str());
        code.unwrap_or_else(|| panic!("no error: {}", self.text)).to_owned()
    }

    pub fn challenges(&self) -> Vec<&str> {
        let all = self.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        // Asking for a key or a token is not asking for money.
        all.filter(|challenge| !challenge.starts_with("Bearer")).collect()
    }

    /// The first challenge of a 402.
    pub fn challenge(&self) -> Challenge {
        assert_eq!(self.status, 402, "{}", self.text);
        Challenge::parse(self.challenges().first().expect("a challenge"))
    }

    /// The decoded `Payment-Receipt`.
    pub fn receipt(&self) -> Value {
        use base64::Engine as _;
        let header = self.header("payment-receipt").unwrap_or_else(|| panic!("no receipt: {self:?}"));
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
        serde_json::from_slice(&json).expect("JSON")
    }

    #[track_caller]
    pub fn assert(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
        self
    }

    /// A challenge that is not one of ours, or not readable at all.
    #[track_caller]
    pub fn assert_refused(&self) {
        assert_eq!(self.status, 402, "{}", self.text);
        let code = self.code();
        assert!(["invalid_challenge", "malformed_credential"].contains(&code.as_str()), "{}", self.text);
    }

    #[track_caller]
    pub fn assert_paid(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.receipt()["status"], "success");
        self
    }

    /// Checks the rules that every answer keeps.
    fn assert_well_formed(&self) {
        let Self { status, text, .. } = self;
        let challenged = !self.challenges().is_empty();
        let receipt = self.headers.contains_key("payment-receipt");
        assert_eq!(challenged, *status == 402, "challenge with {status}: {text}");
        assert!(!receipt || (200..300).contains(status), "receipt with {status}: {text}");
        assert!(self.headers.contains_key("x-request-id"), "no request id with {status}");
        let cache = self.header("cache-control").unwrap_or_default();
        if receipt {
            assert!(cache.contains("private"), "receipt with Cache-Control {cache}");
        }
        let is_page = self.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        if *status >= 400
            && !text.is_empty()
            && !is_page
            && self.header("content-type") != Some("application/json")
        {
            assert_eq!(self.header("content-type"), Some("application/problem+json"), "{status}: {text}");
            assert_eq!(cache, "no-store", "{status}: {text}");
            let problem = self.json();
            assert_eq!(problem["status"], *status);
            for name in ["type", "title", "detail", "code"] {
                assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {text}");
            }
        }
        for challenge in self.challenges() {
            assert!(challenge.starts_with("Payment "), "{challenge}");
        }
    }
}
