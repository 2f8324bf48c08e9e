//! Personal data in chat from prepaid credits: what reaches the model, what comes back, what it costs.

use std::collections::BTreeMap;

use farebox::config::{Config, ModelConfig, PrivacyMode, Source};
use farebox_test_support::capture::logged;
use farebox_test_support::harness::{eventually, reply, run};
use farebox_test_support::sse::{Frame, Stream};
use serde_json::{Value, json};

use crate::fixture::{CHAT, Customer, Fixture, PRICE, body, money, on_every_engine, refused};

const MAIL: &str = "quokka.mandolin@example.com";
const SSN: &str = "536-90-4399";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFO\n-----END PRIVATE KEY-----";

fn user(content: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": content }] })
}

fn with(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object") };
    body.as_object_mut().expect("an object").extend(more);
    body
}

/// Sells one more model, `raw`, which sends exactly `raw`, whatever the prompt is.
fn add_raw_model(config: &mut Config, raw: &str) {
    let script = json!({ "raw": raw }).to_string();
    config.models.push(ModelConfig {
        id: "raw".into(),
        upstreams: vec![Source { name: "scripted".into(), model: Some(script), weight: None }.into()],
        ..config.models[0].clone()
    });
}

/// The events of a stream that says these deltas, one each.
fn events_of(deltas: &[Value]) -> String {
    let events = deltas.iter().map(|delta| json!({ "choices": [{ "index": 0, "delta": delta }] }));
    events.fold(String::new(), |stream, event| format!("{stream}data: {event}\n\n"))
}

fn contents(pieces: impl IntoIterator<Item = impl ToString>) -> Vec<Value> {
    pieces.into_iter().map(|piece| json!({ "content": piece.to_string() })).collect()
}

const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// The answer that a client assembles from a stream.
#[derive(Debug, Default)]
struct AnswerText {
    content: String,
    arguments: String,
    errors: Vec<Value>,
    done: bool,
}

async fn read_to_end(mut stream: Stream) -> AnswerText {
    let mut answer = AnswerText::default();
    while let Some(frame) = stream.next().await {
        match frame {
            Frame::Chunk(chunk) => {
                assert!(chunk["choices"].is_array() && chunk["object"] == "chat.completion.chunk", "{chunk}");
                let delta = &chunk["choices"][0]["delta"];
                answer.content.push_str(delta["content"].as_str().unwrap_or_default());
                let arguments = &delta["tool_calls"][0]["function"]["arguments"];
                answer.arguments.push_str(arguments.as_str().unwrap_or_default());
            }
            Frame::Error(error) => answer.errors.push(error["error"].clone()),
            Frame::Done => answer.done = true,
            Frame::Comment => {}
            wrong => panic!("unexpected in a stream: {wrong:?}"),
        }
    }
    answer
}

async fn answer_text(fixture: &Fixture, customer: &Customer, more: &Value) -> AnswerText {
    read_to_end(fixture.stream(customer, &json!({}), more).await).await
}

/// The model gets placeholders, the client what it would have got without them.
#[test]
fn placeholders_go_to_the_model_and_originals_come_back() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let text = format!("Write to {MAIL} about SSN {SSN}, then to {MAIL} again.");
        let more = with(user(&text), json!({ "privacyMode": "placeholder" }));
        let non_streaming = fixture.complete(&customer, &json!({}), &more).await;
        assert_eq!(non_streaming.status, 200, "{}", non_streaming.text);
        assert_eq!(non_streaming.json()["choices"][0]["message"]["content"], text);
        assert_eq!(non_streaming.header("x-pii-redacted"), Some("3"));
        let seen = fixture.upstream.observed().body;
        let expected = "Write to [EMAIL_ADDRESS_1] about SSN [US_SSN_1], then to [EMAIL_ADDRESS_1] again.";
        assert_eq!(seen["messages"][0]["content"], expected);
        assert!(seen.get("privacyMode").is_none(), "{seen}");

        let stream = fixture.stream(&customer, &json!({}), &more).await;
        assert_eq!(stream.response.headers()["x-pii-redacted"], "3");
        let transcript = read_to_end(stream).await;
        assert_eq!(
            (transcript.content.as_str(), transcript.done, transcript.errors.len()),
            (text.as_str(), true, 0)
        );
        assert_eq!(fixture.upstream.observed().body["messages"][0]["content"], expected);

        let words = i64::try_from(text.split(' ').count()).expect("few");
        assert_eq!(fixture.available(&customer).await, 1_000_000 - 2 * words * PRICE);
        for entry in fixture.entries(&customer).await {
            assert_eq!(entry.meta["pii"], json!({"EMAIL_ADDRESS": 2, "US_SSN": 1}));
        }
        // Without a mode nothing is looked for, and nothing noted.
        let plain = fixture.complete(&customer, &json!({}), &user(&text)).await;
        assert_eq!((plain.status, plain.header("x-pii-redacted")), (200, None));
        assert_eq!(fixture.upstream.observed().body["messages"][0]["content"], text);
        fixture.idle().await;
        assert!(fixture.entries(&customer).await[0].meta.get("pii").is_none());
    }));
}

