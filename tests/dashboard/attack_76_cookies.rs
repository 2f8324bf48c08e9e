//! Class 76: a session's cookie sent by other pages, to other routes, after its end, or read by others.

use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, reply, run};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{AUTH, Browser, LOGOUT, proof};
use crate::management::{BALANCE, CHECKOUT, KEYS, dollars, give};

#[test]
fn attack_76_a_cookie_opens_no_route_but_the_dashboards() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        give(&server, &agent, dollars(5)).await;
        let browser = Browser::signed_in(&server, &agent).await;
        let chat = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello" }] });
        browser.post(&server, "/v1/chat/completions", &chat).await.assert(401, "missing_api_key");
        browser.get(&server, "/v1/credits").await.assert(401, "missing_api_key");
        assert_eq!(browser.post(&server, "/mpp/pii/preview", &json!({ "text": "x" })).await.status, 402);
        assert_eq!(browser.post(&server, "/mcp", &json!({})).await.status, 401);
        // Nor does its secret where keys are read.
        let secret = browser.cookie.as_deref().and_then(|cookie| cookie.split('=').nth(1)).expect("a secret");
        let answer = reply(server.get("/v1/credits").bearer_auth(secret)).await;
        answer.assert(401, "invalid_api_key");
    });
}

#[test]
fn attack_76_other_pages_cannot_use_a_cookie() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let browser = Browser::signed_in(&server, &agent).await;
        let cookie = browser.cookie.clone().expect("a cookie");
        let send = async |method: Method, path: &str, fields: &[(&str, &str)], body: &'static str| {
            let mut request = server.request(method, path).header("cookie", &cookie);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            reply(request.body(body)).await
        };
        let json = ("content-type", "application/json");
        for fields in [
            &[("sec-fetch-site", "cross-site"), json][..],
            &[("sec-fetch-site", "same-site"), json],
            &[("origin", "https://evil.example"), json],
            &[("origin", "null"), json],
            &[json],
        ] {
            send(Method::POST, LOGOUT, fields, "{}").await.assert(403, "foreign_origin");
        }
        // What a form can send.
        let form = [("sec-fetch-site", "same-origin"), ("content-type", "text/plain")];
        send(Method::POST, LOGOUT, &form, "{}").await.assert(415, "unsupported_media_type");
        for fields in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://evil.example")]] {
            send(Method::GET, KEYS, fields, "").await.assert(403, "foreign_origin");
        }
        // What a cookie opened is read by nobody else; without one everybody may ask.
        let own = send(Method::GET, BALANCE, &[("sec-fetch-site", "same-origin")], "").await;
        assert_eq!((own.status, own.header("access-control-allow-origin")), (200, None));
        let without = reply(server.get("/api/v1/billing/credit-packs")).await;
        assert_eq!(without.header("access-control-allow-origin"), Some("*"));
        assert_eq!(browser.get(&server, KEYS).await.status, 200, "and it still works");
    });
}

#[test]
fn attack_76_a_cookie_is_for_this_server_alone() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        let answer = Browser::default().post(&server, AUTH, &proof(&server, &agent).await).await;
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(set.contains(part), "{set}");
        }
        assert!(!set.contains("Domain"), "{set}");
        let port = server.url.rsplit(':').next().expect("a port");
        assert!(set.starts_with(&format!("session-{port}=")), "cookies know no ports: {set}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    });
}

/// The dashboard at a host of its own.
#[test]
fn attack_76_a_cookie_counts_at_the_dashboards_host_alone() {
    run(async {
        let server = Server::with_config(|config| {
            config.dashboard.public_url = Some("https://platform.example.com".into());
        })
        .await;
        let agent = Agent::random();
        let there = |request: reqwest::RequestBuilder| request.header("host", "platform.example.com");
        let challenge =
            there(server.post("/api/v1/auth/challenge", &json!({ "address": agent.address() }).to_string()));
        let message = reply(challenge).await.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.starts_with("platform.example.com wants you"), "{message}");
        let proof = crate::fixture::signed(&agent, &message);
        reply(server.post(AUTH, &proof.to_string())).await.assert(404, "not_found");
        let answer = reply(there(server.post(AUTH, &proof.to_string()))).await;
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        assert!(set.starts_with("__Host-session=") && set.ends_with("; Secure"), "{set}");
        let cookie = set.split(';').next().expect("a pair");
        let keys = |request: reqwest::RequestBuilder| {
            reply(request.header("cookie", cookie).header("sec-fetch-site", "same-origin"))
        };
        assert_eq!(keys(there(server.get(KEYS))).await.status, 200);
        keys(server.get(KEYS)).await.assert(401, "missing_wallet_auth");
        // People who come to the API's host are sent on.
        let page = reply(server.get("/dashboard/keys").header("accept", "text/html")).await;
        assert_eq!(
            (page.status, page.header("location")),
            (302, Some("https://platform.example.com/dashboard/keys"))
        );
    });
}

#[test]
fn attack_76_guesses_at_secrets_are_counted() {
    run(async {
        let server = Server::with_config(|config| config.keys.anonymous_rpm = 5).await;
        let name = Browser::signed_in(&server, &Agent::random()).await.cookie.expect("a cookie");
        let name = name.split('=').next().expect("a name").to_owned();
        let mut refused = None;
        for turn in 0..10 {
            let guess = Browser { cookie: Some(format!("{name}={turn:A>43}")) };
            let answer = guess.get(&server, KEYS).await;
            refused = refused.or_else(|| (answer.status == 429).then_some(turn));
        }
        assert_eq!(refused, Some(5));
    });
}

/// Anybody can make wallets and sign in: what changes something is counted like a signed request.
#[test]
fn attack_39_changes_by_sessions_are_counted_by_wallet_and_address() {
    run(async {
        let server = Server::with_config(|config| {
            config.billing.test_checkout = true;
            config.keys.management_rpm = 10;
        })
        .await;
        let browsers = [
            Browser::signed_in(&server, &Agent::random()).await,
            Browser::signed_in(&server, &Agent::random()).await,
        ];
        let mut made = 0;
        for turn in 0..20 {
            let answer = browsers[turn % 2].post(&server, CHECKOUT, &json!({ "usdAmount": "10" })).await;
            if answer.status == 200 {
                made += 1;
            } else {
                answer.assert(429, "rate_limit_exceeded_rpm");
            }
        }
        // Four of the address's ten were for signing in.
        assert_eq!(made, 6);
        assert_eq!(browsers[0].get(&server, KEYS).await.status, 200, "reading goes on");
    });
}

#[test]
fn attack_76_a_form_elsewhere_signs_nobody_out() {
    run(async {
        let server = Server::start().await;
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
            let form = server.request(Method::POST, LOGOUT).header(name, value);
            let answer =
                reply(form.header("content-type", "application/x-www-form-urlencoded").body("")).await;
            answer.assert(403, "foreign_origin");
            assert_eq!(answer.header("set-cookie"), None);
        }
    });
}

/// Others behind the same address guess.
#[test]
fn attack_45_a_session_is_not_refused_for_what_others_at_its_address_do() {
    run(async {
        let server = Server::with_config(|config| config.keys.anonymous_rpm = 2).await;
        let browser = Browser::signed_in(&server, &Agent::random()).await;
        for _ in 0..5 {
            reply(server.get("/v1/credits").bearer_auth("pryv_guess")).await;
        }
        assert_eq!(browser.get(&server, KEYS).await.status, 200);
    });
}
