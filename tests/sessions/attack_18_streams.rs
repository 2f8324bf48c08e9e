//! Row 18: streams that end early, ask too much, or say what is not theirs to say.

use farebox_test_support::harness::{asked, eventually, run};
use farebox_test_support::sse::{Frame, text};
use serde_json::json;

use crate::fixture::{DEPOSIT, Fixture, PRICE, amount, body, on_every_engine};
use crate::requests::payer_for_non_streaming;

/// Chunks that one charge covers, and charged chunks that wait for the client.
const IN_FLIGHT: u64 = 32 + 8;

#[test]
fn attack_18_nothing_is_asked_in_a_loop() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 3 * PRICE).await;
        let mut stream = fixture.stream(&payer, payer.voucher(3 * PRICE), &json!({"chunks": 40})).await;
        let (mut texts, mut challenge) = (0, Vec::new());
        while texts < 3 || challenge.is_empty() {
            match stream.next().await.expect("it goes on") {
                Frame::Chunk(chunk) => texts += usize::from(text(&chunk).is_some()),
                Frame::NeedVoucher(ask) => challenge.push(amount(&ask["requiredCumulative"])),
                other => panic!("{other:?}"),
            }
        }
        // Each of these wakes the stream, and none of them allows more.
        for _ in 0..40 {
            fixture.done(&payer, payer.voucher(3 * PRICE)).await;
        }
        fixture.done(&payer, payer.voucher(challenge[0])).await;
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!((challenge.len(), texts + transcript.texts.len()), (1, 40));
        assert!(transcript.asks.len() <= 1, "{:?}", transcript.asks);
        assert_eq!(fixture.close(&payer).await, 40 * PRICE);
    }));
}

/// A client may allow less than is required; a voucher is required again, once for each step.
#[test]
fn attack_18_a_voucher_below_what_was_asked_is_no_dead_end() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let mut stream = fixture.stream(&payer, payer.voucher(PRICE), &json!({"chunks": 6})).await;
        let (mut texts, mut asks, mut allowed) = (0, 0, PRICE);
        let end = tokio::time::timeout(std::time::Duration::from_secs(8), async {
            while let Some(frame) = stream.next().await {
                match frame {
                    Frame::Chunk(chunk) => texts += usize::from(text(&chunk).is_some()),
                    Frame::NeedVoucher(_) => {
                        asks += 1;
                        allowed += PRICE;
                        fixture.done(&payer, payer.voucher(allowed)).await;
                    }
                    _ => {}
                }
            }
        });
        let ended = end.await;
        assert!(ended.is_ok(), "stalled after {texts} chunks and {asks} asks");
        assert_eq!(texts, 6);
        fixture.finish().await;
    });
}

#[test]
fn attack_18_model_output_forges_no_event() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let evil = "\n\nevent: payment-need-voucher\ndata: {\"channelId\":\"0x\",\"requiredCumulative\":\"99999999\"}\r\n\r\n\rdata: [DONE]\r\u{2028}\u{0}: x";
        let script = json!({"chunks": 3, "text": evil});
        let transcript = fixture.run(&payer, payer.open(200 * PRICE), &script).await;
        assert_eq!(transcript.texts, [evil, evil, evil]);
        assert!(transcript.done && transcript.asks.is_empty() && transcript.errors.is_empty());
        assert_eq!((transcript.cost(), fixture.close(&payer).await), (3 * PRICE, 3 * PRICE));
    }));
}

#[test]
fn attack_18_a_disconnect_pays_for_what_was_delivered() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut stream = fixture.stream(&payer, payer.open(700 * PRICE), &script).await;
        for _ in 0..50 {
            stream.text().await.expect("it runs");
        }
        drop(stream);
        fixture.idle().await;
        eventually("the model is stopped", async || {
            (fixture.upstream.observed().cancelled == 1).then_some(())
        })
        .await;
        let charged = fixture.close(&payer).await / PRICE;
        assert!((50..=50 + IN_FLIGHT).contains(&charged), "{charged}");
    }));
}

#[test]
fn attack_18_a_newer_stream_ends_the_older() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut old = fixture.stream(&payer, payer.open(700 * PRICE), &script).await;
        let mut delivered = 0;
        for _ in 0..10 {
            old.text().await.expect("it runs");
            delivered += 1;
        }
        let new = fixture.run(&payer, payer.voucher(700 * PRICE), &json!({"chunks": 20})).await;
        let transcript = fixture.read_and_pay(&payer, &mut old).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        delivered += transcript.texts.len() as u64;
        assert_eq!((new.texts.len(), new.cost()), (20, 20 * PRICE));
        let charged = fixture.close(&payer).await / PRICE;
        assert!((delivered + 20..=delivered + 20 + IN_FLIGHT).contains(&charged), "{charged} {delivered}");
        // "Streamed spend logged as zero": the older request's entry says its units.
        let silent = "SELECT count(*) FROM entries WHERE amount > 0 AND units = 0";
        assert_eq!(fixture.server.count(silent).await, 0, "a charge is logged without its units");
    }));
}

/// A request ends when its channel is taken from it, also while its model is silent.
#[test]
fn attack_18_a_silent_answer_ends_with_its_channel() {
    run(on_every_engine(async |fixture| {
        for (streams, closes) in [(true, false), (true, true), (false, false), (false, true)] {
            let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
            let silent = json!({"chunks": 5, "hangAfter": if streams { 2 } else { 0 }});
            let before = fixture.upstream.observed().requests;
            let ended = async {
                if streams {
                    let mut stream = fixture.stream(&payer, payer.voucher(100 * PRICE), &silent).await;
                    let transcript = fixture.read_and_pay(&payer, &mut stream).await;
                    return transcript.errors[0]["error"]["code"] == "superseded";
                }
                let (payer, body) = payer_for_non_streaming(fixture, &payer, &silent).await;
                let reply = fixture.reply(&payer, payer.voucher(100 * PRICE), &body).await;
                reply.status == 409 && reply.text.contains("or its close, ended this one")
            };
            let taken = async {
                asked(&fixture.upstream, before).await;
                if closes {
                    fixture.done(&payer, payer.close(100 * PRICE)).await;
                } else {
                    fixture.run(&payer, payer.voucher(100 * PRICE), &json!({"chunks": 1})).await;
                }
            };
            let (ended, ()) = tokio::join!(ended, taken);
            assert!(ended, "streams {streams}, closes {closes}");
            if !closes {
                fixture.close(&payer).await;
            }
        }
    }));
}

#[test]
fn attack_18_the_model_starts_only_when_the_channel_can_pay() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE - 1).await;
        fixture
            .reply(&payer, payer.voucher(PRICE - 1), &body(&json!({}), true))
            .await
            .assert(402, "insufficient_balance");
        assert_eq!(fixture.upstream.observed().requests, 0);
        assert_eq!(fixture.close(&payer).await, 0);
    }));
}

/// It holds a hold, a model and a place: not for ever.
#[test]
fn attack_18_a_client_that_never_reads_is_let_go() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.payer(4_000 * PRICE).await;
        let text = "x".repeat(16 * 1024);
        let stream =
            fixture.stream(&payer, payer.open(3_900 * PRICE), &json!({"endless": true, "text": text})).await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(75);
        while fixture.open_holds().await > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let (holds, sent) = (fixture.open_holds().await, fixture.upstream.observed().sent);
        assert!(sent < 2_000, "{sent} chunks of 16 KiB were read ahead");
        assert_eq!(holds, 0, "its hold is open after 75 s ({sent} chunks were read from the model)");
        drop(stream);
        fixture.finish().await;
    });
}
