//! Class 69: grants that outlive their end, spend beyond their caps, or multiply.

use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, eventually, run};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{
    Client, GRANTS, Instances, KEYS, Tokens, code_of, consent, grants, manage, on_every_engine, only_grant,
    opens, proof, refused, with,
};

#[track_caller]
fn done(reply: &farebox_test_support::harness::Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// By either of its names, and on every instance.
#[test]
fn attack_69_a_revoked_grant_opens_nothing_on_any_instance() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let mut instances = Instances::of(server).await;
            let (wallet, thief) = (Agent::random(), Agent::random());
            for path in [GRANTS, KEYS] {
                let client = Client::registered(server).await;
                let tokens = client.log_in(server, &wallet, &json!({})).await;
                let code = client.again().code(server, &wallet, &json!({})).await;
                let id = only_grant(server, &wallet).await["id"].as_str().expect("an id").to_owned();
                assert!(opens(instances.any(1), &tokens.access).await);
                // A request that runs with it ends.
                let key = farebox::keys::KeyId::parse(&id).expect("a key's id");
                let running = instances.any(1).app.keys.revocation_token(&key);
                let one = format!("{path}/{id}");
                let foreign = manage(server, Method::DELETE, &one, &proof(&thief, "revoke", &id)).await;
                assert_eq!(foreign.status, 404, "{}", foreign.text);
                assert!(opens(server, &tokens.access).await);
                let revoked =
                    done(&manage(server, Method::DELETE, &one, &proof(&wallet, "revoke", &id)).await);
                assert_eq!(revoked["status"], "revoked");
                running.cancellation().cancelled().await;
                assert!(!opens(server, &tokens.access).await, "at once");
                eventually("the other instance refuses it", async || {
                    (!opens(instances.any(1), &tokens.access).await).then_some(())
                })
                .await;
                refused(&client.refresh(server, &tokens.refresh, &[]).await, 400, "invalid_grant");
                refused(&client.exchange(server, &code, &[]).await, 400, "invalid_grant");
                assert!(grants(server, &wallet).await.is_empty());
            }
            instances.stop().await;
        },
    ));
}

/// A wallet that never signed in has none, and another's are not listed.
#[test]
fn attack_69_grants_are_their_wallets_alone() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (wallet, other) = (Agent::random(), Agent::random());
            let client = Client::registered(server).await;
            client.log_in(server, &wallet, &json!({})).await;
            assert!(grants(server, &other).await.is_empty());
            // One client, two wallets: two grants.
            client.again().log_in(server, &other, &json!({})).await;
            let [one, two] = [&wallet, &other].map(|wallet| only_grant(server, wallet));
            assert_ne!(one.await["id"], two.await["id"]);
            // An API key is no grant.
            let made = manage(server, Method::POST, KEYS, &proof(&wallet, "create", "")).await.json();
            let id = made["id"].as_str().expect("an id");
            for (method, action) in [(Method::DELETE, "revoke"), (Method::PATCH, "update")] {
                let path = format!("{GRANTS}/{id}");
                assert_eq!(manage(server, method, &path, &proof(&wallet, action, id)).await.status, 404);
            }
            // The key list has the grant by its client's name, without a secret that could be asked for.
            let listed = manage(server, Method::POST, KEYS, &proof(&wallet, "list", "")).await.json();
            let names: Vec<_> =
                listed["keys"].as_array().expect("keys").iter().map(|key| &key["name"]).collect();
            assert!(names.contains(&&json!("Test client")), "{listed}");
            let id = only_grant(server, &wallet).await["id"].as_str().expect("an id").to_owned();
            let rotate = format!("{KEYS}/{id}/rotate");
            let refused = manage(server, Method::POST, &rotate, &proof(&wallet, "rotate", &id)).await;
            assert_eq!(refused.status, 400, "{}", refused.text);
        },
    ));
}

