//! A server that sells a scripted model, and the accounts that pay for it.

use std::sync::Arc;

use farebox::config::{Config, ModelConfig, UpstreamConfig};
use farebox::id::{AccountId, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{Balance, Entry};
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;

use crate::db::{self, TestDb};
use crate::harness::{Server, eventually, shared_chain};

pub const MODEL: &str = "scripted";
/// Price of a token of an answer, in millionths of a dollar. Prompts are free unless a test says
/// otherwise: the scripted model counts them in its own way.
pub const PRICE: i64 = 100;

/// A server whose models do as their prompts say.
pub struct ModelServer {
    pub server: Server,
    pub upstream: Arc<ScriptedUpstream>,
}

/// Sells the scripted model at `base_url` under two names.
pub fn sell(config: &mut Config, base_url: String) {
    config.upstreams =
        vec![UpstreamConfig { name: "scripted".into(), base_url, ..UpstreamConfig::default() }];
    config.models = [MODEL, "other"]
        .map(|id| ModelConfig {
            id: id.into(),
            description: "Follows a script".into(),
            upstreams: vec!["scripted".into()],
            price_per_chunk: Money::from_micros(100),
            price_per_million_input: Money::ZERO,
            price_per_million_output: Money::from_micros(PRICE * 1_000_000),
            context_length: 32_768,
            max_output_tokens: 4_096,
            ..ModelConfig::default()
        })
        .into();
}

impl ModelServer {
    pub async fn with_config(configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(db::sqlite().await, configure).await
    }

    pub async fn on(db: TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let upstream = Arc::new(ScriptedUpstream::start().await.expect("a free port"));
        let base_url = upstream.base_url();
        let server = Server::on(db, &shared_chain().await.rpc_url(), |config| {
            sell(config, base_url);
            configure(config);
        })
        .await;
        Self { server, upstream }
    }

    /// Another instance beside it, on the same database, which must be PostgreSQL.
    pub async fn second_instance(&self) -> Self {
        let server = Server::boot(self.server.db.shared().await, self.server.app.config.clone()).await;
        Self { server, upstream: Arc::clone(&self.upstream) }
    }

    /// Stops it and starts it again on the same database.
    pub async fn restart(self) -> Self {
        Self { server: self.server.restart(|_| {}).await, ..self }
    }

    pub async fn credit(&self, account: &AccountId, micros: i64) {
        if micros > 0 {
            let source = SourceRef::parse(&format!("test:{}", uuid::Uuid::new_v4())).expect("a token");
            let amount = Money::from_micros(micros);
            let credited = self.server.app.ledger.credit(account, amount, &source, Timestamp::now());
            credited.await.expect("credited");
        }
    }

    pub async fn balance(&self, account: &AccountId) -> Balance {
        self.server.app.ledger.balance(account).await.expect("the database answers")
    }

    /// Money available, in millionths of a dollar, once nothing runs.
    pub async fn available(&self, account: &AccountId) -> i64 {
        self.idle().await;
        let balance = self.balance(account).await;
        assert_eq!(balance.held(), Money::ZERO, "no hold is left");
        balance.available().micros()
    }

    /// The charges of an account, the newest first.
    pub async fn entries(&self, account: &AccountId) -> Vec<Entry> {
        let page = self.server.app.ledger.entries(account, None, 100).await.expect("the database answers");
        page.entries.into_iter().filter(|entry| entry.source.is_none()).collect()
    }

    pub async fn idle(&self) {
        eventually("all holds are closed", async || {
            let open = self.server.count("SELECT count(*) FROM holds WHERE state = 'open'").await;
            (open == 0).then_some(())
        })
        .await;
    }

    pub async fn assert_audit(&self) {
        let report = audit(&self.server.db.db).await.expect("the audit runs");
        assert!(report.is_clean(), "{report}");
    }

    pub async fn finish(mut self) {
        self.assert_audit().await;
        self.server.stop().await;
    }
}
