//! Credits and keys bought on the chain: credited once, a key that survives lost replies and is
//! stored nowhere.

use std::time::Duration;

use farebox::config::{PATH_USD, Secret};
use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::recover;
use farebox::id::Timestamp;
use farebox::money::Money;
use farebox_test_support::agent::{self, Agent, authorization};
use farebox_test_support::capture;
use farebox_test_support::db;
use farebox_test_support::harness::{Reply, SECRET, Server, own_chain, reply, run, send_raw, shared_chain};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

use crate::management::{KEYS, assert_audit, balance_of, dollars, done, on_every_engine, post, proof};

pub const BUY_KEYS: &str = "/mpp/keys";
pub const BUY_CREDITS: &str = "/mpp/credits";

pub async fn agent_with_funds(chain: &Devnet) -> Agent {
    let agent = Agent::random();
    chain.fund(agent.address(), PATH_USD, 100_000_000).await.expect("the faucet gives");
    agent
}

/// The credential that pays for an order.
pub async fn paying(server: &Server, agent: &Agent, path: &str, body: &Value) -> Value {
    let challenge = reply(server.post(path, &body.to_string())).await.challenge();
    agent.pull(&challenge)
}

pub async fn buy(server: &Server, path: &str, body: &Value, credential: &Value) -> Reply {
    reply(server.post(path, &body.to_string()).header("authorization", authorization(credential))).await
}

pub fn starter_pack() -> Value {
    json!({ "packId": "starter" })
}

/// Every text that the payments table holds.
async fn stored(server: &Server) -> String {
    let rows = sqlx::query("SELECT COALESCE(answer, '') || COALESCE(goods, '') AS text FROM payments");
    let rows = rows.fetch_all(&server.db.db.pool).await.expect("the database answers");
    rows.iter().map(|row| row.try_get::<String, _>("text").expect("text")).collect()
}

async fn opens(server: &Server, key: &str) -> bool {
    server.app.keys.authenticate(key, Timestamp::now()).await.is_ok()
}

