//! Images and PDFs: in previews, and on their way to a model.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox::config::Config;
use farebox::permits::MemoryPermit;
use farebox_pii::image::image_bytes;
use farebox_pii::image::ocr::Ocr;
use farebox_pii::pdf::pdf_bytes;
use farebox_test_support::harness::{Reply, reply, run};
use serde_json::{Value, json};

use crate::fixture::{Customer, Fixture, PREVIEW, refused};
use crate::web_server::{WebServer, allow_loopback};

const SANS: &[u8] = include_bytes!("../../crates/pii/tests/images/fixtures/sans.png");
const ASTRONAUT: &[u8] = include_bytes!("../../crates/pii/tests/images/fixtures/astronaut.jpg");
const PLAIN_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/plain.pdf");
const SCANNED_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/scanned.pdf");
const LOCKED_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/locked.pdf");

const PRICE: i64 = 50_000;

fn models() -> PathBuf {
    let folder = std::env::var_os("FAREBOX_MODELS").map(PathBuf::from);
    folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"))
}

/// Networks are slow where this program is not optimised.
fn with_models(config: &mut Config) {
    let folder = models();
    assert!(folder.join("ocr/det.onnx").is_file(), "{} has no models: run `make tools`", folder.display());
    config.pii.models = Some(folder);
    config.pii.limit_seconds = 20;
}

fn png() -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(SANS))
}

fn read(data_url: &Value) -> Vec<String> {
    let bytes = image_bytes(data_url.as_str().expect("a data URL"), 1 << 24).expect("an image");
    let image = image::load_from_memory(&bytes).expect("an image").into_rgb8();
    let file = |name: &str| std::fs::read(models().join("ocr").join(name)).expect("a model");
    let keys = String::from_utf8(file("keys.txt")).expect("text");
    let ocr = Ocr::from_models(file("det.onnx"), file("rec.onnx"), &keys).expect("a model");
    let lines = ocr.read(&image, &AtomicBool::new(false)).expect("read");
    lines.into_iter().map(|line| line.text.replace(' ', "")).collect()
}

async fn preview(fixture: &Fixture, customer: &Customer, body: &Value) -> Reply {
    reply(fixture.post(customer, PREVIEW, &body.to_string())).await
}

