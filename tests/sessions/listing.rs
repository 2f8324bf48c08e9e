//! Channels as the wallet that opened them lists them.

use alloy::signers::SignerSync as _;
use farebox::id::Timestamp;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, client, reply, run};
use farebox_test_support::payer::Payer;
use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE, on_every_engine};

async fn channels(fixture: &Fixture<'_>, agent: &Agent, more: &[(&str, &str)]) -> Reply {
    let (nonce, ts) = (uuid::Uuid::new_v4(), Timestamp::now().to_rfc3339());
    let message = format!("Pryv API key mgmt | action=list | keyId= | nonce={nonce} | ts={ts}");
    let signature = agent.signer.sign_message_sync(message.as_bytes()).expect("a local key signs");
    let proof = [
        ("walletAddress", agent.address().to_string()),
        ("message", message),
        ("signature", alloy::hex::encode_prefixed(signature.as_bytes())),
    ];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let query: Vec<_> = proof.into_iter().chain(more).collect();
    let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/channels", fixture.server.url), &query);
    reply(client().get(url.expect("a URL"))).await
}

#[test]
fn a_wallet_lists_its_own_channels_the_newest_first() {
    run(on_every_engine(async |fixture| {
        let agent = fixture.agent().await;
        let mut payers = Vec::new();
        for _ in 0..3 {
            let payer = Payer::prepare(agent.clone(), fixture.challenge().await, DEPOSIT);
            fixture.run(&payer, payer.open(10 * PRICE), &json!({"chunks": 2})).await;
            payers.push(payer);
        }
        let other = fixture.opened(DEPOSIT, PRICE).await;
        let closed = &payers[1];
        fixture.done(closed, closed.authorized_close(10 * PRICE)).await;
        let answer = channels(fixture, &agent, &[]).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store")),
            "{}",
            answer.text
        );
        let listed = answer.json()["channels"].as_array().expect("channels").clone();
        let ids: Vec<_> = listed.iter().map(|channel| channel["id"].as_str().expect("an id")).collect();
        let newest_first: Vec<_> = payers.iter().rev().map(|payer| format!("{:#x}", payer.id)).collect();
        assert_eq!(ids, newest_first);
        let [newest, second, _] = listed.as_slice() else { panic!("three") };
        let amounts = |channel: &Value| {
            ["state", "depositUsd", "spentUsd", "acceptedUsd"]
                .map(|field| channel[field].as_str().expect("text").to_owned())
        };
        assert_eq!(amounts(newest)[..3], ["open", "0.10", "0.0002"]);
        // The voucher of the opening, or the window of 64 chunks that the stream has asked for before it ended.
        let accepted = newest["acceptedUsd"].as_str().expect("text");
        assert!(["0.001", "0.0064"].contains(&accepted), "{accepted}");
        assert_eq!(amounts(second)[..3], ["closed", "0.10", "0.0002"]);
        assert!(newest["openedAt"].is_string() && newest["lastUsedAt"].is_string());
        assert_eq!((newest.get("closedAt"), second["closedAt"].is_string()), (None, true));
        // Page by page.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..3 {
            let more: &[_] =
                if cursor.is_empty() { &[("limit", "1")] } else { &[("limit", "1"), ("cursor", &cursor)] };
            let page = channels(fixture, &agent, more).await.json();
            seen.extend(page["channels"][0]["id"].as_str().map(str::to_owned));
            cursor = page["next"].as_str().expect("a full page has a next one").to_owned();
        }
        assert_eq!(seen, newest_first);
        let last = channels(fixture, &agent, &[("cursor", &cursor)]).await.json();
        assert_eq!((&last["channels"], last.get("next")), (&json!([]), None));
        // Others see their own.
        let theirs = channels(fixture, &other.agent, &[]).await.json();
        assert_eq!(theirs["channels"].as_array().expect("channels").len(), 1);
        let nobody = channels(fixture, &Agent::random(), &[]).await.json();
        assert_eq!(nobody["channels"], json!([]));
        for wrong in [("cursor", "x"), ("limit", "0"), ("limit", "1001"), ("payer", "0x1")] {
            let refused = channels(fixture, &agent, &[wrong]).await;
            assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid_params")));
        }
    }));
}
