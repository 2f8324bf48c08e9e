//! Class 30: kill -9 during paid calls. What was charged was delivered, or can be fetched, or is credit; the books agree.

use std::time::Duration;

use farebox::config::PATH_USD;
use farebox::id::{SourceRef, Timestamp};
use farebox::ledger::{self, LedgerError};
use farebox::money::Money;
use farebox::services::chat::scripted::ScriptedUpstream;
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{asked, eventually, funded, run, shared_chain};
use farebox_test_support::process::{ServerProcess, Setup};
use farebox_test_support::random::{self, Random};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{ACCOUNT, PRICE, account, question, refusal, structured};
use crate::login;
use crate::pay_per_call::{ask, with};
use crate::wire::{Client, Era, PAY_PER_CALL};

const ROUNDS: i64 = 6;
/// Longest time from a request to the kill, in microseconds: some die before it arrives, some after it is answered.
const LONGEST: u64 = 80_000;
/// Price of a preview.
const PREVIEW: i64 = 50_000;

/// A server in a process of its own, on one database, and the model that outlives it.
struct Killed<'a> {
    setup: Setup,
    db: &'a TestDb,
    model: ScriptedUpstream,
    _folder: TempDir,
}

impl<'a> Killed<'a> {
    async fn new(db: &'a TestDb) -> Self {
        let model = ScriptedUpstream::start().await.expect("a free port");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("farebox.toml");
        // Only the file can hold models.
        let text = format!(
            "[[upstreams]]\nname = \"scripted\"\nbase_url = \"{}\"\n\
             [[models]]\nid = \"scripted\"\nupstreams = [\"scripted\"]\nprice_per_chunk = \"0.0001\"\n\
             price_per_million_output = \"100\"\ncontext_length = 32768\nmax_output_tokens = 4096\n",
            model.base_url()
        );
        std::fs::write(&path, text).expect("written");
        let setup = Setup::new(crate::FAREBOX, shared_chain().await, &db.url)
            .with("FAREBOX_CONFIG", path.to_str().expect("UTF-8"));
        Self { setup, db, model, _folder: folder }
    }

    async fn credit(&self, wallet: &Agent, micros: i64) {
        let (account, amount) = (&account(wallet), Money::from_micros(micros));
        let source = &SourceRef::parse(&format!("test:{}", uuid::Uuid::new_v4())).expect("a token");
        let credited = self.db.db.transaction(|mut tx| async move {
            ledger::credit(&mut tx, account, amount, source, Timestamp::now()).await?;
            Ok::<_, LedgerError>((tx, ()))
        });
        credited.await.expect("the database answers");
    }

    async fn number(&self, sql: &'static str) -> i64 {
        self.db.db.fetch_one(sql, Vec::new()).await.expect("it answers").whole("n").expect("a number")
    }

    /// Money in all entries and on open holds.
    async fn spent(&self) -> i64 {
        self.number("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS n FROM entries").await
            + self
                .number(
                    "SELECT CAST(COALESCE(SUM(charged), 0) AS BIGINT) AS n FROM holds WHERE state = 'open'",
                )
                .await
    }

    /// Lets the time of the dead server's holds pass, and waits until they are closed.
    async fn sweep(&self) {
        self.db
            .db
            .execute("UPDATE holds SET expires_at = 1 WHERE state = 'open'", Vec::new())
            .await
            .expect("done");
        eventually("the holds of the dead are closed", async || {
            (self.number("SELECT count(*) AS n FROM holds WHERE state = 'open'").await == 0).then_some(())
        })
        .await;
    }
}

/// Sends a call and kills the server at a moment that nobody chose; returns the answer, if one arrived, and the server
/// that was started after it.
async fn cut_off(
    killed: &Killed<'_>,
    call: reqwest::RequestBuilder,
    random: &mut Random,
    server: ServerProcess,
) -> (Option<Value>, ServerProcess) {
    let sent = tokio::spawn(async move { call.send().await.ok()?.text().await.ok() });
    tokio::time::sleep(Duration::from_micros(random.below(LONGEST))).await;
    server.kill().await;
    let answer = sent.await.expect("no panic").and_then(|text| serde_json::from_str(&text).ok());
    (answer, killed.setup.serve().await)
}

#[test]
fn attack_30_kill_9_during_a_preview_charges_it_once() {
    run(async {
        let seed = random::seed(12);
        println!("FAREBOX_TEST_SEED={seed}");
        for db in db::engines().await {
            let (killed, mut random) = (Killed::new(&db).await, Random(seed));
            let (origin, wallet) = (killed.setup.origin(), Agent::random());
            killed.credit(&wallet, 10_000_000).await;
            let mut server = killed.setup.serve().await;
            let tokens = login::Client::registered(&origin).await.log_in(&origin, &wallet, &json!({})).await;
            let caller =
                Client { server: &origin, path: ACCOUNT, era: Era::Stateless, token: Some(&tokens.access) };
            for round in 0..ROUNDS {
                let meta = json!({"farebox/idempotency-key": format!("call-{round}")});
                let arguments = json!({"text": "Mail jane@example.com"});
                let params = json!({"name": "pii_preview", "arguments": arguments, "_meta": meta});
                let call = caller.request("tools/call", &params);
                let (answer, alive) = cut_off(&killed, call, &mut random, server).await;
                server = alive;
                let charged = killed.spent().await;
                assert!([round * PREVIEW, (round + 1) * PREVIEW].contains(&charged), "{charged}");
                if let Some(answer) = answer {
                    structured(&answer);
                    assert_eq!(charged, (round + 1) * PREVIEW, "what was delivered was charged");
                }
                // Whatever happened, the same call is answered, and was charged once.
                let again = caller.call("pii_preview", &arguments, &meta).await;
                assert_eq!(structured(&again)["redactedText"], "Mail <EMAIL_ADDRESS>");
                assert_eq!(killed.spent().await, (round + 1) * PREVIEW);
            }
            killed.setup.audit().await;
            server.kill().await;
        }
    });
}