/// A model may cut its answer anywhere, within a placeholder too.
#[test]
fn a_placeholder_is_restored_across_chunks_and_costs_no_more() {
    run(async {
        let answer = "To [EMAIL_ADDRESS_1], [EMAIL_ADDRESS_2] and [US_SSN_1] [EMAIL_";
        let raw = format!("{}{END}{DONE}", events_of(&contents(answer.chars())));
        let fixture = Fixture::with_config(|config| add_raw_model(config, &raw)).await;
        let customer = fixture.customer(1_000_000).await;
        let more = with(user(&format!("{MAIL} SSN {SSN}")), json!({"model": "raw", "privacy_mode": true}));
        let transcript = answer_text(&fixture, &customer, &more).await;
        assert_eq!(
            transcript.content,
            format!("To {MAIL}, [EMAIL_ADDRESS_2] and {SSN} [EMAIL_"),
            "{:?}",
            transcript.errors
        );
        assert!(transcript.done && transcript.errors.is_empty());
        let paid = 1_000_000 - fixture.available(&customer).await;
        let most = i64::try_from(answer.len()).expect("short") * PRICE;
        assert!(paid > 0 && paid <= most, "{paid}");
        fixture.finish().await;
    });
}

/// Two answers at once, each in pieces of its own, and thoughts between them.
#[test]
fn answers_side_by_side_are_restored_apart() {
    run(async {
        let piece = |choice: u64, field: &str, text: &str| {
            let mut delta = json!({});
            delta[field] = text.into();
            format!("data: {}\n\n", json!({"choices": [{"index": choice, "delta": delta}]}))
        };
        let end = |choice: u64| {
            format!(
                "data: {}\n\n",
                json!({"choices": [{"index": choice, "delta": {}, "finish_reason": "stop"}]})
            )
        };
        let raw = [
            piece(0, "reasoning_content", "[EMAIL_"),
            piece(0, "content", "a [EMAIL"),
            piece(1, "content", "b [EMAIL_ADDRESS_"),
            piece(0, "reasoning_content", "ADDRESS_1]"),
            piece(1, "content", "1] [US"),
            piece(0, "content", "_ADDRESS_1] a"),
            end(0),
            end(1),
            DONE.to_owned(),
        ];
        let fixture = Fixture::with_config(|config| add_raw_model(config, &raw.concat())).await;
        let customer = fixture.customer(1_000_000).await;
        let more = with(user(MAIL), json!({"model": "raw", "n": 2, "privacyMode": "placeholder"}));
        let mut stream = fixture.stream(&customer, &json!({}), &more).await;
        let mut transcript: BTreeMap<String, String> = BTreeMap::new();
        while let Some(frame) = stream.next().await {
            let Frame::Chunk(chunk) = frame else { continue };
            let choice = &chunk["choices"][0];
            for (field, text) in choice["delta"].as_object().into_iter().flatten() {
                let answer = transcript.entry(format!("{} {field}", choice["index"])).or_default();
                answer.push_str(text.as_str().unwrap_or_default());
            }
        }
        let expected = [
            ("0 content", format!("a {MAIL} a")),
            ("0 reasoning_content", MAIL.to_owned()),
            ("1 content", format!("b {MAIL} [US")),
        ];
        assert_eq!(transcript, expected.map(|(place, text)| (place.to_owned(), text)).into());
        fixture.finish().await;
    });
}