#[test]
fn packs_are_listed_free_and_bad_orders_cost_nothing() {
    run(async {
        let server = Server::start().await;
        let listed = done(&reply(server.get(BUY_KEYS)).await);
        assert_eq!(listed["packs"][0]["id"], "starter");
        for path in [BUY_KEYS, BUY_CREDITS] {
            // An order of nothing asks for the price of the cheapest.
            let probe = reply(server.post(path, "{}")).await;
            assert_eq!(probe.assert(402, "payment_required").challenge().amount(), 10_000_000);
            for wrong in [
                json!({ "name": "x" }),
                json!({ "packId": "free" }),
                json!({ "packId": 5 }),
                json!({ "packId": "starter", "credits": "99" }),
            ] {
                reply(server.post(path, &wrong.to_string())).await.assert(400, "invalid_params");
            }
            let challenge = reply(server.post(path, &starter_pack().to_string())).await.challenge();
            assert_eq!(challenge.amount(), 10_000_000);
        }
        for wrong in [json!("xyz"), json!("00"), json!("z".repeat(64))] {
            let body = json!({ "packId": "starter", "secretHash": wrong });
            reply(server.post(BUY_KEYS, &body.to_string())).await.assert(400, "invalid_params");
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
    });
}

#[test]
fn credits_that_are_bought_stay_on_the_wallets_account() {
    run(on_every_engine(
        |config| config.billing.packs[1].credits = Money::from_micros(55_000_000),
        async |server| {
            let agent = agent_with_funds(shared_chain().await).await;
            let credential = paying(server, &agent, BUY_CREDITS, &starter_pack()).await;
            let bought = buy(server, BUY_CREDITS, &starter_pack(), &credential).await;
            assert_eq!(bought.assert_paid().json()["creditsUsd"], "10.00");
            let balance = balance_of(server, &agent).await;
            assert_eq!((balance.available(), balance.spent()), (dollars(10), Money::ZERO));
            // Again it is the same answer, and nothing more is credited.
            let again = buy(server, BUY_CREDITS, &starter_pack(), &credential).await;
            assert_eq!(again.assert_paid().text, bought.text);
            // A pack that credits more than it costs; pushed, this time.
            let plus = json!({ "packId": "plus" });
            let challenge = reply(server.post(BUY_CREDITS, &plus.to_string())).await.challenge();
            let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
            send_raw(shared_chain().await, &signed.raw).await;
            let credential = agent.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
            for _ in 0..2 {
                buy(server, BUY_CREDITS, &plus, &credential).await.assert_paid();
            }
            assert_eq!(balance_of(server, &agent).await.available(), dollars(65));
            // Paid for one pack, it buys no other.
            let credential = paying(server, &agent, BUY_CREDITS, &starter_pack()).await;
            let other = buy(server, BUY_CREDITS, &plus, &credential).await;
            other.assert(402, "invalid_challenge");
            assert_eq!(server.count("SELECT count(*) FROM entries").await, 0, "nothing was spent");
        },
    ));
}

#[test]
fn a_key_is_bought_with_its_credits_and_can_be_fetched_again() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = agent_with_funds(shared_chain().await).await;
            let order = json!({ "packId": "starter", "name": "robot" });
            let credential = paying(server, &agent, BUY_KEYS, &order).await;
            let bought = buy(server, BUY_KEYS, &order, &credential).await;
            let answer = bought.assert_paid().json();
            assert_eq!(bought.header("cache-control"), Some("private, no-store"));
            let (key, id) = (answer["key"].as_str().expect("a key"), answer["id"].as_str().expect("an id"));
            assert!(key.starts_with(&format!("pryv_{id}")) && answer["creditsUsd"] == "10.00");
            assert!(opens(server, key).await);
            assert_eq!(balance_of(server, &agent).await.available(), dollars(10));
            // It is the paying wallet's.
            let listed = done(&post(server, KEYS, &proof(&agent, "list", "")).await);
            assert_eq!((&listed["keys"][0]["id"], &listed["keys"][0]["name"]), (&json!(id), &json!("robot")));
            // The reply was lost: once more, and at once several times.
            server.delivered(credential["challenge"]["id"].as_str().expect("an id")).await;
            let again =
                futures_util::future::join_all((0..3).map(|_| buy(server, BUY_KEYS, &order, &credential)));
            for again in again.await {
                assert_eq!(again.assert_paid().json()["key"], key);
            }
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 1);
            let stored = stored(server).await;
            assert!(stored.contains(id) && !stored.contains(&key[21..]), "{stored}");
            assert!(!capture::logged().contains(&key[21..]));
        },
    ));
}

#[test]
fn a_buyer_can_make_the_secret() {
    run(async {
        let server = Server::start().await;
        let agent = agent_with_funds(shared_chain().await).await;
        let secret = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v";
        let order = json!({ "packId": "starter", "secretHash": format!("0x{}", hex::encode(Sha256::digest(secret))) });
        let credential = paying(&server, &agent, BUY_KEYS, &order).await;
        let answer = buy(&server, BUY_KEYS, &order, &credential).await.assert_paid().json();
        assert_eq!(answer.get("key"), None);
        assert!(opens(&server, &format!("{}{secret}", answer["prefix"].as_str().expect("a prefix"))).await);
        assert_audit(&server).await;
    });
}

