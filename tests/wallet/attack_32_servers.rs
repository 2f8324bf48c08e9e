//! Class 32: what was signed for one server and one request counts for no other.

use farebox::wallet_auth::message::parameters_digest;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, run};
use serde_json::{Value, json};

use crate::management::{
    CHECKOUT, KEYS, LEDGER, done, get, line, nonce, now, on_every_engine, post, proof, refused, signed, siwe,
    with,
};

fn host(server: &Server) -> &str {
    server.url.trim_start_matches("http://")
}

/// The line for an action, with more fields.
fn longer(action: &str, more: &str) -> String {
    format!("{}{more}", line(action, "", &nonce(), &now()))
}

fn digest(parameters: &Value) -> String {
    parameters_digest(parameters.as_object().expect("an object"))
}

/// The same body made a living key on three deployments.
#[test]
fn attack_32_a_message_that_names_its_server_counts_nowhere_else() {
    run(async {
        let (here, there) = (Server::start().await, Server::start().await);
        let agent = Agent::random();
        let body = signed(&agent, &longer("create", &format!(" | host={}", host(&here))));
        refused(&post(&there, KEYS, &body).await, 403, "MESSAGE_INVALID");
        assert_eq!(there.count("SELECT count(*) FROM api_keys").await, 0);
        assert_eq!(post(&here, KEYS, &body).await.status, 201);
        // Sign-In with Ethereum says it anyway.
        let body = signed(&agent, &siwe(&here, agent.address(), "create", ""));
        refused(&post(&there, KEYS, &body).await, 403, "MESSAGE_INVALID");
        assert_eq!(post(&here, KEYS, &body).await.status, 201);
    });
}

#[test]
fn attack_32_an_operator_can_require_the_server_and_the_body() {
    run(async {
        let server = Server::with_config(|config| {
            config.wallet_auth.require_host = true;
            config.wallet_auth.require_body = true;
        })
        .await;
        let (agent, parameters) = (Agent::random(), json!({ "name": "laptop" }));
        let (host, body) = (format!(" | host={}", host(&server)), format!(" | body={}", digest(&parameters)));
        for (more, expected) in
            [("", "that name it"), (host.as_str(), "body=<SHA-256>"), (body.as_str(), "that name it")]
        {
            let answer =
                post(&server, KEYS, &with(signed(&agent, &longer("create", more)), &parameters)).await;
            refused(&answer, 403, "MESSAGE_INVALID");
            assert!(answer.text.contains(expected), "{}", answer.text);
        }
        let both = format!("{host}{body}");
        let made = post(&server, KEYS, &with(signed(&agent, &longer("create", &both)), &parameters)).await;
        assert_eq!(done(&made)["name"], "laptop");
        // Without parameters, and in a query, it is the hash of what is there.
        let none = format!("{host} | body={}", digest(&json!({})));
        done(&post(&server, KEYS, &signed(&agent, &longer("list", &none))).await);
        let page = json!({ "limit": "5" });
        let page_only = format!("{host} | body={}", digest(&page));
        done(&get(&server, LEDGER, &with(signed(&agent, &longer("ledger", &page_only)), &page)).await);
        let statement = siwe(&server, agent.address(), "list", "")
            .replace("keyId=", &format!("keyId=; body={}", digest(&json!({}))));
        done(&post(&server, KEYS, &signed(&agent, &statement)).await);
    });
}

/// Whoever carries a message to the server could have changed what is beside it.
#[test]
fn attack_32_a_body_that_was_signed_cannot_be_changed_on_the_way() {
    run(on_every_engine(
        |config| config.billing.test_checkout = true,
        async |server| {
            let agent = Agent::random();
            for (path, action, meant, changed) in [
                (
                    KEYS,
                    "create",
                    json!({ "limits": { "totalUsd": "5" } }),
                    json!({ "limits": { "totalUsd": "500" } }),
                ),
                (KEYS, "create", json!({ "limits": { "totalUsd": "5" } }), json!({})),
                (KEYS, "create", json!({}), json!({ "expiresAt": "2099-01-01T00:00:00Z" })),
                (CHECKOUT, "checkout", json!({ "usdAmount": "10" }), json!({ "usdAmount": "1000" })),
            ] {
                let fields = signed(&agent, &longer(action, &format!(" | body={}", digest(&meant))));
                let answer = post(server, path, &with(fields.clone(), &changed)).await;
                refused(&answer, 403, "MESSAGE_INVALID");
                // The message is not used up: what was meant goes through.
                done(&post(server, path, &with(fields, &meant)).await);
            }
            // The short line of the contract still counts.
            done(&post(server, KEYS, &proof(&agent, "list", "")).await);
        },
    ));
}
