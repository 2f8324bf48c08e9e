//! Bills: what is charged is what the reported usage costs, to the millionth, and what the client is told.

use std::collections::BTreeMap;

use farebox::config::ItemPrices;
use farebox::keys::KeyLimits;
use farebox::ledger::Entry;
use farebox_test_support::harness::{reply, run};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{CHAT, Customer, Fixture, Transcript, body, concurrently, money};

/// Usage of a server, as it writes it, and what it means. The forms are written after the servers' documentation.
#[derive(Deserialize)]
struct Shape {
    server: String,
    usage: Value,
    /// Tokens of each item of the bill.
    items: BTreeMap<String, u64>,
}

fn shapes() -> Vec<Shape> {
    serde_json::from_str(include_str!("usage_shapes.json")).expect("shapes of usage")
}

fn prices() -> ItemPrices {
    ItemPrices {
        cached_input: Some(money(30_000)),
        cache_write: Some(money(370_000)),
        audio_input: Some(money(4_100_000)),
        image_input: None,
        reasoning: Some(money(1_700_000)),
        audio_output: Some(money(9_100_000)),
        image_output: Some(money(7_300_000)),
        request: Some(money(21)),
    }
}

fn price_of(item: &str) -> i64 {
    let others = prices();
    match item {
        "input" => 310_000,
        "output" => 1_300_000,
        _ => others.named().find(|(name, _)| *name == item).expect("an item with a price").1.micros(),
    }
}

async fn fixture() -> Fixture {
    Fixture::with_config(|config| {
        config.models[0].price_per_million_input = money(price_of("input"));
        config.models[0].price_per_million_output = money(price_of("output"));
        config.models[0].prices = prices();
    })
    .await
}

/// Price of tokens of each item, and of the request.
fn cost(items: &[(&str, u64)]) -> i64 {
    let sum: i64 = items.iter().map(|(item, tokens)| price_of(item) * i64::try_from(*tokens).unwrap()).sum();
    (sum + 999_999) / 1_000_000 + 21
}

/// Body of a stream or of a whole answer with this message and this usage.
fn raw(message: &Value, usage: Option<&Value>, is_stream: bool) -> Value {
    if !is_stream {
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        return json!({"raw": json!({"choices": [choice], "usage": usage}).to_string()});
    }
    let event = |event: Value| format!("data: {event}\n\n");
    let mut text = event(json!({"choices": [{"index": 0, "delta": message}]}));
    text += &event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    if let Some(usage) = usage {
        text += &event(json!({"choices": [], "usage": usage}));
    }
    json!({"raw": text + "data: [DONE]\n\n"})
}

/// Sends a request, and returns the usage that the client was told, and the entry.
async fn billed(fixture: &Fixture, customer: &Customer, raw: Value, is_stream: bool) -> (Value, Entry) {
    let more = if is_stream { json!({"stream_options": {"include_usage": true}}) } else { json!({}) };
    let before = fixture.available(customer).await;
    let usage = if is_stream {
        let Transcript { mut usage, errors, done, .. } = fixture.run(customer, &raw, &more).await;
        assert!(errors.is_empty() && done, "{errors:?}");
        assert_eq!(usage.len(), 1);
        usage.remove(0)
    } else {
        let answer = fixture.complete(customer, &raw, &more).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let json = answer.json();
        let header = |name| answer.header(name).expect("a header").to_owned();
        let cost = header("x-farebox-cost").parse::<f64>().expect("a number");
        assert!((json["usage"]["cost"].as_f64().expect("a number") - cost).abs() < 1e-9, "{json}");
        let left = fixture.available(customer).await;
        assert_eq!(header("x-farebox-balance"), money(left).to_dollars());
        json["usage"].clone()
    };
    let entry = fixture.entries(customer).await.remove(0);
    assert_eq!(before - fixture.available(customer).await, entry.amount.micros());
    // What the client was told is what was charged.
    let told = usage["cost"].to_string().parse::<f64>().expect("a number");
    let charged: f64 = entry.amount.to_dollars().parse().expect("a number");
    assert!((told - charged).abs() < 1e-9, "{usage} {entry:?}");
    assert_eq!(usage["prompt_tokens"], entry.meta["promptTokens"]);
    assert_eq!(usage["completion_tokens"], entry.meta["completionTokens"]);
    // The amount can be computed again from the items.
    let items = entry.meta["items"].as_array().expect("items");
    let sum = items.iter().filter(|item| item["item"] != "request").map(|item| {
        let price: f64 = item["pricePerMillion"].as_str().expect("a price").parse().expect("a number");
        price * item["tokens"].as_f64().expect("a number")
    });
    let sum = (sum.sum::<f64>() - 1e-9).ceil() / 1e6 + 0.000_021;
    assert!((sum - charged).abs() < 1e-9, "{sum} {entry:?}");
    (usage, entry)
}