#[test]
fn arguments_of_tools_stay_json() {
    run(async {
        let call = |text: String| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]});
        let arguments = r#"{"to":"[EMAIL_ADDRESS_1]","key":"[PRIVATE_KEY_1]"}"#;
        let first = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
            "function": {"name": "send_[EMAIL_ADDRESS_1]", "arguments": ""}}]});
        let deltas: Vec<Value> =
            std::iter::once(first).chain(arguments.chars().map(|c| call(c.to_string()))).collect();
        let raw = format!("{}{END}{DONE}", events_of(&deltas));
        let fixture = Fixture::with_config(|config| add_raw_model(config, &raw)).await;
        let customer = fixture.customer(1_000_000).await;
        let prompt = format!("Send it to {MAIL}:\n{KEY}");
        let transcript = answer_text(
            &fixture,
            &customer,
            &with(user(&prompt), json!({"model": "raw", "privacyMode": "on"})),
        )
        .await;
        let arguments: Value = serde_json::from_str(&transcript.arguments).expect("the arguments are JSON");
        assert_eq!(arguments, json!({"to": MAIL, "key": KEY}));
        fixture.finish().await;
    });
}

/// All text of a conversation, and JSON inside of it, but no identifiers.
#[test]
fn the_whole_history_is_protected() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let escaped = MAIL.replace('@', "\\u0040");
        let more = json!({
            "privacyMode": "strict",
            "tools": [{"type": "function", "function": {"name": "mail", "description": "as support@example.com"}}],
            "messages": [
                {"role": "system", "content": format!("You serve {MAIL}.")},
                {"role": "user", "name": "jane", "content": [{"type": "text", "text": format!("SSN {SSN}")}, {"type": "text", "text": MAIL}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                    "function": {"name": "mail", "arguments": format!("{{\"to\":\"{escaped}\",\"n\": 1.0}}")}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": format!("{{\"sent\":[\"a\\n{MAIL}\"]}}")},
                {"role": "user", "content": "password: hunter2!x"},
                {"role": "assistant", "content": "I know hunter2!x."},
                {"role": "user", "content": "ok"},
            ],
        });
        assert_eq!(fixture.complete(&customer, &json!({}), &more).await.status, 200);
        let seen = fixture.upstream.observed().body;
        let messages = &seen["messages"];
        assert_eq!(messages[0]["content"], "You serve [EMAIL_ADDRESS_1].");
        assert_eq!(messages[1]["content"][0]["text"], "SSN [US_SSN_1]");
        assert_eq!(messages[1]["content"][1]["text"], "[EMAIL_ADDRESS_1]");
        let call = &messages[2]["tool_calls"][0];
        assert_eq!(call["function"]["arguments"], r#"{"to":"[EMAIL_ADDRESS_1]","n": 1.0}"#);
        assert_eq!((&call["id"], &messages[1]["name"]), (&json!("call_1"), &json!("jane")));
        assert_eq!(messages[3]["content"], r#"{"sent":["a\n[EMAIL_ADDRESS_1]"]}"#);
        assert_eq!(messages[4]["content"], "password: [PASSWORD_1]");
        assert_eq!(messages[5]["content"], "I know [PASSWORD_1].");
        assert_eq!(seen["tools"], more["tools"], "definitions are the program's own words");
        fixture.finish().await;
    });
}

#[test]
fn a_placeholder_of_the_prompt_is_never_taken_for_ours() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let text = format!("[EMAIL_ADDRESS_1] is not {MAIL}");
        let more = with(user(&text), json!({ "privacyMode": "placeholder" }));
        assert_eq!(answer_text(&fixture, &customer, &more).await.content, text);
        let seen = fixture.upstream.observed().body;
        assert_eq!(seen["messages"][0]["content"], "[EMAIL_ADDRESS_1] is not [EMAIL_ADDRESS_2]");
        fixture.finish().await;
    });
}

