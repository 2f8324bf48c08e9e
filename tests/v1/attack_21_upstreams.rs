//! Row 21: models that lie about their usage, fail, or never end.

use farebox_test_support::harness::run;
use serde_json::json;

use crate::fixture::{Fixture, PRICE, money, on_every_engine, refused};

#[test]
fn attack_21_absurd_usage_is_not_billed() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        for usage in ["huge", "negative", "fractional", "missing"] {
            let script = json!({"chunks": 8, "text": " word", "usage": usage});
            let before = fixture.available(&customer).await;
            let transcript = fixture.run(&customer, &script, &json!({"max_tokens": 50})).await;
            assert_eq!(transcript.texts, 8);
            let streamed = before - fixture.available(&customer).await;
            assert_eq!(streamed, 8 * PRICE, "{usage}");
            let non_streaming = fixture.complete(&customer, &script, &json!({"max_tokens": 50})).await;
            assert_eq!(non_streaming.status, 200);
            let cost = before - streamed - fixture.available(&customer).await;
            assert_eq!(cost, 8 * PRICE, "{usage}");
        }
    }));
}

/// A prompt of ten words whose reported usage is a whole context of tokens.
#[test]
fn attack_21_a_prompt_has_no_more_tokens_than_bytes() {
    run(async {
        let fixture =
            Fixture::with_config(|config| config.models[0].price_per_million_input = money(1_000_000)).await;
        let customer = fixture.customer(1_000_000).await;
        let raw = concat!(
            "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30000,\"completion_tokens\":1}}\n\n",
            "data: [DONE]\n\n"
        );
        fixture.run(&customer, &json!({"raw": raw}), &json!({})).await;
        let cost = 1_000_000 - fixture.available(&customer).await;
        assert!(cost < 100 + 500, "{cost}");
        fixture.finish().await;
    });
}

#[test]
fn attack_21_a_model_that_breaks_off_is_paid_for_what_came() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        for accident in ["cutAfter", "errorAfter"] {
            let before = fixture.available(&customer).await;
            let transcript =
                fixture.run(&customer, &json!({"chunks": 9, "text": " word", accident: 4}), &json!({})).await;
            assert_eq!(
                (transcript.texts, transcript.errors.len(), transcript.done),
                (4, 1, true),
                "{accident}"
            );
            assert_eq!(transcript.errors[0]["code"], "upstream_failed");
            assert_eq!(before - fixture.available(&customer).await, 4 * PRICE);
        }
        let before = fixture.available(&customer).await;
        refused(
            &fixture.complete(&customer, &json!({"status": 500}), &json!({})).await,
            502,
            "upstream_failed",
        );
        assert_eq!(fixture.available(&customer).await, before);
    }));
}

/// It may send more than it was allowed to; only the allowed tokens are paid.
#[test]
fn attack_21_a_model_that_never_ends_costs_what_was_asked_for() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let transcript = fixture.run(&customer, &json!({"endless": true}), &json!({"max_tokens": 25})).await;
        assert!(transcript.texts >= 25 && transcript.done, "{transcript:?}");
        assert_eq!(1_000_000 - fixture.available(&customer).await, 25 * PRICE);
    }));
}
