//! A server that sells a scripted model for prepaid credits, and its customers.

use std::sync::Arc;

use farebox::config::{Config, ModelConfig, UpstreamConfig};
use farebox::id::{AccountId, SourceRef, Timestamp};
use farebox::keys::{self, KeyId, KeyLimits, KeysError, NewKey};
use farebox::ledger::audit::audit;
use farebox::ledger::{Balance, Entry};
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{Reply, Server, eventually, reply, shared_chain};
use farebox_test_support::sse::{Frame, Stream, text};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

pub const CHAT: &str = "/v1/chat/completions";
pub const PREVIEW: &str = "/v1/pii/preview";
pub const MODEL: &str = "scripted";
/// Price of a token of an answer, in millionths of a dollar. Prompts are free unless a test says
/// otherwise: the scripted model counts them in its own way.
pub const PRICE: i64 = 100;

pub struct Fixture {
    pub server: Server,
    pub upstream: Arc<ScriptedUpstream>,
}

/// A wallet with credits and a key.
#[derive(Debug, Clone)]
pub struct Customer {
    pub owner: String,
    pub id: KeyId,
    /// The key's text.
    pub key: String,
}

/// Content of one stream, as a client got it.
#[derive(Debug, Default)]
pub struct Transcript {
    pub texts: usize,
    pub usage: Vec<Value>,
    pub errors: Vec<Value>,
    pub done: bool,
}

/// Runs a test once on every engine.
pub async fn on_every_engine(test: impl AsyncFn(&Fixture)) {
    for database in db::engines().await {
        let mut fixture = Fixture::on(database, |_| {}).await;
        test(&fixture).await;
        fixture.assert_audit().await;
        fixture.server.stop().await;
    }
}

pub fn money(micros: i64) -> Money {
    Money::from_micros(micros)
}

fn sell(config: &mut Config, base_url: String) {
    config.upstreams =
        vec![UpstreamConfig { name: "scripted".into(), base_url, ..UpstreamConfig::default() }];
    config.models = ["scripted", "other"]
        .map(|id| ModelConfig {
            id: id.into(),
            description: "Follows a script".into(),
            upstreams: vec!["scripted".into()],
            price_per_chunk: money(100),
            price_per_million_input: Money::ZERO,
            price_per_million_output: money(PRICE * 1_000_000),
            context_length: 32_768,
            max_output_tokens: 4_096,
            ..ModelConfig::default()
        })
        .into();
}

impl Fixture {
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

    pub async fn customer(&self, credit: i64) -> Customer {
        self.customer_with_limits(credit, KeyLimits::default()).await
    }

    pub async fn customer_with_limits(&self, credit: i64, limits: KeyLimits) -> Customer {
        let owner = format!("{:#x}", Agent::random().address());
        self.credit(&owner, credit).await;
        self.key(&owner, limits).await
    }

    /// One more key of an owner.
    pub async fn key(&self, owner: &str, limits: KeyLimits) -> Customer {
        let minted = self.server.app.keys.mint();
        let (limits, minted_ref) = (&limits, &minted);
        let new = &NewKey {
            id: &minted_ref.id,
            owner,
            name: "test",
            limits,
            expires_at: None,
            hash: &minted_ref.hash,
        };
        let stored = self.server.app.db.transaction(|mut tx| async move {
            keys::create(&mut tx, new, Timestamp::now()).await?;
            Ok::<_, KeysError>((tx, ()))
        });
        stored.await.expect("the key is stored");
        Customer { owner: owner.to_owned(), key: minted.text.expose().to_owned(), id: minted.id.clone() }
    }

    pub async fn credit(&self, owner: &str, micros: i64) {
        if micros > 0 {
            let account = AccountId::wallet(owner).expect("an address");
            let source = SourceRef::parse(&format!("test:{}", uuid::Uuid::new_v4())).expect("a token");
            let credited = self.server.app.ledger.credit(&account, money(micros), &source, Timestamp::now());
            credited.await.expect("credited");
        }
    }

