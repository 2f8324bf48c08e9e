//! A server that sells a scripted model for prepaid credits, and its customers.

use std::ops::{Deref, DerefMut};

use farebox::config::Config;
use farebox::id::{AccountId, Timestamp};
use farebox::keys::{self, KeyId, KeyLimits, KeysError, NewKey};
use farebox::ledger::{Balance, Entry};
use farebox::money::Money;
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{Reply, Server, reply};
use farebox_test_support::model_server::ModelServer;
pub use farebox_test_support::model_server::{MODEL, PRICE};
use farebox_test_support::sse::{Frame, Stream, text};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

pub const CHAT: &str = "/v1/chat/completions";
pub const PREVIEW: &str = "/v1/pii/preview";

/// A [`ModelServer`] and its customers.
pub struct Fixture(ModelServer);

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

impl Fixture {
    pub async fn with_config(configure: impl FnOnce(&mut Config)) -> Self {
        Self(ModelServer::with_config(configure).await)
    }

    pub async fn on(db: TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        Self(ModelServer::on(db, configure).await)
    }

    /// Another instance beside it, on the same database, which must be PostgreSQL.
    pub async fn second_instance(&self) -> Self {
        Self(self.0.second_instance().await)
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
        self.0.credit(&AccountId::wallet(owner).expect("an address"), micros).await;
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
        self.0.balance(&customer.account()).await
    }

    /// Money available, in millionths of a dollar, once nothing runs.
    pub async fn available(&self, customer: &Customer) -> i64 {
        self.0.available(&customer.account()).await
    }

    /// The entries of a customer, the newest first; credits left out.
    pub async fn entries(&self, customer: &Customer) -> Vec<Entry> {
        self.0.entries(&customer.account()).await
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

    pub async fn finish(self) {
        self.0.finish().await;
    }

    /// Stops the server and starts it again on the same database.
    pub async fn restart(self) -> Self {
        Self(self.0.restart().await)
    }

    pub fn into_server(self) -> Server {
        self.0.server
    }
}

impl Customer {
    fn account(&self) -> AccountId {
        AccountId::wallet(&self.owner).expect("an address")
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