#[test]
fn every_servers_usage_is_the_bill() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        for Shape { server, usage, items } in shapes() {
            let billed_items: Vec<_> = items.iter().map(|(item, tokens)| (item.as_str(), *tokens)).collect();
            for is_stream in [true, false] {
                let raw = raw(&json!({"content": "Hi."}), Some(&usage), is_stream);
                let (told, entry) = billed(&fixture, &customer, raw, is_stream).await;
                let of_kind =
                    |names: &[&str]| -> u64 { names.iter().filter_map(|name| items.get(*name)).sum() };
                let prompt = of_kind(&["cachedInput", "cacheWrite", "audioInput", "input"]);
                let completion = of_kind(&["reasoning", "audioOutput", "imageOutput", "output"]);
                assert_eq!(told["prompt_tokens"], prompt, "{server}");
                assert_eq!(told["completion_tokens"], completion, "{server}");
                assert_eq!(told["total_tokens"], prompt + completion, "{server}");
                assert_eq!(
                    told["prompt_tokens_details"]["cached_tokens"],
                    of_kind(&["cachedInput"]),
                    "{server}"
                );
                assert_eq!(
                    told["completion_tokens_details"]["reasoning_tokens"],
                    of_kind(&["reasoning"]),
                    "{server}"
                );
                assert!(told.get("estimated").is_none(), "{server}");
                assert_eq!(entry.amount.micros(), cost(&billed_items), "{server}, stream: {is_stream}");
                assert_eq!(entry.meta["reported"], true, "{server}");
            }
        }
        fixture.finish().await;
    });
}

/// Usage within a choice, beside the usage, and with the last piece of text.
#[test]
fn usage_is_found_where_servers_put_it() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13});
        let text = r#"{"choices":[{"index":0,"delta":{"content":"one two three four five six"}}]}"#;
        let end =
            |more: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"{more}}}]"#);
        for last in [
            format!("{}}}", end(&format!(r#","usage":{usage}"#))),
            format!("{},\"x_groq\":{{\"usage\":{usage}}}}}", end("")),
            format!("{},\"usage\":{usage}}}", end("")),
        ] {
            let raw = json!({"raw": format!("data: {text}\n\ndata: {last}\n\ndata: [DONE]\n\n")});
            let (told, entry) = billed(&fixture, &customer, raw, true).await;
            assert_eq!(
                (&told["prompt_tokens"], &told["completion_tokens"]),
                (&json!(9), &json!(4)),
                "{last}"
            );
            assert_eq!(entry.amount.micros(), cost(&[("input", 9), ("output", 4)]), "{last}");
        }
        fixture.finish().await;
    });
}