#[test]
fn attack_30_kill_9_while_a_model_works_charges_nothing() {
    run(async {
        for db in db::engines().await {
            let killed = Killed::new(&db).await;
            let (origin, wallet) = (killed.setup.origin(), Agent::random());
            killed.credit(&wallet, 1_000_000).await;
            let server = killed.setup.serve().await;
            let tokens = login::Client::registered(&origin).await.log_in(&origin, &wallet, &json!({})).await;
            let caller =
                Client { server: &origin, path: ACCOUNT, era: Era::Stateless, token: Some(&tokens.access) };
            let meta = json!({"farebox/idempotency-key": "one"});
            let arguments = question(&json!({"chunks": 5, "firstMs": 600_000}));
            let params = json!({"name": "chat", "arguments": arguments, "_meta": meta});
            let call = tokio::spawn(caller.request("tools/call", &params).send());
            asked(&killed.model, 0).await;
            server.kill().await;
            assert!(call.await.expect("no panic").is_err(), "it got no answer");
            let server = killed.setup.serve().await;
            assert_eq!(killed.spent().await, 0);
            killed.sweep().await;
            // What it had set aside is free again, and the token survived.
            let balance = structured(&caller.call("get_balance", &json!({}), &json!({})).await).clone();
            assert_eq!((&balance["availableUsd"], &balance["heldUsd"]), (&json!("1.00"), &json!("0.00")));
            let other = question(&json!({"chunks": 5}));
            let answer = caller.call("chat", &other, &meta).await;
            assert_eq!(structured(&answer)["completionTokens"], 5, "the key was used for nothing");
            assert_eq!(killed.spent().await, 5 * PRICE);
            killed.setup.audit().await;
            server.kill().await;
        }
    });
}

/// A call that is paid for: at whatever moment the server dies, the payer was not charged, or has what it paid as credit
/// and makes the call with the same credential. One payment on the chain, and one answer that is charged.
#[test]
fn attack_30_kill_9_during_a_paid_call_loses_no_money() {
    run(async {
        let seed = random::seed(13);
        println!("FAREBOX_TEST_SEED={seed}");
        for db in db::engines().await {
            let (killed, mut random) = (Killed::new(&db).await, Random(seed));
            let origin = killed.setup.origin();
            let mut server = killed.setup.serve().await;
            let caller = Client { server: &origin, path: PAY_PER_CALL, era: Era::Stateless, token: None };
            let mut arguments = question(&json!({"chunks": 5, "firstMs": 20}));
            arguments["maxTokens"] = json!(100);
            let (mut paid, mut answered) = (0, 0);
            for _ in 0..ROUNDS {
                let payer = funded(shared_chain().await).await;
                let credential = payer.pull(&ask(&caller, "chat", &arguments).await);
                let params = json!({"name": "chat", "arguments": arguments, "_meta": with(&credential)});
                let call = caller.request("tools/call", &params);
                let (answer, alive) = cut_off(&killed, call, &mut random, server).await;
                server = alive;
                if let Some(answer) = answer {
                    assert_eq!(structured(&answer)["costUsd"], "0.0005", "{answer}");
                    answered += 1;
                } else {
                    answered += i64::from(makes_it_again(&killed, &caller, &arguments, &credential).await);
                }
                paid += 10_000;
                let earned =
                    shared_chain().await.balance(PATH_USD, killed.setup.recipient).await.expect("it answers");
                assert_eq!(i64::try_from(earned).expect("small"), paid, "paid once");
                let credited = killed.number("SELECT CAST(SUM(amount) AS BIGINT) AS n FROM credits").await;
                assert_eq!(credited, paid, "what was paid is credit");
            }
            // One that died between its charge and its answer is told so, and charged once.
            let charged = killed.spent().await;
            assert!(
                (answered * 5 * PRICE..=ROUNDS * 5 * PRICE).contains(&charged),
                "{charged} for {answered}"
            );
            assert!(answered >= 1, "{answered} of {ROUNDS}");
            killed.setup.audit().await;
            server.kill().await;
        }
    });
}

/// The same call with the same credential, until it is answered: true, or refused because it was charged: false.
async fn makes_it_again(
    killed: &Killed<'_>,
    caller: &Client<'_>,
    arguments: &Value,
    credential: &Value,
) -> bool {
    eventually("the call is answered", async || {
        let again = caller.call("chat", arguments, &with(credential)).await;
        if again["result"]["isError"] == false {
            assert_eq!(structured(&again)["costUsd"], "0.0005", "{again}");
            return Some(true);
        }
        let words = refusal(&again);
        if words.contains("credential_spent") {
            return Some(false);
        }
        if words.contains("payment_in_progress") && words.contains("is being served") {
            killed.sweep().await;
        } else {
            assert!(
                ["payment_in_progress", "settlement_pending"].iter().any(|code| words.contains(code)),
                "{words}"
            );
        }
        None
    })
    .await
}