#[test]
fn images_and_pdfs_come_back_without_what_was_found() {
    run(async {
        let fixture = Fixture::with_config(with_models).await;
        let customer = fixture.customer(10 * PRICE).await;
        let body = json!({
            "text": "Write to jane@example.com.",
            "images": [png(), STANDARD.encode(ASTRONAUT)],
            "pdfs": [STANDARD.encode(PLAIN_PDF)],
            "piiConfig": { "faceBlur": { "mode": "fill" }, "pdf": { "dpi": 72 } },
        });
        let answer = preview(&fixture, &customer, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        assert_eq!(answer["redactedText"], "Write to <EMAIL_ADDRESS>.");
        let form = &answer["images"][0];
        let mut found: Vec<&str> =
            form["entities"].as_array().expect("a list").iter().filter_map(|e| e["type"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "US_SSN"], "{form}");
        assert!(
            form["entities"][0]["boxes"][0]["width"].as_f64().is_some_and(|width| width > 50.0),
            "{form}"
        );
        assert_eq!((&form["path"], &form["width"]), (&json!("images[0]"), &json!(480)));
        let left = read(&form["redacted"]).join("\n");
        assert!(left.contains("brownfox") && !left.contains("maria") && !left.contains("8741"), "{left}");
        let portrait = &answer["images"][1];
        assert_eq!(portrait["faces"].as_array().map(Vec::len), Some(1), "{}", portrait["faces"]);
        assert!(portrait["redacted"].as_str().is_some_and(|url| url.starts_with("data:image/jpeg;base64,")));
        assert_eq!(answer["counts"]["FACE"], 1);
        let pdf = &answer["pdfs"][0];
        assert!(pdf["entities"].as_array().is_some_and(|found| !found.is_empty()), "{pdf}");
        assert_eq!((&pdf["entities"][0]["source"], &pdf["entities"][0]["page"]), (&json!("text"), &json!(1)));
        let redacted = pdf_bytes(pdf["redacted"].as_str().expect("a data URL"), 1 << 25).expect("a PDF");
        assert!(redacted.starts_with(b"%PDF-"));
        assert_eq!(fixture.available(&customer).await, 9 * PRICE);
        fixture.finish().await;
    });
}

#[test]
fn what_cannot_be_examined_costs_nothing() {
    run(async {
        let fixture = Fixture::with_config(with_models).await;
        let customer = fixture.customer(PRICE).await;
        let truncated = STANDARD.encode(&SANS[..SANS.len() / 2]);
        for (body, expected) in [
            (json!({ "images": [truncated] }), "`images[0]`: the image is damaged or incomplete"),
            (json!({ "images": ["QUJD"] }), "`images[0]`: the image is in no supported format"),
            (json!({ "images": [""] }), "`images[0]`: the image is empty"),
            (json!({ "pdfs": [STANDARD.encode(SANS)] }), "`pdfs[0]`: this is not a PDF"),
            (
                json!({ "pdfs": [STANDARD.encode(LOCKED_PDF)] }),
                "`pdfs[0]`: the PDF is protected by a password",
            ),
            (
                json!({ "pdfs": [STANDARD.encode(PLAIN_PDF)], "piiConfig": { "pdf": { "pages": 9 } } }),
                "`pdfs[0]`: page 9 is selected",
            ),
            (
                json!({ "pdfs": [STANDARD.encode(SCANNED_PDF)], "piiConfig": { "ocr": false } }),
                "reading text in images is not available",
            ),
        ] {
            let error = refused(&preview(&fixture, &customer, &body).await, 400, "invalid_params");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(fixture.available(&customer).await, PRICE);
        let body = json!({ "images": [png()] });
        assert_eq!(preview(&fixture, &customer, &body).await.status, 200);
        let broke = preview(&fixture, &customer, &body).await;
        refused(&broke, 402, "insufficient_credits");
        fixture.finish().await;
    });
}

/// A request that was charged is answered again, also when nothing is left.
#[test]
fn a_repeated_preview_of_a_file_is_charged_once() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(PRICE).await;
        let body = json!({ "pdfs": [STANDARD.encode(PLAIN_PDF)], "piiConfig": { "pdf": { "dpi": 36 } } })
            .to_string();
        let keyed =
            async || reply(fixture.post(&customer, PREVIEW, &body).header("idempotency-key", "a")).await;
        let first = keyed().await;
        assert_eq!(first.status, 200, "{}", first.text);
        assert_eq!(keyed().await.text, first.text);
        assert_eq!(fixture.available(&customer).await, 0);
        fixture.finish().await;
    });
}

#[test]
fn without_a_model_images_are_refused() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(PRICE).await;
        for (config, expected) in [
            (json!({}), "without the OCR model"),
            (json!({ "ocr": false }), "without the face model"),
            (json!({ "ocr": false, "faceBlur": false }), "nothing is looked for"),
        ] {
            let body = json!({ "images": [png()], "piiConfig": config });
            let error = refused(&preview(&fixture, &customer, &body).await, 400, "invalid_params");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains(expected), "{message}");
        }
        let scanned = json!({ "pdfs": [STANDARD.encode(SCANNED_PDF)] });
        let error = refused(&preview(&fixture, &customer, &scanned).await, 400, "invalid_params");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("page 1 has images")), "{error}");
        assert_eq!(fixture.available(&customer).await, PRICE);
        fixture.finish().await;
    });
}

