//! Previews from prepaid credits.

use farebox_test_support::harness::{BODY, Reply, reply, run};
use serde_json::json;

use crate::fixture::{PREVIEW, money, on_every_engine, refused};

/// What an answer says that it cost, and what is left.
fn bill(answer: &Reply) -> (Option<&str>, Option<&str>) {
    (answer.header("x-farebox-cost"), answer.header("x-farebox-balance"))
}

#[test]
fn a_preview_costs_its_price_and_bad_input_nothing() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(120_000).await;
        let answer = reply(fixture.post(&customer, PREVIEW, BODY)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json()["redactedText"], "Mail <EMAIL_ADDRESS>");
        assert_eq!(bill(&answer), (Some("0.05"), Some("0.07")));
        assert_eq!(fixture.available(&customer).await, 70_000);
        for wrong in ["", "{", "{}", r#"{"text":5}"#] {
            refused(&reply(fixture.post(&customer, PREVIEW, wrong)).await, 400, "invalid_params");
        }
        let entry = fixture.entries(&customer).await.remove(0);
        assert_eq!((entry.amount, entry.service.as_str()), (money(50_000), "pii.preview"));
        assert_eq!(entry.meta["key"], customer.id.as_str());
        assert_eq!(reply(fixture.post(&customer, PREVIEW, BODY)).await.status, 200);
        let broke = reply(fixture.post(&customer, PREVIEW, BODY)).await;
        let error = refused(&broke, 402, "insufficient_credits");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("$0.05") && message.contains("$0.02 can"), "{message}");
    }));
}

#[test]
fn a_repeated_preview_is_answered_again_and_charged_once() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(50_000).await;
        let keyed = async |body: &str| {
            reply(fixture.post(&customer, PREVIEW, body).header("idempotency-key", "a")).await
        };
        let first = keyed(BODY).await;
        assert_eq!((first.status, bill(&first)), (200, (Some("0.05"), Some("0.00"))));
        let second = keyed(BODY).await;
        assert_eq!(second.text, first.text, "even with nothing left");
        assert_eq!(bill(&second), (Some("0.00"), Some("0.00")), "and it costs nothing");
        assert_eq!(fixture.available(&customer).await, 0);
        refused(&keyed(&json!({"text": "other"}).to_string()).await, 409, "idempotency_key_reused");
    }));
}
