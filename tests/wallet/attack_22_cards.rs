//! Class 22: card payments credited twice, never, for nothing, or kept after they were taken back.

use std::process::Stdio;

use farebox::money::Money;
use farebox_test_support::agent::Agent;
use farebox_test_support::capture;
use farebox_test_support::harness::{Server, reply, run};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::management::{
    CHECKOUT, account, assert_audit, balance_of, dollars, done, on_every_engine, post, proof, refused, spend,
    with,
};
use crate::stripe_double::{
    StripeDouble, WEBHOOK, WEBHOOK_SECRET, charge_object, deliver_event, deliver_event_with, dispute_object,
    event, session_object, sign,
};

const COMPLETED: &str = "checkout.session.completed";
const SUCCEEDED: &str = "checkout.session.async_payment_succeeded";
const FAILED: &str = "checkout.session.async_payment_failed";
const REFUNDED: &str = "charge.refunded";
const DISPUTED: &str = "charge.dispute.created";

async fn with_stripe(test: impl AsyncFn(&Server, &StripeDouble)) {
    let double = StripeDouble::start().await;
    on_every_engine(|config| double.configure(config), async |server| test(server, &double).await).await;
}

/// A wallet that wants ten dollars of credit; the checkout's id.
async fn begun(server: &Server, agent: &Agent) -> String {
    let body = with(proof(agent, "checkout", ""), &json!({ "usdAmount": "10" }));
    let begun = done(&post(server, CHECKOUT, &body).await);
    begun["checkoutId"].as_str().expect("an id").to_owned()
}

async fn paid(server: &Server, checkout: &str, payment: &str) {
    let body = event(COMPLETED, &session_object(checkout, payment, 1000, "paid"));
    assert_eq!(deliver_event(server, &body).await.status, 200);
}

async fn assert_balance_and_debt(server: &Server, agent: &Agent, available: i64, debt: i64) {
    assert_eq!(balance_of(server, agent).await.available(), dollars(available));
    let owed = server.app.cards.debt(&account(agent)).await.expect("the database answers");
    assert_eq!(owed, dollars(debt), "debt");
}

#[test]
fn attack_22_one_payment_is_credited_once_under_whatever_event() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        assert_balance_and_debt(server, &agent, 0, 0).await;
        let session = session_object(&checkout, "pi_once", 1000, "paid");
        // The same event again, another id, another kind; and all of them at once.
        let same = event(COMPLETED, &session);
        let bodies = [same.clone(), same, event(COMPLETED, &session), event(SUCCEEDED, &session)];
        for body in &bodies {
            assert_eq!(deliver_event(server, body).await.status, 200);
        }
        let all = futures_util::future::join_all(
            bodies.iter().cycle().take(12).map(|body| deliver_event(server, body)),
        );
        for answer in all.await {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        assert_balance_and_debt(server, &agent, 10, 0).await;
        assert_eq!(server.count("SELECT count(*) FROM credits WHERE source = 'card:pi_once'").await, 1);
    }));
}

#[test]
fn attack_22_first_reports_that_race_credit_once() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        let session = session_object(&checkout, "pi_race", 1000, "paid");
        let bodies: Vec<_> = (0..8).map(|_| event(COMPLETED, &session)).collect();
        let all = futures_util::future::join_all(bodies.iter().map(|body| deliver_event(server, body))).await;
        assert!(all.iter().all(|answer| answer.status == 200));
        assert_balance_and_debt(server, &agent, 10, 0).await;
    }));
}

#[test]
fn attack_22_only_a_fresh_signature_over_the_body_is_believed() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        let body = event(COMPLETED, &session_object(&checkout, "pi_forged", 1000, "paid"));
        let now = farebox::id::Timestamp::now().seconds();
        for signature in [
            String::new(),
            "t=1,v1=00".to_owned(),
            sign("whsec_other", now, &body),
            sign("", now, &body),
            sign(WEBHOOK_SECRET, now - 3600, &body),
            sign(WEBHOOK_SECRET, now + 3600, &body),
            sign(WEBHOOK_SECRET, now, &body.replace("1000", "10000")),
            sign(WEBHOOK_SECRET, now, &body).replace("v1=", "v0="),
        ] {
            refused(&deliver_event_with(server, &body, &signature).await, 400, "invalid_params");
        }
        refused(&reply(server.post(WEBHOOK, &body)).await, 400, "invalid_params");
        assert_balance_and_debt(server, &agent, 0, 0).await;
        assert_eq!(server.count("SELECT count(*) FROM card_payments").await, 0, "nothing was recorded");
        paid(server, &checkout, "pi_forged").await;
        assert_balance_and_debt(server, &agent, 10, 0).await;
    }));
}

