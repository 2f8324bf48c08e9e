//! The honest way through: every mode on every engine.

use std::collections::HashSet;

use farebox::config::PATH_USD;
use futures_util::future::join_all;
use serde_json::json;

use crate::agent::{self, Agent};
use crate::db;
use crate::harness::{PRICE, Server, funded, run, send_raw, shared_chain};

#[test]
fn pull_push_sponsored_and_proof_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;

            let asked = server.ask().await;
            assert_eq!(asked.amount(), PRICE);
            let pulled = server.pay(&agent.pull(&asked)).await;
            assert_eq!(pulled.assert_paid().receipt()["challengeId"], asked.id);
            assert_eq!(pulled.json()["entities"][0]["type"], "EMAIL_ADDRESS", "{}", pulled.text);

            let asked = server.ask().await;
            let sent = agent.sign(agent.transaction(vec![asked.transfer()]));
            send_raw(chain, &sent.raw).await;
            let hash = format!("{:#x}", sent.hash);
            let pushed = server.pay(&agent.credential(&asked, agent::hash(&hash))).await;
            assert_eq!(pushed.assert_paid().receipt()["reference"], hash);

            let before = chain.balance(PATH_USD, agent.address()).await.unwrap();
            let asked = server.ask_sponsored().await;
            server.pay_sponsored(&agent.pull(&asked)).await.assert_paid();
            let after = chain.balance(PATH_USD, agent.address()).await.unwrap();
            assert_eq!(before - after, alloy::primitives::U256::from(PRICE), "the payer pays no fee");

            let asked = server.ask_proof().await;
            let proved = server.prove(&agent.proof(&asked)).await;
            assert_eq!(proved.assert_paid().receipt()["reference"], asked.id);
            let account = proved.json();
            assert_eq!(account["payments"].as_array().map(Vec::len), Some(3), "{account}");
            assert_eq!(account["balance"]["spent"], "0.15");
            assert_eq!(account["wallet"], json!(format!("{:#x}", agent.address())));
            server.assert_books(chain, 3).await;
        }
    });
}

#[test]
fn an_empty_wallet_is_told_so_and_pays_nothing() {
    run(async {
        let server = Server::start().await;
        let chain = shared_chain().await;
        let asked = server.ask().await;
        let refused = server.pay(&Agent::random().pull(&asked)).await;
        assert_eq!(refused.status, 402);
        assert_ne!(refused.asked().id, asked.id, "a fresh challenge");

        let poor = Agent::random();
        chain.fund(poor.address(), PATH_USD, PRICE - 1).await.unwrap();
        let credential = poor.pull(&server.ask().await);
        server.pay(&credential).await.assert(402, "payment_insufficient");
        let left = chain.balance(PATH_USD, poor.address()).await.unwrap();
        assert_eq!(left, alloy::primitives::U256::from(PRICE - 1), "not even a fee was paid");
        // Its claim is gone: with money the very same credential pays.
        chain.fund(poor.address(), PATH_USD, PRICE).await.unwrap();
        server.pay(&credential).await.assert_paid();
        server.assert_books(chain, 1).await;
    });
}

#[test]
fn challenges_are_unique_even_for_equal_requests_at_one_moment() {
    run(async {
        // Two customers with one challenge: the one who pays last would have paid for nothing.
        let server = Server::start().await;
        let ids = join_all((0..300).map(|_| async { server.ask().await.id })).await;
        let distinct: HashSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    });
}
