//! Row 21: models that fail, lie about what they used, or never end. Whatever a model does, the
//! payer is charged for what was delivered, gets a receipt for it, and can go on with its channel.

use farebox::config::Config;
use farebox_test_support::db;
use farebox_test_support::harness::{Reply, eventually, reply, run, shared_chain};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, Transcript, amount, body, units};

/// Tokens of the longest answer.
const LONGEST: u64 = 20;
/// Chunks after which a stream is cut: models may send less than a token in one.
const CUT: u64 = 2 * LONGEST + 64;

/// Answers that are short, and limits that a failing model reaches soon.
fn short_timeouts(config: &mut Config) {
    config.models[0].max_output_tokens = LONGEST;
    config.upstreams[0].first_token_timeout_ms = 1_500;
    config.upstreams[0].idle_timeout_ms = 1_500;
    config.upstreams[0].total_timeout_ms = 4_000;
}

/// Runs a test on every engine, with one payer who has an open channel.
async fn with_a_payer(configure: fn(&mut Config), test: impl AsyncFn(&Fixture<'static>, &Payer)) {
    for database in db::engines().await {
        let fixture = Fixture::on(database, shared_chain().await, configure).await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        test(&fixture, &payer).await;
        let charged = fixture.channel(&payer).await.spent;
        assert_eq!(fixture.close(&payer).await, units(charged), "captured is what was charged");
        assert_eq!(fixture.earned().await, units(charged), "and so it is on the chain");
        fixture.finish().await;
    }
}

/// Entries of the channel after a request. Nothing is open, and all entries together are
/// what the channel spent, each in whole units.
async fn spent(fixture: &Fixture<'_>, payer: &Payer) -> u64 {
    fixture.idle().await;
    let (deposit, accepted, spent, ..) = fixture.channel_amounts(payer).await;
    assert!(spent <= accepted && accepted <= deposit, "{spent} {accepted} {deposit}");
    let signed = i64::try_from(spent).expect("small");
    for posted in [
        "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM entries",
        "SELECT CAST(coalesce(sum(units * unit_price), 0) AS BIGINT) FROM entries",
    ] {
        assert_eq!(fixture.server.count(posted).await, signed, "{posted}");
    }
    fixture.assert_audit().await;
    spent
}

/// A stream, and its cost by the ledger; checked against the receipt.
async fn streamed(fixture: &Fixture<'_>, payer: &Payer, script: &Value) -> (Transcript, u64) {
    let (_, accepted, before, ..) = fixture.channel_amounts(payer).await;
    let transcript = fixture.run(payer, payer.voucher(accepted + PRICE), script).await;
    let after = spent(fixture, payer).await;
    let cost = after - before;
    assert!(transcript.done, "every stream has an end that clients know: {script}");
    assert!(transcript.texts.len() as u64 * PRICE <= cost, "delivered and not charged: {script}");
    assert_eq!(transcript.cost(), cost, "the receipt's units: {script}");
    assert_eq!(amount(&transcript.receipt["spent"]), after, "{script}");
    (transcript, cost)
}

/// The channel serves its next request.
async fn assert_usable(fixture: &Fixture<'_>, payer: &Payer, after: &Value) {
    let (transcript, cost) = streamed(fixture, payer, &json!({"chunks": 3})).await;
    assert_eq!((transcript.texts.len(), cost), (3, 3 * PRICE), "after {after}");
    assert!(transcript.errors.is_empty(), "after {after}: {:?}", transcript.errors);
}

/// A non-streaming answer, paid by the same channel; its cost by the ledger.
async fn non_streaming(fixture: &Fixture<'_>, payer: &Payer, script: &Value) -> (Reply, u64) {
    let body = body(script, false);
    let challenge = reply(fixture.server.post(CHAT, &body)).await.challenge();
    assert_eq!(challenge.amount(), LONGEST * PRICE, "asked for the most that it can cost");
    let (_, accepted, before, ..) = fixture.channel_amounts(payer).await;
    let payer = Payer { challenge, ..payer.clone() };
    let allowed = accepted.max(before + LONGEST * PRICE);
    let reply = fixture.reply(&payer, payer.voucher(allowed), &body).await;
    (reply, spent(fixture, &payer).await - before)
}

#[test]
fn attack_21_a_stream_costs_its_chunks_whatever_usage_is_reported() {
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        for usage in ["true", "missing", "negative", "fractional", "huge"] {
            let script = json!({"chunks": 7, "usage": usage});
            let (transcript, cost) = streamed(fixture, payer, &script).await;
            assert_eq!((transcript.texts.len(), cost), (7, 7 * PRICE), "{usage}");
            assert!(transcript.errors.is_empty(), "{usage}: {:?}", transcript.errors);
        }
    }));
}

