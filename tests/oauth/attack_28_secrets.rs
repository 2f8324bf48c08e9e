//! Class 28: no code, token, verifier or signature in a log, in an error, or in the database.

use farebox_test_support::agent::Agent;
use farebox_test_support::capture::logged;
use farebox_test_support::harness::run;
use serde_json::json;

use crate::fixture::{
    Client, Tokens, ask_resource, code_of, grant, message, on_every_engine, post_form, signed_consent,
};

#[test]
fn attack_28_codes_and_tokens_are_in_no_log_error_or_row() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let request = client.begin(server, &[]).await;
            let text = message(server, &wallet, &request, &json!({})).await.json()["message"].clone();
            let body = signed_consent(&wallet, &request, text.as_str().expect("a message"), &json!({}));
            let code = code_of(&grant(server, &body).await);
            let tokens = Tokens::of(&client.exchange(server, &code, &[]).await);
            let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            // And everything that fails.
            let bearer = format!("Bearer {}x", next.access);
            let failures = [
                grant(server, &body).await,
                client.exchange(server, &code, &[("code_verifier", "wrong")]).await,
                client.exchange(server, &code, &[]).await,
                client.refresh(server, &tokens.refresh, &[]).await,
                client.refresh(server, &next.refresh, &[]).await,
                post_form(server, "/oauth/token", &[("grant_type", &tokens.refresh)]).await,
                ask_resource(server, Some(&bearer)).await,
                ask_resource(server, Some(&format!("Bearer {}", next.access))).await,
            ];
            let log = logged();
            let signature = body["signature"].as_str().expect("a signature").to_owned();
            let state = &client.state;
            for secret in [
                &code,
                &tokens.access,
                &tokens.refresh,
                &next.access,
                &next.refresh,
                &client.verifier,
                &signature,
                state,
                &request,
            ] {
                assert!(!log.contains(secret.as_str()), "in the log: {secret:.8}");
                for failure in &failures {
                    assert!(!failure.text.contains(secret.as_str()), "{}", failure.text);
                }
                for (table, column) in [
                    ("oauth_codes", "hash"),
                    ("oauth_refresh_tokens", "hash"),
                    ("oauth_refresh_tokens", "family"),
                    ("oauth_access_tokens", "hash"),
                    ("oauth_codes", "challenge"),
                ] {
                    let sql = format!("SELECT count(*) AS n FROM {table} WHERE {column} = $1");
                    let row = server.db.db.fetch_one(&sql, vec![secret.as_str().into()]).await;
                    assert_eq!(row.and_then(|row| row.whole("n")).expect("a number"), 0, "{table}");
                }
            }
        },
    ));
}
