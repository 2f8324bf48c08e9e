//! From registration to a refreshed token, as an honest client does it.

use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{reply, run};
use serde_json::json;

use crate::fixture::{
    CALLBACK, Client, Tokens, ask_resource, consent, on_every_engine, only_grant, opens, parameter,
    redirect_of,
};

#[test]
fn a_client_registers_is_granted_access_and_refreshes_it() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let request = client.begin(server, &[]).await;
            let answer = consent(server, &wallet, &request, &json!({})).await;
            let redirect = redirect_of(&answer);
            assert!(redirect.as_str().starts_with(CALLBACK), "{redirect}");
            assert_eq!(parameter(&redirect, "state").as_ref(), Some(&client.state));
            assert_eq!(parameter(&redirect, "iss").as_ref(), Some(&server.url));
            let code = parameter(&redirect, "code").expect("a code");
            let first = Tokens::of(&client.exchange(server, &code, &[]).await);
            assert_eq!((first.scope.as_str(), first.expires_in), ("chat pii account:read", 3600));
            assert!(opens(server, &first.access).await);
            let second = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert!(opens(server, &second.access).await && opens(server, &first.access).await);
            assert!(second.refresh != first.refresh && second.access != first.access);
            let third = Tokens::of(&client.refresh(server, &second.refresh, &[]).await);
            assert!(opens(server, &third.access).await);
            let grant = only_grant(server, &wallet).await;
            assert_eq!(grant["client"]["name"], "Test client");
            assert_eq!(grant["limits"]["dailyUsd"], "5.00");
            assert_eq!(grant["scopes"], json!(["chat", "pii", "account:read"]));
            assert_eq!(grant["resource"], format!("{}/mcp", server.url));
        },
    ));
}

#[test]
fn attack_63_metadata_and_answers_name_one_issuer() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let refused = ask_resource(server, None).await;
            assert_eq!(refused.status, 401);
            let challenge = refused.header("www-authenticate").expect("a challenge").to_owned();
            let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", server.url);
            assert_eq!(
                challenge,
                format!("Bearer resource_metadata=\"{metadata}\", scope=\"chat pii account:read\"")
            );
            for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"]
            {
                let document = reply(server.get(path)).await.json();
                assert_eq!(document["resource"], format!("{}/mcp", server.url));
                assert_eq!(document["authorization_servers"], json!([server.url]));
                assert_eq!(document["scopes_supported"], json!(["chat", "pii", "account:read"]));
            }
            let document = reply(server.get("/.well-known/oauth-authorization-server")).await.json();
            assert_eq!(document["issuer"], server.url);
            for (name, path) in [
                ("authorization_endpoint", "authorize"),
                ("token_endpoint", "token"),
                ("registration_endpoint", "register"),
                ("revocation_endpoint", "revoke"),
            ] {
                assert_eq!(document[name], format!("{}/oauth/{path}", server.url));
            }
            assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
            assert_eq!(document["authorization_response_iss_parameter_supported"], true);
            assert_eq!(document["client_id_metadata_document_supported"], true);
        },
    ));
}
