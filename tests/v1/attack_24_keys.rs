//! Row 24: keys guessed, confused, revoked while they are used, or shown where they must not be.

use std::time::{Duration, Instant};

use farebox::keys::KeyRejection;
use farebox_test_support::db;
use farebox_test_support::harness::{eventually, reply, run};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{CHAT, Fixture, PRICE, body, on_every_engine, read_to_end, refused};

#[test]
fn attack_24_a_revoked_key_ends_its_running_stream_within_a_second() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let bystander = fixture.key(&customer.owner, farebox::keys::KeyLimits::default()).await;
        let script = json!({"endless": true, "intervalMs": 10});
        let mut stream = fixture.stream(&customer, &script, &json!({})).await;
        let mut other =
            fixture.stream(&bystander, &json!({"chunks": 200, "intervalMs": 10}), &json!({})).await;
        stream.text().await.expect("it runs");
        fixture.revoke(&customer).await;
        let revoked = Instant::now();
        let transcript = read_to_end(&mut stream).await;
        assert!(revoked.elapsed() < Duration::from_millis(1_100), "{:?}", revoked.elapsed());
        assert_eq!(transcript.errors[0]["code"], "inactive_api_key");
        assert!(transcript.done);
        assert_eq!(read_to_end(&mut other).await.texts, 200, "another key's stream runs on");
        fixture.idle().await;
        eventually("the model is stopped", async || {
            (fixture.upstream.observed().cancelled == 1).then_some(())
        })
        .await;
        let ends: Vec<_> = fixture.entries(&customer).await.iter().map(|e| e.meta["end"].clone()).collect();
        assert!(ends.contains(&json!("key_ended")) && ends.contains(&json!("complete")), "{ends:?}");
        refused(&fixture.complete(&customer, &script, &json!({})).await, 401, "inactive_api_key");
    }));
}

#[test]
fn attack_24_a_revoked_key_ends_its_waiting_request() {
    run(on_every_engine(async |fixture| {
        let customer = fixture.customer(1_000_000).await;
        let script = json!({"chunks": 3, "firstMs": 20_000});
        let request = fixture.post(&customer, CHAT, &body(&script, &json!({})));
        let waiting = tokio::spawn(reply(request));
        eventually("the model is asked", async || (fixture.upstream.observed().requests == 1).then_some(()))
            .await;
        fixture.revoke(&customer).await;
        let answer = tokio::time::timeout(Duration::from_secs(3), waiting).await.expect("at once");
        refused(&answer.expect("no panic"), 401, "inactive_api_key");
        assert_eq!(fixture.available(&customer).await, 1_000_000);
    }));
}

/// On two instances, one of which learns of the other's revocation only by polling.
#[test]
fn attack_24_a_revocation_reaches_the_streams_of_other_instances() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let fixture = Fixture::on(database, |_| {}).await;
        let mut other = fixture.second_instance().await;
        let customer = fixture.customer(1_000_000).await;
        let mut stream =
            other.stream(&customer, &json!({"endless": true, "intervalMs": 10}), &json!({})).await;
        stream.text().await.expect("it runs");
        fixture.revoke(&customer).await;
        let revoked = Instant::now();
        assert_eq!(read_to_end(&mut stream).await.errors[0]["code"], "inactive_api_key");
        assert!(revoked.elapsed() < Duration::from_millis(1_100), "{:?}", revoked.elapsed());
        fixture.idle().await;
        other.server.stop().await;
        fixture.finish().await;
    });
}

#[test]
fn attack_24_a_key_is_its_exact_text() {
    run(on_every_engine(async |fixture| {
        let (customer, other) = (fixture.customer(1_000).await, fixture.customer(1_000).await);
        let key = &customer.key;
        let (start, secret) = key.split_at(21);
        let last = if key.ends_with('A') { "B" } else { "A" };
        for wrong in [
            key[..key.len() - 1].to_owned(),
            format!("{key}A"),
            format!("{key}{key}"),
            format!("{}{last}", &key[..key.len() - 1]),
            key.replacen("pryv_", "", 1),
            key.replacen("pryv_", "pryv_live_", 1),
            key.replacen("pryv_", "sk-", 1),
            // The id of one with the secret of another, and the hash in place of the secret.
            format!("{}{secret}", &other.key[..21]),
            format!("{start}{}", &"0".repeat(43)),
            format!("{}' OR '1'='1", &start[..10]),
        ] {
            let request = fixture.server.get("/v1/models").header("authorization", format!("Bearer {wrong}"));
            refused(&reply(request).await, 401, "invalid_api_key");
        }
    }));
}

/// Not the clock of a busy machine, but what is done: an unknown id is compared like a known one,
/// and both get the same answer.
#[test]
fn attack_24_an_unknown_id_and_a_wrong_secret_are_told_apart_by_nothing() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000).await;
        let keys = &fixture.server.app.keys;
        let outsider = keys.mint();
        let wrong = format!("{}{}", &customer.key[..21], &outsider.text.expose()[21..]);
        let now = farebox::id::Timestamp::now();
        let mut times = [Duration::ZERO; 2];
        for _ in 0..200 {
            for (text, time) in [wrong.as_str(), outsider.text.expose()].into_iter().zip(&mut times) {
                let begun = Instant::now();
                let refused = keys.authenticate(text, now).await;
                *time += begun.elapsed();
                assert!(matches!(refused, Err(KeyRejection::Invalid)));
            }
        }
        let (known, unknown) = (times[0].as_secs_f64(), times[1].as_secs_f64());
        assert!(known / unknown < 3.0 && unknown / known < 3.0, "{times:?}");
        let answer = async |text: &str| {
            let request = fixture.server.get("/v1/models").header("authorization", format!("Bearer {text}"));
            reply(request).await.text
        };
        assert_eq!(answer(&wrong).await, answer(outsider.text.expose()).await);
        fixture.finish().await;
    });
}

/// A URL is written into logs by every proxy: a key in one opens nothing.
#[test]
fn attack_24_a_key_in_a_url_opens_nothing() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(100 * PRICE).await;
        for name in ["api_key", "key", "access_token", "authorization"] {
            let path = format!("/v1/models?{name}={}", customer.key);
            let answer = reply(fixture.server.get(&path)).await;
            refused(&answer, 401, "missing_api_key");
            assert!(!answer.text.contains(&customer.key[21..]));
        }
        let answer = reply(fixture.server.request(Method::GET, &format!("/v1/{}", customer.key))).await;
        refused(&answer, 404, "not_found");
        assert!(!answer.text.contains(&customer.key[21..]));
        fixture.finish().await;
    });
}
