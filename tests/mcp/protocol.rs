//! The protocol: both generations on one URL, and refusals that clients understand.

use farebox_test_support::harness::{Server, reply, run};
use serde_json::json;

use crate::wire::{Client, ERAS, Era, PAY_PER_CALL};

fn client(server: &Server, era: Era) -> Client<'_> {
    Client { server, path: PAY_PER_CALL, era, token: None }
}

#[test]
fn both_generations_are_served_on_one_url() {
    run(async {
        let server = Server::start().await;
        let initialize = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let hello = client(&server, Era::Initialized).result("initialize", &initialize).await;
        assert_eq!(hello["protocolVersion"], "2025-06-18");
        assert_eq!(hello["serverInfo"]["name"], "farebox");
        let discovered = client(&server, Era::Stateless).result("server/discover", &json!({})).await;
        assert!(discovered["supportedVersions"].to_string().contains("2026-07-28"), "{discovered}");
        for era in ERAS {
            let list = client(&server, era).result("tools/list", &json!({})).await;
            let tools = list["tools"].as_array().expect("a list");
            let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
            assert_eq!(names, ["list_models", "chat", "pii_preview", "buy_credits"]);
            assert_eq!(list.get("ttlMs").is_some(), era == Era::Stateless, "{list}");
            assert!(list.to_string().len() < 10_000);
        }
    });
}

#[test]
fn a_server_card_leads_to_each_endpoint() {
    run(async {
        let server = Server::start().await;
        for (path, endpoint) in [
            ("/mcp/server-card", "/mcp"),
            ("/.well-known/mcp/server-card.json", "/mcp"),
            ("/mpp/mcp/server-card", PAY_PER_CALL),
        ] {
            let answer = reply(server.get(path)).await;
            assert_eq!(answer.header("content-type"), Some("application/mcp-server-card+json"));
            let card: serde_json::Value = serde_json::from_str(&answer.text).expect("JSON");
            let remote = &card["remotes"][0];
            assert_eq!(remote["url"], format!("{}{endpoint}", server.url), "{card}");
            assert!(remote["supportedProtocolVersions"].to_string().contains("2026-07-28"), "{card}");
        }
    });
}

#[test]
fn a_notification_is_accepted_and_other_methods_are_not() {
    run(async {
        let server = Server::start().await;
        let told = server
            .post(PAY_PER_CALL, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .header("accept", "application/json, text/event-stream");
        let told = reply(told).await;
        assert_eq!((told.status, told.text.as_str()), (202, ""));
        for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
            assert_eq!(reply(server.request(method, PAY_PER_CALL)).await.status, 405);
        }
        let unknown = client(&server, Era::Stateless).send("tools/forget", &json!({})).await;
        assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!(-32601)));
        let unheard =
            client(&server, Era::Stateless).send("tools/call", &json!({"name": "get_balance"})).await;
        assert_eq!(unheard.json()["error"]["code"], -32602, "{}", unheard.text);
    });
}

/// The headers of 2026-07-28 must say what the body says: who routes by them would be led astray.
#[test]
fn attack_70_headers_that_contradict_the_body_are_refused() {
    run(async {
        let server = Server::start().await;
        let client = client(&server, Era::Stateless);
        for (header, value) in [("mcp-method", "tools/list"), ("mcp-name", "list_models"), ("mcp-name", "")] {
            let call = json!({"name": "pii_preview", "arguments": {"text": "a"}});
            let mut request = client.request("tools/call", &call).build().expect("a request");
            request.headers_mut().insert(header, value.parse().expect("a header"));
            let answer = farebox_test_support::harness::client().execute(request).await.expect("an answer");
            assert_eq!(answer.status(), 400, "{header}: {value}");
        }
    });
}

/// A page of another origin, and a name that leads here (DNS rebinding).
#[test]
fn attack_70_foreign_origins_and_hosts_are_refused() {
    run(async {
        let server = Server::start().await;
        let client = client(&server, Era::Initialized);
        let list = || client.request("tools/list", &json!({}));
        for (header, value, status) in [
            ("origin", "https://evil.example", 403),
            ("origin", "null", 403),
            ("host", "evil.example", 403),
            ("origin", server.url.as_str(), 200),
        ] {
            let answer = reply(list().header(header, value)).await;
            assert_eq!(answer.status, status, "{header}: {value}: {}", answer.text);
        }
    });
}

#[test]
fn attack_70_broken_and_huge_messages_are_refused() {
    run(async {
        let server = Server::with_config(|config| {
            config.server.body_limit_bytes = 200_000;
            config.pii.max_text_bytes = 100_000;
        })
        .await;
        let deep =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}"#, "[".repeat(5_000));
        let many = format!("[{}1]", "1,".repeat(49_000));
        let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#;
        let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(200_000));
        let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(1_000));
        let values = format!(r#"{{"jsonrpc":"2.0","id":1,"params":{many},"method":"tools/call"}}"#);
        for (body, statuses) in [
            (long_id.as_str(), &[400][..]),
            (&values, &[400]),
            ("{", &[400]),
            (&deep, &[400]),
            (&many, &[400]),
            (batch, &[400]),
            (&large, &[413]),
        ] {
            let request =
                server.post(PAY_PER_CALL, body).header("accept", "application/json, text/event-stream");
            let answer = reply(request).await;
            assert!(statuses.contains(&answer.status), "{}: {}", answer.status, answer.text);
        }
    });
}
