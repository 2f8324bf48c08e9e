//! Class 23: messages of other actions, keys, servers and times; nonces used twice.

use farebox::devnet::{Fault, Rule};
use farebox::id::Timestamp;
use farebox_test_support::agent::Agent;
use farebox_test_support::db;
use farebox_test_support::harness::{self, Reply, Server, own_chain, run};
use serde_json::{Value, json};

use crate::management::{
    BALANCE, CHECKOUT, KEYS, LEDGER, delete, done, fields, get, line, nonce, now, on_every_engine, patch,
    post, proof, refused, signed, siwe, with,
};

fn shifted(seconds: i64) -> String {
    Timestamp::now().checked_add_millis(seconds * 1000).expect("near").to_rfc3339()
}

/// Every route, with the action it is for and the key it is about.
async fn send(server: &Server, route: &str, body: &Value) -> Reply {
    match route {
        "list" => get(server, KEYS, body).await,
        "create" | "list by post" => post(server, KEYS, body).await,
        "revoke" => delete(server, "/api/v1/keys/abcdefghij123456", body).await,
        "revoke by post" => post(server, "/api/v1/keys/abcdefghij123456", body).await,
        "rotate" => post(server, "/api/v1/keys/abcdefghij123456/rotate", body).await,
        "update" => patch(server, "/api/v1/keys/abcdefghij123456", body).await,
        "balance" => get(server, BALANCE, body).await,
        "balance by post" => post(server, BALANCE, body).await,
        "ledger" => get(server, LEDGER, body).await,
        "ledger by post" => post(server, LEDGER, body).await,
        "checkout" => post(server, CHECKOUT, &with(body.clone(), &json!({ "usdAmount": "10" }))).await,
        other => panic!("{other}"),
    }
}

const ROUTES: [(&str, &str, &str); 12] = [
    ("create", "create", ""),
    ("list", "list", ""),
    ("list by post", "list", ""),
    ("revoke", "revoke", "abcdefghij123456"),
    ("revoke by post", "revoke", "abcdefghij123456"),
    ("rotate", "rotate", "abcdefghij123456"),
    ("update", "update", "abcdefghij123456"),
    ("balance", "balance", ""),
    ("balance by post", "balance", ""),
    ("ledger", "ledger", ""),
    ("ledger by post", "ledger", ""),
    ("checkout", "checkout", ""),
];

/// Every faulty proof for this action and key, with its error code.
fn wrong_proofs(
    server: &Server,
    agent: &Agent,
    action: &str,
    key: &str,
    good: &Value,
) -> Vec<(&'static str, Value, u16, &'static str)> {
    let message = |action: &str, key: &str, ts: &str| line(action, key, &nonce(), ts);
    let other_action = if action == "balance" { "ledger" } else { "balance" };
    let outsider = fields(agent.address(), good["message"].as_str().unwrap(), &{
        let signature = signed(&Agent::random(), good["message"].as_str().unwrap());
        alloy::hex::decode(signature["signature"].as_str().unwrap()).unwrap()
    });
    let changed = |name: &str, value: Value| with(good.clone(), &json!({ name: value }));
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let moved =
        signed(agent, &siwe(server, agent.address(), action, key).replace("127.0.0.1", "evil.example"));
    vec![
        ("no address", without("walletAddress"), 401, "missing_wallet_auth"),
        ("no message", without("message"), 401, "missing_wallet_auth"),
        ("no signature", without("signature"), 401, "missing_wallet_auth"),
        ("an empty signature", changed("signature", json!("")), 401, "missing_wallet_auth"),
        ("another action", signed(agent, &message(other_action, key, &now())), 403, "ACTION_MISMATCH"),
        ("no such action", signed(agent, &message("destroy", key, &now())), 403, "ACTION_MISMATCH"),
        ("another key", signed(agent, &message(action, "zzzzzzzzzz999999", &now())), 403, "KEY_ID_MISMATCH"),
        ("an old message", signed(agent, &message(action, key, &shifted(-301))), 403, "TIMESTAMP_INVALID"),
        ("a future message", signed(agent, &message(action, key, &shifted(60))), 403, "TIMESTAMP_INVALID"),
        (
            "another product",
            signed(agent, &message(action, key, &now()).replace("Pryv", "Prim")),
            403,
            "MESSAGE_INVALID",
        ),
        ("no nonce", signed(agent, &line(action, key, "", &now())), 403, "MESSAGE_INVALID"),
        ("another domain", moved, 403, "MESSAGE_INVALID"),
        ("another signer", outsider, 403, "SIGNATURE_INVALID"),
        ("no hexadecimal", changed("signature", json!("0xzz")), 403, "SIGNATURE_INVALID"),
        ("half a signature", changed("signature", json!("0x1234")), 403, "SIGNATURE_INVALID"),
        ("no address at all", changed("walletAddress", json!("me")), 403, "SIGNATURE_INVALID"),
        (
            "another address",
            changed("walletAddress", json!(Agent::random().address().to_string())),
            403,
            "SIGNATURE_INVALID",
        ),
    ]
}

