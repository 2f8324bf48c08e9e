//! Files beside the conversation: uploads and results, each for one account, once, for minutes.

use std::path::PathBuf;

use farebox::config::Config;
use farebox_test_support::db;
use farebox_test_support::harness::{reply, run};
use serde_json::{Value, json};

use crate::fixture::{Connected, Fixture, on_every_engine, refusal, structured};
use crate::wire::Era;

const SANS: &[u8] = include_bytes!("../../crates/pii/tests/images/fixtures/sans.png");
const PLAIN_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/plain.pdf");

fn with_models(config: &mut Config) {
    let folder = std::env::var_os("FAREBOX_MODELS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models"));
    assert!(folder.join("ocr/det.onnx").is_file(), "{} has no models: run `make tools`", folder.display());
    config.pii.models = Some(folder);
    config.pii.limit_seconds = 20;
}

async fn call(fixture: &Fixture, connected: &Connected, tool: &str, arguments: Value) -> Value {
    fixture.client(connected, Era::Stateless).call(tool, &arguments, &json!({})).await
}

async fn put(fixture: &Fixture, upload: &Value, bytes: &[u8]) -> u16 {
    let path = path_of(fixture, &upload["uploadUrl"]);
    reply(fixture.server.request(reqwest::Method::PUT, &path).body(bytes.to_vec())).await.status
}

fn path_of(fixture: &Fixture, url: &Value) -> String {
    let url = url.as_str().expect("a URL");
    url.strip_prefix(&fixture.server.url).expect("of this server").to_owned()
}

#[test]
fn a_file_is_uploaded_redacted_and_fetched() {
    run(async {
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, with_models).await;
            let connected = fixture.connect(1_000_000, &json!({})).await;
            for (bytes, kind, magic) in
                [(SANS, "image/png", &b"\x89PNG"[..]), (PLAIN_PDF, "application/pdf", b"%PDF")]
            {
                let upload =
                    structured(&call(&fixture, &connected, "create_upload", json!({})).await).clone();
                assert_eq!(put(&fixture, &upload, bytes).await, 204);
                let arguments = json!({"uploadId": upload["uploadId"]});
                let message = call(&fixture, &connected, "redact_file", arguments.clone()).await;
                let redacted = structured(&message);
                assert_eq!((&redacted["mediaType"], &redacted["costUsd"]), (&json!(kind), &json!("0.05")));
                assert!(
                    redacted["counts"].as_object().is_some_and(|counts| !counts.is_empty()),
                    "{redacted}"
                );
                let path = path_of(&fixture, &redacted["url"]);
                // Whatever opened the link first, it works for a while.
                for _ in 0..2 {
                    let file = fixture.server.get(&path).send().await.expect("an answer");
                    assert_eq!(file.status(), 200);
                    assert_eq!(file.headers()["content-type"], kind);
                    assert!(file.bytes().await.expect("bytes").starts_with(magic));
                }
                let used = call(&fixture, &connected, "redact_file", arguments).await;
                assert!(refusal(&used).contains("no such file"), "{used}");
            }
            assert_eq!(fixture.available(&connected).await, 900_000);
            fixture.assert_audit().await;
            fixture.server.stop().await;
        }
    });
}

/// The last money was charged for it and the answer was lost: the same call under its key is answered, of what was paid.
#[test]
fn attack_72_a_file_that_is_asked_for_again_is_paid_once() {
    run(async {
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, with_models).await;
            let connected = fixture.connect(50_000, &json!({})).await;
            let upload = structured(&call(&fixture, &connected, "create_upload", json!({})).await).clone();
            assert_eq!(put(&fixture, &upload, SANS).await, 204);
            let arguments = json!({"uploadId": upload["uploadId"]});
            let meta = json!({"farebox/idempotency-key": "one"});
            let client = fixture.client(&connected, Era::Stateless);
            let first = structured(&client.call("redact_file", &arguments, &meta).await).clone();
            let again = structured(&client.call("redact_file", &arguments, &meta).await).clone();
            assert_eq!((&first["costUsd"], &again["costUsd"]), (&json!("0.05"), &json!("0.00")));
            assert_eq!(first["counts"], again["counts"]);
            // There is one file for one request.
            for (link, status) in [(&first["url"], 404), (&again["url"], 200)] {
                let answer = fixture.server.get(&path_of(&fixture, link)).send().await.expect("an answer");
                assert_eq!(answer.status(), status);
            }
            let other = client.call("redact_file", &arguments, &json!({})).await;
            assert!(refusal(&other).contains("insufficient_credits"), "{other}");
            assert_eq!(fixture.available(&connected).await, 0);
            fixture.assert_audit().await;
            fixture.server.stop().await;
        }
    });
}

#[test]
fn attack_74_uploads_are_for_one_account_once_and_few() {
    run(on_every_engine(async |fixture| {
        let (connected, other) =
            (fixture.connect(1_000_000, &json!({})).await, fixture.connect(1_000_000, &json!({})).await);
        let upload = structured(&call(fixture, &connected, "create_upload", json!({})).await).clone();
        let early = call(fixture, &connected, "redact_file", json!({"uploadId": upload["uploadId"]})).await;
        assert!(refusal(&early).contains("nothing was uploaded"), "{early}");
        assert_eq!(put(fixture, &upload, b"<html>").await, 415);
        assert_eq!(put(fixture, &upload, SANS).await, 204);
        assert_eq!(put(fixture, &upload, PLAIN_PDF).await, 404, "once");
        let stolen = call(fixture, &other, "redact_file", json!({"uploadId": upload["uploadId"]})).await;
        assert!(refusal(&stolen).contains("no such file"), "{stolen}");
        // The id is no token, and an upload is no result.
        for path in [
            format!("/mcp/files/{}", upload["uploadId"].as_str().expect("an id")),
            format!("/mcp/files/{}", "A".repeat(43)),
            path_of(fixture, &upload["uploadUrl"]),
        ] {
            assert_eq!(reply(fixture.server.get(&path)).await.status, 404, "{path}");
        }
        for _ in 0..3 {
            structured(&call(fixture, &connected, "create_upload", json!({})).await);
        }
        let many = call(fixture, &connected, "create_upload", json!({})).await;
        assert!(refusal(&many).contains("the most it can have"), "{many}");
        let poor = fixture.connect(10_000, &json!({})).await;
        let refused = call(fixture, &poor, "create_upload", json!({})).await;
        assert!(refusal(&refused).contains("insufficient_credits"), "{refused}");
        for wrong in [json!({}), json!({"uploadId": "a", "url": "b"})] {
            let refused = call(fixture, &connected, "redact_file", wrong).await;
            assert!(refusal(&refused).contains("either `uploadId` or `url`"), "{refused}");
        }
        for url in ["http://127.0.0.1/a.png", "file:///etc/passwd", "http://169.254.169.254/"] {
            let refused = call(fixture, &connected, "redact_file", json!({"url": url})).await;
            assert!(refusal(&refused).contains("`url`"), "{refused}");
        }
        assert_eq!(fixture.available(&connected).await, 1_000_000);
    }));
}
