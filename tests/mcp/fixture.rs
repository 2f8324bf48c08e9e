//! A server that sells a scripted model, and wallets that let a program spend their credits.

use std::sync::Arc;

use farebox::config::{Config, ModelConfig, UpstreamConfig};
use farebox::id::{AccountId, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{Balance, Entry};
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{Server, eventually, shared_chain};
use serde_json::{Value, json};

use crate::login::{self, Tokens};
use crate::wire::{Client, Era};

pub const ACCOUNT: &str = "/mcp";
pub const MODEL: &str = "scripted";
/// Price of a token of an answer, in millionths of a dollar.
pub const PRICE: i64 = 100;

pub struct Fixture {
    pub server: Server,
    _upstream: Arc<ScriptedUpstream>,
}

/// A wallet whose credits a program may spend.
pub struct Connected {
    pub wallet: Agent,
    pub tokens: Tokens,
}

pub async fn on_every_engine(test: impl AsyncFn(&Fixture)) {
    for database in db::engines().await {
        let mut fixture = Fixture::on(database, |_| {}).await;
        test(&fixture).await;
        fixture.assert_audit().await;
        fixture.server.stop().await;
    }
}

impl Fixture {
    pub async fn with_config(configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(db::sqlite().await, configure).await
    }

    pub async fn on(db: TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let upstream = Arc::new(ScriptedUpstream::start().await.expect("a free port"));
        let base_url = upstream.base_url();
        let server = Server::on(db, &shared_chain().await.rpc_url(), |config| {
            config.upstreams =
                vec![UpstreamConfig { name: "scripted".into(), base_url, ..UpstreamConfig::default() }];
            config.models = vec![ModelConfig {
                id: MODEL.into(),
                upstreams: vec!["scripted".into()],
                price_per_chunk: Money::from_micros(100),
                price_per_million_output: Money::from_micros(PRICE * 1_000_000),
                context_length: 32_768,
                max_output_tokens: 4_096,
                ..ModelConfig::default()
            }];
            config.keys.anonymous_rpm = 60_000;
            config.mcp.registration_rpm = 60_000;
            configure(config);
        })
        .await;
        Self { server, _upstream: upstream }
    }

    /// A wallet with credits that granted access on these terms.
    pub async fn connect(&self, credit: i64, terms: &Value) -> Connected {
        let wallet = Agent::random();
        if credit > 0 {
            let account = account(&wallet);
            let source = SourceRef::parse(&format!("test:{}", uuid::Uuid::new_v4())).expect("a token");
            let credited = self.server.app.ledger.credit(
                &account,
                Money::from_micros(credit),
                &source,
                Timestamp::now(),
            );
            credited.await.expect("credited");
        }
        let client = login::Client::registered(&self.server).await;
        let tokens = client.log_in(&self.server, &wallet, terms).await;
        Connected { wallet, tokens }
    }

    /// A client of `/mcp`.
    pub fn client<'a>(&'a self, connected: &'a Connected, era: Era) -> Client<'a> {
        Client { server: &self.server, path: ACCOUNT, era, token: Some(&connected.tokens.access) }
    }

    pub async fn balance(&self, connected: &Connected) -> Balance {
        self.server.app.ledger.balance(&account(&connected.wallet)).await.expect("the database answers")
    }

    /// Money available, in millionths of a dollar, once nothing runs.
    pub async fn available(&self, connected: &Connected) -> i64 {
        eventually("all holds are closed", async || {
            let open = self.server.count("SELECT count(*) FROM holds WHERE state = 'open'").await;
            (open == 0).then_some(())
        })
        .await;
        self.balance(connected).await.available().micros()
    }

    /// The charges of an account, the newest first.
    pub async fn entries(&self, connected: &Connected) -> Vec<Entry> {
        let page = self.server.app.ledger.entries(&account(&connected.wallet), None, 100).await;
        let entries = page.expect("the database answers").entries;
        entries.into_iter().filter(|entry| entry.source.is_none()).collect()
    }

    pub async fn assert_audit(&self) {
        let report = audit(&self.server.db.db).await.expect("the audit runs");
        assert!(report.is_clean(), "{report}");
    }
}

pub fn account(wallet: &Agent) -> AccountId {
    AccountId::wallet(&format!("{:#x}", wallet.address())).expect("an address")
}

/// Arguments of a question that makes the model do as `script` says.
pub fn question(script: &Value) -> Value {
    json!({ "model": MODEL, "prompt": script.to_string() })
}

/// What a tool returned.
#[track_caller]
pub fn structured(message: &Value) -> &Value {
    assert_eq!(message["result"]["isError"], false, "{message}");
    &message["result"]["structuredContent"]
}

/// The words of a tool that refused.
#[track_caller]
pub fn refusal(message: &Value) -> &str {
    let result = &message["result"];
    assert_eq!(result["isError"], true, "{message}");
    assert!(result.get("structuredContent").is_none(), "only a success has one: {message}");
    result["content"][0]["text"].as_str().expect("text")
}