    pub async fn revoke(&self, customer: &Customer) {
        let (owner, id) = (customer.owner.as_str(), &customer.id);
        let revoked = self.server.app.db.transaction(|mut tx| async move {
            let done = keys::revoke(&mut tx, owner, id, Timestamp::now()).await?;
            Ok::<_, KeysError>((tx, done))
        });
        assert!(revoked.await.expect("the database answers"));
        // As the route does; the key's streams are left to the look that all instances take.
        self.server.app.keys.forget_cached(id);
    }

    pub async fn balance(&self, customer: &Customer) -> Balance {
        let account = AccountId::wallet(&customer.owner).expect("an address");
        self.server.app.ledger.balance(&account).await.expect("the database answers")
    }

    /// Money available, in millionths of a dollar, once nothing runs.
    pub async fn available(&self, customer: &Customer) -> i64 {
        self.idle().await;
        let balance = self.balance(customer).await;
        assert_eq!(balance.held(), Money::ZERO, "no hold is left");
        balance.available().micros()
    }

    /// The entries of a customer, the newest first; credits left out.
    pub async fn entries(&self, customer: &Customer) -> Vec<Entry> {
        let account = AccountId::wallet(&customer.owner).expect("an address");
        let page = self.server.app.ledger.entries(&account, None, 100).await.expect("the database answers");
        page.entries.into_iter().filter(|entry| entry.source.is_none()).collect()
    }

    pub fn post(&self, customer: &Customer, path: &str, body: &str) -> RequestBuilder {
        self.server.post(path, body).header("authorization", format!("Bearer {}", customer.key))
    }

    pub fn get(&self, customer: &Customer, path: &str) -> RequestBuilder {
        self.server.get(path).header("authorization", format!("Bearer {}", customer.key))
    }

    /// A whole answer.
    pub async fn complete(&self, customer: &Customer, script: &Value, more: &Value) -> Reply {
        reply(self.post(customer, CHAT, &body(script, more))).await
    }

    /// A stream begins.
    pub async fn stream(&self, customer: &Customer, script: &Value, more: &Value) -> Stream {
        let mut more = more.clone();
        more["stream"] = json!(true);
        let response = self.post(customer, CHAT, &body(script, &more)).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
        Stream::new(response)
    }

    /// A whole stream.
    pub async fn run(&self, customer: &Customer, script: &Value, more: &Value) -> Transcript {
        read_to_end(&mut self.stream(customer, script, more).await).await
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

/// Reads a stream to its end.
pub async fn read_to_end(stream: &mut Stream) -> Transcript {
    let mut transcript = Transcript::default();
    while let Some(frame) = stream.next().await {
        match frame {
            Frame::Chunk(chunk) => {
                transcript.texts += usize::from(text(&chunk).is_some());
                if chunk["usage"].is_object() {
                    transcript.usage.push(chunk["usage"].clone());
                }
            }
            Frame::Error(error) => transcript.errors.push(error["error"].clone()),
            Frame::Done => transcript.done = true,
            Frame::Comment => {}
            wrong => panic!("unexpected in a stream: {wrong:?}"),
        }
    }
    transcript
}

/// A request that makes the model do as `script` says.
pub fn body(script: &Value, more: &Value) -> String {
    let mut body = json!({
        "model": MODEL, "messages": [{ "role": "user", "content": script.to_string() }],
    });
    let members = body.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().unwrap_or_default());
    body.to_string()
}

/// The error of an answer, in OpenAI's shape.
#[track_caller]
pub fn refused(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text);
    let error = reply.json()["error"].take();
    assert_eq!(error["code"], code, "{}", reply.text);
    for name in ["message", "type"] {
        assert!(error[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {}", reply.text);
    }
    assert!(error.get("param").is_some(), "{}", reply.text);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    error
}

/// Tries things at once and returns all answers.
pub async fn concurrently<T>(tasks: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(tasks).await
}
