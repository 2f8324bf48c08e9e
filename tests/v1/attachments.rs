//! Attachments (`urls`, `pdfs`): they become messages, paid and protected like those of the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_test_support::db;
use farebox_test_support::harness::run;
use serde_json::json;

use crate::fixture::{Fixture, PRICE, money, refused};
use crate::web_server::{CREDIT, WebServer, allow_loopback, chat, pdf, prompts_sent};

#[test]
fn pages_files_and_pdfs_are_read_into_the_conversation() {
    run(on_every_engine_near(async |fixture| {
        let web = WebServer::start().await;
        let customer = fixture.customer(CREDIT).await;
        let inline = STANDARD.encode(pdf("An inline zebra", ""));
        let more = json!({
            "urls": [web.url("text?token=secret#part"), web.url("html"), web.url("json"), web.url("pdf"),
                web.url("gzip"), web.url("file")],
            "pdfs": [web.url("pdf"), format!("data:application/pdf;base64,{inline}")],
        });
        for stream in [false, true] {
            let before = fixture.available(&customer).await;
            let mut more = more.clone();
            more["stream"] = json!(stream);
            let answer = chat(fixture, &customer, &more).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(before - fixture.available(&customer).await, 2 * PRICE);
            let at = |path: &str| web.url(path);
            let expected = [
                format!("[Attachment 1: {}]\nThe zebra eats 37 melons.", at("text")),
                format!("[Attachment 2: {}]\nZoo\nZebras & melons\nSecond", at("html")),
                format!("[Attachment 3: {}]\n{{\"zebra\": 37}}", at("json")),
                format!("[Attachment 4: {}]\nThe zebra in a PDF", at("pdf")),
                format!("[Attachment 5: {}]\nThe zebra, packed.", at("gzip")),
                format!("[Attachment 6: {}]\nA zebra file", at("file")),
                format!("[Attachment 7: {}]\nThe zebra in a PDF", at("pdf")),
                "[Attachment 8: PDF]\nAn inline zebra".to_owned(),
                json!({"chunks": 2}).to_string(),
            ];
            assert_eq!(prompts_sent(fixture), expected);
        }
        let bare = json!({"pdfs": [inline]});
        assert_eq!(chat(fixture, &customer, &bare).await.status, 200);
        assert_eq!(prompts_sent(fixture)[0], "[Attachment 1: PDF]\nAn inline zebra");
        let metrics = fixture.server.metrics().await;
        assert!(metrics.contains(r#"farebox_fetches_total{outcome="read"}"#), "{metrics}");
    }));
}

/// A fixture with loopback allowed, on every engine, since credits are read in between.
async fn on_every_engine_near(test: impl AsyncFn(&Fixture)) {
    for database in db::engines().await {
        let fixture = Fixture::on(database, allow_loopback).await;
        test(&fixture).await;
        fixture.finish().await;
    }
}

/// Attachments are protected like the text of the request.
#[test]
fn attachments_are_protected_like_messages() {
    run(async {
        let fixture = Fixture::with_config(allow_loopback).await;
        let customer = fixture.customer(CREDIT).await;
        let inline = STANDARD.encode(pdf("Mail jane@example.com", ""));
        let more = json!({"pdfs": [inline], "privacyMode": "placeholder"});
        assert_eq!(chat(&fixture, &customer, &more).await.status, 200);
        let sent = fixture.upstream.observed().body.to_string();
        assert!(sent.contains("[EMAIL_ADDRESS_1]") && !sent.contains("jane@"), "{sent}");
        let mut blocked = more;
        blocked["privacyMode"] = json!("block");
        refused(&chat(&fixture, &customer, &blocked).await, 400, "invalid_params");
        fixture.finish().await;
    });
}

/// Attachments are part of the prompt: they are paid, and refused when they do not fit.
#[test]
fn attachments_are_paid_as_part_of_the_prompt() {
    run(async {
        let web = WebServer::start().await;
        let fixture = Fixture::with_config(|config| {
            allow_loopback(config);
            config.models[0].price_per_million_input = money(1_000_000);
            config.models[1].context_length = 8_192;
        })
        .await;
        let customer = fixture.customer(CREDIT).await;
        // 3,000 words of five bytes: 3,000 tokens by the model's count, at least 1,875 by ours.
        let page = json!({"max_tokens": 16, "urls": [web.url("half")]});
        assert_eq!(chat(&fixture, &customer, &page).await.status, 200);
        let cost = CREDIT - fixture.available(&customer).await;
        assert!((1_875 + 2 * PRICE..3_500 + 2 * PRICE).contains(&cost), "{cost}");
        // 300,000 bytes are more than 8,192 tokens, whatever they say.
        let long = json!({"urls": [web.url("words")], "model": "other"});
        let error = refused(&chat(&fixture, &customer, &long).await, 400, "invalid_params");
        assert_eq!(error["param"], "messages");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("8192 tokens")), "{error}");
        assert_eq!(CREDIT - fixture.available(&customer).await, cost);
        // What is set aside is for all of it: a balance may reach for the question and not for the page.
        let poor = fixture.customer(2_500).await;
        assert_eq!(chat(&fixture, &poor, &json!({"max_tokens": 16})).await.status, 200);
        let (left, request_count) = (fixture.available(&poor).await, web.request_count());
        refused(&chat(&fixture, &poor, &page).await, 402, "insufficient_credits");
        assert_eq!((fixture.available(&poor).await, web.request_count()), (left, request_count + 1));
        fixture.finish().await;
    });
}
