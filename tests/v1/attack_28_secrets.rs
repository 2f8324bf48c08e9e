//! Row 28: logs, metrics and errors hold no key, no prompt and no hash of a key.

use farebox_test_support::capture::logged;
use farebox_test_support::harness::{reply, run};
use serde_json::json;
use sqlx::Row as _;

use crate::fixture::{CHAT, Fixture, PREVIEW, body};

const PROMPT: &str = "wombat.zeppelin@example.com";

#[test]
fn attack_28_keys_and_prompts_are_found_nowhere() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(100_000).await;
        let outsider = fixture.server.app.keys.mint();
        let chat = json!({"messages": [{"role": "user", "content": PROMPT}]});
        let mut answers = Vec::new();
        for more in [json!({}), json!({"stream": true}), json!({"max_tokens": 0}), json!({"model": PROMPT})] {
            let mut all = chat.clone();
            all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let answer = reply(fixture.post(&customer, CHAT, &body(&json!({}), &all))).await;
            if answer.status != 200 {
                answers.push(answer);
            }
        }
        answers.push(reply(fixture.post(&customer, PREVIEW, &format!("{{\"text\": {PROMPT}}}"))).await);
        let key = format!("Bearer {}", outsider.text.expose());
        answers.push(reply(fixture.server.get("/v1/models").header("authorization", key)).await);
        fixture.idle().await;
        fixture.server.db.execute("ALTER TABLE holds RENAME TO gone").await;
        answers.push(reply(fixture.post(&customer, CHAT, &body(&json!({}), &chat))).await);
        fixture.server.db.execute("ALTER TABLE api_keys RENAME TO lost").await;
        fixture.server.app.keys.forget_cached(&customer.id);
        answers.push(reply(fixture.post(&customer, CHAT, &body(&json!({}), &chat))).await);
        assert!(answers.iter().all(|answer| answer.status >= 400) && answers.len() >= 6);

        let metrics = fixture.server.metrics().await;
        let row = sqlx::query("SELECT hash FROM lost").fetch_one(&fixture.server.db.db.pool).await;
        let hash: String = row.expect("a key").try_get("hash").expect("text");
        let logged = logged();
        assert!(logged.contains("API keys") && logged.contains("cannot be charged"), "the log is captured");
        for secret in [&customer.key[21..], &outsider.text.expose()[21..], PROMPT, &hash] {
            assert!(!logged.contains(secret), "the log holds {secret}");
            assert!(!metrics.contains(secret), "metrics hold {secret}");
            for answer in &answers {
                assert!(!answer.text.contains(secret), "{}", answer.text);
                let headers = format!("{:?}", answer.headers);
                assert!(!headers.contains(secret), "{headers}");
            }
        }
        let mut server = fixture.into_server();
        server.stop().await;
    });
}

/// The length of a compressed answer would tell what one part of a conversation has in common with another.
#[test]
fn attack_28_answers_of_models_and_previews_are_not_compressed() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let long = "the same words again ".repeat(200);
        let text = json!({"messages": [{"role": "user", "content": long}]});
        let streamed = json!({"messages": text["messages"], "stream": true});
        for (path, body) in [
            (CHAT, body(&json!({}), &text)),
            (CHAT, body(&json!({}), &streamed)),
            (PREVIEW, json!({"text": long}).to_string()),
        ] {
            let request = fixture.post(&customer, path, &body).header("accept-encoding", "gzip");
            let answer = request.send().await.expect("an answer");
            assert_eq!(
                (answer.status().as_u16(), answer.headers().get("content-encoding")),
                (200, None),
                "{body}"
            );
            let answer = answer.text().await.expect("text as it is");
            assert!(answer.len() > 1024, "{answer}");
        }
        fixture.finish().await;
    });
}
