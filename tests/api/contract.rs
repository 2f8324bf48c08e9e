//! The form of every answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox_test_support::agent;
use farebox_test_support::harness::{BODY, PREVIEW, Server, digest, funded, reply, run, shared_chain};
use reqwest::Method;
use serde_json::json;

#[test]
fn unpaid_requests_get_402_with_all_that_a_client_needs() {
    run(async {
        let server = Server::start().await;
        let unpaid = reply(server.post(PREVIEW, BODY)).await;
        assert_eq!(unpaid.header("cache-control"), Some("no-store"));
        assert_eq!(unpaid.header("content-type"), Some("application/problem+json"));
        let problem = unpaid.json();
        assert_eq!(problem["type"], "https://paymentauth.org/problems/payment-required");
        assert_eq!(problem["title"], "Payment Required");
        let challenge = unpaid.challenge();
        assert_eq!(problem["challengeId"], challenge.id);
        let header = unpaid.challenges()[0];
        assert!(header.len() < 4096, "clients need only handle 4 KiB");
        assert!(header.is_ascii());
        for name in
            ["id", "realm", "method", "intent", "request", "expires", "digest", "opaque", "description"]
        {
            assert_eq!(header.matches(&format!("{name}=\"")).count(), 1, "{name} in {header}");
        }
        assert_eq!(challenge.echo["method"], "tempo");
        assert_eq!(challenge.echo["intent"], "charge");
        assert_eq!(challenge.echo["digest"], digest(BODY));
        assert_eq!(challenge.request["methodDetails"]["chainId"], agent::CHAIN_ID);
        for name in ["request", "opaque"] {
            let encoded = challenge.echo[name].as_str().unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64url without padding");
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            // Sorted keys, no blanks: JCS, for what these values hold.
            assert_eq!(serde_json::to_string(&sorted(&value)).unwrap().as_bytes(), bytes, "{name}");
        }
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0, "nothing is written");
    });
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    let serde_json::Value::Object(object) = value else { return value.clone() };
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect()
}

#[test]
fn unpaid_requests_without_a_body_carry_no_digest() {
    run(async {
        let server = Server::start().await;
        let challenge = server.proof_challenge().await;
        assert_eq!(challenge.echo.get("digest"), None);
        assert_eq!(challenge.request["amount"], "0");
    });
}

#[test]
fn accept_payment_filters_and_never_leaves_a_402_without_a_challenge() {
    run(async {
        let server = Server::start().await;
        for accept in [
            "tempo/charge",
            "tempo/*",
            "*/*",
            "*/charge;q=0.1, stripe/charge",
            "stripe/charge;q=1.0, tempo/charge;q=0.5",
            "",
            "stripe/charge",
            "tempo/charge;q=0",
            "tempo/charge;q=2",
            ";;;",
            "Tempo/charge, x",
            &"tempo/charge,".repeat(500),
        ] {
            let unpaid = reply(server.post(PREVIEW, BODY).header("accept-payment", accept)).await;
            assert_eq!(unpaid.challenge().echo["intent"], "charge", "{accept:.60}");
        }
    });
}

#[test]
fn paid_answers_are_private_and_carry_a_receipt() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        let paid = server.pay(&agent.pull(&challenge)).await;
        assert_eq!(paid.assert_paid().header("cache-control"), Some("private"));
        assert_eq!(paid.header("content-type"), Some("application/json"));
        let receipt = paid.receipt();
        let payment = server.payment(&challenge.id).await.expect("stored");
        assert_eq!(receipt["reference"].as_str(), payment.transaction());
        assert_eq!(receipt["method"], "tempo");
        assert_eq!(receipt["challengeId"], challenge.id);
        assert_eq!((&receipt["amount"], &receipt["units"]), (&json!("50000"), &json!("1")));
        assert_eq!(receipt["unitPrice"], "50000");
        let settled = farebox::id::Timestamp::parse_rfc3339(receipt["timestamp"].as_str().unwrap());
        let age = farebox::id::Timestamp::now().millis() - settled.expect("RFC 3339").millis();
        assert!((0..60_000).contains(&age), "{age}");
    });
}

#[test]
fn other_methods_and_paths_get_the_right_problem() {
    run(async {
        let server = Server::start().await;
        reply(server.get("/nothing/here")).await.assert(404, "not_found");
        reply(server.post("/", "")).await.assert(405, "method_not_allowed");
        let wrong = reply(server.get(PREVIEW)).await;
        wrong.assert(405, "method_not_allowed");
        assert_eq!(wrong.header("allow"), Some("POST"));
        let wrong = reply(server.post("/mpp", "{}")).await;
        wrong.assert(405, "method_not_allowed");
        assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
        let (get, head) =
            (reply(server.get("/mpp")).await, reply(server.request(Method::HEAD, "/mpp")).await);
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        // Neither a method that HTTP does not know.
        let odd = server.request(Method::from_bytes(b"BREW").unwrap(), PREVIEW);
        reply(odd).await.assert(405, "method_not_allowed");
    });
}

#[test]
fn browsers_may_pay() {
    run(async {
        let server = Server::start().await;
        let preflight = server
            .request(Method::OPTIONS, PREVIEW)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,idempotency-key,accept-payment",
            );
        let preflight = reply(preflight).await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        let allowed = preflight.header("access-control-allow-headers").unwrap().to_lowercase();
        for name in
            ["authorization", "payment-authorization", "content-type", "idempotency-key", "accept-payment"]
        {
            assert!(allowed.contains(name), "{name} in {allowed}");
        }
        let unpaid = reply(server.post(PREVIEW, BODY).header("origin", "https://shop.example")).await;
        assert_eq!(unpaid.status, 402);
        let exposed = unpaid.header("access-control-expose-headers").unwrap().to_lowercase();
        for name in ["www-authenticate", "payment-receipt", "retry-after", "x-request-id"] {
            assert!(exposed.contains(name), "{name} in {exposed}");
        }
        assert_eq!(unpaid.header("access-control-allow-credentials"), None, "credentials are never ambient");
    });
}

#[test]
fn a_free_preview_needs_only_a_proof() {
    run(async {
        let server =
            Server::with_config(|config| config.pii.preview_price = farebox::money::Money::ZERO).await;
        let agent = agent::Agent::random();
        let challenge = server.challenge().await;
        assert_eq!(challenge.amount(), 0);
        server.pay(&agent.proof(&challenge)).await.assert_paid();
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 0);
    });
}