/// A push is proved by what everybody can see: the transaction, and the challenge that it paid. Whoever has both, as from
/// a log of answers with 402, is shown the key for as long as the challenge lives, which its buyer needs after a lost
/// reply, and no longer. A signed transaction is nobody else's, so its key is shown for a day.
#[test]
fn attack_07_a_key_sold_for_a_push_is_shown_while_its_challenge_lives_and_no_longer() {
    run(on_every_engine(
        |config| config.payments.challenge_ttl_seconds = 6,
        async |server| {
            let agent = agent_with_funds(shared_chain().await).await;
            let order = json!({ "packId": "starter", "name": "robot" });
            let challenge = reply(server.post(BUY_KEYS, &order.to_string())).await.challenge();
            let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
            send_raw(shared_chain().await, &signed.raw).await;
            let pushed = agent.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
            let bought = buy(server, BUY_KEYS, &order, &pushed).await.assert_paid().json();
            let pushed_key = bought["key"].as_str().expect("a key");
            server.delivered(&challenge.id).await;
            let again = buy(server, BUY_KEYS, &order, &pushed).await.assert_paid().json();
            assert_eq!(again["key"], bought["key"]);
            let pulled = paying(server, &agent, BUY_KEYS, &order).await;
            let pulled_key = buy(server, BUY_KEYS, &order, &pulled).await.assert_paid().json()["key"].take();

            tokio::time::sleep(Duration::from_secs(7)).await;
            let leaked = buy(server, BUY_KEYS, &order, &pushed).await;
            leaked.assert(403, "credential_spent");
            assert!(!leaked.text.contains(&pushed_key[5..]), "{}", leaked.text);
            let again = buy(server, BUY_KEYS, &order, &pulled).await.assert_paid().json();
            assert_eq!(again["key"], pulled_key);
            // Nobody has lost anything: both keys open, and two packs are credited.
            assert!(opens(server, pushed_key).await);
            assert!(opens(server, pulled_key.as_str().expect("a key")).await);
            assert_eq!(balance_of(server, &agent).await.available(), dollars(20));
        },
    ));
}

#[test]
fn a_key_is_shown_again_after_the_servers_secret_was_rotated_once() {
    run(async {
        let server = Server::start().await;
        let agent = agent_with_funds(shared_chain().await).await;
        let credential = paying(&server, &agent, BUY_KEYS, &starter_pack()).await;
        let key =
            buy(&server, BUY_KEYS, &starter_pack(), &credential).await.assert_paid().json()["key"].clone();
        let rotate = |secret: &str, previous: &str| {
            let (secret, previous) = (Secret::from(secret), Secret::from(previous));
            move |config: &mut farebox::config::Config| {
                config.payments.secret = secret;
                config.payments.previous_secret = Some(previous);
            }
        };
        let (second, third) = ("second-second-second-second-second", "third-third-third-third-third-third");
        let server = server.restart(rotate(second, SECRET)).await;
        assert_eq!(
            buy(&server, BUY_KEYS, &starter_pack(), &credential).await.assert_paid().json()["key"],
            key
        );
        let server = server.restart(rotate(third, second)).await;
        let gone = buy(&server, BUY_KEYS, &starter_pack(), &credential).await;
        gone.assert(403, "credential_spent");
        assert!(opens(&server, key.as_str().expect("a key")).await, "it still works");
    });
}

#[test]
fn attack_10_a_key_whose_payment_got_lost_on_the_way_is_found_on_the_chain() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let mut server = Server::on(database, &chain.rpc_url(), |config| {
                config.chain.request_timeout_ms = 1_000;
                config.chain.confirm_timeout_ms = 1_500;
            })
            .await;
            let agent = agent_with_funds(&chain).await;
            // Included, and neither the answer nor any receipt comes back.
            let credential = paying(&server, &agent, BUY_KEYS, &starter_pack()).await;
            chain.faults().set(Rule::new(Fault::ErrorAfterIncluding));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
            let lost = buy(&server, BUY_KEYS, &starter_pack(), &credential).await;
            chain.faults().clear();
            lost.assert(503, "settlement_pending");
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 0);
            // Nobody comes back: the worker looks.
            let later = Timestamp::now().checked_add_millis(60_000).expect("near");
            recover::reconcile_open(&server.app.charges, later).await.expect("the database answers");
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 1);
            assert_eq!(balance_of(&server, &agent).await.available(), dollars(10));
            let found = buy(&server, BUY_KEYS, &starter_pack(), &credential).await;
            let key = found.assert_paid().json()["key"].clone();
            assert!(opens(&server, key.as_str().expect("a key")).await);
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 1);
            assert_audit(&server).await;
            server.stop().await;
        }
        chain.stop().await;
    });
}
