//! Events of an account.

use std::time::Duration;

use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, reply, run};
use serde_json::{Value, json};

use crate::fixture::{Browser, LOGOUT};
use crate::management::{dollars, give, on_every_engine, spend};

const EVENTS: &str = "/api/v1/events";

/// A stream of events.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(server: &Server, browser: &Browser) -> Self {
        let request = server.get(EVENTS).header("sec-fetch-site", "same-origin");
        let request = request.header("cookie", browser.cookie.as_deref().expect("a cookie"));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next event of that name, past others.
    async fn next(&mut self, name: &str) -> Value {
        let found = async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.text = rest;
                    if let Some(data) = event.strip_prefix(&format!("event: {name}\ndata: ")) {
                        return serde_json::from_str(data).expect("JSON");
                    }
                    continue;
                }
                let more = self.response.chunk().await.expect("it goes on").expect("it has not ended");
                self.text.push_str(std::str::from_utf8(&more).expect("UTF-8"));
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("it comes")
    }
}

#[test]
fn an_account_is_followed_as_it_changes() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            give(server, &agent, dollars(5)).await;
            let browser = Browser::signed_in(server, &agent).await;
            let mut events = Events::open(server, &browser).await;
            assert_eq!(events.next("balance").await["availableUsd"], "5.00");
            spend(server, &agent, dollars(2), "a-model", "r-1").await;
            assert_eq!(events.next("balance").await["availableUsd"], "3.00");
            let line = events.next("usage").await;
            assert_eq!(
                (&line["service"], &line["costUsd"], &line["requestId"]),
                (&json!("a-model"), &json!("2.00"), &json!("r-1"))
            );
            spend(server, &agent, dollars(1), "b-model", "r-2").await;
            assert_eq!(events.next("usage").await["service"], "b-model", "each line once");
        },
    ));
}

#[test]
fn attack_76_events_end_with_their_session_and_are_few() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let browser = Browser::signed_in(&server, &agent).await;
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(Events::open(&server, &browser).await);
        }
        let ninth = browser.get(&server, EVENTS).await;
        ninth.assert(429, "rate_limit_exceeded_rpm");
        assert_eq!(browser.post(&server, LOGOUT, &json!({})).await.status, 204);
        let mut events = open.pop().expect("eight");
        assert!(events.next("end").await["reason"].as_str().is_some_and(|reason| reason.contains("sign in")));
        Browser::default().get(&server, EVENTS).await.assert(401, "missing_wallet_auth");
        reply(server.get(EVENTS)).await.assert(401, "missing_wallet_auth");
    });
}
