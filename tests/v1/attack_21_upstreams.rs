//! Row 21: models that lie about their usage, fail, or never end.

use serde_json::json;

use crate::harness::run;
use crate::shop::{PRICE, Shop, money, on_every_engine, refused};

#[test]
fn attack_21_absurd_usage_is_not_billed() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(1_000_000).await;
        for usage in ["huge", "negative", "fractional", "missing"] {
            let script = json!({"chunks": 8, "usage": usage});
            let before = shop.left(&customer).await;
            let transcript = shop.run(&customer, &script, &json!({"max_tokens": 50})).await;
            assert_eq!(transcript.texts, 8);
            let streamed = before - shop.left(&customer).await;
            assert_eq!(streamed, 8 * PRICE, "{usage}");
            let whole = shop.ask(&customer, &script, &json!({"max_tokens": 50})).await;
            assert_eq!(whole.status, 200);
            let cost = before - streamed - shop.left(&customer).await;
            // Eight words of six bytes are twelve tokens by their length.
            assert!((8 * PRICE..=14 * PRICE).contains(&cost), "{usage}: {cost}");
        }
    }));
}

/// A prompt of ten words that is said to have had a whole context of tokens.
#[test]
fn attack_21_a_prompt_has_no_more_tokens_than_bytes() {
    run(async {
        let shop = Shop::tuned(|config| config.models[0].price_per_million_input = money(1_000_000)).await;
        let customer = shop.customer(1_000_000).await;
        let raw = concat!(
            "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30000,\"completion_tokens\":1}}\n\n",
            "data: [DONE]\n\n"
        );
        shop.run(&customer, &json!({"raw": raw}), &json!({})).await;
        let cost = 1_000_000 - shop.left(&customer).await;
        assert!(cost < 100 + 500, "{cost}");
        shop.finish().await;
    });
}

#[test]
fn attack_21_a_model_that_breaks_off_is_paid_for_what_came() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(1_000_000).await;
        for accident in ["cutAfter", "errorAfter"] {
            let before = shop.left(&customer).await;
            let transcript = shop.run(&customer, &json!({"chunks": 9, accident: 4}), &json!({})).await;
            assert_eq!(
                (transcript.texts, transcript.errors.len(), transcript.done),
                (4, 1, true),
                "{accident}"
            );
            assert_eq!(transcript.errors[0]["code"], "upstream_failed");
            assert_eq!(before - shop.left(&customer).await, 4 * PRICE);
        }
        let before = shop.left(&customer).await;
        refused(&shop.ask(&customer, &json!({"status": 500}), &json!({})).await, 502, "upstream_failed");
        assert_eq!(shop.left(&customer).await, before);
    }));
}

/// It may say more than it was allowed to; nobody pays for more than was asked for.
#[test]
fn attack_21_a_model_that_never_ends_costs_what_was_asked_for() {
    run(on_every_engine(async |shop| {
        let customer = shop.customer(1_000_000).await;
        let transcript = shop.run(&customer, &json!({"endless": true}), &json!({"max_tokens": 25})).await;
        assert!(transcript.texts >= 25 && transcript.done, "{transcript:?}");
        assert_eq!(1_000_000 - shop.left(&customer).await, 25 * PRICE);
    }));
}