#[test]
fn redacted_stays_redacted() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let text = format!("Mail {MAIL} on 2024-05-06");
        let more = with(user(&text), json!({"privacyMode": "redact", "pii_entities": ["EMAIL"]}));
        assert_eq!(
            answer_text(&fixture, &customer, &more).await.content,
            "Mail [EMAIL_ADDRESS_1] on 2024-05-06"
        );
        let non_streaming = fixture.complete(&customer, &json!({}), &more).await;
        assert_eq!(
            non_streaming.json()["choices"][0]["message"]["content"],
            "Mail [EMAIL_ADDRESS_1] on 2024-05-06"
        );
        assert_eq!(non_streaming.header("x-pii-redacted"), Some("1"));
        fixture.finish().await;
    });
}

#[test]
fn a_blocked_request_is_free_and_names_what_was_found() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let more = with(user(&format!("{MAIL}, SSN {SSN}, {MAIL}")), json!({ "privacyMode": "block" }));
        for stream in [false, true] {
            let more = with(more.clone(), json!({ "stream": stream }));
            let error = refused(&fixture.complete(&customer, &json!({}), &more).await, 400, "invalid_params");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains("(2 EMAIL_ADDRESS, 1 US_SSN)") && !message.contains(SSN), "{message}");
            assert_eq!(error["param"], "messages");
        }
        assert_eq!(fixture.upstream.observed().requests, 0);
        assert_eq!(
            (fixture.available(&customer).await, fixture.entries(&customer).await.len()),
            (1_000_000, 0)
        );
        let clean = fixture
            .complete(&customer, &json!({}), &with(user("hello"), json!({ "privacyMode": "block" })))
            .await;
        assert_eq!((clean.status, clean.header("x-pii-redacted")), (200, Some("0")));
    }));
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let image = json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}});
        let picture =
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, image]}]});
        for (more, expected) in [
            (json!({ "privacyMode": "sometimes" }), "`privacyMode` must be `off`, `placeholder`"),
            (
                json!({"privacyMode": "redact", "skip_pii_redaction": true}),
                "contradicts `skip_pii_redaction`",
            ),
            (json!({ "piiEntities": ["EMIAL"] }), "did you mean `EMAIL`?"),
            (json!({ "piiConfig": {"faces": true} }), "`faces` is not a setting"),
            (json!({ "privacymode": "on" }), "did you mean `privacy_mode`?"),
            (
                with(picture.clone(), json!({ "privacyMode": "on" })),
                "`messages[0].content[1].image_url.url`: text in images cannot be read here",
            ),
        ] {
            let error = refused(&fixture.complete(&customer, &json!({}), &more).await, 400, "invalid_params");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(fixture.upstream.observed().requests, 0);
        let skipped = with(picture, json!({ "skip_pii_redaction": true }));
        assert_eq!(fixture.complete(&customer, &json!({}), &skipped).await.status, 200);
        fixture.finish().await;
    });
}

#[test]
fn an_operator_can_protect_every_prompt() {
    run(async {
        let fixture =
            Fixture::with_config(|config| config.privacy.default_mode = PrivacyMode::Placeholder).await;
        let customer = fixture.customer(1_000_000).await;
        let text = format!("hello {MAIL}");
        for (more, sent) in [
            (json!({}), "hello [EMAIL_ADDRESS_1]"),
            (json!({ "piiEntities": ["US_SSN"] }), text.as_str()),
            (json!({ "skip_pii_redaction": true }), text.as_str()),
            (json!({ "noPiiRedaction": true }), text.as_str()),
            (json!({ "privacyMode": "off" }), text.as_str()),
        ] {
            assert_eq!(
                answer_text(&fixture, &customer, &with(user(&text), more.clone())).await.content,
                text,
                "{more}"
            );
            assert_eq!(fixture.upstream.observed().body["messages"][0]["content"], sent, "{more}");
        }
        fixture.finish().await;
    });
}

