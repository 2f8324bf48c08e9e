//! Chat from prepaid credits: charges, answers and entries.

use std::time::{Duration, Instant};

use farebox::id::{AccountId, HoldId, Timestamp};
use farebox::ledger::{EntryKind, Estimate, HoldRequest, OpenOutcome, sweep};
use farebox::meter::served;
use farebox::money::Money;
use farebox_test_support::db;
use farebox_test_support::harness::{asked, eventually, reply, run};
use farebox_test_support::sse::Frame;
use serde_json::{Value, json};

use crate::fixture::{CHAT, Fixture, PRICE, body, money, on_every_engine, read_to_end, refused};

#[test]
fn an_answer_costs_its_tokens_streamed_or_whole() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let transcript = fixture.run(&customer, &json!({"chunks": 20}), &json!({})).await;
        assert_eq!((transcript.texts, transcript.done, transcript.errors.len()), (20, true, 0));
        assert_eq!(transcript.usage, Vec::<Value>::new(), "usage was not asked for");
        assert_eq!(fixture.available(&customer).await, 1_000_000 - 20 * PRICE);
        let non_streaming = fixture.complete(&customer, &json!({"chunks": 7}), &json!({})).await;
        assert_eq!(non_streaming.status, 200, "{}", non_streaming.text);
        assert_eq!(non_streaming.json()["usage"]["completion_tokens"], 7);
        assert_eq!(non_streaming.json()["object"], "chat.completion");
        assert_eq!(fixture.available(&customer).await, 1_000_000 - 27 * PRICE);
    }));
}

#[test]
fn usage_is_shown_to_who_asks_for_it() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let more = json!({"stream_options": {"include_usage": true}});
        let transcript = fixture.run(&customer, &json!({"chunks": 5}), &more).await;
        assert_eq!(transcript.usage.len(), 1);
        assert_eq!(transcript.usage[0]["completion_tokens"], 5);
    }));
}

/// Input and output have prices below a millionth; the sum is rounded once.
#[test]
fn prompts_are_charged_as_reported() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.models[0].price_per_million_input = money(200_000);
            config.models[0].price_per_million_output = money(800_000);
        })
        .await;
        let customer = fixture.customer(1_000_000).await;
        // 200 words of 4 bytes: 200 tokens by the model's count, 100 to 200 by ours.
        let words = json!({"messages": [{"role": "system", "content": "abc ".repeat(200)},
            {"role": "user", "content": "{\"chunks\":9}"}]});
        for stream in [true, false] {
            let before = fixture.available(&customer).await;
            if stream {
                fixture.run(&customer, &json!({}), &words).await;
            } else {
                assert_eq!(fixture.complete(&customer, &json!({}), &words).await.status, 200);
            }
            // (201 * 0.2 + 9 * 0.8) millionths, rounded up.
            assert_eq!(before - fixture.available(&customer).await, 48);
            let entry = &fixture.entries(&customer).await[0];
            assert_eq!((&entry.meta["promptTokens"], entry.units), (&json!(201), 210));
        }
        fixture.finish().await;
    });
}

#[test]
fn an_entry_says_whose_request_it_was() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let request = fixture.post(&customer, CHAT, &body(&json!({"chunks": 3}), &json!({})));
        let answer = reply(request.header("x-request-id", "mine-1")).await;
        assert_eq!(answer.header("x-request-id"), Some("mine-1"));
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!(entry.request_id.as_ref().map(ToString::to_string).as_deref(), Some("mine-1"));
        assert_eq!((entry.kind, entry.service.as_str()), (EntryKind::Usage, "scripted"));
        assert_eq!(entry.meta["key"], customer.id.as_str());
        assert_eq!((&entry.meta["end"], &entry.meta["completionTokens"]), (&json!("complete"), &json!(3)));
        assert_eq!(entry.amount, money(3 * PRICE));
    }));
}

/// A balance that does not reach for the longest answer buys a shorter one.
#[test]
fn a_small_balance_shortens_the_answer_instead_of_refusing_it() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(30 * PRICE).await;
        let transcript = fixture.run(&customer, &json!({"chunks": 1000}), &json!({})).await;
        assert_eq!(fixture.upstream.observed().body["max_tokens"], 30);
        assert_eq!((transcript.texts, transcript.errors.len()), (30, 0), "{transcript:?}");
        assert_eq!(fixture.available(&customer).await, 0);
        let broke = fixture.complete(&customer, &json!({"chunks": 1}), &json!({})).await;
        let error = refused(&broke, 402, "insufficient_credits");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("at least $0.0016") && message.contains("$0.00 can be spent"), "{message}");
        let nearly = fixture.customer(15 * PRICE).await;
        refused(
            &fixture.complete(&nearly, &json!({"chunks": 1}), &json!({})).await,
            402,
            "insufficient_credits",
        );
        let short = fixture.complete(&nearly, &json!({"chunks": 1}), &json!({"max_tokens": 10})).await;
        assert_eq!(short.status, 200, "what is asked for is affordable: {}", short.text);
    }));
}

