//! What belongs to a request rather than to its channel: a key that is charged once, a client that
//! goes away before the first chunk, limits on vouchers, and what operators are told.

use farebox::config::Secret;
use farebox::money::Money;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::harness::{Reply, eventually, reply, run};
use crate::payer::Payer;
use crate::stage::{CHAT, DEPOSIT, PRICE, Stage, body, on_every_engine};

/// A request for a whole answer has a price of its own, and so a challenge of its own.
async fn for_whole(stage: &Stage<'_>, payer: &Payer, script: &Value) -> (Payer, String) {
    let body = body(script, false).replacen('{', r#"{"max_tokens":50,"#, 1);
    let asked = reply(stage.server.post(CHAT, &body)).await.asked();
    (Payer { asked, ..payer.clone() }, body)
}

async fn keyed(stage: &Stage<'_>, payer: &Payer, allowed: u64, body: &str, key: &str) -> Reply {
    let request = stage.server.post(CHAT, body).header("idempotency-key", key);
    reply(request.header("authorization", payer.authorization(payer.voucher(allowed)))).await
}

/// "Request Idempotency": a duplicate never adds to what was spent.
#[test]
fn a_request_is_charged_once_under_one_key() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, 100 * PRICE).await;
        let script = json!({"chunks": 7});
        let streamed = (payer.clone(), body(&script, true));
        let requests = [streamed, for_whole(stage, &payer, &script).await];
        for (index, (payer, body)) in requests.into_iter().enumerate() {
            let key = format!("order-{index}");
            let first = keyed(stage, &payer, 100 * PRICE, &body, &key).await;
            assert_eq!(first.status, 200, "{}", first.text);
            stage.idle().await;
            let again = keyed(stage, &payer, 100 * PRICE, &body, &key).await;
            again.assert(409, "idempotency_key_reused");
            assert_eq!(stage.standing(&payer).await.2, (index as u64 + 1) * 7 * PRICE, "spent");
        }
        let fresh = keyed(stage, &payer, 100 * PRICE, &body(&script, true), "another").await;
        assert_eq!(fresh.status, 200, "another key is another request");
        stage.idle().await;
        assert_eq!(stage.close(&payer).await, 21 * PRICE);
    }));
}

/// What cost nothing is worth another try: clients retry under the same key.
#[test]
fn a_request_that_was_charged_nothing_may_come_again_under_its_key() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, 100 * PRICE).await;
        let (asking, failing) = for_whole(stage, &payer, &json!({"status": 503})).await;
        for _ in 0..2 {
            let failed = keyed(stage, &asking, 100 * PRICE, &failing, "order").await;
            assert!(failed.status >= 500, "{}", failed.text);
        }
        let works = body(&json!({"chunks": 3}), true);
        assert_eq!(keyed(stage, &payer, 100 * PRICE, &works, "order").await.status, 200);
        stage.idle().await;
        keyed(stage, &payer, 100 * PRICE, &works, "order").await.assert(409, "idempotency_key_reused");
        assert_eq!(stage.close(&payer).await, 3 * PRICE);
    }));
}

#[test]
fn a_duplicate_of_a_running_request_does_not_end_it() {
    run(on_every_engine(async |stage| {
        let payer = stage.opened(DEPOSIT, 700 * PRICE).await;
        let script = body(&json!({"chunks": 40, "intervalMs": 20}), true);
        let request = stage.server.post(CHAT, &script).header("idempotency-key", "order");
        let running =
            request.header("authorization", payer.authorization(payer.voucher(700 * PRICE))).send().await;
        let running = running.expect("the server answers");
        let duplicate = keyed(stage, &payer, 700 * PRICE, &script, "order").await;
        duplicate.assert(409, "payment_in_progress");
        assert!(duplicate.headers.contains_key("retry-after"));
        let text = running.text().await.expect("it runs to its end");
        assert!(text.contains("[DONE]") && !text.contains("superseded"), "{text}");
        assert_eq!(stage.close(&payer).await, 40 * PRICE);
    }));
}