/// Charged text leaves: also when the model breaks off, or the credits end, within a placeholder.
#[test]
fn what_is_held_back_is_delivered_at_every_end() {
    run(async {
        let broken = events_of(&contents(["to [EMAIL_ADDRESS_1] or ", "[EMAIL_"]));
        let fixture = Fixture::with_config(|config| add_raw_model(config, &broken)).await;
        let customer = fixture.customer(1_000_000).await;
        let more = with(user(MAIL), json!({"model": "raw", "privacyMode": "on"}));
        let transcript = answer_text(&fixture, &customer, &more).await;
        assert_eq!(transcript.content, format!("to {MAIL} or [EMAIL_"));
        assert_eq!((transcript.errors.len(), transcript.done), (1, true));
        assert_eq!(
            fixture.available(&customer).await,
            1_000_000 - 11 * PRICE,
            "by the tokens that the model wrote"
        );
        fixture.finish().await;

        // The seventeenth chunk is not paid for, or is more than was asked for: the end of the one before it follows all
        // the same.
        for (word, errors) in [("wo ", 1), ("word ", 0)] {
            let words = [[word].repeat(15), vec!["last [EMAIL_", word, word]].concat();
            let long = format!("{}{END}{DONE}", events_of(&contents(words)));
            let fixture = Fixture::with_config(|config| add_raw_model(config, &long)).await;
            let customer = fixture.customer(16 * PRICE).await;
            let transcript = answer_text(&fixture, &customer, &more).await;
            assert_eq!(transcript.content, format!("{}last [EMAIL_", word.repeat(15)), "{transcript:?}");
            assert_eq!(transcript.errors.len(), errors);
            assert!(transcript.errors.iter().all(|error| error["code"] == "insufficient_credits"));
            fixture.finish().await;
        }
    });
}

/// A large prompt is examined elsewhere, and its price is that of what goes to the model.
#[test]
fn large_prompts_cost_what_the_model_gets() {
    run(async {
        let fixture =
            Fixture::with_config(|config| config.models[0].price_per_million_input = money(1_000_000)).await;
        let customer = fixture.customer(1_000_000).await;
        let script = json!({"chunks": 1, "usage": "missing"}).to_string();
        let more = json!({"privacyMode": "on", "messages": [
            {"role": "system", "content": format!("Mail {MAIL} now. ").repeat(2_000)},
            {"role": "user", "content": script},
        ]});
        assert_eq!(fixture.complete(&customer, &json!({}), &more).await.status, 200);
        let sent = fixture.upstream.observed().body["messages"].clone();
        assert!(
            sent[0]["content"]
                .as_str()
                .is_some_and(|text| text.matches("[EMAIL_ADDRESS_1]").count() == 2_000)
        );
        fixture.idle().await;
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!(entry.meta["pii"], json!({ "EMAIL_ADDRESS": 2_000 }));
        // Nine tokens each, ten of the script, and four of each message.
        assert_eq!(entry.meta["promptTokens"], json!(2_000 * 9 + 10 + 8));
        fixture.finish().await;
    });
}

#[test]
fn attack_28_what_was_replaced_is_found_nowhere() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let secret = "wallaby.harmonica@example.com";
        for mode in ["placeholder", "redact", "block"] {
            for stream in [true, false] {
                let more =
                    with(user(&format!("{secret} {{")), json!({"privacyMode": mode, "stream": stream}));
                let answer = reply(fixture.post(&customer, CHAT, &body(&json!({}), &more))).await;
                assert_eq!(answer.text.contains(secret), mode == "placeholder", "{}", answer.text);
                assert!(!format!("{:?}", answer.headers).contains(secret));
            }
        }
        eventually("everything is closed", async || {
            (fixture.entries(&customer).await.len() == 4).then_some(())
        })
        .await;
        let kept: BTreeMap<String, Value> =
            fixture.entries(&customer).await.into_iter().map(|entry| (entry.id, entry.meta)).collect();
        let metrics = fixture.server.metrics().await;
        for place in [logged(), metrics, format!("{kept:?}")] {
            assert!(!place.contains("wallaby"), "it is kept");
        }
    }));
}
