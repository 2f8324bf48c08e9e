//! Class 9: answers that make a client pay twice.

use farebox::devnet::{Fault, Rule};
use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{
    self, Server, eventually, funded, own_chain, run, send_raw, shared_chain,
};

#[test]
fn attack_09_replay_is_refused_without_a_challenge_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let challenge = server.challenge().await;
            let credential = agent.pull(&challenge);
            server.pay(&credential).await.assert_paid();
            server.delivered(&challenge.id).await;
            for _ in 0..3 {
                let replayed = server.pay(&credential).await;
                replayed.assert(403, "credential_spent");
                assert_eq!(replayed.json().get("challengeId"), None);
            }
            // Not after a restart either.
            let server = server.restart(|_| {}).await;
            server.pay(&credential).await.assert(403, "credential_spent");
            server.assert_ledger(chain, 1).await;
        }
    });
}

#[test]
fn attack_09_replay_after_the_expiry_is_still_no_challenge() {
    run(async {
        let server = Server::with_config(|config| config.payments.challenge_ttl_seconds = 3).await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        server.pay(&credential).await.assert_paid();
        server.delivered(&challenge.id).await;
        let expires = farebox::id::Timestamp::parse_rfc3339(&challenge.expires).unwrap();
        eventually("the expiry", async || (farebox::id::Timestamp::now() > expires).then_some(())).await;
        server.pay(&credential).await.assert(403, "credential_spent");
    });
}

#[test]
fn attack_09_a_settlement_that_takes_too_long_is_503_and_no_challenge() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        chain.faults().set(Rule::new(Fault::Delay { ms: 3_000 }).on("eth_sendRawTransactionSync"));
        let unsure = server.pay(&credential).await;
        unsure.assert(503, "settlement_pending");
        assert!(unsure.header("retry-after").is_some());
        assert_eq!(server.payment(&challenge.id).await.map(|p| p.state.as_str()), Some("broadcast"));
        // The same request again is answered, and the payer paid once.
        chain.faults().clear();
        let paid = eventually("an answer", async || {
            let again = server.pay(&credential).await;
            assert!([200, 409, 503].contains(&again.status), "{}", again.text);
            (again.status == 200).then_some(again)
        })
        .await;
        paid.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_09_a_dead_chain_is_503_and_no_challenge() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        // At the first look at the chain, at the simulation and at the broadcast.
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        for method in ["eth_chainId", "eth_call"] {
            chain.faults().set(Rule::new(Fault::Drop).on(method));
            let refused = server.pay(&credential).await;
            refused.assert(503, "service_unavailable");
            assert!(server.payment(&challenge.id).await.is_none(), "{method}: nothing was begun");
            chain.faults().clear();
        }
        chain.faults().set(Rule::new(Fault::Drop).on("eth_sendRawTransactionSync"));
        server.pay(&credential).await.assert(503, "settlement_pending");
        chain.faults().clear();
        server.pay(&credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_09_a_transaction_that_failed_for_good_asks_for_a_new_payment() {
    run(async {
        // Nothing was paid, so here a challenge is right.
        let chain = own_chain().await;
        let server = Server::on(db::sqlite().await, &chain.rpc_url(), |_| {}).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        // The money leaves between the simulation and the block.
        chain.faults().set(Rule::new(Fault::Delay { ms: 1_500 }).on("eth_sendRawTransactionSync").times(1));
        let everything = harness::FUNDS - 45_000;
        let away = agent.transaction(vec![agent::transfer(
            challenge.currency(),
            chain.accounts()[5].address(),
            everything,
        )]);
        let away = agent.sign(away);
        let credential = agent.credential(&challenge, agent::transaction(&signed.raw));
        let emptied = async {
            eventually("the broadcast", async || {
                let state = server.payment(&challenge.id).await.map(|p| p.state.as_str());
                (state == Some("broadcast")).then_some(())
            })
            .await;
            send_raw(&chain, &away.raw).await
        };
        let (emptied, refused) = tokio::join!(emptied, server.pay(&credential));
        assert_eq!(emptied["status"], "0x1");
        refused.assert(402, "verification_failed");
        assert_ne!(refused.challenge().id, challenge.id);
        server.assert_ledger(&chain, 0).await;
        server.finish(chain).await;
    });
}
