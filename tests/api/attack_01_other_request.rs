//! Class 1: a credential bought for one request, used for another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox_test_support::agent::authorization;
use farebox_test_support::harness::{BODY, PREVIEW, SPONSORED, Server, funded, reply, run, shared_chain};
use reqwest::Method;
use serde_json::{Value, json};

/// An honest credential stays usable after every misuse of it.
async fn still_pays_once(server: &Server, credential: &Value) {
    server.pay(credential).await.assert_paid();
    server.assert_ledger(shared_chain().await, 1).await;
}

#[test]
fn attack_01_other_query() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&server.challenge().await);
        for path in
            ["/mpp/pii/preview?a=1", "/mpp/pii/preview?", "/mpp/pii/preview?feePayer=false", SPONSORED]
        {
            let request = server.post(path, BODY).header("authorization", authorization(&credential));
            reply(request).await.assert(402, "invalid_challenge");
        }
        still_pays_once(&server, &credential).await;
    });
}

#[test]
fn attack_01_other_body() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&server.challenge().await);
        let long = json!({ "text": "jane@example.com ".repeat(5_000) }).to_string();
        for body in [r#"{"text":"Mail jane@example.com" }"#, r#"{"text":"x"}"#, &long] {
            let request = server.post(PREVIEW, body).header("authorization", authorization(&credential));
            reply(request).await.assert(402, "invalid_challenge");
        }
        still_pays_once(&server, &credential).await;
    });
}

#[test]
fn attack_01_other_method() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        // HEAD is served where GET is, and still another request.
        let proof = agent.proof(&server.proof_challenge().await);
        let head = server.request(Method::HEAD, "/mpp/account");
        let head = reply(head.header("authorization", authorization(&proof))).await;
        assert_eq!((head.status, head.text.as_str()), (402, ""));
        server.prove(&proof).await.assert_paid();
        let credential = agent.pull(&server.challenge().await);
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = server.request(method, PREVIEW).body(BODY);
            let request = request.header("authorization", authorization(&credential));
            reply(request).await.assert(405, "method_not_allowed");
        }
        still_pays_once(&server, &credential).await;
    });
}

#[test]
fn attack_01_other_route() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let preview = agent.pull(&server.challenge().await);
        server.prove(&preview).await.assert(402, "invalid_challenge");
        // The free route's proof does not buy the payable one.
        let proof = agent.proof(&server.proof_challenge().await);
        server.pay(&proof).await.assert(402, "invalid_challenge");
        still_pays_once(&server, &preview).await;
    });
}

#[test]
fn attack_01_other_external_id() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let credential = agent.pull(&server.challenge().await);
        let mut other = credential.clone();
        let encoded = credential["challenge"]["request"].as_str().unwrap();
        let mut request: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap();
        request["externalId"] = json!("order-2");
        other["challenge"]["request"] = json!(URL_SAFE_NO_PAD.encode(request.to_string()));
        server.pay(&other).await.assert(402, "invalid_challenge");
        still_pays_once(&server, &credential).await;
    });
}
