//! Requests of the management API, signed by a wallet.

use alloy::primitives::Address;
use alloy::signers::SignerSync as _;
use farebox::config::Config;
use farebox::id::{AccountId, RequestId, RequestKey, SourceRef, Timestamp};
use farebox::ledger::audit::audit;
use farebox::ledger::{Balance, EntryDetails, EntryKind};
use farebox::money::Money;
use farebox_test_support::agent::{self, Agent};
use farebox_test_support::db;
use farebox_test_support::harness::{self, Reply, Server, reply, shared_chain};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

pub const KEYS: &str = "/api/v1/keys";
pub const BALANCE: &str = "/api/v1/billing/balance";
pub const LEDGER: &str = "/api/v1/billing/ledger";
pub const CHECKOUT: &str = "/api/v1/billing/checkout";
pub const USAGE: &str = "/api/v1/billing/usage";

/// Runs a test once on every engine, on the shared chain.
pub async fn on_every_engine(configure: impl Fn(&mut Config), test: impl AsyncFn(&Server)) {
    for database in db::engines().await {
        let mut server = Server::on(database, &shared_chain().await.rpc_url(), &configure).await;
        test(&server).await;
        assert_audit(&server).await;
        server.stop().await;
    }
}

/// The ledger adds up.
pub async fn assert_audit(server: &Server) {
    let report = audit(&server.db.db).await.expect("the audit runs");
    assert!(report.is_clean(), "{report}");
    let disagreements = farebox::funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(disagreements, [], "payments and ledger");
}

pub fn now() -> String {
    Timestamp::now().to_rfc3339()
}

pub fn nonce() -> String {
    Uuid::new_v4().to_string()
}

/// The literal line.
pub fn line(action: &str, key_id: &str, nonce: &str, ts: &str) -> String {
    format!("Pryv API key mgmt | action={action} | keyId={key_id} | nonce={nonce} | ts={ts}")
}

/// A Sign-In with Ethereum message for this server.
pub fn siwe(server: &Server, wallet: Address, action: &str, key_id: &str) -> String {
    let host = server.url.trim_start_matches("http://");
    format!(
        "{host} wants you to sign in with your Ethereum account:\n{wallet}\n\nPryv API key mgmt; \
         action={action}; keyId={key_id}\n\nURI: {}\nVersion: 1\nChain ID: {}\nNonce: {}\nIssued At: {}",
        server.url,
        agent::CHAIN_ID,
        Uuid::new_v4().simple(),
        now()
    )
}

/// The three fields, signed by the agent's own key.
pub fn signed(agent: &Agent, message: &str) -> Value {
    let signature = agent.signer.sign_message_sync(message.as_bytes()).expect("a local key signs");
    fields(agent.address(), message, &signature.as_bytes())
}

pub fn fields(wallet: Address, message: &str, signature: &[u8]) -> Value {
    let signature = alloy::hex::encode_prefixed(signature);
    json!({ "walletAddress": wallet, "message": message, "signature": signature })
}

/// The three fields for an action, now.
pub fn proof(agent: &Agent, action: &str, key_id: &str) -> Value {
    signed(agent, &line(action, key_id, &nonce(), &now()))
}

/// With more fields.
pub fn with(mut proof: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        proof[name] = value.clone();
    }
    proof
}

pub async fn post(server: &Server, path: &str, body: &Value) -> Reply {
    reply(server.post(path, &body.to_string())).await
}

/// A GET with the fields as query parameters.
pub async fn get(server: &Server, path: &str, fields: &Value) -> Reply {
    let url = reqwest::Url::parse_with_params(
        &format!("{}{path}", server.url),
        fields
            .as_object()
            .expect("an object")
            .iter()
            .map(|(name, value)| (name, value.as_str().expect("text"))),
    );
    reply(harness::client().request(Method::GET, url.expect("a URL"))).await
}

pub async fn delete(server: &Server, path: &str, body: &Value) -> Reply {
    let request = server.request(Method::DELETE, path).header("content-type", "application/json");
    reply(request.body(body.to_string())).await
}

pub async fn patch(server: &Server, path: &str, body: &Value) -> Reply {
    let request = server.request(Method::PATCH, path).header("content-type", "application/json");
    reply(request.body(body.to_string())).await
}

/// The stable code of a management error.
pub fn code(reply: &Reply) -> String {
    let error = &reply.json()["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", reply.text);
    assert_eq!(error["request_id"].as_str(), reply.header("x-request-id"), "{}", reply.text);
    error["code"].as_str().unwrap_or_else(|| panic!("no error: {}", reply.text)).to_owned()
}

#[track_caller]
pub fn refused(reply: &Reply, status: u16, expected: &str) {
    assert_eq!((reply.status, code(reply).as_str()), (status, expected), "{}", reply.text);
}

/// Done, and its request named.
#[track_caller]
pub fn done(reply: &Reply) -> Value {
    assert!((200..300).contains(&reply.status), "{} {}", reply.status, reply.text);
    let answer = reply.json();
    assert_eq!(answer["request_id"].as_str(), reply.header("x-request-id"));
    // Lists and balances may be shown again for a few seconds; what has a secret or a charge is kept by nobody.
    let is_list_or_balance = answer["keys"].is_array() || answer["available"].is_string();
    let policy = if is_list_or_balance { "private, max-age=5" } else { "no-store" };
    assert_eq!(reply.header("cache-control"), Some(policy), "{}", reply.text);
    answer
}

pub fn account(agent: &Agent) -> AccountId {
    AccountId::wallet(&agent.address().to_string()).expect("an address")
}

pub async fn balance_of(server: &Server, agent: &Agent) -> Balance {
    server.app.ledger.balance(&account(agent)).await.expect("the database answers")
}

pub fn dollars(dollars: i64) -> Money {
    Money::from_micros(dollars * 1_000_000)
}

/// Credit that came from nowhere.
pub async fn give(server: &Server, agent: &Agent, amount: Money) {
    let source = SourceRef::parse(&format!("test:{}", Uuid::new_v4())).expect("a source");
    let given = server.app.ledger.credit(&account(agent), amount, &source, Timestamp::now()).await;
    given.expect("the ledger takes it");
}

/// Something that was bought.
pub async fn spend(server: &Server, agent: &Agent, amount: Money, service: &str, request: &str) {
    spend_at(server, agent, amount, service, request, json!({}), Timestamp::now()).await;
}

/// Something that was bought at a moment, with more details.
pub async fn spend_at(
    server: &Server,
    agent: &Agent,
    amount: Money,
    service: &str,
    request: &str,
    meta: Value,
    now: Timestamp,
) {
    let details = EntryDetails {
        kind: EntryKind::Usage,
        request_id: RequestId::from_client(request),
        service: service.to_owned(),
        units: 1,
        unit_price: amount,
        meta,
    };
    let (account, key) = (account(agent), RequestKey::new(now));
    let spent = server.app.ledger.spend(&account, amount, &key, &details, now).await;
    assert!(matches!(spent, Ok(farebox::ledger::SpendOutcome::Spent(_))), "{spent:?}");
}
