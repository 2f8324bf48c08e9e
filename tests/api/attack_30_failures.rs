//! Class 30: what the server depends on is gone, slow, full, behind or lying.

use std::time::{Duration, Instant};

use farebox::devnet::{Fault, Rule};
use farebox::funding::recover;
use farebox::id::Timestamp;
use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{
    Server, eventually, funded, newest_block, own_chain, reply, run, send_raw, shared_chain,
};
use serde_json::Value;

#[test]
fn attack_30_a_database_that_is_gone_is_503_and_never_402_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            let credential = agent.pull(&server.challenge().await);
            server.app.db.close().await;
            let refused = server.pay(&credential).await;
            refused.assert(503, "service_unavailable");
            assert!(refused.header("retry-after").is_some());
            let ready = reply(server.get("/readyz")).await;
            assert_eq!((ready.status, &ready.json()["chain"]), (503, &Value::from("ok")));
            assert_eq!(reply(server.get("/healthz")).await.status, 200);
            // It comes back: the same credential is good.
            let server = server.restart(|_| {}).await;
            server.pay(&credential).await.assert_paid();
            server.assert_ledger(chain, 1).await;
        }
    });
}

#[test]
fn attack_30_a_database_that_fails_at_each_table_charges_nobody() {
    run(async {
        let chain = shared_chain().await;
        for table in ["payments", "credits", "entries", "accounts", "holds"] {
            let server = Server::start().await;
            let agent = funded(chain).await;
            let credential = agent.pull(&server.challenge().await);
            let full = format!(
                "CREATE TRIGGER full_disk BEFORE INSERT ON {table} \
                 BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            );
            server.db.execute(&full).await;
            let refused = server.pay(&credential).await;
            assert_eq!(refused.status, 503, "{table}: {}", refused.text);
            server.db.execute("DROP TRIGGER full_disk").await;
            // Nothing was taken, or what was taken is completed: never a second payment.
            eventually("an answer", async || {
                let again = server.pay(&credential).await;
                assert!([200, 409, 503].contains(&again.status), "{table}: {}", again.text);
                (again.status == 200).then_some(())
            })
            .await;
            server.assert_ledger(chain, 1).await;
        }
    });
}

#[test]
fn attack_30_a_slow_database_is_waited_for() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let credential = agent.pull(&server.challenge().await);
        let other = server.db.connect_again().await;
        let lock = other.begin().await.expect("the writer's lock");
        let begun = Instant::now();
        let unlock = async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            drop(lock);
        };
        let ((), paid) = tokio::join!(unlock, server.pay(&credential));
        paid.assert_paid();
        assert!(begun.elapsed() >= Duration::from_millis(800));
        server.assert_ledger(chain, 1).await;
        other.close().await;
    });
}

#[test]
fn attack_30_a_chain_that_is_gone_or_slow_is_503() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let credential = agent.pull(&server.challenge().await);
        chain.faults().stop();
        // Asking needs no chain: a 402 is made from what the server knows.
        let challenge = server.challenge().await;
        server.pay(&credential).await.assert(503, "service_unavailable");
        let ready = reply(server.get("/readyz")).await;
        assert_eq!((ready.status, &ready.json()["database"]), (503, &Value::from("ok")));
        chain.faults().resume();
        eventually("the chain is back", async || {
            (reply(server.get("/readyz")).await.status == 200).then_some(())
        })
        .await;

        chain.faults().set(Rule::new(Fault::Delay { ms: 2_500 }));
        let begun = Instant::now();
        let slow = server.pay(&agent.pull(&challenge)).await;
        assert_eq!(slow.status, 503, "{}", slow.text);
        assert!(begun.elapsed() < Duration::from_secs(6), "there is a limit: {:?}", begun.elapsed());
        chain.faults().clear();
        server.pay(&credential).await.assert_paid();
        server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_chain_that_lies_about_success_makes_nobody_pay_twice() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        // The transfer is in the receipt's logs, which a failed transaction cannot have.
        chain.faults().set(Rule::new(Fault::LyingReceipt));
        server.pay(&credential).await.assert(503, "settlement_pending");
        chain.faults().clear();
        server.pay(&credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_chain_that_calls_a_failed_transaction_a_success_gives_nothing_away() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let too_much = agent::transfer(challenge.currency(), challenge.recipient(), u64::MAX);
        let failing = agent.sign(agent.transaction(vec![challenge.transfer(), too_much]));
        assert_eq!(send_raw(&chain, &failing.raw).await["status"], "0x0");
        chain.faults().set(Rule::new(Fault::LyingReceipt));
        for payload in [agent::hash(&format!("{:#x}", failing.hash)), agent::transaction(&failing.raw)] {
            let refused = server.pay(&agent.credential(&challenge, payload)).await;
            assert!([402, 503].contains(&refused.status), "{}", refused.text);
        }
        server.assert_ledger(&chain, 0).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_chain_that_is_behind_is_waited_for() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        let mined = send_raw(&chain, &signed.raw).await;
        let block: alloy::primitives::U64 = mined["blockNumber"].as_str().unwrap().parse().unwrap();
        chain.faults().set(Rule::new(Fault::Behind { block: block.to::<u64>() - 1 }));
        let pushed = agent.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
        server.pay(&pushed).await.assert(503, "settlement_pending");
        chain.faults().clear();
        server.pay(&pushed).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

/// Minutes behind, a node knows nothing of a payment that was made. That it is not there when it can
/// no longer be made is no proof for us: a payer told so would pay again.
#[test]
fn attack_30_a_payment_is_not_given_up_because_a_node_is_behind() {
    run(async {
        let chain = own_chain().await;
        let server = Server::with_short_timeouts(&chain).await;
        let agent = funded(&chain).await;
        let credential = agent.pull(&server.challenge().await);
        let newest = newest_block(&chain).await;
        chain.faults().set(Rule::new(Fault::DropAfterIncluding));
        chain.faults().set(Rule::new(Fault::Behind { block: newest }));
        server.pay(&credential).await.assert(503, "settlement_pending");
        let later = Timestamp::now().checked_add_millis(600_000).expect("a time");
        recover::reconcile_open(&server.app.charges, later).await.expect("the database answers");
        chain.faults().clear();
        server.pay(&credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}

#[test]
fn attack_30_a_node_of_another_chain_is_noticed_and_forgiven() {
    run(async {
        let chain = own_chain().await;
        let agent = funded(&chain).await;
        // From the start: a node that named the right chain once is believed after that.
        chain.faults().set(Rule::new(Fault::WrongChainId { chain_id: 1 }));
        let server = Server::with_short_timeouts(&chain).await;
        let credential = agent.pull(&server.challenge().await);
        server.pay(&credential).await.assert(503, "service_unavailable");
        let ready = reply(server.get("/readyz")).await;
        assert_eq!(ready.status, 503);
        assert!(ready.json()["chain"].as_str().is_some_and(|why| why.contains("1337")), "{}", ready.text);
        assert_eq!(chain.broadcasts(), 0);
        // The operator mends the node, not the server.
        chain.faults().clear();
        server.pay(&credential).await.assert_paid();
        server.assert_ledger(&chain, 1).await;
        server.finish(chain).await;
    });
}
