//! Class 75: sign-in by a message that is not the wallet's, not this server's, old, or used.

use farebox::config::{PATH_USD, Secret};
use farebox::wallet_auth::signature::hash;
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, funded, reply, run, shared_chain};
use serde_json::{Value, json};

use crate::fixture::{AUTH, Browser, CHALLENGE, SESSION, challenge, proof, signed};
use crate::management::{line, nonce, now, on_every_engine, signed as message_of, siwe};

#[test]
fn attack_75_a_message_signs_in_once() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            let proof = proof(server, &agent).await;
            let at_once = [(); 8].map(|()| {
                let (server, proof) = (server, &proof);
                async move { Browser::default().post(server, AUTH, proof).await }
            });
            let answers = futures_util::future::join_all(at_once).await;
            let signed_in: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
            assert_eq!(signed_in.len(), 1);
            for refused in answers.iter().filter(|answer| answer.status != 200) {
                refused.assert(403, "NONCE_REPLAY");
            }
            assert_eq!(server.count("SELECT count(*) FROM browser_sessions").await, 1);
        },
    ));
}

#[test]
fn attack_75_only_this_servers_own_message_signs_in() {
    run(async {
        let server = Server::start().await;
        let other = Server::with_config(|config| config.payments.secret = Secret::from("x".repeat(40))).await;
        let (agent, thief) = (Agent::random(), Agent::random());
        let browser = Browser::default();
        let as_wallet = |mut fields: Value| {
            fields["address"] = fields["walletAddress"].take();
            fields
        };
        let ours = challenge(&server, &agent.address().to_string()).await;
        for (proof, code) in [
            (signed(&agent, &challenge(&other, &agent.address().to_string()).await), "MESSAGE_INVALID"),
            (signed(&agent, &ours.replace("It costs nothing", "It costs a lot")), "MESSAGE_INVALID"),
            // What was signed for something else.
            (as_wallet(message_of(&agent, &line("list", "", &nonce(), &now()))), "MESSAGE_INVALID"),
            (as_wallet(message_of(&agent, &siwe(&server, agent.address(), "create", ""))), "MESSAGE_INVALID"),
            // Somebody else's signature, or message.
            (signed(&thief, &ours), "MESSAGE_INVALID"),
            (
                json!({ "address": agent.address(), "message": ours, "signature": signed(&thief, &ours)["signature"] }),
                "SIGNATURE_INVALID",
            ),
        ] {
            let refused = browser.post(&server, AUTH, &proof).await;
            refused.assert(403, code);
            assert_eq!(refused.header("set-cookie"), None);
        }
        // And it counts for nothing else.
        let mut elsewhere = signed(&agent, &ours);
        elsewhere["walletAddress"] = elsewhere["address"].take();
        elsewhere.as_object_mut().expect("an object").remove("address");
        let refused = reply(server.post("/api/v1/keys", &elsewhere.to_string())).await;
        refused.assert(403, "MESSAGE_INVALID");
        let wrong = reply(server.post(CHALLENGE, r#"{"address":"0x12"}"#)).await;
        wrong.assert(400, "invalid_params");
        assert_eq!(server.count("SELECT count(*) FROM browser_sessions").await, 0);
        // A message for a wallet that was not known yet.
        let answer = reply(server.post(CHALLENGE, "{}")).await.json();
        let nobody = answer["message"].as_str().expect("a message");
        assert_eq!(browser.post(&server, AUTH, &signed(&agent, nobody)).await.status, 200);
    });
}

/// A key with spending limits must not begin payments in its account's name.
#[test]
fn attack_75_a_restricted_access_key_does_not_sign_in() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let agent = funded(chain).await;
        let message = challenge(&server, &agent.address().to_string()).await;
        for (restriction, status) in [(Restriction::Limit(PATH_USD, 1), 403), (Restriction::None, 200)] {
            let key = AccessKey::authorized(chain, &agent, restriction).await;
            let signature = alloy::hex::encode_prefixed(key.sign_hash(hash(&message)).to_bytes());
            let proof = json!({ "address": agent.address(), "message": message, "signature": signature });
            let answer = Browser::default().post(&server, AUTH, &proof).await;
            assert_eq!(answer.status, status, "{}", answer.text);
        }
    });
}

#[test]
fn attack_75_a_page_of_another_origin_signs_nobody_in() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let body = proof(&server, &agent).await.to_string();
            let refused = reply(server.post(AUTH, &body).header(name, value)).await;
            refused.assert(403, "foreign_origin");
            assert_eq!(refused.header("set-cookie"), None);
        }
        assert_eq!(Browser::default().get(&server, SESSION).await.json()["session"], Value::Null);
    });
}
