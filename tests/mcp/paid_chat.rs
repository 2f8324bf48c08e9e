//! `chat` without an account: what a call can cost at the most is paid ahead, and the rest is credit of the wallet that paid.

use std::ops::AsyncFn;

use farebox::config::PATH_USD;
use farebox::db::Engine;
use farebox::money::Money;
use farebox_test_support::agent::{Agent, Challenge};
use farebox_test_support::harness::{asked, funded, run, shared_chain};
use farebox_test_support::model_server::ModelServer;
use serde_json::{Value, json};

use crate::fixture::{self, Fixture, MODEL, PRICE, account, question, refusal, structured};
use crate::pay_per_call::{RECEIPT, ask, assert_clean, with};
use crate::wire::{Client, ERAS, Era};

async fn on_every_engine(test: impl AsyncFn(&Fixture)) {
    fixture::on_every_engine(async |fixture| {
        test(fixture).await;
        assert_clean(&fixture.server).await;
    })
    .await;
}

/// A question whose answer is bounded to `tokens`.
fn bounded(script: &Value, tokens: u64) -> Value {
    let mut arguments = question(script);
    arguments["maxTokens"] = json!(tokens);
    arguments
}

/// What a call asks for, and the credential of a wallet that pays it.
async fn paid_for(client: &Client<'_>, agent: &Agent, arguments: &Value) -> (Challenge, Value) {
    let challenge = ask(client, "chat", arguments).await;
    let credential = agent.pull(&challenge);
    (challenge, credential)
}

async fn available(fixture: &Fixture, agent: &Agent) -> i64 {
    ModelServer::available(fixture, &account(agent)).await
}

/// What the chain says was paid to the server.
async fn earned(fixture: &Fixture) -> i64 {
    let earned = shared_chain().await.balance(PATH_USD, fixture.server.recipient()).await;
    i64::try_from(earned.expect("the chain answers")).expect("small")
}

#[test]
fn a_question_is_paid_ahead_and_charged_to_the_micro() {
    run(on_every_engine(async |fixture| {
        let mut paid = 0;
        for era in ERAS {
            let (client, agent) = (fixture.payer(era), funded(shared_chain().await).await);
            let arguments = bounded(&json!({"chunks": 7}), 250);
            let (challenge, credential) = paid_for(&client, &agent, &arguments).await;
            // 250 tokens are $0.025, and whole cents are paid.
            assert_eq!(challenge.amount(), 30_000);
            assert_eq!(
                fixture.server.count("SELECT count(*) FROM accounts").await,
                paid,
                "nothing is written"
            );
            let message = client.call("chat", &arguments, &with(&credential)).await;
            let answer = structured(&message);
            assert!(answer["text"].as_str().is_some_and(|text| text.contains("word0")), "{answer}");
            let wallet = format!("{:#x}", agent.address());
            for (name, value) in [
                ("model", json!(MODEL)),
                ("completionTokens", json!(7)),
                ("costUsd", json!("0.0007")),
                ("paidUsd", json!("0.03")),
                ("balanceUsd", json!("0.0293")),
                ("wallet", json!(wallet)),
            ] {
                assert_eq!(answer[name], value, "{name} of {answer}");
            }
            let receipt = &message["result"]["_meta"][RECEIPT];
            assert_eq!(
                (&receipt["status"], &receipt["challengeId"]),
                (&json!("success"), &json!(challenge.id))
            );
            paid += 1;
            assert_eq!(earned(fixture).await, paid * 30_000);
            assert_eq!(available(fixture, &agent).await, 30_000 - 7 * PRICE);
            let entries = fixture.0.entries(&account(&agent)).await;
            assert_eq!((entries.len(), entries[0].amount), (1, Money::from_micros(7 * PRICE)));
            assert_eq!(entries[0].meta["payment"], challenge.id);
            // It has left, so it buys nothing more.
            fixture.server.delivered(&challenge.id).await;
            let again = client.call("chat", &arguments, &with(&credential)).await;
            assert!(again.to_string().contains("credential_spent"), "{again}");
            assert_eq!(available(fixture, &agent).await, 30_000 - 7 * PRICE);
        }
    }));
}

