//! Class 47: requests that steer the server of a model instead of the model.

use farebox_test_support::harness::{reply, run};
use serde_json::{Value, json};

use crate::fixture::{CHAT, Fixture, MODEL, refused};

#[test]
fn attack_47_fields_that_steer_the_models_server_are_refused_by_name() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        for (field, value) in [
            ("kv_transfer_params", json!({"do_remote_decode": true})),
            ("chat_template", json!("{{ messages }}")),
            ("chat_template_kwargs", json!({"a": 1})),
            ("logits_processors", json!(["os.system"])),
            ("priority", json!(-100)),
            ("search_parameters", json!({"mode": "on"})),
            ("api_base", json!("http://127.0.0.1")),
        ] {
            let answer = fixture.complete(&customer, &json!({}), &json!({field: value})).await;
            let error = refused(&answer, 400, "invalid_params");
            assert_eq!(error["param"], field);
        }
        let tools = json!({"tools": [{"type": "web_search"}]});
        refused(&fixture.complete(&customer, &json!({}), &tools).await, 400, "invalid_params");
        assert_eq!(fixture.upstream.observed().requests, 0);
        // What says nothing is left out; what is usual passes.
        let more = json!({"priority": null, "chat_template": null, "top_k": 5, "user": "u", "reasoning": {"effort": "low"}});
        assert_eq!(fixture.complete(&customer, &json!({}), &more).await.status, 200);
        let body = fixture.upstream.observed().body;
        assert!(body.get("priority").is_none() && body.get("chat_template").is_none(), "{body}");
        assert_eq!((&body["top_k"], &body["reasoning"]["effort"]), (&json!(5), &json!("low")));
        fixture.finish().await;
    });
}

#[test]
fn attack_47_the_operator_adds_fields_that_are_passed_on() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.models[0].passed_fields = vec!["chat_template_kwargs".into()];
        })
        .await;
        let customer = fixture.customer(1_000_000).await;
        let more = json!({"chat_template_kwargs": {"enable_thinking": false}});
        assert_eq!(fixture.complete(&customer, &json!({}), &more).await.status, 200);
        let body = fixture.upstream.observed().body;
        assert_eq!(body["chat_template_kwargs"]["enable_thinking"], false);
        fixture.finish().await;
    });
}

#[test]
fn attack_47_urls_that_a_models_server_would_fetch_are_public() {
    run(async {
        let fixture = Fixture::with_config(|_| {}).await;
        let customer = fixture.customer(1_000_000).await;
        let send = async |part: Value| {
            let messages = json!([{"role": "user", "content": [{"type": "text", "text": "{}"}, part]}]);
            let body = json!({"model": MODEL, "privacyMode": "off", "messages": messages});
            reply(fixture.post(&customer, CHAT, &body.to_string())).await
        };
        for url in [
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
            "http://vllm:8000/metrics",
            "HTTP:127.0.0.1/",
            "s3://bucket/key",
        ] {
            for part in [
                json!({"type": "image_url", "image_url": {"url": url}}),
                json!({"type": "image_url", "image_url": url}),
                json!({"type": "video_url", "video_url": {"url": url}}),
                json!({"type": "file", "file": {"file_data": url}}),
                json!({"type": "something", "sources": [{"uri": url}]}),
            ] {
                let error = refused(&send(part).await, 400, "invalid_params");
                let message = error["message"].as_str().unwrap_or_default();
                assert!(message.contains("messages[0].content[1]") && message.contains("URL"), "{message}");
            }
        }
        assert_eq!(fixture.upstream.observed().requests, 0);
        for url in ["https://example.com/a.png", "data:image/png;base64,AAAA"] {
            let answer = send(json!({"type": "image_url", "image_url": {"url": url}})).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        fixture.finish().await;
    });
}
