//! Class 66: consent that was not given: other terms, other pages, disguised clients, signatures used again.

use farebox_test_support::agent::Agent;
use farebox_test_support::capture::logged;
use farebox_test_support::harness::{Server, reply, run};
use serde_json::{Value, json};

use crate::fixture::{
    Client, KEYS, code_of, consent, grant, grants, manage, message, on_every_engine, only_grant, proof,
    refused, register, sealed, signed_consent, with,
};

fn terms() -> Value {
    json!({
        "scopes": ["chat", "pii"],
        "limits": { "dailyUsd": "2.50", "totalUsd": "20", "models": ["small"] },
        "expiresAt": farebox::id::Timestamp::now().checked_add_millis(86_400_000).expect("near").to_rfc3339(),
    })
}

#[test]
fn attack_66_a_signature_counts_for_the_terms_that_it_names_alone() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (wallet, thief) = (Agent::random(), Agent::random());
            let client = Client::registered(server).await;
            let request = client.begin(server, &[]).await;
            let terms = terms();
            let text = message(server, &wallet, &request, &terms).await.json()["message"].clone();
            let good = signed_consent(&wallet, &request, text.as_str().expect("a message"), &terms);
            // Another client, redirect, challenge or state: another sealed request.
            let other = Client::registered(server).await.begin(server, &[]).await;
            let redirected = Client { redirect: "http://127.0.0.1:9/callback".into(), ..client.clone() };
            let redirected = redirected.begin(server, &[]).await;
            let challenged = client.again().begin(server, &[]).await;
            let expires = farebox::id::Timestamp::now().checked_add_millis(172_800_000).expect("near");
            for change in [
                json!({ "request": other }),
                json!({ "request": redirected }),
                json!({ "request": challenged }),
                json!({ "scopes": ["chat", "pii", "account:read"] }),
                json!({ "scopes": ["chat"] }),
                json!({ "limits": { "dailyUsd": "250", "totalUsd": "20", "models": ["small"] } }),
                json!({ "limits": { "dailyUsd": "2.50", "models": ["small"] } }),
                json!({ "limits": { "dailyUsd": "2.50", "totalUsd": "20" } }),
                json!({ "limits": { "dailyUsd": "2.50", "totalUsd": "20", "models": ["small"], "rpm": 9 } }),
                json!({ "limits": {} }),
                json!({ "limits": null }),
                json!({ "expiresAt": expires.to_rfc3339() }),
                json!({ "expiresAt": null }),
            ] {
                refused(&grant(server, &with(&good, &change)).await, 403, "MESSAGE_INVALID");
            }
            let mine = json!({ "walletAddress": thief.address() });
            refused(&grant(server, &with(&good, &mine)).await, 403, "MESSAGE_INVALID");
            let text = text.as_str().expect("a message");
            let forged = signed_consent(&thief, &request, text, &terms);
            let forged = with(&forged, &json!({ "walletAddress": wallet.address() }));
            refused(&grant(server, &forged).await, 403, "SIGNATURE_INVALID");
            // The product's line names no terms, nor does a message for another action.
            let line = with(&proof(&wallet, "connect", ""), &json!({ "request": request }));
            refused(&grant(server, &with(&line, &terms)).await, 403, "MESSAGE_INVALID");
            let created = text.replace("action=connect", "action=create");
            let created = signed_consent(&wallet, &request, &created, &terms);
            refused(&grant(server, &created).await, 403, "ACTION_MISMATCH");
            let unnamed: String = text.lines().filter(|line| !line.starts_with("Request ID")).fold(
                String::new(),
                |text, line| {
                    if text.is_empty() { line.to_owned() } else { format!("{text}\n{line}") }
                },
            );
            let unnamed = signed_consent(&wallet, &request, &unnamed, &terms);
            refused(&grant(server, &unnamed).await, 403, "MESSAGE_INVALID");
            // What the person reads is what is granted.
            assert!(
                text.contains("; action=connect; scopes=chat pii; dailyUsd=2.50; totalUsd=20.00; until=")
            );
            assert!(text.contains("; to=127.0.0.1\n"), "{text}");
            for (shown, instead) in [("dailyUsd=2.50", "dailyUsd=0.01"), ("scopes=chat pii", "scopes=pii")] {
                let flattered = signed_consent(&wallet, &request, &text.replace(shown, instead), &terms);
                refused(&grant(server, &flattered).await, 403, "MESSAGE_INVALID");
            }
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 0, "nothing was granted");
            // Itself it counts, once.
            code_of(&grant(server, &good).await);
            refused(&grant(server, &good).await, 403, "NONCE_REPLAY");
            let granted = only_grant(server, &wallet).await;
            assert_eq!(granted["scopes"], json!(["chat", "pii"]));
            assert_eq!(granted["limits"]["dailyUsd"], "2.50");
            assert_eq!(granted["limits"]["totalUsd"], "20.00");
            assert_eq!(granted["limits"]["models"], json!(["small"]));
            assert!(
                !logged().contains(text.split("Nonce: ").nth(1).expect("a nonce")),
                "messages are not logged"
            );
        },
    ));
}