#[test]
fn a_model_gets_images_and_pdfs_without_personal_data() {
    run(async {
        let fixture = Fixture::with_config(with_models).await;
        let customer = fixture.customer(1_000_000).await;
        let content = json!([
            { "type": "text", "text": "From jane@example.com:" },
            { "type": "image_url", "image_url": { "url": png(), "detail": "high" } },
            { "type": "file", "file": { "filename": "letter.pdf",
                "file_data": format!("data:application/pdf;base64,{}", STANDARD.encode(PLAIN_PDF)) } },
        ]);
        let messages = json!([{ "role": "user", "content": content }]);
        let more = json!({ "messages": messages, "privacyMode": "placeholder" });
        let answer = fixture.complete(&customer, &json!({}), &more).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let seen = fixture.upstream.observed().body;
        let parts = &seen["messages"][0]["content"];
        assert_eq!(parts[0]["text"], "From [EMAIL_ADDRESS_1]:");
        assert_eq!(parts[1]["image_url"]["detail"], "high");
        let left = read(&parts[1]["image_url"]["url"]).join("\n");
        assert!(left.contains("brownfox") && !left.contains("maria") && !left.contains("4111"), "{left}");
        assert_eq!(parts[2]["file"]["filename"], "letter.pdf");
        assert_ne!(parts[2], content[2]);
        fixture.idle().await;
        let counts = fixture.entries(&customer).await[0].meta["pii"].clone();
        // In text, image and PDF together.
        assert_eq!((&counts["EMAIL_ADDRESS"], &counts["CREDIT_CARD"]), (&json!(3), &json!(3)), "{counts}");

        let block = json!({ "messages": messages, "privacyMode": "block", "piiEntities": ["US_SSN"] });
        let error = refused(&fixture.complete(&customer, &json!({}), &block).await, 400, "invalid_params");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("US_SSN")), "{error}");
        let off = json!({ "messages": messages, "skip_pii_redaction": true });
        assert_eq!(fixture.complete(&customer, &json!({}), &off).await.status, 200);
        assert_eq!(fixture.upstream.observed().body["messages"], messages);
        fixture.finish().await;
    });
}

/// A model's server would fetch it unseen, so it is fetched here, like anything that is: from public hosts only.
#[test]
fn attack_25_images_that_are_examined_are_fetched_with_care() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            with_models(config);
            allow_loopback(config);
        })
        .await;
        let web = WebServer::start().await;
        let customer = fixture.customer(1_000_000).await;
        let asking = |url: String| {
            let content = json!([{ "type": "image_url", "image_url": { "url": url } }]);
            json!({ "messages": [{ "role": "user", "content": content }], "privacyMode": "redact" })
        };
        for (url, expected) in [
            (web.url("missing"), "image_url.url` answered with status 404; nothing was charged"),
            (web.url("image"), "`messages[0].content[0].image_url.url`: the image is in no supported format"),
            ("http://169.254.169.254/latest".to_owned(), "image_url.url` has no public address"),
        ] {
            let error =
                refused(&fixture.complete(&customer, &json!({}), &asking(url)).await, 400, "invalid_params");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains(expected) && !message.contains("secret"), "{message}");
        }
        assert_eq!(
            (fixture.upstream.observed().requests, fixture.available(&customer).await),
            (0, 1_000_000)
        );
        let answer = fixture.complete(&customer, &json!({}), &asking(web.url("form.png"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("x-pii-redacted"), Some("4"));
        let seen = fixture.upstream.observed().body;
        let left = read(&seen["messages"][0]["content"][0]["image_url"]["url"]).join("\n");
        assert!(left.contains("brownfox") && !left.contains("maria"), "{left}");
        fixture.finish().await;
    });
}

/// Bodies with files may be larger than others, and all of them together not larger than memory.
#[test]
fn attack_26_large_bodies_share_their_room() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.server.file_body_limit_bytes = 3 << 20;
            config.server.large_bodies_bytes = 3 << 20;
        })
        .await;
        let customer = fixture.customer(PRICE).await;
        let padded = |bytes: usize| {
            let mut body =
                json!({ "pdfs": [STANDARD.encode(PLAIN_PDF)], "piiConfig": { "pdf": { "dpi": 36 } } })
                    .to_string();
            body.extend(std::iter::repeat_n(' ', bytes));
            body
        };
        let large = reply(fixture.post(&customer, PREVIEW, &padded(2 << 20))).await;
        assert_eq!(large.status, 200, "{}", large.text);
        refused(&reply(fixture.post(&customer, PREVIEW, &padded(3 << 20))).await, 413, "payload_too_large");
        // Somebody else has taken the room.
        let mut taken = MemoryPermit::default();
        assert!(fixture.server.app.large_bodies.try_raise(&mut taken, 2 << 20), "all of it is free");
        refused(
            &reply(fixture.post(&customer, PREVIEW, &padded(3 << 18))).await,
            402,
            "insufficient_credits",
        );
        let busy = reply(fixture.post(&customer, PREVIEW, &padded(5 << 19))).await;
        refused(&busy, 503, "service_unavailable");
        assert!(busy.header("retry-after").is_some());
        drop(taken);
        refused(
            &reply(fixture.post(&customer, PREVIEW, &padded(5 << 19))).await,
            402,
            "insufficient_credits",
        );
        fixture.finish().await;
    });
}