#[test]
fn attack_22_an_event_that_could_not_be_recorded_is_not_marked_seen() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        let body = event(COMPLETED, &session_object(&checkout, "pi_lost", 1000, "paid"));
        server.db.execute("ALTER TABLE credits RENAME TO gone").await;
        refused(&deliver_event(server, &body).await, 500, "billing_error");
        server.db.execute("ALTER TABLE gone RENAME TO credits").await;
        assert_balance_and_debt(server, &agent, 0, 0).await;
        assert_eq!(server.count("SELECT count(*) FROM card_payments").await, 0);
        assert_eq!(deliver_event(server, &body).await.status, 200);
        assert_balance_and_debt(server, &agent, 10, 0).await;
    }));
}

#[test]
fn attack_22_a_checkout_that_is_complete_and_not_paid_credits_nothing() {
    run(with_stripe(async |server, _| {
        let (slow, never) = (Agent::random(), Agent::random());
        let (checkout, other) = (begun(server, &slow).await, begun(server, &never).await);
        for (checkout, payment) in [(&checkout, "pi_slow"), (&other, "pi_never")] {
            let body = event(COMPLETED, &session_object(checkout, payment, 1000, "unpaid"));
            assert_eq!(deliver_event(server, &body).await.status, 200);
        }
        assert_balance_and_debt(server, &slow, 0, 0).await;
        let body = event(SUCCEEDED, &session_object(&checkout, "pi_slow", 1000, "paid"));
        assert_eq!(deliver_event(server, &body).await.status, 200);
        let body = event(FAILED, &session_object(&other, "pi_never", 1000, "unpaid"));
        assert_eq!(deliver_event(server, &body).await.status, 200);
        assert_balance_and_debt(server, &slow, 10, 0).await;
        assert_balance_and_debt(server, &never, 0, 0).await;
        // A failure that is reported late changes nothing that was paid.
        let body = event(FAILED, &session_object(&checkout, "pi_slow", 1000, "unpaid"));
        assert_eq!(deliver_event(server, &body).await.status, 200);
        assert_balance_and_debt(server, &slow, 10, 0).await;
        assert_eq!(server.count("SELECT count(*) FROM card_checkouts WHERE state = 'paid'").await, 1);
        assert_eq!(server.count("SELECT count(*) FROM card_checkouts WHERE state = 'failed'").await, 1);
    }));
}

#[test]
fn attack_22_a_refund_that_is_told_before_its_payment_counts() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        let refund = event(REFUNDED, &charge_object("pi_order", 1000, 400));
        assert_eq!(deliver_event(server, &refund).await.status, 200);
        assert_balance_and_debt(server, &agent, 0, 0).await;
        paid(server, &checkout, "pi_order").await;
        assert_balance_and_debt(server, &agent, 6, 0).await;
        // The rest, then the earlier and smaller sum again, then everything once more.
        for refunded in [1000, 400, 1000] {
            let body = event(REFUNDED, &charge_object("pi_order", 1000, refunded));
            assert_eq!(deliver_event(server, &body).await.status, 200);
            assert_balance_and_debt(server, &agent, 0, 0).await;
        }
        paid(server, &checkout, "pi_order").await;
        assert_balance_and_debt(server, &agent, 0, 0).await;
    }));
}

/// The bank of the payer does not take every refund, days after it was made.
#[test]
fn attack_22_a_refund_that_fails_later_is_given_back_once() {
    run(with_stripe(async |server, _| {
        let refund = |kind: &str, id: &str, cents: i64, status: &str| {
            event(
                kind,
                &json!({ "id": id, "object": "refund", "payment_intent": "pi_back", "amount": cents,
                         "currency": "usd", "status": status }),
            )
        };
        let sum = |cents: i64| event(REFUNDED, &charge_object("pi_back", 1000, cents));
        let agent = Agent::random();
        paid(server, &begun(server, &agent).await, "pi_back").await;
        for (body, available, debt) in [
            (refund("refund.created", "re_1", 400, "pending"), 6, 0),
            (sum(400), 6, 0),
            (refund("refund.failed", "re_1", 400, "failed"), 10, 0),
            (refund("charge.refund.updated", "re_1", 400, "failed"), 10, 0),
            // Out of order, and again.
            (sum(400), 10, 0),
            (refund("refund.updated", "re_1", 400, "pending"), 10, 0),
            // A second one, which arrives.
            (refund("refund.created", "re_2", 300, "succeeded"), 7, 0),
            (sum(300), 7, 0),
            // One that is told only when it fails.
            (refund("refund.failed", "re_3", 300, "canceled"), 7, 0),
            (refund("refund.created", "re_4", 700, "succeeded"), 0, 0),
            (sum(1000), 0, 0),
        ] {
            assert_eq!(deliver_event(server, &body).await.status, 200);
            assert_balance_and_debt(server, &agent, available, debt).await;
        }
        assert_audit(server).await;
    }));
}

