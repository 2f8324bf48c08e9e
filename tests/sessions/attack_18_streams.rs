//! Row 18: streams that end early, ask too much, or say what is not theirs to say.

use serde_json::json;

use crate::harness::{eventually, run};
use crate::sse::{Frame, text};
use crate::stage::{DEPOSIT, PRICE, Stage, amount, body, on_every_engine};

/// What one charge covers, and what waits charged for the client.
const IN_FLIGHT: u64 = 32 + 8;

#[test]
fn attack_18_nothing_is_asked_in_a_loop() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, 3 * PRICE).await;
        let mut stream = stage.stream(&payer, payer.voucher(3 * PRICE), &json!({"chunks": 40})).await;
        let (mut texts, mut asked) = (0, Vec::new());
        while texts < 3 || asked.is_empty() {
            match stream.next().await.expect("it goes on") {
                Frame::Chunk(chunk) => texts += usize::from(text(&chunk).is_some()),
                Frame::NeedVoucher(ask) => asked.push(amount(&ask["requiredCumulative"])),
                other => panic!("{other:?}"),
            }
        }
        // Each of these wakes the stream, and none of them allows more.
        for _ in 0..40 {
            stage.done(&payer, payer.voucher(3 * PRICE)).await;
        }
        stage.done(&payer, payer.voucher(asked[0])).await;
        let transcript = stage.listen(&payer, &mut stream).await;
        assert_eq!((asked.len(), texts + transcript.texts.len()), (1, 40));
        assert!(transcript.asks.len() <= 1, "{:?}", transcript.asks);
        assert_eq!(stage.close(&payer).await, 40 * PRICE);
    }));
}

/// A client may allow less than it was asked for; it is asked again, once for each step.
#[test]
fn attack_18_a_voucher_below_what_was_asked_is_no_dead_end() {
    run(async {
        let stage = Stage::start().await;
        let payer = stage.opened(DEPOSIT, PRICE).await;
        let mut stream = stage.stream(&payer, payer.voucher(PRICE), &json!({"chunks": 6})).await;
        let (mut texts, mut asks, mut allowed) = (0, 0, PRICE);
        let end = tokio::time::timeout(std::time::Duration::from_secs(8), async {
            while let Some(frame) = stream.next().await {
                match frame {
                    Frame::Chunk(chunk) => texts += usize::from(text(&chunk).is_some()),
                    Frame::NeedVoucher(_) => {
                        asks += 1;
                        allowed += PRICE;
                        stage.done(&payer, payer.voucher(allowed)).await;
                    }
                    _ => {}
                }
            }
        });
        let ended = end.await;
        assert!(ended.is_ok(), "stalled after {texts} chunks and {asks} asks");
        assert_eq!(texts, 6);
        stage.finish().await;
    });
}

#[test]
fn attack_18_model_output_forges_no_event() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        let evil = "\n\nevent: payment-need-voucher\ndata: {\"channelId\":\"0x\",\"requiredCumulative\":\"99999999\"}\r\n\r\n\rdata: [DONE]\r\u{2028}\u{0}: x";
        let script = json!({"chunks": 3, "text": evil});
        let transcript = stage.run(&payer, payer.open(200 * PRICE), &script).await;
        assert_eq!(transcript.texts, [evil, evil, evil]);
        assert!(transcript.done && transcript.asks.is_empty() && transcript.errors.is_empty());
        assert_eq!((transcript.cost(), stage.close(&payer).await), (3 * PRICE, 3 * PRICE));
    }));
}

#[test]
fn attack_18_a_disconnect_pays_for_what_was_delivered() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut stream = stage.stream(&payer, payer.open(700 * PRICE), &script).await;
        for _ in 0..50 {
            stream.text().await.expect("it runs");
        }
        drop(stream);
        stage.idle().await;
        eventually("the model is stopped", async || (stage.upstream.observed().cancelled == 1).then_some(()))
            .await;
        let charged = stage.close(&payer).await / PRICE;
        assert!((50..=50 + IN_FLIGHT).contains(&charged), "{charged}");
    }));
}

#[test]
fn attack_18_a_newer_stream_ends_the_older() {
    run(on_every_engine(async |stage| {
        let payer = stage.payer(DEPOSIT).await;
        let script = json!({"endless": true, "intervalMs": 3});
        let mut old = stage.stream(&payer, payer.open(700 * PRICE), &script).await;
        let mut delivered = 0;
        for _ in 0..10 {
            old.text().await.expect("it runs");
            delivered += 1;
        }
        let new = stage.run(&payer, payer.voucher(700 * PRICE), &json!({"chunks": 20})).await;
        let transcript = stage.listen(&payer, &mut old).await;
        assert_eq!(transcript.errors[0]["error"]["code"], "superseded");
        delivered += transcript.texts.len() as u64;
        assert_eq!((new.texts.len(), new.cost()), (20, 20 * PRICE));
        let charged = stage.close(&payer).await / PRICE;
        assert!((delivered + 20..=delivered + 20 + IN_FLIGHT).contains(&charged), "{charged} {delivered}");
        // "Streamed spend logged as zero": the older request's entry says its units.
        let silent = "SELECT count(*) FROM entries WHERE amount > 0 AND units = 0";
        assert_eq!(stage.server.count(silent).await, 0, "a charge is logged without its units");
    }));
}

#[test]
fn attack_18_the_model_starts_only_when_the_channel_can_pay() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, PRICE - 1).await;
        stage
            .reply(&payer, payer.voucher(PRICE - 1), &body(&json!({}), true))
            .await
            .assert(402, "insufficient_balance");
        assert_eq!(stage.upstream.observed().requests, 0);
        assert_eq!(stage.close(&payer).await, 0);
    }));
}

/// It holds a hold, a model and a place: not for ever.
#[test]
fn attack_18_a_client_that_never_reads_is_let_go() {
    run(async {
        let stage = Stage::start().await;
        let payer = stage.payer(4_000 * PRICE).await;
        let text = "x".repeat(16 * 1024);
        let stream =
            stage.stream(&payer, payer.open(3_900 * PRICE), &json!({"endless": true, "text": text})).await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(75);
        while stage.open_holds().await > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let (holds, sent) = (stage.open_holds().await, stage.upstream.observed().sent);
        assert!(sent < 2_000, "{sent} chunks of 16 KiB were read ahead");
        assert_eq!(holds, 0, "its hold is open after 75 s ({sent} chunks were read from the model)");
        drop(stream);
        stage.finish().await;
    });
}
