//! Rules of a request rather than of its channel: a key that is charged once, a client that
//! goes away before the first chunk, limits on vouchers, and warnings to operators.

use farebox::config::Secret;
use farebox::money::Money;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, asked, eventually, reply, run};
use farebox_test_support::payer::Payer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, body, on_every_engine};

/// A request for a whole answer has a price of its own, and so a challenge of its own.
pub async fn payer_for_non_streaming(
    fixture: &Fixture<'_>,
    payer: &Payer,
    script: &Value,
) -> (Payer, String) {
    let body = body(script, false).replacen('{', r#"{"max_tokens":50,"#, 1);
    let challenge = reply(fixture.server.post(CHAT, &body)).await.challenge();
    (Payer { challenge, ..payer.clone() }, body)
}

async fn keyed(fixture: &Fixture<'_>, payer: &Payer, allowed: u64, body: &str, key: &str) -> Reply {
    let request = fixture.server.post(CHAT, body).header("idempotency-key", key);
    reply(request.header("authorization", payer.authorization(payer.voucher(allowed)))).await
}

/// "Request Idempotency": a duplicate never adds to what was spent.
#[test]
fn a_request_is_charged_once_under_one_key() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
        let script = json!({"chunks": 7});
        let streamed = (payer.clone(), body(&script, true));
        let requests = [streamed, payer_for_non_streaming(fixture, &payer, &script).await];
        for (index, (payer, body)) in requests.into_iter().enumerate() {
            let key = format!("order-{index}");
            let first = keyed(fixture, &payer, 100 * PRICE, &body, &key).await;
            assert_eq!(first.status, 200, "{}", first.text);
            fixture.idle().await;
            let again = keyed(fixture, &payer, 100 * PRICE, &body, &key).await;
            again.assert(409, "idempotency_key_reused");
            assert_eq!(fixture.channel_amounts(&payer).await.2, (index as u64 + 1) * 7 * PRICE, "spent");
        }
        let fresh = keyed(fixture, &payer, 100 * PRICE, &body(&script, true), "another").await;
        assert_eq!(fresh.status, 200, "another key is another request");
        fixture.idle().await;
        assert_eq!(fixture.close(&payer).await, 21 * PRICE);
    }));
}

/// A request that cost nothing may be retried under its key, as clients do.
#[test]
fn a_request_that_was_charged_nothing_may_come_again_under_its_key() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
        let (asking, failing) = payer_for_non_streaming(fixture, &payer, &json!({"status": 503})).await;
        for _ in 0..2 {
            let failed = keyed(fixture, &asking, 100 * PRICE, &failing, "order").await;
            assert!(failed.status >= 500, "{}", failed.text);
        }
        let works = body(&json!({"chunks": 3}), true);
        assert_eq!(keyed(fixture, &payer, 100 * PRICE, &works, "order").await.status, 200);
        fixture.idle().await;
        keyed(fixture, &payer, 100 * PRICE, &works, "order").await.assert(409, "idempotency_key_reused");
        assert_eq!(fixture.close(&payer).await, 3 * PRICE);
    }));
}

#[test]
fn a_duplicate_of_a_running_request_does_not_end_it() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 700 * PRICE).await;
        let script = body(&json!({"chunks": 40, "intervalMs": 20}), true);
        let request = fixture.server.post(CHAT, &script).header("idempotency-key", "order");
        let running =
            request.header("authorization", payer.authorization(payer.voucher(700 * PRICE))).send().await;
        let running = running.expect("the server answers");
        let duplicate = keyed(fixture, &payer, 700 * PRICE, &script, "order").await;
        duplicate.assert(409, "payment_in_progress");
        assert!(duplicate.headers.contains_key("retry-after"));
        let text = running.text().await.expect("it runs to its end");
        assert!(text.contains("[DONE]") && !text.contains("superseded"), "{text}");
        assert_eq!(fixture.close(&payer).await, 40 * PRICE);
    }));
}

