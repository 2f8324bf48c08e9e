//! What became of a checkout, and receipts for print.

use farebox::id::{SourceRef, Timestamp};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, Server, run};
use serde_json::json;

use crate::management::{
    CHECKOUT, account, dollars, done, get, line, nonce, now, on_every_engine, post, proof, refused, signed,
    with,
};
use crate::stripe_double::{
    StripeDouble, charge_object, deliver_event, dispute_object, event, session_object,
};

const HOSTILE: &str = "<script>alert(1)</script> & Co";

async fn status(server: &Server, agent: &Agent, id: &str) -> Reply {
    get(server, &format!("/api/v1/billing/checkouts/{id}"), &proof(agent, "ledger", "")).await
}

async fn receipt(server: &Server, agent: &Agent, source: &str) -> Reply {
    get(server, &format!("/api/v1/billing/receipts/{source}"), &proof(agent, "ledger", "")).await
}

#[test]
fn a_wallet_sees_what_became_of_its_own_checkouts() {
    run(async {
        let double = StripeDouble::start().await;
        let test = async |server: &Server| {
            let agent = Agent::random();
            let mut begun = Vec::new();
            for _ in 0..3 {
                let body = with(proof(&agent, "checkout", ""), &json!({ "packId": "plus" }));
                let page = done(&post(server, CHECKOUT, &body).await);
                begun.push(page["checkoutId"].as_str().expect("an id").to_owned());
            }
            let [paid, disputed, expired] = begun.as_slice() else { panic!("three") };
            let open = done(&status(server, &agent, paid).await);
            assert_eq!((&open["id"], &open["state"]), (&json!(paid), &json!("open")));
            assert_eq!((&open["priceUsd"], &open["creditsUsd"]), (&json!("50.00"), &json!("50.00")));
            assert!(
                open["createdAt"].is_string() && open.get("paidAt").is_none() && open.get("source").is_none()
            );
            for (checkout, payment) in [(paid, "pi_paid"), (disputed, "pi_disputed")] {
                let body =
                    event("checkout.session.completed", &session_object(checkout, payment, 5000, "paid"));
                assert_eq!(deliver_event(server, &body).await.status, 200);
            }
            let object = session_object(expired, "pi_none", 5000, "unpaid");
            assert_eq!(deliver_event(server, &event("checkout.session.expired", &object)).await.status, 200);
            let shown = done(&status(server, &agent, paid).await);
            assert_eq!((&shown["state"], &shown["source"]), (&json!("paid"), &json!("card:pi_paid")));
            assert!(shown["paidAt"].is_string());
            assert_eq!(done(&status(server, &agent, expired).await)["state"], "expired");

            let page = receipt(server, &agent, "card%3Api_paid").await;
            assert_eq!(page.status, 200, "{}", page.text);
            for text in ["<h1>Receipt</h1>", "$50.00", "card:pi_paid", "Paid by card"] {
                assert!(page.text.contains(text), "{text}: {}", page.text);
            }
            assert!(!page.text.contains("Refunded"));

            let body = event("charge.refunded", &charge_object("pi_paid", 5000, 1000));
            assert_eq!(deliver_event(server, &body).await.status, 200);
            let body = event("charge.dispute.created", &dispute_object("pi_disputed", 5000));
            assert_eq!(deliver_event(server, &body).await.status, 200);
            assert_eq!(done(&status(server, &agent, paid).await)["state"], "refunded");
            assert_eq!(done(&status(server, &agent, disputed).await)["state"], "disputed");
            let page = receipt(server, &agent, "card:pi_paid").await;
            assert!(page.text.contains("<dt>Refunded</dt><dd>$10.00</dd>"), "{}", page.text);

            // Nobody else's, and nothing that there is not.
            let other = Agent::random();
            refused(&status(server, &other, paid).await, 404, "not_found");
            refused(&receipt(server, &other, "card:pi_paid").await, 404, "not_found");
            for wrong in ["x", "%00", "'%20OR%201=1", "0b9c4a52-6d2e-4f0e-9a6e-3f6b0c5d7e81"] {
                refused(&status(server, &agent, wrong).await, 404, "not_found");
                refused(&receipt(server, &agent, wrong).await, 404, "not_found");
            }
        };
        on_every_engine(|config| double.configure(config), test).await;
    });
}

#[test]
fn attack_28_a_receipt_is_escaped_text() {
    run(on_every_engine(
        |config| {
            config.product.name = HOSTILE.into();
            config.product.contact = Some("\"><img src=x onerror=alert(1)>@example.com".into());
        },
        async |server| {
            let agent = Agent::random();
            let account = account(&agent);
            let hostile = "test:<svg/onload=alert(1)>\"'&/..%2f";
            let source = SourceRef::parse(hostile).expect("a token");
            let credited = server.app.ledger.credit(&account, dollars(1), &source, Timestamp::now()).await;
            credited.expect("the ledger takes it");
            let encoded = hostile.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
            let message = line("ledger", "", &nonce(), &now()).replace("Pryv", HOSTILE);
            let path = format!("/api/v1/billing/receipts/{encoded}");
            let page = get(server, &path, &signed(&agent, &message)).await;
            assert_eq!(page.status, 200, "{}", page.text);
            // The page has a picture of its own, and no other.
            assert_eq!(
                page.text.matches("<img").count(),
                page.text.matches("<img src=\"/favicon.svg\"").count()
            );
            for tag in ["<script", "<svg"] {
                assert!(!page.text.contains(tag), "{}", page.text);
            }
            assert!(
                page.text.contains("test:&lt;svg/onload=alert(1)&gt;&quot;&#39;&amp;/..%2f"),
                "{}",
                page.text
            );
            let policy = page.header("content-security-policy").expect("a policy");
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            assert_eq!(page.header("cache-control"), Some("no-store"));
            assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
        },
    ));
}
