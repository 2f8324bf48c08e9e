//! Class 26: request bodies. Bad ones cost nothing: they are refused before a 402.

use std::time::{Duration, Instant};

use farebox_test_support::agent::authorization;
use farebox_test_support::harness::{BODY, PREVIEW, Server, funded, reply, run, shared_chain};
use farebox_test_support::raw_http;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

fn head(lines: &str) -> String {
    format!(
        "POST {PREVIEW} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n{lines}\r\n\r\n"
    )
}

#[test]
fn attack_26_unusable_bodies_get_400_and_no_challenge() {
    run(async {
        let server = Server::start().await;
        let deep =
            format!("{}1{}", r#"{"text":"#.to_owned() + &"[".repeat(100_000), "]".repeat(100_000) + "}");
        let deep_objects = r#"{"messages":"#.to_owned() + &r#"{"a":"#.repeat(50_000);
        for body in [
            "null",
            "true",
            "[]",
            "\"text\"",
            "{",
            r#"{"text":7}"#,
            r#"{"text":""}"#,
            r#"{"text":"a"}{"text":"b"}"#,
            "{\"text\":\"\u{0}\"",
            r#"{"text":"\ud800"}"#,
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1"}}]}]}"#,
            &deep,
            &deep_objects,
        ] {
            let refused = reply(server.post(PREVIEW, body)).await;
            assert_eq!(refused.status, 400, "{body:.60}: {}", refused.text);
            assert_eq!(refused.code(), "invalid_params");
        }
        let invalid = server.post(PREVIEW, "").body(&b"{\"text\":\"\xff\xfe\"}"[..]);
        reply(invalid).await.assert(400, "invalid_params");
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
    });
}

#[test]
fn attack_26_bad_bodies_with_a_credential_cost_nothing_either() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&server.challenge().await);
        for body in ["", "{", r#"{"text":7}"#] {
            let request = server.post(PREVIEW, body).header("authorization", authorization(&credential));
            reply(request).await.assert(400, "invalid_params");
        }
        let typed = server.paying(&credential).header("content-type", "text/plain");
        assert!([200, 415].contains(&reply(typed).await.status));
        server
            .assert_ledger(
                shared_chain().await,
                u64::try_from(server.count("SELECT count(*) FROM credits").await).unwrap(),
            )
            .await;
    });
}

#[test]
fn attack_26_other_content_types() {
    run(async {
        let server = Server::start().await;
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "+json"]
        {
            let request =
                server.request(reqwest::Method::POST, PREVIEW).body(BODY).header("content-type", kind);
            reply(request).await.assert(415, "unsupported_media_type");
        }
        for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"] {
            let request =
                server.request(reqwest::Method::POST, PREVIEW).body(BODY).header("content-type", kind);
            assert_eq!(reply(request).await.status, 402, "{kind}");
        }
        // `mppx validate` sends neither body nor type first: a probe.
        reply(server.request(reqwest::Method::POST, PREVIEW)).await.assert(402, "payment_required");
    });
}

#[test]
fn attack_26_bodies_beyond_the_limit_are_not_read() {
    run(async {
        let server = Server::with_config(|config| {
            config.server.body_limit_bytes = 10_000;
            config.server.file_body_limit_bytes = 10_000;
            config.pii.max_text_bytes = 5_000;
        })
        .await;
        let big = json!({ "text": "x".repeat(20_000) }).to_string();
        reply(server.post(PREVIEW, &big)).await.assert(413, "payload_too_large");
        let text = json!({ "text": "x".repeat(5_001) }).to_string();
        reply(server.post(PREVIEW, &text)).await.assert(413, "payload_too_large");
        let fits = json!({ "text": "x".repeat(5_000) }).to_string();
        assert_eq!(reply(server.post(PREVIEW, &fits)).await.status, 402);
        // A length that promises more than the limit, and chunks that never end.
        let promised = head("content-length: 99999999999");
        let answer = raw_http::exchange(&server, promised.as_bytes()).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(64);
        let endless = head("transfer-encoding: chunked") + &chunk;
        let answer = raw_http::exchange(&server, endless.as_bytes()).await;
        assert_eq!(answer.status, 413, "{answer:?}");
    });
}

#[test]
fn attack_26_slow_bodies_and_slow_heads_are_cut_off() {
    run(async {
        let server = Server::with_config(|config| {
            config.server.body_timeout_ms = 400;
            config.server.header_timeout_ms = 400;
        })
        .await;
        let begun = Instant::now();
        let slow_body = async {
            let mut stream = raw_http::connect(&server).await;
            stream.write_all(head("content-length: 1000").as_bytes()).await.unwrap();
            stream.write_all(b"{\"text\":").await.unwrap();
            raw_http::read(&mut stream).await
        };
        let slow_head = async {
            let mut stream = raw_http::connect(&server).await;
            stream.write_all(b"POST /mpp/pii/preview HTTP/1.1\r\nhost: a\r\n").await.unwrap();
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await.unwrap();
            bytes
        };
        let (body, cut) = tokio::join!(slow_body, slow_head);
        assert_eq!((body.status, body.json()["code"].clone()), (408, json!("request_timeout")));
        assert!(cut.is_empty() || cut.starts_with(b"HTTP/1.1 408"), "{cut:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        // A body that is cut short is not taken for a whole one.
        let mut stream = raw_http::connect(&server).await;
        stream.write_all(head("content-length: 1000").as_bytes()).await.unwrap();
        stream.write_all(BODY.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await;
        assert!(!bytes.starts_with(b"HTTP/1.1 402") && !bytes.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    });
}

#[test]
fn attack_26_smuggled_requests_are_refused() {
    run(async {
        let server = Server::start().await;
        for lines in [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: -1",
            "content-length: +5",
            "content-length: 5, 6",
            "transfer-encoding: chunked, identity",
        ] {
            let answer = raw_http::exchange(&server, (head(lines) + BODY).as_bytes()).await;
            assert_eq!(answer.status, 400, "{lines}: {answer:?}");
        }
        // With both, the length is ignored as RFC 9112 says, and the connection is not reused.
        let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
        let both = head("content-length: 5\r\ntransfer-encoding: chunked") + &chunked;
        let answer = raw_http::exchange(&server, both.as_bytes()).await;
        assert!([400, 402].contains(&answer.status), "{answer:?}");
    });
}