#[test]
fn attack_21_a_whole_answer_costs_no_more_than_it_can_have_used() {
    let answer = |text: &str, tokens: Value| {
        let message = json!({"role": "assistant", "content": text});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let usage = json!({"prompt_tokens": 1, "completion_tokens": tokens});
        json!({"raw": json!({"choices": [choice], "usage": usage}).to_string()})
    };
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        for (script, tokens) in [
            (json!({"chunks": 3}), 3),
            // No usage that can be believed: the text is counted, a word and its number each time.
            (json!({"chunks": 3, "usage": "missing"}), 6),
            (json!({"chunks": 3, "usage": "negative"}), 6),
            (json!({"chunks": 3, "usage": "fractional"}), 6),
            (json!({"chunks": 3, "usage": "huge"}), 6),
            (json!({"chunks": 1, "usage": "missing", "text": "x".repeat(300)}), LONGEST),
            (answer("hi", json!(LONGEST)), LONGEST),
            (answer("hi", json!(LONGEST + 1)), 1),
            (answer("hi", json!(u64::MAX)), 1),
            (answer("hi", json!("20")), 1),
            (answer("hi", json!(0)), 1),
        ] {
            let (reply, cost) = non_streaming(fixture, payer, &script).await;
            assert_eq!((reply.status, cost), (200, tokens * PRICE), "{script}: {}", reply.text);
            let receipt = reply.receipt();
            assert_eq!((&receipt["units"], &receipt["unitPrice"]), (&json!(tokens), &json!("100")));
            assert_eq!(receipt["spent"], fixture.channel_amounts(payer).await.2.to_string());
        }
        assert_usable(fixture, payer, &json!("whole answers")).await;
    }));
}

#[test]
fn attack_21_a_whole_answer_that_fails_is_free() {
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        for script in [
            json!({"status": 500}),
            json!({"status": 429}),
            json!({"cutAfter": 1}),
            json!({"errorAfter": 1}),
            json!({"raw": ""}),
            json!({"raw": "{\"choices\":[]}"}),
            json!({"raw": "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":20}}"}),
            // It never answers.
            json!({"hangAfter": 0}),
        ] {
            let (reply, cost) = non_streaming(fixture, payer, &script).await;
            if script["status"] == 429 {
                reply.assert(429, "upstream_busy");
            } else {
                reply.assert(502, "upstream_failed");
            }
            assert_eq!(cost, 0, "{script}");
            assert_usable(fixture, payer, &script).await;
        }
        // The model does not take the request: it is the caller's to change.
        let (reply, cost) = non_streaming(fixture, payer, &json!({"status": 400})).await;
        reply.assert(400, "invalid_params");
        assert_eq!(cost, 0);
        assert_usable(fixture, payer, &json!("a refusal")).await;
    }));
}

#[test]
fn attack_21_a_stream_that_breaks_off_costs_what_was_delivered() {
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        for script in [
            json!({"chunks": 9, "cutAfter": 4}),
            json!({"chunks": 9, "errorAfter": 4}),
            json!({"chunks": 9, "hangAfter": 4}),
            json!({"chunks": 4, "noFinish": true, "noDone": true}),
            json!({"chunks": 9, "cutAfter": 4, "usage": "huge", "intervalMs": 5}),
        ] {
            let (transcript, cost) = streamed(fixture, payer, &script).await;
            assert_eq!((transcript.texts.len(), cost), (4, 4 * PRICE), "{script}");
            assert_eq!(transcript.errors[0]["error"]["code"], "upstream_failed", "{script}");
            assert_usable(fixture, payer, &script).await;
        }
        // An end without its last word is an end.
        let (transcript, cost) = streamed(fixture, payer, &json!({"chunks": 4, "noDone": true})).await;
        assert_eq!((transcript.texts.len(), cost, transcript.errors.len()), (4, 4 * PRICE, 0));
    }));
}

/// The voucher is taken and the channel open by then: clients give a channel up when they are
/// answered an error now, so the error is in the stream.
#[test]
fn attack_21_a_stream_that_never_begins_is_free_and_says_so() {
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        for script in [
            json!({"status": 500}),
            json!({"status": 429}),
            json!({"status": 400}),
            json!({"chunks": 5, "cutAfter": 0}),
            json!({"chunks": 5, "errorAfter": 0}),
            json!({"chunks": 5, "hangAfter": 0}),
            json!({"raw": ""}),
            json!({"raw": "data: [DONE]\n\n"}),
            json!({"raw": "data: nonsense\n\n"}),
        ] {
            let (transcript, cost) = streamed(fixture, payer, &script).await;
            assert_eq!((transcript.texts.len(), cost), (0, 0), "{script}");
            assert_eq!(transcript.errors[0]["error"]["code"], "upstream_failed", "{script}");
            assert_usable(fixture, payer, &script).await;
        }
    }));
}

