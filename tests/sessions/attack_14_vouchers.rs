//! Row 14: vouchers that are forged, old, or come all at once.

use alloy::primitives::U256;
use farebox::money::Money;
use farebox_test_support::harness::{self, Reply, run};
use farebox_test_support::payer::Payer;
use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE, amount, body, concurrently, on_every_engine};

const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

/// A signature with the other `s`: valid to verifiers that do not insist on the low one.
fn high_s(signature: &[u8]) -> Vec<u8> {
    let mut high = signature.to_vec();
    let s = U256::from_be_slice(&signature[32..64]);
    let order = U256::from_str_radix(ORDER, 16).expect("hex");
    high[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    high[64] = 27 + 28 - signature[64];
    high
}

/// A refusal that tells nothing of how the channel stands.
fn assert_no_details(reply: &Reply) {
    let request = reply.challenge().request;
    assert_eq!(request["methodDetails"].get("sessionSnapshot"), None, "{request}");
    assert_eq!(request["methodDetails"].get("channelId"), None, "{request}");
    // The amounts of this test are like nothing else in an answer.
    for secret in ["98765", "54321", "44400"] {
        assert!(!reply.text.contains(secret), "{}", reply.text);
    }
}

#[test]
fn attack_14_forged_vouchers_change_nothing_and_learn_nothing() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(98_765, 54_321).await;
        fixture.run(&payer, payer.voucher(54_321), &json!({"chunks": 444})).await;
        let (before, other) = (fixture.channel_amounts(&payer).await, fixture.opened(DEPOSIT, PRICE).await);
        assert_eq!((before.1 >= 54_321, before.2), (true, 44_400));
        let signature = payer.sign(60_000);
        let mut forged =
            vec![high_s(&signature), vec![0; 65], vec![], signature[..63].to_vec(), payer.sign(60_001)];
        let (mut trailing, mut flipped) = (signature.clone(), signature.clone());
        trailing.push(0);
        flipped[64] = 27 + 28 - flipped[64];
        let outsiders = Payer { agent: other.agent.clone(), ..payer.clone() };
        forged.extend([trailing, flipped, outsiders.sign(60_000), other.sign(60_000)]);
        // The zero address is what a failed recovery looks like to the careless.
        forged.push([vec![0; 64], vec![27]].concat());
        for signature in forged {
            for allowed in [60_000, 98_766, 1, before.1] {
                let payload = payer.signed(allowed, &signature);
                let reply = fixture.manage(&payer, payload.clone()).await;
                reply.assert(402, "invalid_signature");
                assert_no_details(&reply);
                let reply = fixture.reply(&payer, payload.clone(), &body(&json!({}), true)).await;
                reply.assert(402, "invalid_signature");
                assert_no_details(&reply);
                let mut close = payload;
                close["action"] = json!("close");
                assert_no_details(fixture.manage(&payer, close).await.assert(402, "invalid_signature"));
            }
        }
        for (field, value) in [
            ("signature", json!("0x")),
            ("signature", json!(format!("0x{}", "11".repeat(5000)))),
            ("cumulativeAmount", json!("-1")),
            ("cumulativeAmount", json!("0x10")),
            ("cumulativeAmount", json!("79228162514264337593543950336")),
            ("cumulativeAmount", json!("9223372036854775808")),
            ("channelId", json!("0x12")),
            ("descriptor", Value::Null),
            ("action", json!("mint")),
        ] {
            let mut payload = payer.voucher(60_000);
            payload[field] = value;
            let reply = fixture.manage(&payer, payload).await;
            assert!(
                ["malformed_credential", "invalid_signature"].contains(&reply.code().as_str()),
                "{field}"
            );
            assert_no_details(&reply);
        }
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(fixture.upstream.observed().requests, 1, "no refused voucher started the model");
        assert_eq!(fixture.close(&payer).await, 44_400);
    }));
}

#[test]
fn attack_14_the_snapshot_is_for_who_signed() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, 50 * PRICE).await;
        let challenge = fixture.manage(&payer, payer.voucher(49 * PRICE)).await.challenge();
        let snapshot = &challenge.request["methodDetails"]["sessionSnapshot"];
        assert_eq!(amount(&snapshot["acceptedCumulative"]), 50 * PRICE);
        assert_eq!(snapshot["channelId"], json!(payer.id));
        // Naming a channel, which is public, is not enough.
        let request = fixture.server.post(crate::fixture::CHAT, &body(&json!({}), true));
        let reply = harness::reply(request.header("payment-session", format!("{:#x}", payer.id))).await;
        assert_eq!(reply.challenge().request["methodDetails"].get("sessionSnapshot"), None);
        fixture.finish().await;
    });
}

#[test]
fn attack_14_lower_equal_and_above_the_deposit() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, 10 * PRICE).await;
        fixture.done(&payer, payer.voucher(20 * PRICE)).await;
        let before = fixture.channel_amounts(&payer).await;
        for (allowed, code) in [
            (20 * PRICE - 1, "verification_failed"),
            (10 * PRICE, "verification_failed"),
            (0, "verification_failed"),
            (DEPOSIT + 1, "amount_exceeds_deposit"),
        ] {
            fixture.manage(&payer, payer.voucher(allowed)).await.assert(402, code);
            fixture.reply(&payer, payer.voucher(allowed), &body(&json!({}), true)).await.assert(402, code);
        }
        // The exact retry is answered with what is accepted, and credits nothing.
        for _ in 0..3 {
            let receipt = fixture.done(&payer, payer.voucher(20 * PRICE)).await;
            assert_eq!(amount(&receipt["acceptedCumulative"]), 20 * PRICE);
        }
        assert_eq!(fixture.channel_amounts(&payer).await, before);
        assert_eq!(
            fixture.server.count("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM credits").await,
            2000
        );
        assert_eq!(fixture.upstream.observed().requests, 0);
        assert_eq!(fixture.close(&payer).await, 0);
    }));
}

#[test]
fn attack_14_equal_and_higher_vouchers_at_once_credit_each_amount_once() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let steps = [2, 2, 9, 4, 9, 9, 3, 7, 5, 9, 2, 8];
        let replies =
            concurrently(steps.map(|step| fixture.manage(&payer, payer.voucher(step * PRICE)))).await;
        for (step, reply) in steps.iter().zip(&replies) {
            match reply.status {
                204 => assert_eq!(amount(&reply.receipt()["acceptedCumulative"]), step * PRICE),
                _ => assert!(*step < 9, "{step}: {}", reply.assert(402, "verification_failed").text),
            }
        }
        let channel = fixture.channel(&payer).await;
        assert_eq!(channel.accepted(), Money::from_micros(900));
        assert_eq!(
            fixture.server.count("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM credits").await,
            900
        );
        fixture.assert_audit().await;
        // All of it can be spent, and nothing more without another voucher.
        let mut stream = fixture.stream(&payer, payer.voucher(9 * PRICE), &json!({"chunks": 9})).await;
        let mut texts = 0;
        while stream.text().await.is_some() {
            texts += 1;
        }
        assert_eq!(texts, 9);
        fixture.idle().await;
        fixture
            .reply(&payer, payer.voucher(9 * PRICE), &body(&json!({}), true))
            .await
            .assert(402, "insufficient_balance");
        assert_eq!(fixture.close(&payer).await, 9 * PRICE);
    }));
}
