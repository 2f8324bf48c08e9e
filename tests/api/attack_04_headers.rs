//! Class 4: header parsing. Most of these cannot be sent with a well-behaved HTTP client.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use farebox_test_support::agent::{self, authorization};
use farebox_test_support::harness::{BODY, PREVIEW, Server, funded, reply, run, shared_chain};
use farebox_test_support::raw_http;
use serde_json::{Value, json};

/// The usual request with these raw header lines.
async fn send(server: &Server, lines: &[&[u8]]) -> raw_http::RawAnswer {
    let mut request = format!(
        "POST {PREVIEW} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        BODY.len()
    )
    .into_bytes();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(BODY.as_bytes());
    raw_http::exchange(server, &request).await
}

async fn with_authorization(server: &Server, value: &[u8]) -> raw_http::RawAnswer {
    send(server, &[&[b"Authorization: ", value].concat()]).await
}

#[test]
fn attack_04_malformed_credentials_get_402_and_never_500() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let honest = agent.pull(&server.challenge().await);
        let token = |value: &Value| authorization(value)["Payment ".len()..].to_owned();
        let good = token(&honest);
        let mut numbers = honest.clone();
        numbers["challenge"]["id"] = json!(7);
        let mut hash = honest.clone();
        hash["payload"] = json!({ "type": "hash" });
        let mut gift = honest.clone();
        gift["payload"] = json!({ "type": "gift", "signature": "0xab" });
        let mut missing = honest.clone();
        missing.as_object_mut().unwrap().remove("payload");
        let malformed = [
            String::new(),
            "!!!".into(),
            "e30".into(),
            URL_SAFE_NO_PAD.encode("[]"),
            URL_SAFE_NO_PAD.encode("\"x\""),
            URL_SAFE_NO_PAD.encode(b"\xff\xfe{}"),
            URL_SAFE_NO_PAD.encode("[".repeat(10_000)),
            format!("{}=", &good[..good.len() - 1]),
            good[..good.len() / 2].to_owned(),
            format!("id=\"{good}\", realm=\"unterminated"),
            "id=\"a\", id=\"b\", ID=\"c\"".into(),
            "\"".into(),
            token(&numbers),
            token(&hash),
            token(&gift),
            token(&missing),
        ];
        for value in malformed {
            let answer = with_authorization(&server, format!("Payment {value}").as_bytes()).await;
            assert_eq!(answer.status, 402, "{value:.60}: {answer:?}");
            assert_eq!(answer.json()["code"], "malformed_credential", "{value:.60}");
            assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Payment ")));
        }
        server.pay(&honest).await.assert_paid();
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_04_the_scheme_is_found_beside_others_and_not_inside_quotes() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let honest = authorization(&agent.pull(&server.challenge().await));
        for value in [
            "Digest realm=\"Payment e30\"".to_owned(),
            format!("Digest realm=\"{honest}\""),
            format!("Digest realm=\"a\\\", {honest}\""),
            format!("Digest realm=\"unterminated, {honest}"),
            "Bearer Payment".to_owned(),
            "Paymentx e30".to_owned(),
            "Bearer \u{fffd}".to_owned(),
        ] {
            let answer = with_authorization(&server, value.as_bytes()).await;
            assert_eq!(answer.json()["code"], "payment_required", "{value:.60}");
        }
        let beside = format!("Bearer key, {}", honest.replace("Payment", "pAYMENT"));
        let paid = with_authorization(&server, beside.as_bytes()).await;
        assert_eq!(paid.status, 200, "{paid:?}");
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_04_several_credentials_are_a_bad_request() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let [a, b] = [(); 2].map(|()| agent.clone());
        let challenge = server.challenge().await;
        let (first, second) =
            (authorization(&a.pull(&challenge)), authorization(&b.pull(&server.challenge().await)));
        let lines: [&[String]; 4] = [
            &[format!("Authorization: {first}"), format!("authorization: {second}")],
            &[format!("Authorization: {first}"), format!("Payment-Authorization: {second}")],
            &[format!("Authorization: {first}, {second}")],
            &[format!("Authorization: {first}"), format!("Payment-Authorization: {first}")],
        ];
        for lines in lines {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let answer = send(&server, &lines).await;
            assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!("several_credentials")));
            assert_eq!(answer.header("www-authenticate"), None);
        }
        server.assert_ledger(shared_chain().await, 0).await;
        // One credential in the other field is one credential.
        let other = format!("Payment-Authorization: {first}");
        let paid = send(&server, &[b"Authorization: Bearer key", other.as_bytes()]).await;
        assert_eq!(paid.status, 200, "{paid:?}");
    });
}