#[test]
fn attack_22_a_refund_and_a_dispute_of_one_payment_take_it_back_once() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        for payment in ["pi_kept", "pi_gone"] {
            paid(server, &begun(server, &agent).await, payment).await;
        }
        for body in [
            event(REFUNDED, &charge_object("pi_gone", 1000, 300)),
            event(DISPUTED, &dispute_object("pi_gone", 1000)),
            event(DISPUTED, &dispute_object("pi_gone", 1000)),
            event(REFUNDED, &charge_object("pi_gone", 1000, 1000)),
        ] {
            assert_eq!(deliver_event(server, &body).await.status, 200);
        }
        assert_balance_and_debt(server, &agent, 10, 0).await;
        assert_eq!(server.count("SELECT count(*) FROM entries WHERE kind = 'refund'").await, 2);
    }));
}

#[test]
fn attack_22_credit_that_is_spent_becomes_a_debt_that_new_money_pays() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        paid(server, &begun(server, &agent).await, "pi_spent").await;
        spend(server, &agent, dollars(7), "model", "r-1").await;
        let body = event(DISPUTED, &dispute_object("pi_spent", 1000));
        assert_eq!(deliver_event(server, &body).await.status, 200);
        assert_balance_and_debt(server, &agent, 0, 7).await;
        let shown = done(&post(server, crate::management::BALANCE, &proof(&agent, "balance", "")).await);
        assert_eq!((&shown["debt"], &shown["available"]), (&json!("7.00"), &json!("0.00")));
        assert_audit(server).await;
        // Told again, nothing more is owed.
        assert_eq!(
            deliver_event(server, &event(DISPUTED, &dispute_object("pi_spent", 1000))).await.status,
            200
        );
        assert_balance_and_debt(server, &agent, 0, 7).await;
        paid(server, &begun(server, &agent).await, "pi_next").await;
        assert_balance_and_debt(server, &agent, 3, 0).await;
        let metrics = server.metrics().await;
        assert!(metrics.contains("farebox_card_debt_micros_total"), "{metrics}");
        assert!(capture::logged().contains("it is a debt"), "operators are warned");
    }));
}

/// A bank that asks has taken nothing yet. What becomes a dispute is one.
#[test]
fn attack_22_an_inquiry_takes_nothing_until_it_is_a_dispute() {
    run(with_stripe(async |server, _| {
        let told = |kind: &str, status: &str| {
            let mut object = dispute_object("pi_asked", 1000);
            object["status"] = json!(status);
            event(kind, &object)
        };
        let agent = Agent::random();
        paid(server, &begun(server, &agent).await, "pi_asked").await;
        for (body, available) in [
            (told(DISPUTED, "warning_needs_response"), 10),
            (told("charge.dispute.updated", "warning_under_review"), 10),
            (told("charge.dispute.closed", "warning_closed"), 10),
            // A second one, which the bank takes further.
            (told(DISPUTED, "warning_needs_response"), 10),
            (told("charge.dispute.updated", "needs_response"), 0),
            (told("charge.dispute.funds_withdrawn", "needs_response"), 0),
            (told("charge.dispute.closed", "won"), 10),
            (told("charge.dispute.updated", "won"), 10),
        ] {
            assert_eq!(deliver_event(server, &body).await.status, 200);
            assert_balance_and_debt(server, &agent, available, 0).await;
        }
        assert_audit(server).await;
    }));
}

/// Told twice and in any order; and money that is given again pays debts first.
#[test]
fn attack_22_a_dispute_that_is_won_gives_its_credit_again_once() {
    run(with_stripe(async |server, _| {
        let closed = |status: &str| {
            let mut object = dispute_object("pi_won", 1000);
            object["status"] = json!(status);
            event("charge.dispute.closed", &object)
        };
        let opened = || event(DISPUTED, &dispute_object("pi_won", 1000));
        let agent = Agent::random();
        paid(server, &begun(server, &agent).await, "pi_won").await;
        spend(server, &agent, dollars(4), "model", "r-1").await;
        for (body, available, debt) in [
            (opened(), 0, 4),
            (closed("under_review"), 0, 4),
            (closed("won"), 6, 0),
            (closed("won"), 6, 0),
            (opened(), 6, 0),
            (event(REFUNDED, &charge_object("pi_won", 1000, 500)), 1, 0),
            (event(REFUNDED, &charge_object("pi_won", 1000, 1000)), 0, 4),
        ] {
            assert_eq!(deliver_event(server, &body).await.status, 200);
            assert_balance_and_debt(server, &agent, available, debt).await;
        }
        assert_audit(server).await;
        let early = Agent::random();
        let checkout = begun(server, &early).await;
        for (body, available) in [(closed("won"), 0), (opened(), 0)] {
            assert_eq!(deliver_event(server, &body.replace("pi_won", "pi_early")).await.status, 200);
            assert_balance_and_debt(server, &early, available, 0).await;
        }
        paid(server, &checkout, "pi_early").await;
        assert_balance_and_debt(server, &early, 10, 0).await;
        assert_audit(server).await;
    }));
}

