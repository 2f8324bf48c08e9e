//! A server that sells a scripted model, and wallets that let a program spend their credits.

use std::ops::{Deref, DerefMut};

use farebox::config::Config;
use farebox::id::AccountId;
use farebox::ledger::{Balance, Entry};
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::model_server::ModelServer;
pub use farebox_test_support::model_server::{MODEL, PRICE};
use serde_json::{Value, json};

use crate::login::{self, Tokens};
use crate::wire::{Client, Era, PAY_PER_CALL};

pub const ACCOUNT: &str = "/mcp";

/// A [`ModelServer`], and who is connected to it.
pub struct Fixture(pub ModelServer);

impl Deref for Fixture {
    type Target = ModelServer;

    fn deref(&self) -> &ModelServer {
        &self.0
    }
}

impl DerefMut for Fixture {
    fn deref_mut(&mut self) -> &mut ModelServer {
        &mut self.0
    }
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
        let server = ModelServer::on(db, |config| {
            config.keys.anonymous_rpm = 60_000;
            config.mcp.registration_rpm = 60_000;
            configure(config);
        });
        Self(server.await)
    }

    /// Another instance beside it, on the same database, which must be PostgreSQL.
    pub async fn second_instance(&self) -> Self {
        Self(self.0.second_instance().await)
    }

    /// A wallet with credits that granted access on these terms.
    pub async fn connect(&self, credit: i64, terms: &Value) -> Connected {
        let wallet = Agent::random();
        self.0.credit(&account(&wallet), credit).await;
        let client = login::Client::registered(&self.server).await;
        let tokens = client.log_in(&self.server, &wallet, terms).await;
        Connected { wallet, tokens }
    }

    /// A client of `/mcp`.
    pub fn client<'a>(&'a self, connected: &'a Connected, era: Era) -> Client<'a> {
        Client { server: &self.server, path: ACCOUNT, era, token: Some(&connected.tokens.access) }
    }

    /// A client of the endpoint without accounts.
    pub fn payer(&self, era: Era) -> Client<'_> {
        Client { server: &self.server, path: PAY_PER_CALL, era, token: None }
    }

    pub async fn balance(&self, connected: &Connected) -> Balance {
        self.0.balance(&account(&connected.wallet)).await
    }

    /// Money available, in millionths of a dollar, once nothing runs.
    pub async fn available(&self, connected: &Connected) -> i64 {
        self.0.available(&account(&connected.wallet)).await
    }

    /// The charges of an account, the newest first.
    pub async fn entries(&self, connected: &Connected) -> Vec<Entry> {
        self.0.entries(&account(&connected.wallet)).await
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