/// Nothing is delivered yet, and nothing must stay open.
#[test]
fn attack_18_a_client_gone_before_the_first_chunk_leaves_no_tab_and_no_model_running() {
    run(on_every_engine(async |stage| {
        for stream in [true, false] {
            let payer = stage.opened(DEPOSIT, 100 * PRICE).await;
            let before = stage.upstream.observed();
            let script = json!({"hangAfter": 0});
            let (asking, body) = if stream {
                (payer.clone(), body(&script, true))
            } else {
                for_whole(stage, &payer, &script).await
            };
            let request = stage.server.post(CHAT, &body);
            let request = request.header("authorization", asking.authorization(payer.voucher(100 * PRICE)));
            let waiting = tokio::spawn(async move { request.send().await?.bytes().await });
            eventually("the model is asked", async || {
                (stage.upstream.observed().requests > before.requests).then_some(())
            })
            .await;
            waiting.abort();
            stage.idle().await;
            eventually("the model is stopped", async || {
                (stage.upstream.observed().cancelled > before.cancelled).then_some(())
            })
            .await;
            assert_eq!(stage.close(&payer).await, 0);
        }
    }));
}

/// "Denial of Service": so many vouchers a second, counted only against whoever signed them.
#[test]
fn vouchers_of_one_channel_are_limited_and_only_by_its_own_payer() {
    run(async {
        let stage = Stage::tuned(|config| config.sessions.vouchers_per_second = 1).await;
        let payer = stage.opened(DEPOSIT, PRICE).await;
        let mut forged = payer.voucher(9 * PRICE);
        forged["signature"] = json!(format!("0x{}", "11".repeat(65)));
        for _ in 0..30 {
            stage.manage(&payer, forged.clone()).await.assert(402, "invalid_signature");
        }
        let mut statuses = Vec::new();
        for step in 0..12 {
            statuses.push(stage.manage(&payer, payer.voucher((2 + step) * PRICE)).await);
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
        let other = stage.opened(DEPOSIT, PRICE).await;
        stage.done(&other, other.voucher(2 * PRICE)).await;
        stage.finish().await;
    });
}

#[test]
fn the_least_step_is_kept_by_both_sides() {
    run(async {
        let least = 90 * PRICE;
        let stage = Stage::tuned(|config| {
            config.sessions.min_voucher_delta = Money::from_micros(i64::try_from(least).expect("small"));
        })
        .await;
        let asked = stage.ask().await;
        assert_eq!(asked.request["methodDetails"]["minVoucherDelta"], least.to_string());
        let payer = stage.opened(DEPOSIT, PRICE).await;
        stage.manage(&payer, payer.voucher(2 * PRICE)).await.assert(402, "delta_too_small");
        let transcript = stage.run(&payer, payer.voucher(PRICE), &json!({"chunks": 200})).await;
        assert_eq!((transcript.texts.len(), transcript.errors.len()), (200, 0));
        let steps: Vec<u64> = transcript.asks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| *step >= least), "{steps:?}");
        assert_eq!(stage.close(&payer).await, 200 * PRICE);
        stage.finish().await;
    });
}

/// An operator without fee tokens cannot settle: it is told before it costs anything.
#[test]
fn an_operator_that_runs_out_of_fees_is_warned() {
    run(async {
        let broke = Secret::from(hex::encode(Agent::random().signer.to_bytes()));
        let stage = Stage::tuned(|config| config.sessions.operator_key = Some(broke)).await;
        eventually("the balance is read", async || {
            let ready: Value =
                stage.server.request(Method::GET, "/readyz").send().await.ok()?.json().await.ok()?;
            let warning = ready["warnings"][0].as_str()?.to_owned();
            assert!(warning.starts_with("the operator 0x") && warning.contains("network fees"), "{warning}");
            assert_eq!(ready["database"], "ok", "a warning does not make it unready");
            Some(())
        })
        .await;
        let metrics = stage.server.request(Method::GET, "/metrics").send().await.expect("an answer");
        let metrics = metrics.text().await.expect("text");
        assert!(metrics.contains("farebox_fee_balance_micros{account=\"operator\"}"), "{metrics}");
        stage.finish().await;
    });
}
