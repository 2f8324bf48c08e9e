//! The price of a prompt: a channel pays for it in whole chunks, before the first chunk of the answer.

use farebox_test_support::harness::{asked, eventually, reply, run};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::{Frame, Stream};
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, MODEL, PRICE, amount, on_every_engine};

/// Chunks that the long prompt costs: some 10,000 tokens, at a hundred for one.
const PROMPT: u64 = 100;

/// A request with a long prompt whose model does as `script` says.
fn long(script: &Value, more: &Value) -> String {
    let mut body = json!({ "model": MODEL, "messages": [
        { "role": "system", "content": "long ".repeat(8_000) },
        { "role": "user", "content": script.to_string() },
    ] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body.to_string()
}

/// The payer with the challenge of a request.
async fn asking(fixture: &Fixture<'_>, payer: &Payer, body: &str) -> Payer {
    let challenge = reply(fixture.server.post(CHAT, body.to_owned().as_str())).await.challenge();
    Payer { challenge, ..payer.clone() }
}

async fn send(fixture: &Fixture<'_>, payer: &Payer, allowed: u64, body: &str) -> Stream {
    let request = fixture.server.post(CHAT, body);
    let response = request.header("authorization", payer.authorization(payer.voucher(allowed))).send().await;
    let response = response.expect("the server answers");
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
    Stream::new(response)
}

/// Number of requests whose prompt an upstream has.
async fn owed(fixture: &Fixture<'_>) -> i64 {
    fixture.server.count("SELECT count(*) FROM channel_requests WHERE prompt_due > 0").await
}

#[test]
fn attack_41_a_channel_pays_for_its_prompt_and_is_told_so_before() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        for stream in [true, false] {
            let spent = fixture.channel_amounts(&payer).await.2;
            let body = long(&json!({"chunks": 1}), &json!({"stream": stream, "max_tokens": 1}));
            let asking = asking(fixture, &payer, &body).await;
            let cost = if stream {
                let offer = &asking.challenge.request;
                assert_eq!(offer["amount"], PRICE.to_string());
                assert_eq!(offer["methodDetails"]["promptUnits"], PROMPT.to_string());
                // One chunk's voucher begins the stream, which asks for what the prompt costs.
                let mut stream = send(fixture, &asking, spent + PRICE, &body).await;
                let transcript = fixture.read_and_pay(&payer, &mut stream).await;
                assert!(transcript.asks[0] >= spent + (PROMPT + 1) * PRICE, "{:?}", transcript.asks);
                assert!(transcript.done, "{:?}", transcript.errors);
                transcript.receipt
            } else {
                assert_eq!(asking.challenge.amount(), (PROMPT + 1) * PRICE, "the most that it can cost");
                let paid = spent + (PROMPT + 1) * PRICE;
                let answer = fixture.reply(&asking, payer.voucher(paid), &body).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                answer.receipt()
            };
            assert_eq!((&cost["units"], &cost["promptUnits"]), (&json!(PROMPT + 1), &json!(PROMPT)));
            fixture.idle().await;
            assert_eq!(fixture.channel_amounts(&payer).await.2, spent + (PROMPT + 1) * PRICE);
        }
        fixture.close(&payer).await;
    }));
}

#[test]
fn attack_18_no_upstream_is_asked_with_a_prompt_that_the_channel_cannot_pay_for() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let before = fixture.upstream.observed().requests;
        let body = long(&json!({"chunks": 2}), &json!({"stream": true}));
        let mut stream = send(fixture, &payer, PRICE, &body).await;
        let Some(Frame::NeedVoucher(ask)) = stream.next().await else { panic!("a voucher is asked for") };
        // Half of it is not enough: the rest is asked for, and still nothing is sent.
        fixture.done(&payer, payer.voucher(PROMPT / 2 * PRICE)).await;
        let Some(Frame::NeedVoucher(more)) = stream.next().await else { panic!("the rest is asked for") };
        assert!(
            amount(&more["requiredCumulative"])
                >= amount(&ask["requiredCumulative"]).min((PROMPT + 1) * PRICE)
        );
        assert_eq!(fixture.upstream.observed().requests, before, "the model has not been asked");
        fixture.done(&payer, payer.voucher(amount(&more["requiredCumulative"]))).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.cost()), (2, (PROMPT + 2) * PRICE));
        fixture.close(&payer).await;
    }));
}

/// An upstream that has the prompt reads it for money, whoever waits for the answer.
#[test]
fn attack_38_who_leaves_or_is_superseded_before_the_first_chunk_pays_for_the_prompt() {
    run(on_every_engine(async |fixture| {
        for stream in [true, false] {
            for superseded in [true, false] {
                let payer = fixture.opened(DEPOSIT, PRICE).await;
                let (before, owed_before) = (fixture.upstream.observed().requests, owed(fixture).await);
                let body = long(&json!({"hangAfter": 0}), &json!({"stream": stream, "max_tokens": 5}));
                let asking = asking(fixture, &payer, &body).await;
                let request = fixture.server.post(CHAT, &body);
                let allowed = payer.voucher((PROMPT + 5) * PRICE);
                let request = request.header("authorization", asking.authorization(allowed));
                let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
                asked(&fixture.upstream, before).await;
                let more = if superseded {
                    // What is owed is written down while the model is silent.
                    eventually("the prompt is owed", async || {
                        (owed(fixture).await > owed_before).then_some(())
                    })
                    .await;
                    let answer =
                        fixture.run(&payer, payer.voucher((PROMPT + 5) * PRICE), &json!({"chunks": 3})).await;
                    assert_eq!(answer.cost(), 3 * PRICE);
                    3
                } else {
                    waiting.abort();
                    0
                };
                fixture.idle().await;
                assert_eq!(
                    fixture.channel_amounts(&payer).await.2,
                    (PROMPT + more) * PRICE,
                    "stream: {stream}"
                );
                fixture.close(&payer).await;
            }
        }
    }));
}

