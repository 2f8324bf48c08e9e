//! Usage of a wallet's account, the filters of its ledger, what its keys spent, and the models that are sold.

use farebox::id::{SourceRef, Timestamp};
use farebox::keys::{self, KeysError};
use farebox::ledger::{EntryDetails, EntryKind};
use farebox::money::Money;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, Server, reply, run};
use serde_json::{Value, json};

use crate::management::{
    KEYS, LEDGER, USAGE, account, assert_audit, dollars, done, get, give, on_every_engine, patch, post,
    proof, refused, spend, spend_at, with,
};

async fn usage(server: &Server, agent: &Agent, query: &Value) -> Reply {
    post(server, USAGE, &with(proof(agent, "ledger", ""), query)).await
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a moment")
}

/// A key of a wallet: its text and its id.
async fn new_key(server: &Server, agent: &Agent, name: &str) -> (String, String) {
    let made = done(&post(server, KEYS, &with(proof(agent, "create", ""), &json!({ "name": name }))).await);
    let text = |field: &str| made[field].as_str().expect("text").to_owned();
    assert_eq!((&made["kind"], &made["spend"]["totalUsd"]), (&json!("key"), &json!("0.00")));
    (text("key"), text("id"))
}

#[test]
fn usage_is_added_up_by_day_service_key_and_kind() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (agent, other) = (Agent::random(), Agent::random());
            give(server, &agent, dollars(10)).await;
            give(server, &other, dollars(10)).await;
            let cent = Money::from_micros(10_000);
            let meta = |key: &str| json!({ "key": key, "promptTokens": 5, "completionTokens": 7 });
            for (service, key, moment) in [
                ("small", "k1", "2026-11-01T00:00:00Z"),
                ("small", "k1", "2026-11-01T23:59:59.999Z"),
                ("small", "k2", "2026-11-01T12:00:00Z"),
                ("<big>", "k1", "2026-11-02T00:00:00Z"),
            ] {
                spend_at(server, &agent, cent, service, "r", meta(key), at(moment)).await;
            }
            spend_at(server, &agent, cent, "small", "r", json!({}), at("2026-11-30T23:59:59Z")).await;
            spend_at(server, &agent, cent, "small", "r", json!({}), at("2026-12-01T00:00:00Z")).await;
            spend(server, &other, cent, "small", "r").await;

            let november = json!({ "from": "2026-11-01", "to": "2026-11-30", "by": "day,service,key" });
            let by_post = done(&usage(server, &agent, &november).await);
            let by_get = done(&get(server, USAGE, &with(proof(&agent, "ledger", ""), &november)).await);
            for shown in [&by_post, &by_get] {
                assert_eq!((&shown["from"], &shown["to"]), (&json!("2026-11-01"), &json!("2026-11-30")));
                let sums = |requests: i64, cost: &str| {
                    json!({ "requests": requests, "promptTokens": 5 * requests, "completionTokens": 7 * requests,
                        "costUsd": cost })
                };
                let row = |day: &str, service: &str, key: &str, sums: Value| {
                    with(json!({ "day": day, "service": service, "key": key, "kind": "usage" }), &sums)
                };
                let none = json!({ "day": "2026-11-30", "service": "small", "key": null, "kind": "usage",
                    "requests": 1, "promptTokens": 0, "completionTokens": 0, "costUsd": "0.01" });
                let expected = json!([
                    row("2026-11-01", "small", "k1", sums(2, "0.02")),
                    row("2026-11-01", "small", "k2", sums(1, "0.01")),
                    row("2026-11-02", "<big>", "k1", sums(1, "0.01")),
                    none,
                ]);
                assert_eq!(shown["rows"], expected);
                let total =
                    json!({ "requests": 5, "promptTokens": 20, "completionTokens": 28, "costUsd": "0.05" });
                assert_eq!(shown["total"], total);
            }
            for (by, fields, rows) in [
                ("day", vec!["day", "kind"], 3),
                ("", vec!["day", "kind"], 3),
                ("service, kind", vec!["service", "kind"], 2),
                ("key", vec!["key", "kind"], 3),
                ("kind", vec!["kind"], 1),
            ] {
                let shown = done(&usage(server, &agent, &with(november.clone(), &json!({ "by": by }))).await);
                assert_eq!(shown["rows"].as_array().expect("rows").len(), rows, "{by}");
                for field in ["day", "service", "key", "kind"] {
                    let first = shown["rows"][0].as_object().expect("a row");
                    assert_eq!(first.contains_key(field), fields.contains(&field), "{by}: {field}");
                }
                assert_eq!(shown["total"]["costUsd"], "0.05", "{by}");
            }
            // Nobody sees another's.
            let shown = done(&usage(server, &other, &json!({ "by": "service" })).await);
            assert_eq!(shown["total"]["requests"], 1, "today, without being asked for");
            let nobody = done(&usage(server, &Agent::random(), &json!({})).await);
            assert_eq!((&nobody["rows"], &nobody["total"]["costUsd"]), (&json!([]), &json!("0.00")));
        },
    ));
}

