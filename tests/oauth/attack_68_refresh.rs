//! Class 68: refresh tokens that are stolen, lost on the way, used by two at once, or made to ask for more.

use farebox::config::Secret;
use farebox::id::Timestamp;
use farebox_test_support::agent::Agent;
use farebox_test_support::capture::logged;
use farebox_test_support::harness::{Server, reply, run};
use serde_json::json;

use crate::fixture::{
    Client, Instances, Tokens, grants, on_every_engine, only_grant, opens, post_form, refused,
};

/// Moves every use of a refresh token into the past.
async fn age(server: &Server, millis: i64) {
    let text =
        format!("UPDATE oauth_refresh_tokens SET used_at = used_at - {millis} WHERE used_at IS NOT NULL");
    server.db.execute(&text).await;
}

/// Two processes of one client refresh at once, and each answer may be lost: strict rotation would log both out.
#[test]
fn attack_68_parallel_refreshes_get_one_successor() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let mut instances = Instances::of(server).await;
            let wallet = Agent::random();
            let client = &Client::registered(server).await;
            let mut tokens = client.log_in(server, &wallet, &json!({})).await;
            for _ in 0..5 {
                let refresh = &tokens.refresh;
                let tries = (0..6).map(|n| client.refresh(instances.any(n), refresh, &[]));
                let answers = futures_util::future::join_all(tries).await;
                let all: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
                assert!(all.iter().all(|next| next.refresh == all[0].refresh), "one successor");
                for (n, next) in all.iter().enumerate() {
                    assert!(opens(instances.any(n + 1), &next.access).await);
                }
                tokens = all[0].clone();
            }
            let living = "SELECT count(*) FROM oauth_refresh_tokens WHERE used_at IS NULL";
            assert_eq!(server.count(living).await, 1);
            instances.stop().await;
        },
    ));
}

#[test]
fn attack_68_a_lost_answer_is_asked_for_again_and_later_reuse_ends_the_family() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let first = client.log_in(server, &wallet, &json!({})).await;
            let lost = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            age(server, 59_000).await;
            let again = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert_eq!(again.refresh, lost.refresh);
            let next = Tokens::of(&client.refresh(server, &again.refresh, &[]).await);
            assert!(opens(server, &next.access).await);
            // By another client it is nobody's.
            age(server, 2_000).await;
            let other = Client::registered(server).await;
            refused(&other.refresh(server, &first.refresh, &[]).await, 400, "invalid_grant");
            assert!(opens(server, &next.access).await);
            refused(&client.refresh(server, &first.refresh, &[]).await, 400, "invalid_grant");
            for tokens in [&first, &lost, &again, &next] {
                assert!(!opens(server, &tokens.access).await);
                refused(&client.refresh(server, &tokens.refresh, &[]).await, 400, "invalid_grant");
            }
            assert!(grants(server, &wallet).await.is_empty());
            // Neither text is in the log, nor in the database.
            for secret in [&first.refresh, &next.access] {
                assert!(!logged().contains(secret.as_str()));
            }
        },
    ));
}

/// A server that died after it committed may be back later than the retry window: its client lost nothing but time.
#[test]
fn attack_68_a_lost_answer_is_asked_for_again_however_late() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let first = client.log_in(server, &wallet, &json!({})).await;
            let lost = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            age(server, 70_000).await;
            let again = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert_eq!(again.refresh, lost.refresh);
            age(server, 86_400_000).await;
            let again = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert_eq!(again.refresh, lost.refresh);
            assert!(opens(server, &lost.access).await && opens(server, &again.access).await);
        },
    ));
}

/// The other process refreshed twice meanwhile: a used successor would be reuse when it is presented.
#[test]
fn attack_68_a_retry_gets_the_newest_token_of_its_chain() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let first = client.log_in(server, &wallet, &json!({})).await;
            let second = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            age(server, 50_000).await;
            let third = Tokens::of(&client.refresh(server, &second.refresh, &[]).await);
            age(server, 5_000).await;
            let retried = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert_eq!(retried.refresh, third.refresh);
            age(server, 65_000).await;
            let next = Tokens::of(&client.refresh(server, &retried.refresh, &[]).await);
            assert!(opens(server, &next.access).await);
        },
    ));
}

