//! Class 28: logs, metrics and errors hold no credential, key, prompt or signature.

use farebox::config::Secret;
use farebox::devnet::{Fault, Rule};
use farebox_test_support::agent::{self, Agent, authorization};
use farebox_test_support::capture::logged;
use farebox_test_support::db;
use farebox_test_support::harness::{
    self, Reply, SECRET, Server, funded, own_chain, reply, run, send_raw, sponsor_key,
};
use serde_json::{Value, json};

/// A prompt that appears nowhere else.
const PROMPT: &str = "zanzibar.quokka@example.com";
/// A key inside the node's URL, as hosted nodes have them.
const RPC_KEY: &str = "rpc-key-0f1e2d3c4b5a";

/// Secrets that were sent and must not be found anywhere.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    /// The credential as sent, and the parts that prove the payment.
    fn remember(&mut self, credential: &Value) {
        let header = authorization(credential);
        self.0.push(header["Payment ".len()..].to_owned());
        let payload = &credential["payload"];
        if let Some(signature) = payload["signature"].as_str() {
            // Signatures are at the end of a transaction; any stretch of it is telling.
            let digits = signature.trim_start_matches("0x").to_lowercase();
            self.0.push(digits[digits.len() - 60..].to_owned());
        }
    }

    fn assert_absent(&self, place: &str, text: &str) {
        let lower = text.to_lowercase();
        for secret in &self.0 {
            assert!(!secret.is_empty());
            let found = text.find(secret.as_str()).or_else(|| lower.find(secret.as_str()));
            if let Some(at) = found {
                let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
                panic!("{place} holds a secret: {:.400}", &text[from..]);
            }
        }
    }
}

fn body() -> String {
    json!({ "text": format!("Write to {PROMPT} please") }).to_string()
}

async fn paying(server: &Server, path: &str, credential: &Value, key: Option<&str>) -> Reply {
    let mut request = server.post(path, &body()).header("authorization", authorization(credential));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    reply(request).await
}