/// Nothing is delivered yet, and nothing must stay open.
#[test]
fn attack_18_a_client_gone_before_the_first_chunk_leaves_no_hold_and_no_model_running() {
    run(on_every_engine(async |fixture| {
        for stream in [true, false] {
            let payer = fixture.opened(DEPOSIT, 100 * PRICE).await;
            let before = fixture.upstream.observed();
            let script = json!({"hangAfter": 0});
            let (asking, body) = if stream {
                (payer.clone(), body(&script, true))
            } else {
                payer_for_non_streaming(fixture, &payer, &script).await
            };
            let request = fixture.server.post(CHAT, &body);
            let request = request.header("authorization", asking.authorization(payer.voucher(100 * PRICE)));
            let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
            asked(&fixture.upstream, before.requests).await;
            waiting.abort();
            fixture.idle().await;
            eventually("the model is stopped", async || {
                (fixture.upstream.observed().cancelled > before.cancelled).then_some(())
            })
            .await;
            assert_eq!(fixture.close(&payer).await, 0);
        }
    }));
}

/// "Denial of Service": so many vouchers a second, counted only against whoever signed them.
#[test]
fn vouchers_of_one_channel_are_limited_and_only_by_its_own_payer() {
    run(async {
        let fixture = Fixture::with_config(|config| config.sessions.vouchers_per_second = 1).await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let mut forged = payer.voucher(9 * PRICE);
        forged["signature"] = json!(format!("0x{}", "11".repeat(65)));
        for _ in 0..30 {
            fixture.manage(&payer, forged.clone()).await.assert(402, "invalid_signature");
        }
        let mut statuses = Vec::new();
        for step in 0..12 {
            statuses.push(fixture.manage(&payer, payer.voucher((2 + step) * PRICE)).await);
        }
        let taken = statuses.iter().filter(|reply| reply.status == 204).count();
        assert!((10..=12).contains(&taken), "{taken}");
        let refused = statuses.last().expect("twelve were sent");
        if taken < 12 {
            refused.assert(429, "rate_limit_exceeded");
            let seconds: u32 =
                refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
            assert!((1..=2).contains(&seconds));
        }
        let other = fixture.opened(DEPOSIT, PRICE).await;
        fixture.done(&other, other.voucher(2 * PRICE)).await;
        fixture.finish().await;
    });
}

#[test]
fn the_least_step_is_kept_by_both_sides() {
    run(async {
        let least = 90 * PRICE;
        let fixture = Fixture::with_config(|config| {
            config.sessions.min_voucher_delta = Money::from_micros(i64::try_from(least).expect("small"));
        })
        .await;
        let challenge = fixture.challenge().await;
        assert_eq!(challenge.request["methodDetails"]["minVoucherDelta"], least.to_string());
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        fixture.manage(&payer, payer.voucher(2 * PRICE)).await.assert(402, "delta_too_small");
        let transcript = fixture.run(&payer, payer.voucher(PRICE), &json!({"chunks": 200})).await;
        assert_eq!((transcript.texts.len(), transcript.errors.len()), (200, 0));
        let steps: Vec<u64> = transcript.asks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| *step >= least), "{steps:?}");
        assert_eq!(fixture.close(&payer).await, 200 * PRICE);
        fixture.finish().await;
    });
}

/// An operator without fee tokens cannot settle: it is warned before it costs anything.
#[test]
fn an_operator_that_runs_out_of_fees_is_warned() {
    run(async {
        let broke = Secret::from(hex::encode(Agent::random().signer.to_bytes()));
        let fixture = Fixture::with_config(|config| config.sessions.operator_key = Some(broke)).await;
        eventually("the balance is read", async || {
            let ready: Value =
                fixture.server.request(Method::GET, "/readyz").send().await.ok()?.json().await.ok()?;
            let warning = ready["warnings"][0].as_str()?.to_owned();
            assert!(warning.starts_with("the operator 0x") && warning.contains("network fees"), "{warning}");
            assert_eq!(ready["database"], "ok", "a warning does not make it unready");
            Some(())
        })
        .await;
        let metrics = fixture.server.metrics().await;
        assert!(metrics.contains("farebox_fee_balance_micros{account=\"operator\"}"), "{metrics}");
        fixture.finish().await;
    });
}