/// An answer without a word still read the prompt.
#[test]
fn attack_38_an_empty_answer_costs_its_prompt() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, (PROMPT + 5) * PRICE).await;
        let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let body = long(&json!({ "raw": end }), &json!({"stream": true}));
        let mut stream = send(fixture, &payer, (PROMPT + 5) * PRICE, &body).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((transcript.texts.len(), transcript.cost()), (0, PROMPT * PRICE));
        fixture.close(&payer).await;
    }));
}

/// What an earlier request came to is counted before the next one's prompt is sent.
#[test]
fn attack_38_a_prompt_is_not_sent_on_money_that_the_request_before_it_used() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let allowed = (PROMPT + 1) * PRICE;
        let before = (fixture.upstream.observed().requests, owed(fixture).await);
        let first = long(&json!({"hangAfter": 0}), &json!({"stream": true}));
        let _silent = send(fixture, &payer, allowed, &first).await;
        asked(&fixture.upstream, before.0).await;
        eventually("the prompt is owed", async || (owed(fixture).await > before.1).then_some(())).await;
        // Of the second one's prompt a single chunk could be paid.
        let second = long(&json!({"chunks": 2}), &json!({"stream": true}));
        let mut stream = send(fixture, &payer, allowed, &second).await;
        let Some(Frame::NeedVoucher(ask)) = stream.next().await else { panic!("a voucher is asked for") };
        assert!(amount(&ask["requiredCumulative"]) > 2 * PROMPT * PRICE);
        assert_eq!(fixture.upstream.observed().requests, before.0 + 1, "the second one waits");
        fixture.done(&payer, payer.voucher(amount(&ask["requiredCumulative"]))).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!(transcript.cost(), (PROMPT + 2) * PRICE);
        assert_eq!(fixture.close(&payer).await, (2 * PROMPT + 2) * PRICE);
    }));
}

#[test]
fn a_prompt_that_no_upstream_answers_costs_nothing() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, (PROMPT + 5) * PRICE).await;
        for stream in [true, false] {
            let body = long(&json!({"status": 503}), &json!({"stream": stream, "max_tokens": 5}));
            let asking = asking(fixture, &payer, &body).await;
            fixture.reply(&asking, payer.voucher((PROMPT + 5) * PRICE), &body).await;
            fixture.idle().await;
            assert_eq!(fixture.channel_amounts(&payer).await.2, 0);
        }
        fixture.close(&payer).await;
    }));
}

/// 19 MB for a model of 32,768 tokens.
#[test]
fn attack_26_a_prompt_that_cannot_fit_is_refused_before_it_is_paid() {
    run(async {
        let fixture = Fixture::start().await;
        let body = json!({ "model": MODEL, "stream": true,
            "messages": [{ "role": "user", "content": "x".repeat(300_000) }] });
        let refused = reply(fixture.server.post(CHAT, &body.to_string())).await;
        refused.assert(400, "context_length_exceeded");
        assert!(refused.text.contains("32768 tokens"), "{}", refused.text);
        assert_eq!(fixture.upstream.observed().requests, 0);
        fixture.finish().await;
    });
}

/// An upstream that has refused the prompt has not read it, also while it is to be asked again.
#[test]
fn attack_38_who_is_superseded_while_a_retry_waits_owes_nothing_for_the_prompt() {
    run(on_every_engine(async |fixture| {
        for stream in [true, false] {
            let payer = fixture.opened(DEPOSIT, PRICE).await;
            let owed_before = owed(fixture).await;
            let script = json!({"status": 503, "firstMs": 500, "retryAfter": 3});
            let body = long(&script, &json!({"stream": stream, "max_tokens": 5}));
            let asking = asking(fixture, &payer, &body).await;
            let request = fixture.server.post(CHAT, &body);
            let request =
                request.header("authorization", asking.authorization(payer.voucher((PROMPT + 5) * PRICE)));
            let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
            eventually("the prompt is owed", async || (owed(fixture).await > owed_before).then_some(()))
                .await;
            eventually("and not any more", async || (owed(fixture).await == owed_before).then_some(())).await;
            assert!(!waiting.is_finished(), "it is to be sent again");
            let answer =
                fixture.run(&payer, payer.voucher((PROMPT + 5) * PRICE), &json!({"chunks": 3})).await;
            assert_eq!(answer.cost(), 3 * PRICE);
            fixture.idle().await;
            assert_eq!(fixture.channel_amounts(&payer).await.2, 3 * PRICE, "stream: {stream}");
            fixture.close(&payer).await;
        }
    }));
}