/// The model is stopped and goes on: that is not free, and not on credit.
#[test]
fn a_stream_that_runs_out_of_credit_says_so_and_ends() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(20 * PRICE).await;
        // Chunks so short that nobody can tell that they are more tokens than were asked for.
        let script = json!({"endless": true, "text": "abc", "intervalMs": 1});
        let transcript = fixture.run(&customer, &script, &json!({})).await;
        assert_eq!(transcript.texts, 20);
        assert_eq!(transcript.errors[0]["code"], "insufficient_credits", "{transcript:?}");
        assert!(transcript.done);
        assert_eq!(fixture.available(&customer).await, 0);
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!(entry.meta["end"], "out_of_credit");
        eventually("the model is stopped", async || {
            (fixture.upstream.observed().cancelled > 0).then_some(())
        })
        .await;
    }));
}

#[test]
fn a_request_is_charged_once_under_one_key() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        for more in [json!({}), json!({"stream": true})] {
            let keyed = async |script: &Value, name: &str| {
                let request = fixture.post(&customer, CHAT, &body(script, &more));
                reply(request.header("idempotency-key", format!("{name}{}", more["stream"]))).await
            };
            let before = fixture.available(&customer).await;
            // Nothing was charged: worth another try.
            refused(&keyed(&json!({"status": 503}), "order").await, 503, "upstream_unavailable");
            assert_eq!(keyed(&json!({"chunks": 4}), "order").await.status, 200);
            fixture.idle().await;
            refused(&keyed(&json!({"chunks": 4}), "order").await, 409, "idempotency_key_reused");
            refused(&keyed(&json!({"chunks": 5}), "order").await, 409, "idempotency_key_reused");
            assert_eq!(before - fixture.available(&customer).await, 4 * PRICE);
        }
        // Another key of the same owner has names of its own.
        let other = fixture.key(&customer.owner, farebox::keys::KeyLimits::default()).await;
        let request = fixture.post(&other, CHAT, &body(&json!({"chunks": 4}), &json!({})));
        assert_eq!(reply(request.header("idempotency-key", "ordernull")).await.status, 200);
    }));
}

#[test]
fn a_duplicate_of_a_running_request_has_to_wait() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let slow = body(&json!({"chunks": 30, "intervalMs": 20}), &json!({"stream": true}));
        let request = || fixture.post(&customer, CHAT, &slow).header("idempotency-key", "one");
        let running = request().send().await.expect("an answer");
        let duplicate = reply(request()).await;
        refused(&duplicate, 409, "payment_in_progress");
        assert!(duplicate.header("retry-after").is_some());
        assert!(running.text().await.expect("it runs").contains("[DONE]"));
        assert_eq!(fixture.available(&customer).await, 1_000_000 - 30 * PRICE);
    }));
}

/// An interrupted answer, streamed or not: what arrived is charged, the model stops, no hold stays.
#[test]
fn a_client_that_goes_away_pays_for_what_it_got() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let script = json!({"endless": true, "intervalMs": 5});
        let mut stream = fixture.stream(&customer, &script, &json!({})).await;
        for _ in 0..10 {
            stream.text().await.expect("it runs");
        }
        drop(stream);
        let paid = 1_000_000 - fixture.available(&customer).await;
        assert!((10 * PRICE..=(10 + 45) * PRICE).contains(&paid), "{paid}");
        eventually("the model is stopped", async || {
            (fixture.upstream.observed().cancelled == 1).then_some(())
        })
        .await;
        assert_eq!(fixture.entries(&customer).await[0].meta["end"], "client_gone");

        for stream in [false, true] {
            let before = fixture.upstream.observed();
            let request =
                fixture.post(&customer, CHAT, &body(&json!({"hangAfter": 0}), &json!({"stream": stream})));
            let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
            asked(&fixture.upstream, before.requests).await;
            waiting.abort();
            assert_eq!(
                fixture.available(&customer).await,
                1_000_000 - paid,
                "nothing came, nothing is charged"
            );
            eventually("the model is stopped", async || {
                (fixture.upstream.observed().cancelled > before.cancelled).then_some(())
            })
            .await;
        }
    }));
}