#[test]
fn attack_69_a_grant_can_be_raised_without_a_new_login() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let terms = json!({ "scopes": ["chat"], "limits": { "dailyUsd": "1" } });
            let tokens = client.log_in(server, &wallet, &terms).await;
            let id = only_grant(server, &wallet).await["id"].as_str().expect("an id").to_owned();
            let path = format!("{GRANTS}/{id}");
            let change = async |more: Value| {
                manage(server, Method::PATCH, &path, &with(&proof(&wallet, "update", &id), &more)).await
            };
            let raised = done(&change(json!({ "scopes": ["chat", "keys:write"] })).await);
            assert_eq!(raised["scopes"], json!(["chat", "keys:write"]));
            assert_eq!(raised["limits"]["dailyUsd"], "1.00", "what is not given stays");
            let access = server.app.oauth.authenticate(&tokens.access, farebox::id::Timestamp::now()).await;
            assert_eq!(access.expect("it counts").scopes.to_string(), "chat keys:write");
            let next = Tokens::of(&client.refresh(server, &tokens.refresh, &[]).await);
            assert_eq!(next.scope, "chat keys:write");
            let raised = done(&change(json!({ "limits": { "dailyUsd": "9", "totalUsd": "90" } })).await);
            assert_eq!(raised["limits"]["totalUsd"], "90.00");
            let ends = farebox::id::Timestamp::now().checked_add_millis(300 * 86_400_000).expect("near");
            let raised = done(&change(json!({ "expiresAt": ends.to_rfc3339() })).await);
            assert_eq!(raised["expiresAt"], ends.to_rfc3339());
            for wrong in [
                json!({ "scopes": [] }),
                json!({ "scopes": ["everything"] }),
                json!({ "limits": { "dailyUsd": "-1" } }),
                json!({ "expiresAt": "2001-01-01T00:00:00Z" }),
                json!({ "expiresAt": "2999-01-01T00:00:00Z" }),
                json!({ "name": "x" }),
            ] {
                assert_eq!(change(wrong).await.status, 400);
            }
            // Lowered, the old token has less.
            done(&change(json!({ "scopes": ["pii"] })).await);
            let access = server.app.oauth.authenticate(&next.access, farebox::id::Timestamp::now()).await;
            assert_eq!(access.expect("it counts").scopes.to_string(), "pii");
        },
    ));
}

/// The same client and wallet again: one grant, whose rights are those that were signed last.
#[test]
fn attack_69_a_new_consent_changes_the_grant_and_adds_none() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let first = client.log_in(server, &wallet, &json!({ "scopes": ["chat", "pii"] })).await;
            let before = only_grant(server, &wallet).await;
            let terms = json!({ "scopes": ["chat"], "limits": { "dailyUsd": "2" } });
            let second = client.again().log_in(server, &wallet, &terms).await;
            let after = only_grant(server, &wallet).await;
            assert_eq!(after["id"], before["id"], "one key, so what was spent counts on");
            assert_eq!((&after["scopes"], &after["limits"]["dailyUsd"]), (&json!(["chat"]), &json!("2.00")));
            // Both logins go on, within these rights.
            assert!(opens(server, &first.access).await && opens(server, &second.access).await);
            let first = Tokens::of(&client.refresh(server, &first.refresh, &[]).await);
            assert_eq!(first.scope, "chat");
            let id = after["id"].as_str().expect("an id");
            let path = format!("{GRANTS}/{id}");
            done(&manage(server, Method::DELETE, &path, &proof(&wallet, "revoke", id)).await);
            // After its end it is another one.
            client.again().log_in(server, &wallet, &json!({})).await;
            assert_ne!(only_grant(server, &wallet).await["id"], after["id"]);
            assert!(!opens(server, &first.access).await);
        },
    ));
}

#[test]
fn attack_69_a_token_never_outlives_its_grant() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let wallet = Agent::random();
            let client = Client::registered(server).await;
            let ends = farebox::id::Timestamp::now().checked_add_millis(600_000).expect("near");
            let terms = json!({ "expiresAt": ends.to_rfc3339() });
            let tokens = client.log_in(server, &wallet, &terms).await;
            assert!((590..=600).contains(&tokens.expires_in), "{tokens:?}");
            let oauth = &server.app.oauth;
            let after = ends.checked_add_millis(1).expect("near");
            assert!(oauth.authenticate(&tokens.access, after).await.is_err());
            let refresh = farebox::oauth::Refresh {
                token: &tokens.refresh,
                client_id: &client.id,
                scope: None,
                resource: &[],
            };
            assert!(oauth.refresh(&refresh, after).await.is_err());
            assert!(oauth.refresh(&refresh, ends.checked_sub_millis(1).expect("near")).await.is_ok());
        },
    ));
}