#[test]
fn a_question_that_cannot_be_served_asks_for_no_money() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.models[1].price_per_million_output = Money::from_micros(9_000_000_000_000_000)
        })
        .await;
        let client = fixture.payer(Era::Stateless);
        for (arguments, said) in [
            (json!({"model": "none", "prompt": "Hi"}), "list_models lists"),
            (json!({"model": MODEL}), "either `prompt` or `messages`"),
            (json!({"model": MODEL, "prompt": "Hi", "urls": ["https://example.com"]}), "`urls`"),
            (json!({"model": MODEL, "prompt": "Hi", "maxTokens": 0}), "max_tokens"),
            (json!({"model": MODEL, "prompt": "Hi", "privacyMode": "sometimes"}), "privacyMode"),
            (json!({"model": MODEL, "prompt": "x".repeat(600_000)}), "context"),
            (json!({"model": "other", "prompt": "Hi"}), "smaller `maxTokens`"),
        ] {
            let message = client.call("chat", &arguments, &json!({})).await;
            let words = refusal(&message);
            assert!(words.contains(said), "{words}");
            assert!(message["result"].get("_meta").is_none(), "{message}");
        }
        assert_eq!(fixture.upstream.observed().requests, 0);
    });
}

/// Nobody makes a model work whose money is not there: neither without a payment, nor with one that fails, nor with one
/// for other arguments.
#[test]
fn attack_38_no_model_is_asked_before_the_money_is_there() {
    run(on_every_engine(async |fixture| {
        let client = fixture.payer(Era::Stateless);
        let arguments = bounded(&json!({"chunks": 3}), 100);
        let poor = Agent::random();
        let (_, credential) = paid_for(&client, &poor, &arguments).await;
        let refused = client.call("chat", &arguments, &with(&credential)).await;
        assert_eq!(client.payment_required(&refused)["problem"]["status"], 402, "{refused}");
        let rich = funded(shared_chain().await).await;
        let (_, credential) = paid_for(&client, &rich, &arguments).await;
        for other in [bounded(&json!({"chunks": 3}), 4_000), bounded(&json!({"chunks": 90}), 100)] {
            let refused = client.call("chat", &other, &with(&credential)).await;
            let required = client.payment_required(&refused);
            assert_eq!(required["problem"]["code"], "invalid_challenge", "{refused}");
        }
        assert_eq!(fixture.upstream.observed().requests, 0, "no model was asked");
        assert_eq!(fixture.server.count("SELECT count(*) FROM accounts").await, 0);
        assert_eq!(earned(fixture).await, 0);
    }));
}

/// A model that fails: nothing is charged, the same credential makes the call again, and the money is the wallet's.
#[test]
fn a_call_that_fails_is_credit_and_can_be_made_again() {
    run(on_every_engine(async |fixture| {
        for era in ERAS {
            let (client, agent) = (fixture.payer(era), funded(shared_chain().await).await);
            let arguments = bounded(&json!({"status": 400}), 100);
            let (_, credential) = paid_for(&client, &agent, &arguments).await;
            for _ in 0..2 {
                let failed = client.call("chat", &arguments, &with(&credential)).await;
                let words = refusal(&failed);
                assert!(words.contains("The $0.01 that were paid are credits of the wallet 0x"), "{words}");
                assert!(failed["result"].get("_meta").is_none(), "no other payment is asked for: {failed}");
                assert_eq!(available(fixture, &agent).await, 10_000);
            }
        }
        assert_eq!(earned(fixture).await, 2 * 10_000, "each was paid once");
    }));
}

/// The wallet has other credit: a call never takes more than was paid for it, whatever its upstream says.
#[test]
fn attack_41_a_paid_call_costs_at_the_most_what_was_paid_for_it() {
    run(on_every_engine(async |fixture| {
        let (client, agent) = (fixture.payer(Era::Stateless), funded(shared_chain().await).await);
        fixture.0.credit(&account(&agent), 5_000_000).await;
        for (script, cost) in [
            (json!({"chunks": 90, "usage": "huge"}), None),
            (json!({"chunks": 4_000}), Some(100 * PRICE)),
            (json!({"chunks": 100, "usage": "missing"}), None),
        ] {
            let before = available(fixture, &agent).await;
            let arguments = bounded(&script, 100);
            let (challenge, credential) = paid_for(&client, &agent, &arguments).await;
            assert_eq!(challenge.amount(), 10_000);
            client.call("chat", &arguments, &with(&credential)).await;
            let taken = before + 10_000 - available(fixture, &agent).await;
            assert!((0..=10_000).contains(&taken), "{taken} for {script}");
            assert!(cost.is_none_or(|cost| cost == taken), "{taken} for {script}");
        }
    }));
}