#[test]
fn attack_28_logs_metrics_and_errors_hold_no_secrets() {
    run(async {
        let chain = own_chain().await;
        let rpc_url = format!("{}/v1/{RPC_KEY}", chain.rpc_url());
        let server = Server::on(db::sqlite().await, &rpc_url, |config| {
            config.chain.request_timeout_ms = 1_000;
            config.chain.confirm_timeout_ms = 1_500;
        })
        .await;
        let mut secrets = Secrets(vec![
            PROMPT.to_owned(),
            RPC_KEY.to_owned(),
            SECRET.to_owned(),
            hex::encode(sponsor_key()),
        ]);
        let mut errors = Vec::new();
        let agent = funded(&chain).await;
        secrets.0.push(hex::encode(agent.signer.to_bytes()));

        let challenge_of = async |path: &str| reply(server.post(path, &body())).await.challenge();
        let preview = harness::PREVIEW;
        // Paid, repeated, replayed.
        let paid = agent.pull(&challenge_of(preview).await);
        secrets.remember(&paid);
        paying(&server, preview, &paid, Some("key-1")).await.assert_paid();
        paying(&server, preview, &paid, Some("key-1")).await.assert_paid();
        server.delivered(paid["challenge"]["id"].as_str().unwrap()).await;
        errors.push(paying(&server, preview, &paid, None).await);
        // Sponsored, pushed, proved.
        let sponsored = agent.pull(&challenge_of(harness::SPONSORED).await);
        secrets.remember(&sponsored);
        paying(&server, harness::SPONSORED, &sponsored, None).await.assert_paid();
        let challenge = challenge_of(preview).await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        send_raw(&chain, &signed.raw).await;
        let pushed = agent.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
        secrets.remember(&pushed);
        paying(&server, preview, &pushed, None).await.assert_paid();
        let proof = agent.proof(&server.proof_challenge().await);
        secrets.remember(&proof);
        server.prove(&proof).await.assert_paid();
        // Refused in many ways.
        let poor = Agent::random().pull(&challenge_of(preview).await);
        secrets.remember(&poor);
        errors.push(paying(&server, preview, &poor, None).await);
        let mut forged = agent.pull(&challenge_of(preview).await);
        forged["challenge"]["expires"] = json!("2099-01-01T00:00:00Z");
        secrets.remember(&forged);
        errors.push(paying(&server, preview, &forged, None).await);
        let mut malformed = agent.pull(&challenge_of(preview).await);
        secrets.remember(&malformed);
        malformed["payload"]["type"] = json!("gift");
        secrets.remember(&malformed);
        errors.push(paying(&server, preview, &malformed, None).await);
        errors.push(reply(server.post(preview, &format!("{{\"text\": {PROMPT}}}"))).await);
        errors.push(reply(server.post(preview, &json!({ "messages": [PROMPT] }).to_string())).await);
        // The chain in trouble: its errors may quote what was sent.
        for fault in [
            Rule::new(Fault::Drop),
            Rule::new(Fault::Delay { ms: 1_200 }).on("eth_call"),
            Rule::new(Fault::Error { code: -32000, message: "no".to_owned() })
                .on("eth_sendRawTransactionSync"),
            Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"),
            Rule::new(Fault::ErrorAfterIncluding),
            Rule::new(Fault::LyingReceipt),
        ] {
            let credential = agent.pull(&challenge_of(preview).await);
            secrets.remember(&credential);
            chain.faults().set(fault);
            let answer = paying(&server, preview, &credential, None).await;
            chain.faults().clear();
            if answer.status != 200 {
                errors.push(answer);
            }
        }
        errors.push(reply(server.get("/readyz")).await);
        // The database in trouble, last.
        let late = agent.pull(&challenge_of(preview).await);
        secrets.remember(&late);
        server.db.execute("DROP TABLE sponsor_days").await;
        server.db.execute("ALTER TABLE payments RENAME TO gone").await;
        errors.push(paying(&server, preview, &late, None).await);

        assert!(errors.iter().filter(|error| error.status >= 400).count() >= 9, "enough went wrong");
        for error in &errors {
            secrets.assert_absent("an error", &error.text);
            for (name, value) in &error.headers {
                secrets.assert_absent(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
            }
        }
        let metrics = server.metrics().await;
        assert!(metrics.contains("farebox_payments_settled_total"), "{metrics}");
        secrets.assert_absent("metrics", &metrics);
        let logged = logged();
        assert!(logged.contains("payments cannot be read or written"), "the log is captured");
        secrets.assert_absent("the log", &logged);
        server.finish(chain).await;
    });
}

#[test]
fn attack_28_metric_labels_do_not_grow_with_requests() {
    run(async {
        let server = Server::start().await;
        for index in 0..20 {
            reply(server.get(&format!("/some-path-{index}?q={index}"))).await.assert(404, "not_found");
        }
        let metrics = server.metrics().await;
        assert!(metrics.contains("farebox_requests_total"));
        assert!(!metrics.contains("some-path"), "{metrics}");
        let series = metrics.lines().filter(|line| line.starts_with("farebox_requests_total")).count();
        assert!(series < 60, "{metrics}");
    });
}

#[test]
fn attack_28_start_up_errors_hold_no_passwords() {
    run(async {
        let password = "hunter2-in-a-url";
        let mut config = farebox::config::Config::default();
        config.payments.secret = Secret::from(SECRET);
        config.payments.recipient = Agent::random().address();
        config.database.url = Secret::from(format!("postgres://farebox:{password}@127.0.0.1:9/farebox"));
        let debug = format!("{config:?}");
        assert!(!debug.contains(password) && !debug.contains(SECRET), "{debug}");
        let shown = serde_json::to_string(&config).unwrap();
        assert!(!shown.contains(password) && !shown.contains(SECRET), "{shown}");
        let handle = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let Err(error) = farebox::app::App::start(config, handle).await else {
            panic!("nothing listens there")
        };
        assert!(!format!("{error} {error:?}").contains(password), "{error}");
    });
}