/// Uses a token twice over, so that presenting it again is reuse; returns the newest tokens.
async fn outlived(server: &Server, client: &Client, tokens: &Tokens) -> Tokens {
    let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
    let next = Tokens::of(&client.refresh(server, &next.refresh, &[]).await);
    age(server, 61_000).await;
    next
}

#[test]
fn attack_68_reuse_logs_out_one_installation_and_no_other() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let laptop = client.log_in(server, &wallet, &json!({})).await;
            let phone = client.again().log_in(server, &wallet, &json!({})).await;
            let id = only_grant(server, &wallet).await["id"].as_str().expect("an id").to_owned();
            let key = farebox::keys::KeyId::parse(&id).expect("a key's id");
            let running = server.app.keys.revocation_token(&key);
            let newest = outlived(server, &client, &laptop).await;
            refused(&client.refresh(server, &laptop.refresh, &[]).await, 400, "invalid_grant");
            assert!(!opens(server, &laptop.access).await && !opens(server, &newest.access).await);
            refused(&client.refresh(server, &newest.refresh, &[]).await, 400, "invalid_grant");
            assert!(opens(server, &phone.access).await && !running.cancellation().is_cancelled());
            let next = Tokens::of(&client.refresh(server, &phone.refresh, &[]).await);
            assert_eq!(only_grant(server, &wallet).await["id"], id.as_str());
            // With the last the grant ends, and what runs.
            outlived(server, &client, &next).await;
            refused(&client.refresh(server, &next.refresh, &[]).await, 400, "invalid_grant");
            running.cancellation().cancelled().await;
            assert!(grants(server, &wallet).await.is_empty());
        },
    ));
}

/// While one instance ends a family the other refreshes it: nothing of it is left.
#[test]
fn attack_68_a_family_that_ends_gets_no_successor() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let mut instances = Instances::of(server).await;
            let wallet = Agent::random();
            let client = &Client::registered(server).await;
            client.log_in(server, &wallet, &json!({})).await;
            for _ in 0..10 {
                let first = client.again().log_in(server, &wallet, &json!({})).await;
                let newest = outlived(server, client, &first).await;
                let (reused, _) = tokio::join!(
                    client.refresh(server, &first.refresh, &[]),
                    client.refresh(instances.any(1), &newest.refresh, &[]),
                );
                refused(&reused, 400, "invalid_grant");
                let families = "SELECT count(DISTINCT family) FROM oauth_refresh_tokens";
                assert_eq!(server.count(families).await, 1, "that of the other installation");
                assert_eq!(server.count("SELECT count(*) FROM oauth_access_tokens").await, 1);
            }
            instances.stop().await;
        },
    ));
}

/// A client that refreshes all the time must not fill the database.
#[test]
fn attack_68_used_tokens_are_forgotten_after_a_day() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let first = client.log_in(server, &wallet, &json!({})).await;
            let (mut before, mut tokens) = (first.clone(), first.clone());
            for _ in 0..3 {
                let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
                (before, tokens) = (tokens, next);
                age(server, 1_000).await;
            }
            let stored = "SELECT count(*) FROM oauth_refresh_tokens";
            for (hours, expected) in [(23, 4), (25, 2)] {
                let later = Timestamp::now().checked_add_millis(hours * 3_600_000).expect("near");
                server.app.oauth.forget_ended(later).await.expect("it works");
                assert_eq!(server.count(stored).await, expected, "after {hours} hours");
            }
            // Who comes with one of them gets nothing, and ends nothing; the last answer may still have been lost.
            refused(&client.refresh(server, &first.refresh, &[]).await, 400, "invalid_grant");
            age(server, 90_000_000).await;
            let again = Tokens::of(&client.refresh(server, &before.refresh, &[]).await);
            assert_eq!(again.refresh, tokens.refresh);
        },
    ));
}

