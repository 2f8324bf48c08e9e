//! Personal data in chat on a channel: the same promises, paid by the chunk.

use farebox_test_support::harness::{reply, run};
use farebox_test_support::payer::Payer;
use farebox_test_support::sse::{Frame, Stream};
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, MODEL, PRICE, on_every_engine};

const TEXT: &str = "Write to quokka.mandolin@example.com and to the man at 10.20.30.40 today";
const SENT: &str = "Write to [EMAIL_ADDRESS_1] and to the man at [IP_ADDRESS_1] today";

fn asking(more: Value) -> String {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": TEXT}], "max_tokens": 50});
    let Value::Object(more) = more else { panic!("an object") };
    body.as_object_mut().expect("an object").extend(more);
    body.to_string()
}

async fn streamed(fixture: &Fixture<'_>, payer: &Payer, allowed: u64, body: &str) -> (String, Value) {
    let request = fixture.server.post(CHAT, body);
    let request = request.header("authorization", payer.authorization(payer.voucher(allowed)));
    let mut stream = Stream::new(request.send().await.expect("the server answers"));
    assert_eq!(stream.response.headers()["x-pii-redacted"], "2");
    let (mut content, mut receipt) = (String::new(), Value::Null);
    while let Some(frame) = stream.next().await {
        match frame {
            Frame::Chunk(chunk) => {
                content.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
            }
            Frame::Receipt(last) => receipt = last,
            Frame::Done | Frame::Comment => {}
            other => panic!("unexpected in a stream: {other:?}"),
        }
    }
    (content, receipt)
}

#[test]
fn placeholders_go_to_the_model_and_originals_come_back() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
        let body = asking(json!({"stream": true, "privacyMode": "placeholder"}));
        let (content, receipt) = streamed(fixture, &payer, 100 * PRICE, &body).await;
        assert_eq!(content, TEXT);
        assert_eq!(fixture.upstream.observed().body["messages"][0]["content"], SENT);
        let words = SENT.split(' ').count() as u64;
        assert_eq!(receipt["units"], words);
        fixture.idle().await;
        let noted = fixture.server.count(
            "SELECT count(*) FROM entries WHERE meta LIKE '%\"pii\":{\"EMAIL_ADDRESS\":1,\"IP_ADDRESS\":1}%'",
        );
        assert_eq!(noted.await, 1);
        let kept = fixture.server.count("SELECT count(*) FROM entries WHERE meta LIKE '%quokka%'");
        assert_eq!(kept.await, 0);

        let non_streaming = asking(json!({ "pii_entities": ["EMAIL_ADDRESS"] }));
        let challenge = reply(fixture.server.post(CHAT, &non_streaming)).await.challenge();
        let payer = Payer { challenge, ..payer };
        let answer = fixture.reply(&payer, payer.voucher(100 * PRICE), &non_streaming).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], TEXT);
        assert_eq!(answer.header("x-pii-redacted"), Some("1"));
        assert_eq!(fixture.close(&payer).await, 2 * words * PRICE);
    }));
}

/// Charged text leaves, also when the model breaks off within a placeholder; text that is held back is free.
#[test]
fn a_model_that_breaks_off_takes_nothing_with_it() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
        let script = json!({"chunks": 9, "text": "to [EMAIL_", "cutAfter": 2});
        let mut body: Value =
            serde_json::from_str(&asking(json!({"stream": true, "privacyMode": "on"}))).expect("JSON");
        let messages = body["messages"].as_array_mut().expect("a list");
        messages.push(json!({"role": "user", "content": script.to_string()}));
        let request = fixture.server.post(CHAT, &body.to_string());
        let request = request.header("authorization", payer.authorization(payer.voucher(100 * PRICE)));
        let mut stream = Stream::new(request.send().await.expect("the server answers"));
        let transcript = fixture.read_and_pay(&payer, &mut stream).await;
        assert_eq!(transcript.texts.concat(), "to [EMAIL_to [EMAIL_", "{transcript:?}");
        assert_eq!((transcript.errors.len(), transcript.cost()), (1, 2 * PRICE));
        assert_eq!(fixture.close(&payer).await, 2 * PRICE);
    }));
}

/// Refused before the channel is touched: nothing opened, no voucher taken, nothing charged.
#[test]
fn a_refused_request_leaves_the_channel_alone() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, 10 * PRICE).await;
        let before = fixture.channel_amounts(&payer).await;
        let blocked = asking(json!({"stream": true, "privacyMode": "block"}));
        let answer = fixture.reply(&payer, payer.voucher(20 * PRICE), &blocked).await;
        answer.assert(400, "invalid_params");
        assert!(
            answer.text.contains("1 EMAIL_ADDRESS, 1 IP_ADDRESS") && !answer.text.contains("quokka"),
            "{}",
            answer.text
        );
        let unopened = fixture.payer(DEPOSIT).await;
        fixture.reply(&unopened, unopened.open(10 * PRICE), &blocked).await.assert(400, "invalid_params");
        let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]);
        let unseen = asking(json!({"privacyMode": "on", "messages": [{"role": "user", "content": image}]}));
        // Without payment, too: bad input is refused before money is asked for.
        let answer = reply(fixture.server.post(CHAT, &unseen)).await;
        answer.assert(400, "invalid_params");
        assert!(answer.text.contains("without the OCR model"), "{}", answer.text);
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(fixture.upstream.observed().requests, 0);
        assert_eq!(fixture.close(&payer).await, 0);
        fixture.finish().await;
    });
}