#[test]
fn attack_22_another_amount_and_another_shop_credit_what_was_paid_here() {
    run(with_stripe(async |server, _| {
        let agent = Agent::random();
        let checkout = begun(server, &agent).await;
        let body = event(COMPLETED, &session_object(&checkout, "pi_less", 600, "paid"));
        assert_eq!(deliver_event(server, &body).await.status, 200);
        assert_balance_and_debt(server, &agent, 6, 0).await;
        // Another product on the same account at the processor.
        let mut foreign = session_object("another-shop", "pi_foreign", 1000, "paid");
        assert_eq!(deliver_event(server, &event(COMPLETED, &foreign)).await.status, 200);
        foreign["metadata"] = json!({});
        assert_eq!(deliver_event(server, &event(COMPLETED, &foreign)).await.status, 200);
        assert_eq!(deliver_event(server, &event("invoice.paid", &foreign)).await.status, 200);
        assert_eq!(server.count("SELECT count(*) FROM credits").await, 1);
    }));
}

#[test]
fn attack_22_a_repeated_checkout_makes_one_payment_page() {
    run(with_stripe(async |server, double| {
        let agent = Agent::random();
        let before = double.seen(|seen| seen.sessions.len());
        let order = json!({ "packId": "starter" });
        let checkout = async |body: &serde_json::Value, key: &str| {
            reply(server.post(CHECKOUT, &body.to_string()).header("idempotency-key", key)).await
        };
        let body = with(proof(&agent, "checkout", ""), &order);
        let first = done(&checkout(&body, "k-1").await);
        // The very same request, and a newly signed one.
        let again = done(&checkout(&body, "k-1").await);
        let resigned = done(&checkout(&with(proof(&agent, "checkout", ""), &order), "k-1").await);
        assert_eq!((&first["url"], &first["checkoutId"]), (&again["url"], &again["checkoutId"]));
        assert_eq!(first["url"], resigned["url"]);
        let other = with(proof(&agent, "checkout", ""), &json!({ "usdAmount": 25 }));
        refused(&checkout(&other, "k-1").await, 409, "idempotency_key_reused");
        refused(&checkout(&body, "k-2").await, 403, "NONCE_REPLAY");
        // Another wallet's key is another key.
        done(&checkout(&with(proof(&Agent::random(), "checkout", ""), &order), "k-1").await);
        assert_eq!(double.seen(|seen| seen.sessions.len()) - before, 2);
        // The processor is down: the same request can be sent again.
        let late = with(proof(&agent, "checkout", ""), &order);
        double.seen(|seen| seen.fail = Some(401));
        refused(&checkout(&late, "k-3").await, 502, "upstream_failed");
        double.seen(|seen| seen.fail = None);
        done(&checkout(&late, "k-3").await);
        assert_eq!(balance_of(server, &agent).await.credited(), Money::ZERO);
    }));
}

/// Stripe's own library signs what we believe.
#[test]
fn attack_22_webhooks_of_stripes_own_library_are_believed() {
    run(async {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/stripe_sign.mjs");
        let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_modules/stripe");
        assert!(std::path::Path::new(installed).exists(), "{installed} is missing: run `make tools`");
        let double = StripeDouble::start().await;
        let server = Server::with_config(|config| double.configure(config)).await;
        let agent = Agent::random();
        let checkout = begun(&server, &agent).await;
        let body = event(COMPLETED, &session_object(&checkout, "pi_library", 1000, "paid"));
        let mut node = tokio::process::Command::new("node");
        node.args([script, WEBHOOK_SECRET]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = node.spawn().expect("node runs");
        let mut stdin = node.stdin.take().expect("piped");
        stdin.write_all(body.as_bytes()).await.expect("node reads");
        drop(stdin);
        let output = node.wait_with_output().await.expect("node ends");
        let header = String::from_utf8(output.stdout).expect("text");
        assert_eq!(deliver_event_with(&server, &body, &header).await.status, 200, "{header}");
        assert_balance_and_debt(&server, &agent, 10, 0).await;
    });
}
