//! Class 10: the node's answer to a broadcast is not what happened.

use farebox::devnet::{Devnet, Fault, Rule};
use farebox::funding::recover;
use farebox::id::Timestamp;
use farebox_test_support::agent::{self, Agent, Challenge};
use farebox_test_support::db;
use farebox_test_support::harness::{self, Reply, Server, eventually, funded, own_chain, run};
use serde_json::Value;

/// Sends the request until its outcome is known, as a client should.
async fn until_known(server: &Server, credential: &Value) -> Reply {
    eventually("an outcome", async || {
        let answer = server.pay(credential).await;
        (![409, 503].contains(&answer.status)).then_some(answer)
    })
    .await
}

#[test]
fn attack_10_an_error_after_including_is_one_debit_and_one_answer() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        for (paid, fault) in [(1, Fault::ErrorAfterIncluding), (2, Fault::DropAfterIncluding)] {
            chain.faults().set(Rule::new(fault).times(1));
            let challenge = server.challenge().await;
            let credential = agent.pull(&challenge);
            until_known(&server, &credential).await.assert_paid();
            server.delivered(&challenge.id).await;
            server.pay(&credential).await.assert(403, "credential_spent");
            server.assert_ledger(&chain, paid).await;
        }
        server.finish(chain).await;
    });
}

#[test]
fn attack_10_an_error_after_including_and_a_restart() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        chain.faults().set(Rule::new(Fault::DropAfterIncluding));
        chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        server.pay(&credential).await.assert(503, "settlement_pending");
        chain.faults().clear();
        let server = server.restart(|_| {}).await;
        until_known(&server, &credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_10_recovery_settles_what_nobody_asks_for_again() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        chain.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
        chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
        server.pay(&credential).await.assert(503, "settlement_pending");
        chain.faults().clear();
        // At the start of a process, or every few seconds.
        let server = server.restart(|_| {}).await;
        eventually("settled", async || {
            let state = server.payment(&challenge.id).await.map(|payment| payment.state.as_str());
            (state == Some("settled")).then_some(())
        })
        .await;
        server.assert_ledger(&chain, 1).await;
        // Its answer waits.
        until_known(&server, &credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

/// Records of payments that cannot be read, or are of a network that is not served, and one that can be settled.
#[test]
fn attack_34_a_payment_that_cannot_be_recovered_keeps_no_other_from_it() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let challenge = server.challenge().await;
            let credential = agent.pull(&challenge);
            chain.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
            server.pay(&credential).await.assert(503, "settlement_pending");
            chain.faults().clear();
            open.push((challenge, credential));
        }
        let [(unreadable, _), (foreign, credential), (good, _)] = open.try_into().expect("three");
        // They are the first in their turn, too.
        for (change, id) in [("payer = 'nobody'", &unreadable.id), ("network = 'eip155:1'", &foreign.id)] {
            server
                .db
                .execute(&format!("UPDATE payments SET {change}, lease_until = 0 WHERE id = '{id}'"))
                .await;
        }
        let server = server.restart(|_| {}).await;
        eventually("settled", async || {
            let state = server.payment(&good.id).await.map(|payment| payment.state.as_str());
            (state == Some("settled")).then_some(())
        })
        .await;
        // Its outcome is open: neither a new challenge nor a word that nothing was charged.
        server.pay(&credential).await.assert(503, "settlement_pending");
        let state = server.payment(&foreign.id).await.map(|payment| payment.state.as_str());
        assert_eq!(state, Some("broadcast"));
        assert_eq!(server.count("SELECT count(*) FROM payments WHERE state = 'settled'").await, 1);
        server.finish(chain).await;
    });
}

/// A hundred of them kept the recoverer busy for a day.
#[test]
fn attack_34_payments_whose_outcome_stays_open_keep_no_other_from_being_recovered() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |config| {
                config.chain.request_timeout_ms = 1_000;
                config.chain.confirm_timeout_ms = 1_500;
            })
            .await;
            let agent = funded(&chain).await;
            let challenge = server.challenge().await;
            chain.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
            chain.faults().set(Rule::new(Fault::Drop).on("eth_getTransactionReceipt"));
            server.pay(&agent.pull(&challenge)).await.assert(503, "settlement_pending");
            // Older ones, which may still come and never do.
            let columns = "proof, state, route, digest, amount, currency, request_id, expires_at, lease_until, \
                created_at, updated_at, account, method, network, payer, instruction, answer, fee_limit, goods";
            for n in 0..250 {
                let copy = format!(
                    "INSERT INTO payments (id, fingerprint, reference, valid_before, {columns}) \
                     SELECT '0dead{n:03}', 'dead', '0x{n:064x}', NULL, {columns} FROM payments WHERE id = '{}'",
                    challenge.id
                );
                server.db.execute(&copy).await;
            }
            server.db.execute("UPDATE payments SET lease_until = 0").await;
            chain.faults().clear();
            let now = Timestamp::now().checked_add_millis(60_000).expect("near");
            for _ in 0..3 {
                recover::reconcile_open(&server.app.charges, now).await.expect("the database answers");
            }
            let state = server.payment(&challenge.id).await.map(|payment| payment.state.as_str());
            assert_eq!(state, Some("settled"));
            assert_eq!(server.count("SELECT count(*) FROM payments WHERE state = 'broadcast'").await, 250);
        }
        chain.stop().await;
    });
}

/// Sends a payment into a node that refuses it, and returns its credential.
async fn refused_broadcast(chain: &Devnet, server: &Server, agent: &Agent) -> (Challenge, Value) {
    let challenge = server.challenge().await;
    let credential = agent.pull(&challenge);
    let fault = Fault::Error { code: -32000, message: "txpool is full".to_owned() };
    chain.faults().set(Rule::new(fault).on("eth_sendRawTransactionSync").times(1));
    let refused = server.pay(&credential).await;
    refused.assert(402, "verification_failed");
    (challenge, credential)
}

#[test]
fn attack_10_a_failed_broadcast_does_not_keep_the_credential() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let (challenge, credential) = refused_broadcast(&chain, &server, &agent).await;
        server.assert_ledger(&chain, 0).await;
        // The client may also pay the new challenge; this one takes the old one again.
        server.pay(&credential).await.assert_paid();
        assert_eq!(server.payment(&challenge.id).await.map(|payment| payment.amount.micros()), Some(50_000));
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_10_a_node_without_the_synchronous_method_is_polled() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let missing = Fault::Error { code: -32601, message: "method not found".to_owned() };
        chain.faults().set(Rule::new(missing).on("eth_sendRawTransactionSync"));
        server.pay(&agent.pull(&server.challenge().await)).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_10_a_transaction_sent_by_someone_else_first_is_one_debit() {
    run(async {
        // A payer who also broadcasts the transaction it handed over.
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        harness::send_raw(&chain, &signed.raw).await;
        let credential = agent.credential(&challenge, agent::transaction(&signed.raw));
        until_known(&server, &credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}