/// And no other message does this: the signature of a consent makes no key.
#[test]
fn attack_66_a_consent_is_no_other_action() {
    run(async {
        let server = Server::start().await;
        let wallet = Agent::random();
        let request = Client::registered(&server).await.begin(&server, &[]).await;
        let text = message(&server, &wallet, &request, &json!({})).await.json()["message"].clone();
        let body = signed_consent(&wallet, &request, text.as_str().expect("a message"), &json!({}));
        let mut body = body;
        body.as_object_mut().expect("an object").remove("request");
        let answer = manage(&server, reqwest::Method::POST, KEYS, &body).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (403, Some("MESSAGE_INVALID")));
    });
}

#[test]
fn attack_66_of_racing_consents_with_one_signature_one_grants() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let request = Client::registered(server).await.begin(server, &[]).await;
            let text = message(server, &wallet, &request, &json!({})).await.json()["message"].clone();
            let body = &signed_consent(&wallet, &request, text.as_str().expect("a message"), &json!({}));
            let answers = futures_util::future::join_all((0..6).map(|_| grant(server, body))).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
            assert_eq!(server.count("SELECT count(*) FROM oauth_codes").await, 1);
            // Two signatures at once for one client are one grant.
            let [first, second] = [request.clone(), request];
            let usual = json!({});
            let (one, two) = futures_util::join!(
                consent(server, &wallet, &first, &usual),
                consent(server, &wallet, &second, &usual)
            );
            assert_eq!((one.status, two.status), (200, 200));
            assert_eq!(grants(server, &wallet).await.len(), 1);
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 1);
        },
    ));
}

#[test]
fn attack_66_terms_beyond_what_was_asked_are_refused() {
    run(async {
        let server = Server::start().await;
        let wallet = Agent::random();
        let client = Client::registered(&server).await;
        let request = client.begin(&server, &[("scope", "chat offline_access")]).await;
        for (terms, error) in [
            (json!({ "scopes": ["chat", "keys:write"] }), "invalid_scope"),
            (json!({ "scopes": [] }), "invalid_request"),
            (json!({ "scopes": ["everything"] }), "invalid_request"),
            (json!({ "limits": { "dailyUsd": "-1" } }), "invalid_request"),
            (json!({ "limits": { "rpm": 0 } }), "invalid_request"),
            (json!({ "limits": { "rpm": 1_000_000 } }), "invalid_request"),
            (json!({ "expiresAt": "2001-01-01T00:00:00Z" }), "invalid_request"),
            (json!({ "expiresAt": "2999-01-01T00:00:00Z" }), "invalid_request"),
            (json!({ "more": true }), "invalid_request"),
            (json!({ "request": "x" }), "invalid_request"),
            (json!({ "walletAddress": "0x1" }), "invalid_request"),
        ] {
            refused(&message(&server, &wallet, &request, &terms).await, 400, error);
        }
        code_of(&consent(&server, &wallet, &request, &json!({})).await);
        assert_eq!(only_grant(&server, &wallet).await["scopes"], json!(["chat"]));
    });
}

