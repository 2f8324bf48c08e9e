//! Classes 11 and 20: many requests at once.

use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{
    self, BODY, PREVIEW, Reply, Server, eventually, funded, reply, run, send_raw, shared_chain,
};
use futures_util::future::join_all;

fn statuses(replies: &[Reply]) -> Vec<u16> {
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn attack_11_one_credential_twenty_times_at_once() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(chain).await;
            for round in 1..=3 {
                let credential = agent.pull(&server.challenge().await);
                let replies = join_all((0..20).map(|_| server.pay(&credential))).await;
                let answered = replies.iter().filter(|reply| reply.status == 200).count();
                assert_eq!(answered, 1, "{:?}", statuses(&replies));
                for other in replies.iter().filter(|reply| reply.status != 200) {
                    assert!([403, 409].contains(&other.status), "{}", other.text);
                }
                server.assert_ledger(chain, round).await;
            }
        }
    });
}

#[test]
fn attack_11_one_pushed_hash_twenty_times_at_once() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.challenge().await;
        let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
        send_raw(chain, &signed.raw).await;
        let credential = agent.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
        let replies = join_all((0..20).map(|_| server.pay(&credential))).await;
        let answered = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(answered, 1, "{:?}", statuses(&replies));
        assert!(replies.iter().all(|reply| [200, 403, 409].contains(&reply.status)));
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn attack_11_one_proof_twenty_times_at_once() {
    run(async {
        let server = Server::start().await;
        let credential = agent::Agent::random().proof(&server.proof_challenge().await);
        let replies = join_all((0..20).map(|_| server.prove(&credential))).await;
        let answered = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(answered, 1, "{:?}", statuses(&replies));
        assert!(replies.iter().all(|reply| [200, 403, 409].contains(&reply.status)));
    });
}

#[test]
fn attack_11_two_payments_of_one_challenge_at_once() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let (one, two) = (funded(chain).await, funded(chain).await);
        let challenge = server.challenge().await;
        let credentials = [one.pull(&challenge), two.pull(&challenge)];
        let replies = join_all(credentials.iter().map(|credential| server.pay(credential))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        assert!(replies.iter().all(|reply| [200, 402, 409].contains(&reply.status)));
        // The loser was not charged.
        server.assert_ledger(chain, 1).await;
    });
}

#[test]
fn attack_20_many_charges_at_once_add_up_on_every_engine() {
    run(async {
        let chain = shared_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agents = join_all((0..4).map(|_| funded(chain))).await;
            let pay = async |index: usize| {
                let credential = agents[index % agents.len()].pull(&server.challenge().await);
                server.pay(&credential).await.assert_paid();
            };
            join_all((0..24).map(pay)).await;
            server.assert_ledger(chain, 24).await;
            let challenge = server.proof_challenge().await;
            let account = server.prove(&agents[0].proof(&challenge)).await.json();
            assert_eq!(account["balance"]["spent"], "0.30", "{account}");
            assert_eq!(account["balance"]["available"], "0.00");
            assert_eq!(account["balance"]["held"], "0.00");
        }
    });
}

#[test]
fn attack_20_a_wallet_that_can_pay_for_three_gets_three() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = agent::Agent::random();
        // The fee comes from another token, so that the sum is exact.
        chain.fund(agent.address(), farebox::devnet::TOKENS[0], 3 * harness::PRICE + 1).await.unwrap();
        chain.fund(agent.address(), farebox::devnet::TOKENS[1], harness::FUNDS).await.unwrap();
        let pay = async |_| {
            let challenge = reply(server.post(PREVIEW, BODY)).await.challenge();
            let mut transaction = agent.transaction(vec![challenge.transfer()]);
            transaction.fee_token = Some(farebox::devnet::TOKENS[1]);
            let raw = agent.sign(transaction).raw;
            server.pay(&agent.credential(&challenge, agent::transaction(&raw))).await
        };
        let replies = join_all((0..8).map(pay)).await;
        assert_eq!(statuses(&replies), [200, 200, 200, 402, 402, 402, 402, 402]);
        server.assert_ledger(chain, 3).await;
    });
}

#[test]
fn attack_11_one_delivery_even_while_it_is_being_noted() {
    run(async {
        // The answer has left, and the database is too busy to record it.
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let challenge = server.challenge().await;
        let credential = agent.pull(&challenge);
        let other = server.db.connect_again().await;
        let (lock, first) = tokio::join!(
            async {
                eventually("settled", async || {
                    server.payment(&challenge.id).await.filter(|payment| payment.receipt().is_some())
                })
                .await;
                other.begin().await.expect("the writer's lock")
            },
            server.pay(&credential)
        );
        first.assert_paid();
        let again = join_all((0..5).map(|_| server.pay(&credential))).await;
        drop(lock);
        for answer in again {
            assert!([403, 409].contains(&answer.status), "{}", answer.text);
        }
        server.delivered(&challenge.id).await;
        server.pay(&credential).await.assert(403, "credential_spent");
        server.assert_ledger(chain, 1).await;
        other.close().await;
    });
}