/// The caps are the key's, in the transaction that charges.
#[test]
fn attack_69_parallel_calls_spend_no_more_than_the_cap() {
    run(on_every_engine(
        |_| {},
        async |server| {
            use farebox::id::{AccountId, RequestId, SourceRef, Timestamp};
            use farebox::keys::{self, KeysError, PurchaseOutcome};
            use farebox::ledger::{EntryDetails, EntryKind};
            use farebox::money::Money;

            let wallet = Agent::random();
            let account = AccountId::wallet(&wallet.address().to_string()).expect("an address");
            let source = SourceRef::parse(&format!("test:{}", uuid::Uuid::new_v4())).expect("a source");
            let given = Money::from_micros(100_000_000);
            server.app.ledger.credit(&account, given, &source, Timestamp::now()).await.expect("it takes it");
            let client = Client::registered(server).await;
            let terms = json!({ "limits": { "dailyUsd": "1" } });
            let tokens = client.log_in(server, &wallet, &terms).await;
            let now = Timestamp::now();
            let access = server.app.oauth.authenticate(&tokens.access, now).await.expect("it counts");
            let price = Money::from_micros(30_000);
            let details = EntryDetails {
                kind: EntryKind::Usage,
                request_id: Some(RequestId::new(Timestamp::now())),
                service: "test".into(),
                units: 1,
                unit_price: price,
                meta: json!({}),
            };
            let (key, details) = (&access.key, &details);
            let spend = async |key| {
                let spent = server.app.db.transaction(|mut tx| async move {
                    let outcome = keys::spend(&mut tx, key, price, None, details, now).await?;
                    Ok::<_, KeysError>((tx, outcome))
                });
                spent.await
            };
            let spends = (0..50).map(|_| spend(key));
            let outcomes = futures_util::future::join_all(spends).await;
            let paid =
                outcomes.iter().filter(|outcome| matches!(outcome, Ok(PurchaseOutcome::Paid(_)))).count();
            assert_eq!(paid, 33, "of a dollar, to the micro");
            let left = server.app.ledger.balance(&account).await.expect("it answers").available();
            assert_eq!(left, Money::from_micros(100_000_000 - 33 * 30_000));
            // A new consent does not begin to count anew.
            client.again().log_in(server, &wallet, &terms).await;
            let access = server.app.oauth.authenticate(&tokens.access, now).await.expect("it counts");
            let again = spend(&access.key).await;
            assert!(matches!(again, Ok(PurchaseOutcome::Short(_))), "{again:?}");
        },
    ));
}

#[test]
fn attack_69_a_wallet_has_no_more_grants_than_keys() {
    run(async {
        let server = Server::with_config(|config| config.mcp.registration_rpm = 60_000).await;
        let wallet = Agent::random();
        let client = Client::registered(&server).await;
        client.log_in(&server, &wallet, &json!({})).await;
        let owner = format!("{:#x}", wallet.address());
        for n in 1..farebox::keys::MAX_ACTIVE_KEYS {
            let text = format!(
                "INSERT INTO api_keys (id, owner, name, hash, created_at) \
                 VALUES ('aaaaaaaaaaaaa{n:03}', '{owner}', 'x', '{n:064}', 1)"
            );
            server.db.execute(&text).await;
        }
        let other = Client::registered(&server).await;
        let request = other.begin(&server, &[]).await;
        let answer = consent(&server, &wallet, &request, &json!({})).await;
        refused(&answer, 400, "invalid_request");
        assert!(answer.text.contains("100 active keys"), "{}", answer.text);
        // The one that there is can be changed, and the refused signature was not used up.
        code_of(&consent(&server, &wallet, &client.again().begin(&server, &[]).await, &json!({})).await);
    });
}
