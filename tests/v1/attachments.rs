//! What `urls` and `pdfs` become: messages, read, paid and protected like those of the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{reply, run};
use crate::shop::{PRICE, Shop, money, refused};
use crate::site::{CREDIT, Site, chat, near, pdf, prompts_sent};

#[test]
fn pages_files_and_pdfs_are_read_into_the_conversation() {
    run(on_every_engine_near(async |shop| {
        let site = Site::start().await;
        let customer = shop.customer(CREDIT).await;
        let inline = STANDARD.encode(pdf("An inline zebra", ""));
        let more = json!({
            "urls": [site.url("text?token=secret#part"), site.url("html"), site.url("json"), site.url("pdf"),
                site.url("gzip"), site.url("file")],
            "pdfs": [site.url("pdf"), format!("data:application/pdf;base64,{inline}")],
        });
        for stream in [false, true] {
            let before = shop.left(&customer).await;
            let mut more = more.clone();
            more["stream"] = json!(stream);
            let answer = chat(shop, &customer, &more).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(before - shop.left(&customer).await, 2 * PRICE);
            let at = |path: &str| site.url(path);
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
            assert_eq!(prompts_sent(shop), expected);
        }
        let bare = json!({"pdfs": [inline]});
        assert_eq!(chat(shop, &customer, &bare).await.status, 200);
        assert_eq!(prompts_sent(shop)[0], "[Attachment 1: PDF]\nAn inline zebra");
        let metrics = reply(shop.server.get("/metrics")).await.text;
        assert!(metrics.contains(r#"farebox_fetches_total{outcome="read"}"#), "{metrics}");
    }));
}

/// The same with loopback allowed; every engine, since credits are asked about in between.
async fn on_every_engine_near(test: impl AsyncFn(&Shop)) {
    for database in crate::db::engines().await {
        let shop = Shop::on(database, near).await;
        test(&shop).await;
        shop.finish().await;
    }
}

/// What was attached does not get round the protection of what was written.
#[test]
fn attachments_are_protected_like_messages() {
    run(async {
        let shop = Shop::tuned(near).await;
        let customer = shop.customer(CREDIT).await;
        let inline = STANDARD.encode(pdf("Mail jane@example.com", ""));
        let more = json!({"pdfs": [inline], "privacyMode": "placeholder"});
        assert_eq!(chat(&shop, &customer, &more).await.status, 200);
        let sent = shop.upstream.observed().body.to_string();
        assert!(sent.contains("[EMAIL_ADDRESS_1]") && !sent.contains("jane@"), "{sent}");
        let mut blocked = more;
        blocked["privacyMode"] = json!("block");
        refused(&chat(&shop, &customer, &blocked).await, 400, "invalid_params");
        shop.finish().await;
    });
}

/// What is read is part of the prompt: it is paid, and what does not fit is refused.
#[test]
fn attachments_are_paid_as_part_of_the_prompt() {
    run(async {
        let site = Site::start().await;
        let shop = Shop::tuned(|config| {
            near(config);
            config.models[0].price_per_million_input = money(1_000_000);
            config.models[1].context_length = 8_192;
        })
        .await;
        let customer = shop.customer(CREDIT).await;
        // 3,000 words of five bytes: 3,000 tokens by the model's count, at least 1,875 by ours.
        let page = json!({"max_tokens": 16, "urls": [site.url("half")]});
        assert_eq!(chat(&shop, &customer, &page).await.status, 200);
        let cost = CREDIT - shop.left(&customer).await;
        assert!((1_875 + 2 * PRICE..3_500 + 2 * PRICE).contains(&cost), "{cost}");
        // 300,000 bytes are more than 8,192 tokens, whatever they say.
        let long = json!({"urls": [site.url("words")], "model": "other"});
        let error = refused(&chat(&shop, &customer, &long).await, 400, "invalid_params");
        assert_eq!(error["param"], "messages");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("8192 tokens")), "{error}");
        assert_eq!(CREDIT - shop.left(&customer).await, cost);
        // What is set aside is for all of it: a balance may reach for the question and not for the page.
        let poor = shop.customer(2_500).await;
        assert_eq!(chat(&shop, &poor, &json!({"max_tokens": 16})).await.status, 200);
        let (left, hits) = (shop.left(&poor).await, site.hits());
        refused(&chat(&shop, &poor, &page).await, 402, "insufficient_credits");
        assert_eq!((shop.left(&poor).await, site.hits()), (left, hits + 1));
        shop.finish().await;
    });
}