/// A prompt costs the upstream's money as soon as it arrives, whether or not anybody waits for the answer.
#[test]
fn attack_38_who_leaves_before_the_first_token_pays_for_the_prompt() {
    run(async {
        for database in db::engines().await {
            let fixture = Fixture::on(database, |config| {
                config.models[0].price_per_million_input = money(1_000_000);
            })
            .await;
            let customer = fixture.customer(1_000_000).await;
            let words = "abc ".repeat(500);
            let more = |stream: bool| {
                json!({"stream": stream, "messages": [
                    {"role": "system", "content": words}, {"role": "user", "content": "{\"hangAfter\":0}"}]})
            };
            for stream in [true, false] {
                let (before, balance) = (fixture.upstream.observed(), fixture.available(&customer).await);
                let request = fixture.post(&customer, CHAT, &body(&json!({}), &more(stream)));
                let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
                asked(&fixture.upstream, before.requests).await;
                waiting.abort();
                fixture.idle().await;
                let paid = balance - fixture.available(&customer).await;
                let entry = &fixture.entries(&customer).await[0];
                assert_eq!(entry.meta["end"], "client_gone");
                assert_eq!(entry.meta["completionTokens"], 0);
                assert!((400..=800).contains(&paid), "{paid} for a prompt of 500 words");
                assert_eq!(entry.meta["promptTokens"], paid);
            }
            // Nobody has the prompt of a request that failed.
            let balance = fixture.available(&customer).await;
            for stream in [true, false] {
                let failed =
                    fixture.complete(&customer, &json!({"status": 503}), &json!({"stream": stream})).await;
                refused(&failed, 503, "upstream_unavailable");
            }
            assert_eq!(fixture.available(&customer).await, balance);
            fixture.finish().await;
        }
    });
}

/// An early failure is an HTTP error, as clients expect; a slow model is pinged for.
#[test]
fn a_stream_begins_when_the_model_does_or_after_two_seconds() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        for (status, expected, code) in
            [(503, 503, "upstream_unavailable"), (500, 502, "upstream_failed"), (400, 400, "invalid_params")]
        {
            let failed =
                fixture.complete(&customer, &json!({"status": status}), &json!({"stream": true})).await;
            refused(&failed, expected, code);
        }
        assert_eq!(fixture.available(&customer).await, 1_000_000, "nothing was charged");
        let begun = Instant::now();
        let mut stream = fixture.stream(&customer, &json!({"chunks": 2, "firstMs": 3_500}), &json!({})).await;
        assert!(begun.elapsed() < Duration::from_millis(3_400));
        assert_eq!(stream.next().await, Some(Frame::Comment));
        assert_eq!(read_to_end(&mut stream).await.texts, 2);
        fixture.finish().await;
    });
}

/// What an instance that is gone had set aside is free again after minutes, and what one that lives serves stays set
/// aside for hours.
#[test]
fn attack_30_a_hold_lives_as_long_as_its_request_is_served() {
    run(on_every_engine(async |fixture| {
        let (served, lost) = (fixture.customer(1_000_000).await, fixture.customer(1_000_000).await);
        let mut stream = fixture.stream(&served, &json!({"chunks": 5, "hangAfter": 2}), &json!({})).await;
        stream.text().await.expect("it begins");
        let app = &fixture.server.app;
        let at = |seconds: i64| Timestamp::now().checked_add_millis(seconds * 1000).expect("this century");
        // A request of an instance that was killed.
        let (now, estimate) = (Timestamp::now(), Estimate { wanted: money(1_000), least: Money::ZERO });
        let request = HoldRequest {
            hold: HoldId::new(now),
            account: AccountId::wallet(&lost.owner).expect("an address"),
            idempotency_key: None,
            budget: None,
            estimate,
            now,
            expires_at: served::expiry(now),
        };
        assert!(matches!(app.ledger.open(request).await, Ok(OpenOutcome::Open { .. })));
        app.served.extend(&app.ledger, at(100)).await.expect("the database answers");
        let swept = sweep::sweep(&app.ledger, at(200), 100).await.expect("the database answers");
        assert_eq!(swept.closed, 1);
        assert_eq!(fixture.balance(&lost).await.held(), Money::ZERO);
        assert!(fixture.balance(&served).await.held().is_positive());
        drop(stream);
        fixture.idle().await;
        // Of a request that has ended nothing is moved on.
        app.served.extend(&app.ledger, at(100)).await.expect("the database answers");
    }));
}
