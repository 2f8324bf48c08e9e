//! The honest way through: every mode on every engine.

use std::collections::HashSet;

use farebox::config::PATH_USD;
use farebox_test_support::agent::{self, Agent};
use farebox_test_support::db;
use farebox_test_support::harness::{PRICE, Server, funded, run, send_raw, shared_chain};
use futures_util::future::join_all;
use serde_json::json;

#[test]
fn pull_push_sponsored_and_proof_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;

            let challenge = server.challenge().await;
            assert_eq!(challenge.amount(), PRICE);
            let pulled = server.pay(&agent.pull(&challenge)).await;
            assert_eq!(pulled.assert_paid().receipt()["challengeId"], challenge.id);
            assert_eq!(pulled.json()["entities"][0]["type"], "EMAIL_ADDRESS", "{}", pulled.text);

            let challenge = server.challenge().await;
            let sent = agent.sign(agent.transaction(vec![challenge.transfer()]));
            send_raw(chain, &sent.raw).await;
            let hash = format!("{:#x}", sent.hash);
            let pushed = server.pay(&agent.credential(&challenge, agent::hash(&hash))).await;
            assert_eq!(pushed.assert_paid().receipt()["reference"], hash);

            let before = chain.balance(PATH_USD, agent.address()).await.unwrap();
            let challenge = server.sponsored_challenge().await;
            server.pay_sponsored(&agent.pull(&challenge)).await.assert_paid();
            let after = chain.balance(PATH_USD, agent.address()).await.unwrap();
            assert_eq!(before - after, alloy::primitives::U256::from(PRICE), "the payer pays no fee");

            let challenge = server.proof_challenge().await;
            let proved = server.prove(&agent.proof(&challenge)).await;
            assert_eq!(proved.assert_paid().receipt()["reference"], challenge.id);
            let account = proved.json();
            assert_eq!(account["payments"].as_array().map(Vec::len), Some(3), "{account}");
            assert_eq!(account["balance"]["spent"], "0.15");
            assert_eq!(account["wallet"], json!(format!("{:#x}", agent.address())));
            server.assert_ledger(chain, 3).await;
        }
    });
}

#[test]
fn an_empty_wallet_is_refused_and_pays_nothing() {
    run(async {
        let server = Server::start().await;
        let chain = shared_chain().await;
        let challenge = server.challenge().await;
        let refused = server.pay(&Agent::random().pull(&challenge)).await;
        assert_eq!(refused.status, 402);
        assert_ne!(refused.challenge().id, challenge.id, "a fresh challenge");

        let poor = Agent::random();
        chain.fund(poor.address(), PATH_USD, PRICE - 1).await.unwrap();
        let credential = poor.pull(&server.challenge().await);
        server.pay(&credential).await.assert(402, "payment_insufficient");
        let left = chain.balance(PATH_USD, poor.address()).await.unwrap();
        assert_eq!(left, alloy::primitives::U256::from(PRICE - 1), "not even a fee was paid");
        // Its claim is gone: with money the very same credential pays.
        chain.fund(poor.address(), PATH_USD, PRICE).await.unwrap();
        server.pay(&credential).await.assert_paid();
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn challenges_are_unique_even_for_equal_requests_at_one_moment() {
    run(async {
        // Two customers with one challenge: the one who pays last would have paid for nothing.
        let server = Server::start().await;
        let ids = join_all((0..300).map(|_| async { server.challenge().await.id })).await;
        let distinct: HashSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    });
}