/// One credential, many calls at once on two instances: one settlement, one answer, one charge.
#[test]
fn attack_11_one_credential_makes_one_call() {
    run(on_every_engine(async |fixture| {
        let second = match fixture.server.db.db.engine {
            Engine::Postgres => Some(fixture.second_instance().await),
            Engine::Sqlite => None,
        };
        let instances = [fixture, second.as_ref().unwrap_or(fixture)];
        let (client, agent) = (fixture.payer(Era::Stateless), funded(shared_chain().await).await);
        fixture.0.credit(&account(&agent), 1_000_000).await;
        let arguments = bounded(&json!({"chunks": 5, "firstMs": 300}), 100);
        let (challenge, credential) = paid_for(&client, &agent, &arguments).await;
        let meta = with(&credential);
        let clients: Vec<Client<'_>> = (0..8).map(|turn| instances[turn % 2].payer(Era::Stateless)).collect();
        let calls = clients.iter().map(|client| client.call("chat", &arguments, &meta));
        let answers = futures_util::future::join_all(calls).await;
        let answered = answers.iter().filter(|answer| answer["result"]["isError"] == false).count();
        assert_eq!(answered, 1, "{answers:?}");
        for refused in answers.iter().filter(|answer| answer["result"]["isError"] != false) {
            let words = refusal(refused);
            assert!(words.contains("payment_in_progress") || words.contains("credential_spent"), "{words}");
            assert!(refused["result"].get("_meta").is_none(), "no other payment is asked for: {refused}");
        }
        assert_eq!(fixture.upstream.observed().requests, 1);
        assert_eq!(earned(fixture).await, i64::try_from(challenge.amount()).expect("small"));
        assert_eq!(available(fixture, &agent).await, 1_010_000 - 5 * PRICE);
        if let Some(mut second) = second {
            second.server.stop().await;
        }
    }));
}

/// The client goes away while the model works: nothing is lost, and the same credential makes the call again.
#[test]
fn a_client_that_goes_away_has_its_money() {
    run(on_every_engine(async |fixture| {
        let (client, agent) = (fixture.payer(Era::Stateless), funded(shared_chain().await).await);
        let arguments = bounded(&json!({"chunks": 5, "firstMs": 1_500}), 100);
        let (_, credential) = paid_for(&client, &agent, &arguments).await;
        let params = json!({"name": "chat", "arguments": arguments, "_meta": with(&credential)});
        tokio::select! {
            answer = client.request("tools/call", &params).send() => panic!("{answer:?}"),
            () = asked(&fixture.upstream, 0) => {}
        }
        assert_eq!(available(fixture, &agent).await, 10_000, "the prompt is free here");
        let again = client.call("chat", &arguments, &with(&credential)).await;
        assert_eq!(structured(&again)["completionTokens"], 5);
        assert_eq!(available(fixture, &agent).await, 10_000 - 5 * PRICE);
        assert_eq!(earned(fixture).await, 10_000);
    }));
}

/// Personal data grow when placeholders stand in for them: what was paid suffices all the same.
#[test]
fn placeholders_are_paid_for_ahead() {
    run(on_every_engine(async |fixture| {
        let (client, agent) = (fixture.payer(Era::Stateless), funded(shared_chain().await).await);
        let people = (0..200).map(|n| format!("a{n}@b.co")).collect::<Vec<_>>().join(" ");
        let arguments =
            json!({"model": MODEL, "prompt": people, "maxTokens": 300, "privacyMode": "placeholder"});
        let (_, credential) = paid_for(&client, &agent, &arguments).await;
        let answer = client.call("chat", &arguments, &with(&credential)).await;
        let answer = structured(&answer);
        assert_eq!(answer["replaced"]["EMAIL_ADDRESS"], 200, "{answer}");
        assert!(answer["text"].as_str().is_some_and(|text| text.starts_with("a0@b.co")), "{answer}");
        assert!(
            !fixture.upstream.observed().body.to_string().contains("a0@b.co"),
            "the model saw none of it"
        );
    }));
}

/// An idempotency key of the client's: another payment under it is not taken.
#[test]
fn a_call_under_a_key_is_paid_once() {
    run(on_every_engine(async |fixture| {
        let (client, agent) = (fixture.payer(Era::Stateless), funded(shared_chain().await).await);
        let arguments = bounded(&json!({"chunks": 5}), 100);
        let under_key = |credential: &Value| {
            let mut meta = with(credential);
            meta["farebox/idempotency-key"] = json!("one");
            meta
        };
        let (_, first) = paid_for(&client, &agent, &arguments).await;
        let (_, second) = paid_for(&client, &agent, &arguments).await;
        let answer = client.call("chat", &arguments, &under_key(&first)).await;
        assert_eq!(structured(&answer)["completionTokens"], 5);
        for credential in [&first, &second] {
            let again = client.call("chat", &arguments, &under_key(credential)).await;
            assert!(refusal(&again).contains("credential_spent"), "{again}");
        }
        assert_eq!(earned(fixture).await, 10_000);
        assert_eq!(available(fixture, &agent).await, 10_000 - 5 * PRICE);
    }));
}