/// One table of everything that can be wrong, at every route.
#[test]
fn attack_23_every_wrong_proof_has_its_own_code() {
    run(async {
        let server = Server::with_config(|config| {
            config.billing.test_checkout = true;
            config.keys.anonymous_rpm = 60_000;
        })
        .await;
        let agent = Agent::random();
        for (route, action, key) in ROUTES {
            let good = signed(&agent, &line(action, key, &nonce(), &now()));
            for (wrong, body, status, code) in wrong_proofs(&server, &agent, action, key, &good) {
                let answer = send(&server, route, &body).await;
                assert_eq!(
                    (answer.status, crate::management::code(&answer).as_str()),
                    (status, code),
                    "{route}: {wrong}: {}",
                    answer.text
                );
            }
            assert_eq!(
                server.count("SELECT count(*) FROM api_keys").await,
                i64::from(route != "create"),
                "{route}"
            );
            // Nothing of that used the nonce up: the good one works, once.
            let answer = send(&server, route, &good).await;
            let expected = if key.is_empty() { answer.status / 100 == 2 } else { answer.status == 404 };
            assert!(expected, "{route}: {} {}", answer.status, answer.text);
            if key.is_empty() {
                refused(&send(&server, route, &good).await, 403, "NONCE_REPLAY");
            }
        }
        // Texts that are no texts are missing.
        let body = json!({ "walletAddress": 5, "message": ["x"], "signature": {} });
        refused(&post(&server, BALANCE, &body).await, 401, "missing_wallet_auth");
        for body in ["[]", "5", "{", "\u{1}"] {
            let answer = harness::reply(server.post(BALANCE, body)).await;
            refused(&answer, 400, "invalid_params");
        }
    });
}

#[test]
fn attack_23_sign_in_with_ethereum_opens_the_same_routes() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let proof = |action: &str, key: &str| signed(&agent, &siwe(&server, agent.address(), action, key));
        let created = done(&post(&server, KEYS, &proof("create", "")).await);
        let id = created["id"].as_str().expect("an id");
        refused(&post(&server, KEYS, &proof("balance", "")).await, 403, "ACTION_MISMATCH");
        let path = format!("{KEYS}/{id}");
        refused(&delete(&server, &path, &proof("revoke", "other")).await, 403, "KEY_ID_MISMATCH");
        let revoke = proof("revoke", id);
        assert_eq!(done(&delete(&server, &path, &revoke).await)["status"], "revoked");
        refused(&delete(&server, &path, &revoke).await, 403, "NONCE_REPLAY");
    });
}

