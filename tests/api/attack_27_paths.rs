//! Class 27, where it applies: paths that mean another one, and what clients send coming back.

use farebox_test_support::agent::{self, authorization};
use farebox_test_support::harness::{BODY, PREVIEW, Server, funded, reply, run, shared_chain};
use farebox_test_support::raw_http;
use serde_json::json;

#[test]
fn attack_27_paths_are_taken_literally() {
    run(async {
        let server = Server::start().await;
        for path in [
            "/mpp/../mpp/pii/preview",
            "/mpp/./pii/preview",
            "/mpp/%2e%2e/mpp/pii/preview",
            "/mpp/pii%2fpreview",
            "/mpp/pii/%70review",
            "/mpp/pii/preview/",
            "//mpp/pii/preview",
            "/mpp//pii/preview",
            "/MPP/pii/preview",
            "/mpp/pii/preview%00",
            "/mpp/pii/preview;a=b",
            "/../../../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
        ] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{BODY}",
                BODY.len()
            );
            let answer = raw_http::exchange(&server, request.as_bytes()).await;
            assert_eq!((answer.status, answer.json()["code"].clone()), (404, json!("not_found")), "{path}");
            assert!(!answer.body.contains("passwd"), "the path comes back: {answer:?}");
        }
    });
}

#[test]
fn attack_27_an_absolute_target_does_not_choose_the_realm_or_the_route() {
    run(async {
        let server = Server::start().await;
        let request = format!(
            "POST http://evil.example{PREVIEW} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        let answer = raw_http::exchange(&server, request.as_bytes()).await;
        assert_eq!(answer.status, 402);
        let challenge = agent::Challenge::parse(answer.header("www-authenticate").expect("a challenge"));
        assert_eq!(challenge.realm, "127.0.0.1");
        // It is a challenge for the same route, whatever host was named.
        let agent = funded(shared_chain().await).await;
        server.pay(&agent.pull(&challenge)).await.assert_paid();
    });
}

#[test]
fn attack_27_request_ids_come_back_only_when_harmless() {
    run(async {
        let server = Server::start().await;
        let sent = async |value: &[u8]| {
            let value = reqwest::header::HeaderValue::from_bytes(value).unwrap();
            let answer = reply(server.get("/healthz").header("x-request-id", value)).await;
            answer.header("x-request-id").expect("always there").to_owned()
        };
        for good in ["abc", "req_1:2.3-4", &"x".repeat(128)] {
            assert_eq!(sent(good.as_bytes()).await, good);
        }
        let hostile: [&[u8]; 6] = [b"", b"a b", b"<script>", b"a\tb", "\u{e9}".as_bytes(), &[b'x'; 129]];
        for bad in hostile {
            let made = sent(bad).await;
            assert!(uuid::Uuid::try_parse(&made).is_ok(), "{made}");
        }
        let (one, two) = (reply(server.get("/healthz")).await, reply(server.get("/healthz")).await);
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    });
}

#[test]
fn the_request_id_is_kept_with_the_entry() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let credential = agent.pull(&server.challenge().await);
        let paid = reply(server.paying(&credential).header("x-request-id", "my-request-7")).await;
        assert_eq!(paid.assert_paid().header("x-request-id"), Some("my-request-7"));
        assert_eq!(server.count("SELECT count(*) FROM entries WHERE request_id = 'my-request-7'").await, 1);
    });
}

#[test]
fn attack_27_errors_do_not_repeat_what_was_sent() {
    run(async {
        let server = Server::start().await;
        let marker = "MARKER-f00d";
        let agent = funded(shared_chain().await).await;
        let mut credential = agent.pull(&server.challenge().await);
        credential["challenge"]["realm"] = json!(marker);
        credential["challenge"]["id"] = json!(marker);
        let header = authorization(&credential);
        for request in [
            server.get(&format!("/{marker}")).header("cookie", marker),
            server.post(PREVIEW, BODY).header("authorization", header).header("referer", marker),
            server.post(PREVIEW, BODY).header("authorization", format!("Payment {marker}")),
            server.post(&format!("{PREVIEW}?feePayer={marker}"), BODY),
            server.post(PREVIEW, BODY).header("idempotency-key", format!("{marker} {marker}")),
            server.post(PREVIEW, &format!("{{\"text\": {marker}}}")),
        ] {
            let refused = reply(request).await;
            assert!(refused.status >= 400);
            assert!(!refused.text.contains(marker), "{}", refused.text);
            for (name, value) in &refused.headers {
                assert!(!String::from_utf8_lossy(value.as_bytes()).contains(marker), "{name}");
            }
        }
    });
}