#[test]
fn usage_is_asked_for_within_limits() {
    run(async {
        let server = Server::start().await;
        let agent = Agent::random();
        for (wrong, says) in [
            (json!({ "from": "yesterday" }), "from must be a day"),
            (json!({ "to": "2026-02-30" }), "to must be a day"),
            (json!({ "from": "2026-02-01", "to": "2026-01-31" }), "from must be a day before `to`"),
            (json!({ "from": "0001-01-01", "to": "9999-12-31" }), "at the most"),
            (json!({ "from": "2025-01-01", "to": "2026-01-02" }), "at the most"),
            (json!({ "by": "month" }), "by must be"),
            (json!({ "by": "day,,key" }), "by must be"),
            (json!({ "account": "wallet:0x1" }), "unknown field"),
        ] {
            let answer = usage(&server, &agent, &wrong).await;
            refused(&answer, 400, "invalid_params");
            assert!(answer.text.contains(says), "{wrong}: {}", answer.text);
        }
        done(&usage(&server, &agent, &json!({ "from": "2025-01-01", "to": "2026-01-01" })).await);
        refused(&reply(server.get(USAGE)).await, 401, "missing_wallet_auth");
        // A message for something else opens nothing.
        refused(&post(&server, USAGE, &proof(&agent, "balance", "")).await, 403, "ACTION_MISMATCH");
        let once = proof(&agent, "ledger", "");
        done(&post(&server, USAGE, &once).await);
        refused(&post(&server, USAGE, &once).await, 403, "NONCE_REPLAY");
    });
}

#[test]
fn the_ledger_is_filtered_by_key_and_by_request() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let (agent, other) = (Agent::random(), Agent::random());
            give(server, &agent, dollars(10)).await;
            give(server, &other, dollars(10)).await;
            let (one, two) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
            for (n, key) in [one, one, one, two].into_iter().enumerate() {
                let meta = json!({ "key": key });
                let moment = Timestamp::now();
                spend_at(server, &agent, dollars(1), "model", &format!("r-{n}"), meta, moment).await;
            }
            spend(server, &agent, dollars(1), "model", "r-0").await;
            spend_at(server, &other, dollars(1), "model", "r-0", json!({ "key": one }), Timestamp::now())
                .await;
            let ledger =
                async |query: &Value| post(server, LEDGER, &with(proof(&agent, "ledger", ""), query)).await;
            for (query, count) in [
                (json!({ "key": one }), 3),
                (json!({ "key": two }), 1),
                (json!({ "key": "cccccccccccccccc" }), 0),
                (json!({ "requestId": "r-0" }), 2),
                (json!({ "requestId": "r-0", "key": one }), 1),
                (json!({ "requestId": "R-0" }), 0),
                (json!({ "requestId": "r-0", "kind": "credit" }), 0),
                (json!({ "key": one, "service": "model", "from": "2020-01-01" }), 3),
                (json!({ "key": one, "to": "2020-01-01" }), 0),
                (json!({ "key": "", "requestId": "" }), 6),
            ] {
                let page = done(&ledger(&query).await);
                assert_eq!(page["entries"].as_array().expect("entries").len(), count, "{query}");
            }
            let first = done(&ledger(&json!({ "key": one, "limit": 2 })).await);
            let rest = done(&ledger(&json!({ "key": one, "limit": 2, "cursor": first["next"] })).await);
            assert_eq!(
                (rest["entries"].as_array().expect("entries").len(), &rest["next"]),
                (1, &Value::Null)
            );
            let csv = ledger(&json!({ "key": one, "format": "csv" })).await;
            assert_eq!(csv.text.matches(one).count(), 3, "{}", csv.text);
            assert_eq!(csv.text.split("\r\n").count(), 5, "{}", csv.text);
            for wrong in [
                json!({ "key": "x" }),
                json!({ "key": "' OR 1=1" }),
                json!({ "service": "a\0b" }),
                json!({ "requestId": "a b" }),
            ] {
                refused(&ledger(&wrong).await, 400, "invalid_params");
            }
        },
    ));
}

