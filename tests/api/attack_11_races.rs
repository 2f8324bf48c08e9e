//! Classes 11 and 20: many requests at once.

use futures_util::future::join_all;

use crate::agent;
use crate::db;
use crate::harness::{BODY, PREVIEW, Reply, Server, eventually, funded, reply, run, send_raw, shared_chain};

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
                let credential = agent.pull(&server.ask().await);
                let replies = join_all((0..20).map(|_| server.pay(&credential))).await;
                let answered = replies.iter().filter(|reply| reply.status == 200).count();
                assert_eq!(answered, 1, "{:?}", statuses(&replies));
                for other in replies.iter().filter(|reply| reply.status != 200) {
                    assert!([403, 409].contains(&other.status), "{}", other.text);
                }
                server.assert_books(chain, round).await;
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
        let asked = server.ask().await;
        let signed = agent.sign(agent.transaction(vec![asked.transfer()]));
        send_raw(chain, &signed.raw).await;
        let credential = agent.credential(&asked, agent::hash(&format!("{:#x}", signed.hash)));
        let replies = join_all((0..20).map(|_| server.pay(&credential))).await;
        let answered = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(answered, 1, "{:?}", statuses(&replies));
        assert!(replies.iter().all(|reply| [200, 403, 409].contains(&reply.status)));
        server.assert_books(chain, 1).await;
    });
}

#[test]
fn attack_11_one_proof_twenty_times_at_once() {
    run(async {
        let server = Server::start().await;
        let credential = agent::Agent::random().proof(&server.ask_proof().await);
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
        let asked = server.ask().await;
        let credentials = [one.pull(&asked), two.pull(&asked)];
        let replies = join_all(credentials.iter().map(|credential| server.pay(credential))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        assert!(replies.iter().all(|reply| [200, 402, 409].contains(&reply.status)));
        // The loser was not charged.
        server.assert_books(chain, 1).await;
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
                let credential = agents[index % agents.len()].pull(&server.ask().await);
                server.pay(&credential).await.assert_paid();
            };
            join_all((0..24).map(pay)).await;
            server.assert_books(chain, 24).await;
            let asked = server.ask_proof().await;
            let account = server.prove(&agents[0].proof(&asked)).await.json();
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
        chain.fund(agent.address(), farebox::devnet::TOKENS[0], 3 * crate::harness::PRICE + 1).await.unwrap();
        chain.fund(agent.address(), farebox::devnet::TOKENS[1], crate::harness::FUNDS).await.unwrap();
        let pay = async |_| {
            let asked = reply(server.post(PREVIEW, BODY)).await.asked();
            let mut transaction = agent.transaction(vec![asked.transfer()]);
            transaction.fee_token = Some(farebox::devnet::TOKENS[1]);
            let raw = agent.sign(transaction).raw;
            server.pay(&agent.credential(&asked, agent::transaction(&raw))).await
        };
        let replies = join_all((0..8).map(pay)).await;
        assert_eq!(statuses(&replies), [200, 200, 200, 402, 402, 402, 402, 402]);
        server.assert_books(chain, 3).await;
    });
}

#[test]
fn attack_11_one_delivery_even_while_it_is_being_noted() {
    run(async {
        // The answer has left, and the database is too busy to be told so.
        let chain = shared_chain().await;
        let server = Server::start().await;
        let agent = funded(chain).await;
        let asked = server.ask().await;
        let credential = agent.pull(&asked);
        let other = server.db.connect_again().await;
        let (lock, first) = tokio::join!(
            async {
                eventually("settled", async || {
                    server.payment(&asked.id).await.filter(|payment| payment.receipt().is_some())
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
        server.delivered(&asked.id).await;
        server.pay(&credential).await.assert(403, "credential_spent");
        server.assert_books(chain, 1).await;
        other.close().await;
    });
}