#[test]
fn attack_04_control_and_non_latin_bytes() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let honest = authorization(&agent.pull(&server.challenge().await));
        for bytes in [&b"\xc3\xa9"[..], b"\xff", b"\xe2\x80\xa8", b"\t\x80"] {
            let answer = with_authorization(&server, &[honest.as_bytes(), bytes].concat()).await;
            assert_eq!((answer.status, answer.json()["code"].clone()), (402, json!("malformed_credential")));
        }
        // Not even a header: the connection's parser refuses it.
        for bytes in [&b"\0"[..], b"\x07", b"\r", b"\rX: y"] {
            let answer = with_authorization(&server, &[honest.as_bytes(), bytes].concat()).await;
            assert_eq!(answer.status, 400, "{bytes:?}: {answer:?}");
        }
        // A line break ends the header; what follows is another one, or nothing.
        let folded = with_authorization(&server, format!("Payment\r\n {honest}").as_bytes()).await;
        assert_eq!(folded.status, 400, "obsolete line folding: {folded:?}");
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_04_sizes() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        // 16 KiB and more are read: a credential may carry a large transaction.
        let mut large = agent.pull(&server.challenge().await);
        large["extra"] = json!("x".repeat(20_000));
        assert!(authorization(&large).len() > 16 * 1024);
        server.pay(&large).await.assert_paid();

        for kib in [64, 100, 150] {
            let value = format!("Payment {}", "A".repeat(kib * 1024));
            let answer = with_authorization(&server, value.as_bytes()).await;
            assert_eq!((answer.status, answer.json()["code"].clone()), (402, json!("malformed_credential")));
        }
        // Beyond the head's limit the connection answers for the program.
        let value = format!("Payment {}", "A".repeat(300 * 1024));
        let answer = with_authorization(&server, value.as_bytes()).await;
        assert_eq!(answer.status, 431, "{answer:?}");
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_04_one_credential_in_two_spellings_pays_once() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let mut credential = agent.pull(&server.challenge().await);
        credential["note"] = json!("\u{3ff}\u{3fe}???>>>~~~");
        let padded = STANDARD.encode(credential.to_string());
        assert!(padded.contains(['+', '/', '=']));
        let lenient = with_authorization(&server, format!("Payment {padded}").as_bytes()).await;
        assert_eq!(lenient.status, 200, "{lenient:?}");
        server.delivered(credential["challenge"]["id"].as_str().unwrap()).await;
        server.pay(&credential).await.assert(403, "credential_spent");
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_04_payloads_that_are_no_transaction() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        for payload in ["", "0x", "0xzz", "76", "0x76", "0x76c0", "0x7600", "0x02f8", "\u{ff10}x76"] {
            let credential = agent.credential(&challenge, agent::transaction(payload));
            let refused = reply(server.paying(&credential)).await;
            assert_eq!(refused.status, 402, "{payload}: {}", refused.text);
        }
        // Bytes after the transaction are another transaction: not the one that was signed.
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()])).raw;
        let credential = agent.credential(&challenge, agent::transaction(&format!("{signed}00")));
        server.pay(&credential).await.assert(402, "verification_failed");
        server.assert_ledger(shared_chain().await, 0).await;
    });
}
