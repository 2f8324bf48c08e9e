//! Class 62: codes that are stolen, injected, used twice, or not bound to who asked for them.

use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, run};
use reqwest::Url;
use serde_json::json;

use crate::fixture::{Client, Instances, Tokens, grants, on_every_engine, opens, parameter, refused};

#[test]
fn attack_62_a_request_without_s256_is_refused() {
    run(async {
        let server = Server::start().await;
        let client = Client::registered(&server).await;
        for changes in [
            &[("code_challenge", "")][..],
            &[("code_challenge_method", "")],
            &[("code_challenge_method", "plain")],
            &[("code_challenge_method", "s256")],
            &[("code_challenge", "short")],
            &[("code_challenge", ""), ("code_challenge_method", "")],
            &[("response_type", "token")],
            &[("response_type", "")],
            &[("response_mode", "fragment")],
        ] {
            let answer = client.open(&server, changes).await;
            assert_eq!(answer.status, 302, "{changes:?}: {}", answer.text);
            let location = Url::parse(answer.header("location").expect("a location")).expect("a URL");
            let error = parameter(&location, "error").expect("an error");
            assert!(["invalid_request", "unsupported_response_type"].contains(&error.as_str()), "{error}");
            assert_eq!(parameter(&location, "code"), None);
        }
    });
}

#[test]
fn attack_29_a_code_is_for_its_client_redirect_verifier_and_resource() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let (client, other) = (Client::registered(server).await, Client::registered(server).await);
            let code = client.code(server, &wallet, &json!({})).await;
            let challenge = client.challenge();
            for (changes, error) in [
                (&[("client_id", other.id.as_str())][..], "invalid_grant"),
                (&[("redirect_uri", "http://127.0.0.1:3119/callback")], "invalid_grant"),
                (&[("redirect_uri", "http://127.0.0.1:3118/callback/")], "invalid_grant"),
                (&[("code_verifier", other.verifier.as_str())], "invalid_grant"),
                (&[("code_verifier", challenge.as_str())], "invalid_grant"),
                (&[("code_verifier", "x")], "invalid_grant"),
                (&[("code_verifier", "")], "invalid_request"),
                (&[("client_id", "")], "invalid_request"),
                (&[("resource", "https://other.example/mcp")], "invalid_target"),
            ] {
                refused(&client.exchange(server, &code, changes).await, 400, error);
            }
            for wrong in ["", "oac_x", &code[1..], &code.replace("oac_", "ort_"), &format!("{code}x")] {
                let answer = client.exchange(server, wrong, &[]).await;
                assert_eq!(answer.status, 400, "{}", answer.text);
            }
            // None of that used it up; OAuth 2.1 sends no redirect_uri.
            Tokens::of(&client.exchange(server, &code, &[("redirect_uri", "")]).await);
        },
    ));
}

#[test]
fn attack_62_a_code_that_comes_again_ends_its_family() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let code = client.code(server, &wallet, &json!({})).await;
            let tokens = Tokens::of(&client.exchange(server, &code, &[]).await);
            let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            assert!(opens(server, &tokens.access).await && opens(server, &next.access).await);
            // By another client it is nobody's.
            let other = Client::registered(server).await;
            refused(&other.exchange(server, &code, &[]).await, 400, "invalid_grant");
            assert!(opens(server, &tokens.access).await);
            refused(&client.exchange(server, &code, &[]).await, 400, "invalid_grant");
            assert!(!opens(server, &tokens.access).await && !opens(server, &next.access).await);
            refused(&client.refresh(server, &next.refresh, &[]).await, 400, "invalid_grant");
            assert!(grants(server, &wallet).await.is_empty());
            // The client can log in anew.
            let tokens = client.again().log_in(server, &wallet, &json!({})).await;
            assert!(opens(server, &tokens.access).await);
        },
    ));
}

/// Codes are in the histories of browsers and in the logs of proxies, and a `client_id` is no secret.
#[test]
fn attack_62_a_used_code_ends_nothing_without_its_verifier_and_no_other_family() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let other = client.again().log_in(server, &wallet, &json!({})).await;
            let code = client.code(server, &wallet, &json!({})).await;
            let tokens = Tokens::of(&client.exchange(server, &code, &[]).await);
            let verifier = client.again().verifier;
            for wrong in [
                ("code_verifier", verifier.as_str()),
                ("redirect_uri", "http://127.0.0.1:3119/callback"),
                ("client_id", &Client::registered(server).await.id),
            ] {
                refused(&client.exchange(server, &code, &[wrong]).await, 400, "invalid_grant");
                assert!(opens(server, &tokens.access).await, "{wrong:?}");
            }
            refused(&client.exchange(server, &code, &[]).await, 400, "invalid_grant");
            assert!(!opens(server, &tokens.access).await && opens(server, &other.access).await);
            refused(&client.refresh(server, &tokens.refresh, &[]).await, 400, "invalid_grant");
            Tokens::of(&client.refresh(server, &other.refresh, &[]).await);
            assert_eq!(grants(server, &wallet).await.len(), 1);
        },
    ));
}

#[test]
fn attack_62_a_code_works_once_on_two_instances() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let mut instances = Instances::of(server).await;
            for _ in 0..10 {
                let wallet = Agent::random();
                let client = Client::registered(server).await;
                let code = &client.code(server, &wallet, &json!({})).await;
                let client = &client;
                let tries = (0..6).map(|n| {
                    let server = instances.any(n);
                    async move { client.exchange(server, code, &[]).await }
                });
                let answers = futures_util::future::join_all(tries).await;
                let given: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
                assert_eq!(given.len(), 1, "{answers:?}");
                // And the others ended it, on both.
                let tokens = Tokens::of(given[0]);
                assert!(
                    !opens(server, &tokens.access).await && !opens(instances.any(1), &tokens.access).await
                );
            }
            instances.stop().await;
        },
    ));
}

#[test]
fn attack_62_a_code_lives_a_minute() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            for (age, status) in [(59_000, 200), (60_000, 400)] {
                let client = client.again();
                let code = client.code(server, &wallet, &json!({})).await;
                let aged =
                    format!("UPDATE oauth_codes SET expires_at = expires_at - {age} WHERE used_at IS NULL");
                server.db.execute(&aged).await;
                assert_eq!(client.exchange(server, &code, &[]).await.status, status, "{age}");
            }
        },
    ));
}