/// Content of an answer whose bytes say little of its tokens.
fn contents() -> Vec<(&'static str, Value)> {
    let base64 = "iVBORw0KGgoAAAANSUhEUgAA".repeat(400);
    vec![
        ("English", json!({"content": "The quick brown fox jumps over the lazy dog. ".repeat(8)})),
        ("Russian", json!({"content": "Съешь же ещё этих мягких французских булок. ".repeat(8)})),
        ("Greek", json!({"content": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ".repeat(8)})),
        ("Hebrew", json!({"content": "דג סקרן שט בים מאוכזב ולפתע מצא חברה. ".repeat(8)})),
        ("Arabic", json!({"content": "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت. ".repeat(8)})),
        ("Hindi", json!({"content": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा। ".repeat(8)})),
        ("Thai", json!({"content": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ".repeat(8)})),
        ("Chinese", json!({"content": "視野無限廣，窗外有藍天。".repeat(8)})),
        ("Japanese", json!({"content": "いろはにほへと ちりぬるを わかよたれそ ".repeat(8)})),
        ("Korean", json!({"content": "키스의 고유조건은 입술끼리 만나야 하고 ".repeat(8)})),
        ("table", json!({"content": "| a | b |\n|---|---|\n| 1 | 2 |\n".repeat(8)})),
        ("code", json!({"content": "fn main() {\n        println!(\"{}\", 1);\n}\n".repeat(8)})),
        ("JSON", json!({"content": "{\n    \"a\": [\n        1,\n        2\n    ]\n}\n".repeat(8)})),
        ("reasoning", json!({"reasoning": "Let me think about it. ", "content": "Done."})),
        (
            "tool call",
            json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
            "extra_content": {"google": {"thought_signature": base64}},
            "function": {"name": "find", "arguments": "{\"q\": \"rust\"}"}}]}),
        ),
        (
            "image",
            json!({"content": "Here.", "images": [{"type": "image_url",
            "image_url": {"url": format!("data:image/png;base64,{base64}")}}]}),
        ),
        ("sound", json!({"audio": {"id": "a", "data": base64, "transcript": "Hello there."}})),
        (
            "thinking blocks",
            json!({"content": "Yes.", "thinking_blocks": [{"type": "thinking", "signature": base64}]}),
        ),
    ]
}

/// Whatever an answer is made of: reported usage is charged, and nothing else.
#[test]
fn reported_usage_is_charged_whatever_the_answer_is_made_of() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        let usage = json!({"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26});
        for (content, message) in contents() {
            for is_stream in [true, false] {
                let raw = raw(&message, Some(&usage), is_stream);
                let (_, entry) = billed(&fixture, &customer, raw, is_stream).await;
                assert_eq!(
                    entry.amount.micros(),
                    cost(&[("input", 21), ("output", 5)]),
                    "{content} {is_stream}"
                );
            }
        }
        fixture.finish().await;
    });
}

/// Without a report the text is counted as models count it, and no picture, sound or signature is text.
#[test]
fn estimates_count_text_alone_and_are_marked() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        for (content, message) in contents() {
            let mut both = Vec::new();
            for is_stream in [true, false] {
                let raw = raw(&message, None, is_stream);
                let (told, entry) = billed(&fixture, &customer, raw, is_stream).await;
                assert_eq!(
                    (&told["estimated"], &entry.meta["reported"]),
                    (&json!(true), &json!(false)),
                    "{content}"
                );
                both.push(told["completion_tokens"].as_u64().expect("a number"));
            }
            assert_eq!(both[0], both[1], "{content}: streamed as whole");
            let text = message["content"].as_str().unwrap_or_default().len().max(40) as u64;
            assert!((1..text).contains(&both[0]), "{content}: {both:?} of {text} bytes");
        }
        fixture.finish().await;
    });
}

/// Two-byte pieces, a long prompt and base64 in a tool's result: what was charged ahead of the usage comes back.
#[test]
fn what_was_charged_ahead_comes_back() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        let piece = r#"data: {"choices":[{"index":0,"delta":{"content":"ab"}}]}"#;
        let text = format!("{piece}\n\n").repeat(48);
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
             data: {\"choices\":[],\"usage\":{\"prompt_tokens\":101,\"completion_tokens\":15}}\n\ndata: [DONE]\n\n";
        let (_, entry) = billed(&fixture, &customer, json!({"raw": text + end}), true).await;
        assert_eq!(entry.amount.micros(), cost(&[("input", 101), ("output", 15)]));

        let script = json!({"raw": format!("{piece}\n\n{end}")}).to_string();
        let more = json!({"messages": [
            {"role": "tool", "tool_call_id": "c", "content": format!("data:image/png;base64,{}", "QUJD".repeat(20_000))},
            {"role": "user", "content": script}]});
        let before = fixture.available(&customer).await;
        fixture.run(&customer, &json!({}), &more).await;
        assert_eq!(before - fixture.available(&customer).await, cost(&[("input", 101), ("output", 15)]));
        fixture.finish().await;
    });
}

/// Reports that come before the text, or say nothing, do not make the text free; those that are right are not added to it.
#[test]
fn attack_21_reports_that_come_early_are_not_the_bill() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        let zeros = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
        let event = |content: &str, usage: &Value| {
            let choice = json!({"index": 0, "delta": {"content": content}});
            format!("data: {}\n\n", json!({"choices": [choice], "usage": usage}))
        };
        let end =
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let early = json!({"prompt_tokens": 7, "completion_tokens": 50, "total_tokens": 57});
        let begun = json!({"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8});
        for (first, later, prompt, completion) in [
            // Zeros with every piece, and at the end.
            (&zeros, &zeros, None, 40),
            // All of it in the first piece.
            (&early, &Value::Null, Some(7), 50),
            // The prompt alone in the first piece.
            (&begun, &Value::Null, Some(7), 41),
            (&begun, &zeros, Some(7), 41),
        ] {
            let body = event(" word", first)
                + &event(" word", later).repeat(40 - usize::from(completion == 40))
                + end;
            let (told, entry) = billed(&fixture, &customer, json!({ "raw": body }), true).await;
            let prompt = prompt.unwrap_or_else(|| told["prompt_tokens"].as_u64().expect("a number"));
            assert!(prompt > 0, "{told}");
            assert_eq!(
                (&told["prompt_tokens"], &told["completion_tokens"]),
                (&json!(prompt), &json!(completion))
            );
            assert_eq!(told["estimated"], true, "{told}");
            assert_eq!(entry.amount.micros(), cost(&[("input", prompt), ("output", completion)]));
        }
        // A whole answer as well.
        let (told, _) =
            billed(&fixture, &customer, raw(&json!({"content": " word word"}), Some(&zeros), false), false)
                .await;
        assert_eq!((&told["completion_tokens"], &told["estimated"]), (&json!(2), &json!(true)));
        assert!(told["prompt_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{told}");
        fixture.finish().await;
    });
}