#[test]
fn attack_66_the_page_cannot_be_framed_and_runs_nothing_that_a_client_says() {
    run(async {
        let server = Server::start().await;
        let name = "<img src=x onerror=alert(1)>\u{202e}\"'&";
        let metadata = json!({ "client_name": name, "redirect_uris": ["https://client.example/cb?a='"] });
        let registered = register(&server, &metadata).await.json();
        let id = registered["client_id"].as_str().expect("an id");
        let redirect = registered["redirect_uris"][0].as_str().expect("a URI");
        let client = Client { state: "\"><script>alert(2)</script>".into(), ..Client::new(id, redirect) };
        let page = client.open(&server, &[]).await;
        sealed(&page);
        assert!(!page.text.contains("<img src=x") && !page.text.contains("<script>alert"), "{}", page.text);
        assert!(!page.text.contains('\u{202e}'));
        assert!(page.text.contains("&lt;img src=x onerror=alert(1)&gt;"));
        assert!(page.text.contains("Nobody vouches") && page.text.contains("client.example"));
        let policy = page.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'sha256-",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "connect-src 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        for (header, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(page.header(header), Some(value));
        }
        // Nothing of another host, and the hash is that of what is there.
        assert!(!page.text.contains("src=\"http") && !page.text.contains("url("), "{}", page.text);
        let (_, rest) = page.text.split_once("<script>").expect("it is there");
        let script = rest.split_once("</script>").expect("it ends").0;
        assert!(policy.contains(&hash(script)) && !page.text.contains("<style"), "{policy}");
        let local = Client::registered(&server).await.open(&server, &[]).await;
        assert!(local.text.contains("a program on this computer"), "{}", local.text);
    });
}

fn hash(text: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text.as_bytes()))
}

/// A page of another origin cannot send what it got signed: its reader has not seen ours.
#[test]
fn attack_66_other_origins_cannot_send_signatures() {
    run(async {
        let server = Server::start().await;
        let wallet = Agent::random();
        let request = Client::registered(&server).await.begin(&server, &[]).await;
        let text = message(&server, &wallet, &request, &json!({})).await.json()["message"].clone();
        let body = signed_consent(&wallet, &request, text.as_str().expect("a message"), &json!({}));
        for origin in ["https://evil.example", "null", &format!("{}.evil.example", server.url)] {
            for path in ["/oauth/authorize", "/oauth/message"] {
                let answer = reply(server.post(path, &body.to_string()).header("origin", origin)).await;
                refused(&answer, 403, "foreign_origin");
            }
        }
        let own = server.post("/oauth/authorize", &body.to_string()).header("origin", &server.url);
        code_of(&reply(own).await);
    });
}

#[test]
fn attack_66_a_request_is_open_for_an_hour_and_only_as_it_was_sealed() {
    run(async {
        let server = Server::start().await;
        let wallet = Agent::random();
        let client = Client::registered(&server).await;
        let request = client.begin(&server, &[]).await;
        let now = farebox::id::Timestamp::now();
        let after = |millis| now.checked_add_millis(millis).expect("near");
        assert!(server.app.oauth.open(&request, after(3_590_000)).is_some());
        assert!(server.app.oauth.open(&request, after(3_600_000)).is_none());
        let (json, seal) = request.split_once('.').expect("sealed");
        for forged in ["", "x", &format!("{json}A.{seal}"), &client.id, client.id.trim_start_matches("reg_")]
        {
            refused(&message(&server, &wallet, forged, &json!({})).await, 400, "invalid_request");
        }
    });
}
