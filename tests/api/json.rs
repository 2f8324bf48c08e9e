//! Payments whose challenge, credential and receipt travel as JSON values, as MCP carries them, and
//! not in HTTP headers: the same core, the same ledger.

use std::sync::atomic::{AtomicU32, Ordering};

use farebox::funding::Paid;
use farebox::id::{RequestId, Timestamp};
use farebox::payments::json::{self, CREDENTIAL, PAYMENT_REQUIRED};
use farebox::payments::{
    ChallengeError, Credential, Delivery, RedeemError, Requirement, Resource, WorkError,
};
use mpp::PaymentCredential;
use serde_json::{Value, json};
use uuid::Uuid;

use farebox_test_support::agent::{Agent, Challenge};
use farebox_test_support::harness::{Server, funded, run, shared_chain};

const TOOL: &str = "pii_preview";

/// A call of a tool that costs as much as a preview.
fn call(server: &Server, tool: &str, arguments: &Value) -> Requirement {
    Requirement {
        resource: Resource::mcp_tool(tool),
        digest: Some(json::digest(tool, arguments).expect("canonical")),
        offers: server.app.offers.preview.clone(),
        service: "pii.preview",
        request_id: RequestId::new(Timestamp::from_millis(0)),
        idempotency_key: None,
        top_up: None,
        gives_authority: false,
        is_costly: false,
    }
}

/// The challenge of a call's unpaid result, from its `_meta`.
fn ask(server: &Server, call: &Requirement) -> Challenge {
    let issuer = &server.app.issuer;
    let expires = issuer.expiry(Timestamp::now());
    let challenges = call.challenges(issuer, call.offers.iter(), Uuid::new_v4(), expires);
    let challenges: Vec<Value> = challenges.iter().map(json::challenge).collect();
    // As the SDK of an agent reads it.
    let meta = json!({ PAYMENT_REQUIRED: { "challenges": challenges } });
    let challenges = mpp::mcp::extract_result_challenges(&meta).expect("challenges that the SDK reads");
    Challenge::from_json(serde_json::to_value(challenges[0].to_echo()).expect("JSON"))
}

/// A credential in the `_meta` of a call, as the SDK of an agent attaches it.
fn attached(credential: &Value) -> Value {
    let credential: PaymentCredential = serde_json::from_value(credential.clone()).expect("a credential");
    let mut params = json!({ "name": TOOL });
    mpp::mcp::attach_credential(&mut params, &credential);
    let attached = params["_meta"][CREDENTIAL].clone();
    assert!(attached["challenge"]["request"].is_object(), "the transport writes it as an object");
    attached
}

/// Redeems the credential of a call's `_meta`. Counts how often the work was done.
async fn redeem(
    server: &Server,
    call: &Requirement,
    credential: &Value,
    works: &AtomicU32,
) -> Result<Delivery, RedeemError<()>> {
    let credential: Credential = json::charge_credential(credential).expect("well formed");
    let work = async |paid: Paid| {
        works.fetch_add(1, Ordering::Relaxed);
        Ok::<_, WorkError<()>>(json!({ "payer": paid.payer().name() }).to_string())
    };
    server.app.charges.redeem(call, &credential, Timestamp::now(), work).await
}

#[test]
fn a_charge_is_paid_by_a_credential_in_a_json_value() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let call = call(&server, TOOL, &json!({ "text": "Mail jane@example.com" }));
        let (asked, works) = (ask(&server, &call), AtomicU32::new(0));
        let credential = attached(&agent.pull(&asked));
        let paid = redeem(&server, &call, &credential, &works).await.expect("paid");
        assert_eq!(paid.answer, format!(r#"{{"payer":"{:#x}"}}"#, agent.address()));
        let receipt = json::receipt(&paid.receipt);
        assert_eq!(receipt["challengeId"], asked.id);
        assert_eq!((&receipt["method"], &receipt["status"]), (&json!("tempo"), &json!("success")));
        let payment = server.payment(&asked.id).await.expect("stored");
        assert_eq!(payment.resource, "mcp:tools/call:pii_preview");
        assert_eq!((payment.method.as_str(), payment.network.as_str()), ("tempo", "eip155:1337"));
        assert_eq!(receipt["reference"].as_str(), payment.transaction());
        server.assert_ledger(chain, 1).await;

        // Its answer never left, so the same credential fetches it again; the money moved once.
        server.app.charges.undelivered(&asked.id).await.expect("released");
        let again = redeem(&server, &call, &credential, &works).await.expect("the same answer");
        assert_eq!((again.answer, again.receipt), (paid.answer, paid.receipt));
        assert_eq!(works.load(Ordering::Relaxed), 1);
        server.app.charges.payments().delivered(&asked.id, Timestamp::now()).await.expect("noted");
        let spent = redeem(&server, &call, &credential, &works).await;
        assert!(matches!(spent, Err(RedeemError::Spent(_))), "{spent:?}");
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn attack_01_a_credential_in_json_opens_no_other_call() {
    run(async {
        let server = Server::start().await;
        let agent: Agent = funded(shared_chain().await).await;
        let arguments = json!({ "text": "a" });
        let bought = call(&server, TOOL, &arguments);
        let credential = agent.pull(&ask(&server, &bought));
        let works = AtomicU32::new(0);
        let http =
            Requirement { resource: Resource::http("POST", "/mpp/pii/preview", None), ..bought.clone() };
        for (other, expected) in [
            (call(&server, "chat", &arguments), ChallengeError::OtherResource),
            (http, ChallengeError::OtherResource),
            (call(&server, TOOL, &json!({ "text": "b" })), ChallengeError::OtherBody),
        ] {
            let refused = redeem(&server, &other, &credential, &works).await;
            assert!(
                matches!(refused, Err(RedeemError::Challenge(error)) if error == expected),
                "{refused:?}, not {expected:?}"
            );
        }
        // Nor does it pass in a header for what is sold over HTTP.
        server.pay(&credential).await.assert(402, "invalid_challenge");
        assert_eq!(works.load(Ordering::Relaxed), 0);
        assert_eq!(server.count("SELECT count(*) FROM payments").await, 0);
    });
}