/// A model that draws without being asked to costs a key with a budget no more than it set aside for that.
#[test]
fn a_budget_sets_the_price_of_images_aside() {
    run(async {
        let fixture = fixture().await;
        let limits = KeyLimits { total: Some(money(20_000)), ..KeyLimits::default() };
        let customer = fixture.customer_with_limits(10_000_000, limits).await;
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 900,
            "completion_tokens_details": {"image_tokens": 900}});
        let raw = raw(&json!({"content": "Here."}), Some(&usage), false);
        let answer = fixture.complete(&customer, &raw, &json!({"max_tokens": 1_000})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        fixture.idle().await;
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!(entry.amount.micros(), cost(&[("input", 9), ("imageOutput", 900)]));
        fixture.finish().await;
    });
}

/// Twenty at once with one key, whatever the answers are made of and whatever usage their server reports: the budget is
/// never exceeded, and what was answered was charged.
#[test]
fn attack_41_a_budget_is_never_exceeded_whatever_the_content() {
    run(async {
        let fixture = fixture().await;
        let owner = fixture.customer(100_000_000).await.owner;
        let largest = json!({"prompt_tokens": 4_000, "completion_tokens": 300, "total_tokens": 4_300,
            "completion_tokens_details": {"reasoning_tokens": 100, "image_tokens": 100, "audio_tokens": 100}});
        for (content, message) in contents() {
            for (usage, is_stream) in
                [(Some(&largest), false), (Some(&largest), true), (None, false), (None, true)]
            {
                let budget = 60_000;
                let limits = KeyLimits { total: Some(money(budget)), ..KeyLimits::default() };
                let customer = fixture.key(&owner, limits).await;
                let script = raw(&message, usage, is_stream);
                let body = body(&script, &json!({"max_tokens": 300, "stream": is_stream}));
                let answers =
                    concurrently((0..20).map(|_| reply(fixture.post(&customer, CHAT, &body)))).await;
                fixture.idle().await;
                let entries = fixture.entries(&customer).await.into_iter();
                let own = entries.filter(|entry| entry.meta["key"] == customer.id.as_str());
                let own: Vec<i64> = own.map(|entry| entry.amount.micros()).collect();
                let (spent, served) =
                    (own.iter().sum::<i64>(), answers.iter().filter(|a| a.status == 200).count());
                assert!(spent <= budget, "{content}: {spent} of {budget}");
                assert!(
                    served > 0 && own.iter().filter(|amount| **amount > 0).count() == served,
                    "{content}: {own:?}"
                );
            }
        }
        fixture.finish().await;
    });
}

/// Who leaves pays for what came, by the tokenizer's count, and the prompt.
#[test]
fn a_stream_that_is_left_is_charged_by_its_text() {
    run(async {
        let fixture = fixture().await;
        let customer = fixture.customer(10_000_000).await;
        let script = json!({"chunks": 400, "text": " word", "intervalMs": 5});
        let mut stream = fixture.stream(&customer, &script, &json!({})).await;
        for _ in 0..40 {
            stream.next().await.expect("a chunk");
        }
        drop(stream);
        fixture.idle().await;
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!((&entry.meta["end"], &entry.meta["reported"]), (&json!("client_gone"), &json!(false)));
        let tokens = entry.meta["completionTokens"].as_u64().expect("a number");
        assert!((39..400).contains(&tokens), "{tokens}");
        let prompt = entry.meta["promptTokens"].as_u64().expect("a number");
        assert!((10..60).contains(&prompt), "{prompt}");
        assert_eq!(entry.amount.micros(), cost(&[("input", prompt), ("output", tokens)]));
        fixture.finish().await;
    });
}