/// The answer to a retry does not depend on which secret the server signs with meanwhile.
#[test]
fn attack_68_a_retry_across_a_rotated_secret_gets_the_same_successor() {
    run(async {
        let server = Server::start().await;
        let wallet = Agent::random();
        let client = Client::registered(&server).await;
        let first = client.log_in(&server, &wallet, &json!({})).await;
        let lost = Tokens::of(&client.refresh(&server, &first.refresh, &[]).await);
        let url = server.url.clone();
        let mut server = server
            .restart(|config| {
                config.mcp.public_url = Some(url);
                config.payments.previous_secret = Some(config.payments.secret.clone());
                config.payments.secret = Secret::from("another secret of thirty-two bytes");
            })
            .await;
        let again = Tokens::of(&client.refresh(&server, &first.refresh, &[]).await);
        assert_eq!(again.refresh, lost.refresh);
        let next = Tokens::of(&client.refresh(&server, &again.refresh, &[]).await);
        assert!(opens(&server, &next.access).await);
        server.stop().await;
    });
}

#[test]
fn attack_68_a_refresh_never_widens_the_scope() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let tokens = client.log_in(server, &wallet, &json!({ "scopes": ["chat", "pii"] })).await;
            assert_eq!(tokens.scope, "chat pii");
            for wider in ["chat pii account:read", "keys:write", "admin"] {
                let answer = client.refresh(server, &tokens.refresh, &[("scope", wider)]).await;
                refused(&answer, 400, "invalid_scope");
            }
            let narrow = Tokens::of(&client.refresh(server, &tokens.refresh, &[("scope", "chat")]).await);
            assert_eq!(narrow.scope, "chat");
            // The narrowing is the access token's (RFC 6749, section 6).
            let whole = Tokens::of(&client.refresh(server, &narrow.refresh, &[]).await);
            assert_eq!(whole.scope, "chat pii");
        },
    ));
}

#[test]
fn attack_68_tokens_are_revoked_by_their_client_alone() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let (client, other) = (Client::registered(server).await, Client::registered(server).await);
            let tokens = client.log_in(server, &wallet, &json!({})).await;
            let revoke = async |client: &Client, token: &str| {
                let form = [("token", token), ("client_id", &client.id), ("token_type_hint", "whatever")];
                let answer = post_form(server, "/oauth/revoke", &form).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            };
            revoke(&other, &tokens.access).await;
            revoke(&other, &tokens.refresh).await;
            revoke(&client, "oat_unknown").await;
            assert!(opens(server, &tokens.access).await);
            revoke(&client, &tokens.access).await;
            assert!(!opens(server, &tokens.access).await);
            let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            // A second login of the same client, as on another machine, goes on.
            let elsewhere = client.again();
            let second = elsewhere.log_in(server, &wallet, &json!({})).await;
            revoke(&client, &next.refresh).await;
            assert!(!opens(server, &next.access).await && opens(server, &second.access).await);
            refused(&client.refresh(server, &next.refresh, &[]).await, 400, "invalid_grant");
            assert_eq!(grants(server, &wallet).await.len(), 1);
            // With the last the grant ends, and its key.
            revoke(&elsewhere, &second.refresh).await;
            assert!(!opens(server, &second.access).await && grants(server, &wallet).await.is_empty());
            let refused = post_form(server, "/oauth/revoke", &[("token", "x")]).await;
            assert_eq!(refused.status, 400, "client_id is missing");
        },
    ));
}

#[test]
fn attack_68_tokens_of_a_grant_are_limited_and_guesses_by_address() {
    run(on_every_engine(
        |config| {
            config.mcp.token_rpm = 3;
            config.keys.anonymous_rpm = 5;
        },
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let mut tokens = client.log_in(server, &wallet, &json!({})).await;
            for _ in 0..3 {
                tokens = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            }
            let limited = client.refresh(server, &tokens.refresh, &[]).await;
            refused(&limited, 429, "rate_limit_exceeded");
            assert!(limited.header("retry-after").is_some());
            let guess = async || {
                let form =
                    format!("grant_type=refresh_token&client_id=x&refresh_token=ort_{}", "a".repeat(43));
                let request = server.request(reqwest::Method::POST, "/oauth/token").body(form);
                let request = request.header("content-type", "application/x-www-form-urlencoded");
                reply(request.header("x-forwarded-for", "9.9.9.9")).await.status
            };
            let mut statuses = Vec::new();
            for _ in 0..8 {
                statuses.push(guess().await);
            }
            assert!(statuses.starts_with(&[400; 5]) && statuses.ends_with(&[429]), "{statuses:?}");
        },
    ));
}