#[test]
fn attack_21_a_stream_that_never_ends_is_cut_and_costs_no_more() {
    run(with_a_payer(short_timeouts, async |fixture, payer| {
        let (transcript, cost) = streamed(fixture, payer, &json!({"endless": true})).await;
        assert_eq!((transcript.texts.len() as u64, cost), (LONGEST, LONGEST * PRICE));
        assert!(transcript.errors.is_empty(), "it ends as the upstream should have: {:?}", transcript.errors);
        assert!(transcript.asks.iter().all(|ask| *ask <= (CUT + 1) * PRICE), "{:?}", transcript.asks);

        // One that never sends anything is cut too, and costs nothing.
        let nothing = "data: {\"choices\":[{\"delta\":{}}]}\n\n".repeat(4_000);
        let something = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let script = json!({"raw": format!("{something}{nothing}")});
        let (transcript, cost) = streamed(fixture, payer, &script).await;
        let prompt = transcript.receipt["promptUnits"].as_u64().expect("the script is long") * PRICE;
        assert_eq!((transcript.texts.len(), cost - prompt), (1, PRICE));
        assert_eq!(transcript.errors[0]["error"]["code"], "upstream_failed");
        assert_usable(fixture, payer, &json!("an endless stream")).await;
    }));
}

/// Models think for minutes. Proxies cut what is silent, so the stream shows that it lives from the
/// start; and who leaves meanwhile leaves neither a hold nor a thinking model behind.
#[test]
fn attack_21_a_model_that_has_not_begun_is_waited_for_aloud_and_can_be_left() {
    run(with_a_payer(
        |config| config.upstreams[0].first_token_timeout_ms = 60_000,
        async |fixture, payer| {
            let (_, accepted, ..) = fixture.channel_amounts(payer).await;
            let script = json!({"chunks": 3, "firstMs": 11_000});
            let mut stream = fixture.stream(payer, payer.voucher(accepted + PRICE), &script).await;
            let first = stream.next().await;
            assert_eq!(first, Some(Frame::Comment), "something before the first word");
            let transcript = fixture.read_and_pay(payer, &mut stream).await;
            assert_eq!((transcript.texts.len(), transcript.cost()), (3, 3 * PRICE));

            let script = json!({"chunks": 3, "firstMs": 60_000});
            let (_, accepted, ..) = fixture.channel_amounts(payer).await;
            let left = fixture.stream(payer, payer.voucher(accepted), &script).await;
            eventually("the model is asked", async || {
                (fixture.upstream.observed().requests == 2).then_some(())
            })
            .await;
            drop(left);
            eventually("the model is left", async || {
                (fixture.upstream.observed().cancelled == 1).then_some(())
            })
            .await;
            assert_eq!(spent(fixture, payer).await, 3 * PRICE);
            assert_usable(fixture, payer, &script).await;
        },
    ));
}

/// A server that reads a request, sends the next of these answers and closes the connection.
async fn upstream_that_hangs_up(lines: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for words in lines {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 16 << 10];
            let read = socket.read(&mut request).await.expect("a request");
            assert!(read > 0);
            socket.write_all(words.as_bytes()).await.expect("it is read");
        }
        // From here on connections are refused.
    });
    format!("http://{address}/v1")
}

#[test]
fn attack_21_a_connection_that_drops_costs_what_came_through() {
    const LINES: [&str; 4] = [
        "",
        "HTTP/1.1 200 OK\r\ncontent-ty",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
         data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"del",
    ];
    run(async {
        for database in db::engines().await {
            let base_url = upstream_that_hangs_up(&LINES).await;
            let fixture = Fixture::on(database, shared_chain().await, |config| {
                short_timeouts(config);
                config.upstreams[0].base_url = base_url;
            })
            .await;
            let payer = fixture.opened(DEPOSIT, PRICE).await;
            // The last finds nobody there at all.
            for (n, texts) in [0, 0, 0, 1, 0].into_iter().enumerate() {
                let (transcript, cost) = streamed(&fixture, &payer, &json!({"n": n})).await;
                assert_eq!((transcript.texts.len() as u64, cost), (texts, texts * PRICE), "{n}");
                assert_eq!(transcript.errors[0]["error"]["code"], "upstream_failed", "{n}");
            }
            assert_eq!((fixture.close(&payer).await, fixture.earned().await), (PRICE, PRICE));
            fixture.finish().await;
        }
    });
}
