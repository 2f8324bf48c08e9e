//! Class 28: no signature, key or secret of these routes is in a log, a metric or an error.

use farebox_test_support::agent::Agent;
use farebox_test_support::capture::logged;
use farebox_test_support::harness::{Reply, Server, run};
use serde_json::{Value, json};

use crate::management::{BALANCE, CHECKOUT, KEYS, LEDGER, delete, done, get, post, proof, with};
use crate::stripe_double::{
    KEY, StripeDouble, WEBHOOK_SECRET, deliver_event, deliver_event_with, event, session_object, sign,
};

#[derive(Default)]
struct Seen {
    secrets: Vec<String>,
    errors: Vec<Reply>,
}

impl Seen {
    /// Signature and message are proofs; neither is repeated.
    fn remember(&mut self, proof: Value) -> Value {
        for name in ["signature", "message"] {
            let text = proof[name].as_str().expect("text");
            self.secrets.push(text[text.len() - 40..].to_owned());
        }
        proof
    }
}

#[test]
fn attack_28_wallet_routes_keep_secrets_to_themselves() {
    run(async {
        let double = StripeDouble::start().await;
        let server = Server::with_config(|config| double.configure(config)).await;
        let agent = Agent::random();
        let mut seen = Seen::default();
        seen.secrets.extend([
            KEY.to_owned(),
            WEBHOOK_SECRET.to_owned(),
            hex::encode(agent.signer.to_bytes()),
        ]);
        let made = done(&post(&server, KEYS, &seen.remember(proof(&agent, "create", ""))).await);
        let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        seen.secrets.push(text[21..].to_owned());
        let path = format!("{KEYS}/{id}");
        let rotated =
            post(&server, &format!("{path}/rotate"), &seen.remember(proof(&agent, "rotate", id))).await;
        seen.secrets.push(done(&rotated)["key"].as_str().unwrap()[21..].to_owned());
        // By GET, where the URL holds the proof.
        let query = seen.remember(proof(&agent, "balance", ""));
        done(&get(&server, BALANCE, &query).await);
        seen.errors.push(get(&server, BALANCE, &query).await);
        let query = seen.remember(proof(&agent, "list", ""));
        seen.errors.push(get(&server, BALANCE, &query).await);
        let mut forged = seen.remember(proof(&agent, "ledger", ""));
        forged["walletAddress"] = json!(Agent::random().address().to_string());
        seen.errors.push(post(&server, LEDGER, &forged).await);
        let mut malformed = seen.remember(proof(&agent, "create", ""));
        malformed["name"] = malformed["signature"].clone();
        seen.errors.push(post(&server, KEYS, &malformed).await);
        let mut misplaced = seen.remember(proof(&agent, "create", ""));
        misplaced["limits"] = json!({ "rpm": misplaced["signature"] });
        let misplaced = post(&server, KEYS, &misplaced).await;
        assert_eq!(misplaced.status, 400);
        let order = json!({ "usdAmount": "10" });
        let begun =
            done(&post(&server, CHECKOUT, &with(seen.remember(proof(&agent, "checkout", "")), &order)).await);
        double.seen(|seen| seen.fail = Some(401));
        let body = with(seen.remember(proof(&agent, "checkout", "")), &order);
        seen.errors.push(post(&server, CHECKOUT, &body).await);
        let checkout = begun["checkoutId"].as_str().unwrap();
        let body = event("checkout.session.completed", &session_object(checkout, "pi_28", 1000, "paid"));
        assert_eq!(deliver_event(&server, &body).await.status, 200);
        let signature = sign("whsec_other", farebox::id::Timestamp::now().seconds(), &body);
        seen.secrets.push(signature[signature.len() - 40..].to_owned());
        seen.errors.push(deliver_event_with(&server, &body, &signature).await);
        done(&delete(&server, &path, &seen.remember(proof(&agent, "revoke", id))).await);
        server.db.execute("ALTER TABLE wallet_nonces RENAME TO gone").await;
        let late = seen.remember(proof(&agent, "balance", ""));
        seen.errors.push(post(&server, BALANCE, &late).await);

        assert!(seen.errors.iter().all(|error| error.status >= 400), "{:?}", seen.errors);
        let metrics = server.metrics().await;
        assert!(metrics.contains("farebox_wallet_auth_refused_total"), "{metrics}");
        let log = logged();
        for line in ["API key created", "API key revoked", "API key rotated"] {
            assert!(log.contains(line), "{line} is in the log");
        }
        for secret in &seen.secrets {
            for error in &seen.errors {
                assert!(!error.text.contains(secret.as_str()), "an error holds {secret}: {}", error.text);
            }
            assert!(!metrics.contains(secret.as_str()));
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "the log holds {secret}");
        }
    });
}