#[test]
fn a_key_shows_what_it_spent_and_where_it_comes_from() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let agent = Agent::random();
            give(server, &agent, dollars(10)).await;
            let (text, id) = new_key(server, &agent, "spends").await;
            let (_, idle) = new_key(server, &agent, "does not").await;
            let now = Timestamp::now();
            let key = &server.app.keys.authenticate(&text, now).await.expect("it opens");
            let details = &EntryDetails {
                kind: EntryKind::Purchase,
                request_id: None,
                service: "preview".into(),
                units: 1,
                unit_price: dollars(1),
                meta: json!({}),
            };
            let yesterday = now.checked_add_millis(-86_400_000).expect("near");
            for moment in [now, yesterday] {
                let spent = server.db.db.transaction(|mut tx| async move {
                    keys::spend(&mut tx, key, dollars(1), None, details, moment).await?;
                    Ok::<_, KeysError>((tx, ()))
                });
                spent.await.expect("spent");
            }
            let source = "INSERT INTO api_keys (id, owner, name, hash, source, buyer, created_at) \
                 SELECT 'boughtboughtboug', owner, 'bought', hash, 'sale:1', owner, 1 FROM api_keys WHERE name = 'spends'";
            server.db.execute(source).await;
            let source = SourceRef::parse("sale:1").expect("a source");
            server.app.ledger.credit(&account(&agent), dollars(1), &source, now).await.expect("credited");
            let granted = "INSERT INTO oauth_clients (id, client_id, name, redirect_uris, authorized_at) \
                 VALUES ('0c', 'https://c.example', 'c', '[]', 1)";
            server.db.execute(granted).await;
            let granted = format!(
                "INSERT INTO oauth_grants (key, client, resource, scopes, granted_at) \
                 VALUES ('{idle}', '0c', 'https://a.example', 'chat', 1)"
            );
            server.db.execute(&granted).await;
            let listed = done(&post(server, KEYS, &proof(&agent, "list", "")).await);
            let shown = |id: &str| {
                let keys = listed["keys"].as_array().expect("keys");
                let key = keys.iter().find(|key| key["id"] == id).expect("listed");
                (key["kind"].clone(), key["spend"].clone())
            };
            let nothing = json!({ "todayUsd": "0.00", "totalUsd": "0.00" });
            assert_eq!(shown(&id), (json!("key"), json!({ "todayUsd": "1.00", "totalUsd": "2.00" })));
            assert_eq!(shown(&idle), (json!("grant"), nothing.clone()));
            assert_eq!(shown("boughtboughtboug"), (json!("bought"), nothing));
            let body = with(proof(&agent, "update", &id), &json!({ "name": "renamed" }));
            let changed = done(&patch(server, &format!("{KEYS}/{id}"), &body).await);
            assert_eq!(changed["spend"]["totalUsd"], "2.00");
            let used = done(&usage(server, &agent, &json!({ "by": "key" })).await);
            assert_eq!((&used["rows"][0]["key"], &used["total"]["costUsd"]), (&json!(id), &json!("2.00")));
            assert_audit(server).await;
        },
    ));
}

#[test]
fn models_are_public_and_may_be_kept_for_a_minute() {
    run(async {
        let server = Server::with_config(|config| {
            let model = farebox::config::ModelConfig {
                id: "small".into(),
                description: "A small one".into(),
                upstreams: vec!["up".into()],
                price_per_chunk: Money::from_micros(100),
                price_per_million_input: Money::from_micros(200_000),
                price_per_million_output: Money::from_micros(800_000),
                context_length: 1_000,
                max_output_tokens: 100,
                prices: farebox::config::ItemPrices {
                    cached_input: Some(Money::from_micros(20_000)),
                    ..Default::default()
                },
                ..Default::default()
            };
            config.models = vec![model];
            config.upstreams = vec![farebox::config::UpstreamConfig {
                name: "up".into(),
                base_url: "http://127.0.0.1:9/secret".into(),
                ..Default::default()
            }];
        })
        .await;
        let answer = reply(server.get("/api/v1/models")).await;
        let prices = json!({ "inputPerMillion": "0.20", "outputPerMillion": "0.80", "perChunk": null,
            "items": { "cachedInput": "0.02" } });
        let model = json!({ "id": "small", "name": "A small one", "contextLength": 1000, "maxOutputTokens": 100,
            "prices": prices, "available": true });
        assert_eq!(answer.json(), json!({ "models": [model] }));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
        let tag = answer.header("etag").expect("a tag").to_owned();
        let again = reply(server.get("/api/v1/models").header("if-none-match", tag)).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
    });
}