#[test]
fn attack_23_a_nonce_is_one_nonce_in_every_spelling_and_for_every_wallet() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let nonce = nonce();
            done(&post(server, BALANCE, &signed(&agent, &line("balance", "", &nonce, &now()))).await);
            for again in [nonce.clone(), nonce.to_uppercase()] {
                let body = signed(&agent, &line("ledger", "", &again, &now()));
                refused(&post(server, LEDGER, &body).await, 403, "NONCE_REPLAY");
            }
            let body = signed(&Agent::random(), &line("balance", "", &nonce, &now()));
            refused(&post(server, BALANCE, &body).await, 403, "NONCE_REPLAY");
        },
    ));
}

#[test]
fn attack_23_of_requests_that_race_with_one_nonce_one_acts() {
    run(on_every_engine(
        |_| {},
        async |server| {
            for _ in 0..5 {
                let agent = Agent::random();
                let body = with(proof(&agent, "create", ""), &json!({ "name": "raced" }));
                let all = futures_util::future::join_all((0..6).map(|_| post(server, KEYS, &body))).await;
                let created = all.iter().filter(|answer| answer.status == 201).count();
                assert_eq!(created, 1, "{all:?}");
                for answer in all.iter().filter(|answer| answer.status != 201) {
                    refused(answer, 403, "NONCE_REPLAY");
                }
                let keys = server
                    .app
                    .keys
                    .list(&format!("{:#x}", agent.address()), None, 10)
                    .await
                    .expect("the database answers");
                assert_eq!(keys.len(), 1);
            }
        },
    ));
}

#[test]
fn attack_23_an_action_that_failed_leaves_its_nonce() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let body = proof(&agent, "create", "");
            server.db.execute("ALTER TABLE api_keys RENAME TO gone").await;
            refused(&post(server, KEYS, &body).await, 503, "service_unavailable");
            server.db.execute("ALTER TABLE gone RENAME TO api_keys").await;
            assert_eq!(server.count("SELECT count(*) FROM wallet_nonces").await, 0);
            assert_eq!(post(server, KEYS, &body).await.status, 201);
        },
    ));
}

#[test]
fn attack_23_nonces_are_kept_for_longer_than_their_messages_count() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            done(&post(server, BALANCE, &proof(&agent, "balance", "")).await);
            let forget = async |hours: i64| {
                let moment = Timestamp::now().checked_add_millis(hours * 3_600_000).expect("near");
                farebox::wallet_auth::nonces::forget(&server.db.db, moment)
                    .await
                    .expect("the database answers")
            };
            assert_eq!((forget(0).await, forget(1).await, forget(25).await), (0, 0, 1));
        },
    ));
}

#[test]
fn attack_23_a_chain_that_cannot_be_asked_is_not_a_wrong_signature() {
    run(async {
        let chain = own_chain().await;
        let server = Server::on(db::sqlite().await, &chain.rpc_url(), |config| {
            config.chain.request_timeout_ms = 500;
        })
        .await;
        let agent = Agent::random();
        // A wallet that may be a contract: only the chain can say.
        let message = line("balance", "", &nonce(), &now());
        let body = fields(agent.address(), &message, &[0xaa; 80]);
        for fault in [
            Rule::new(Fault::Drop),
            Rule::new(Fault::Delay { ms: 800 }),
            Rule::new(Fault::Error { code: -32000, message: "overloaded".to_owned() }).on("eth_call"),
        ] {
            chain.faults().set(fault);
            let answer = post(&server, BALANCE, &body).await;
            chain.faults().clear();
            refused(&answer, 403, "SIGNATURE_VERIFY_ERROR");
            assert_eq!(answer.header("retry-after"), Some("2"));
        }
        refused(&post(&server, BALANCE, &body).await, 403, "SIGNATURE_INVALID");
        // A plain key needs no chain at all.
        chain.faults().set(Rule::new(Fault::Drop));
        done(&post(&server, BALANCE, &proof(&agent, "balance", "")).await);
        server.finish(chain).await;
    });
}
