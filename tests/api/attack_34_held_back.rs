//! Class 34: a charge that was paid and did not arrive (TIP-1028).

use farebox::devnet::{Fault, Rule};
use farebox::funding::uncredited;
use farebox::id::Timestamp;
use farebox::money::Money;
use farebox_test_support::agent;
use farebox_test_support::db;
use farebox_test_support::harness::{PRICE, Server, funded, own_chain, reply, run, send_raw};

/// Not "the node contradicts itself" for ever: the payer is told not to pay again, and the operator what to do.
#[test]
fn attack_34_a_charge_that_the_recipients_policy_holds_back_buys_nothing_and_is_kept_in_mind() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let policy = Rule::new(Fault::ReceivePolicy { account: server.recipient() });
            let mut expected = Vec::new();
            for pushed in [false, true] {
                let agent = funded(&chain).await;
                let challenge = server.challenge().await;
                let signed = agent.sign(agent.transaction(vec![challenge.transfer()]));
                chain.faults().set(policy.clone());
                let payload = if pushed {
                    send_raw(&chain, &signed.raw).await;
                    agent::hash(&format!("{:#x}", signed.hash))
                } else {
                    agent::transaction(&signed.raw)
                };
                let credential = agent.credential(&challenge, payload);
                // The same answer each time, also once the policy is another: what is at the guard stays there.
                for _ in 0..2 {
                    let refused = server.pay(&credential).await;
                    refused.assert(403, "credential_spent");
                    assert!(refused.text.contains("do not pay again"), "{}", refused.text);
                    assert!(refused.challenges().is_empty());
                    chain.faults().clear();
                }
                let stored = server.payment(&challenge.id).await.map(|payment| payment.state.as_str());
                assert_eq!(stored, Some("failed"), "pushed: {pushed}");
                expected.push((format!("held:{:#x}", signed.hash), format!("wallet:{:#x}", agent.address())));
            }
            assert_eq!(server.count("SELECT count(*) FROM credits").await, 0);
            // Nobody else gets a line with it: it was made for another challenge, and by another wallet.
            let hash = expected[1].0.trim_start_matches("held:").to_owned();
            let other = funded(&chain).await;
            let challenge = server.challenge().await;
            chain.faults().set(policy.clone());
            let foreign = other.credential(&challenge, agent::hash(&hash));
            let mut nameless = foreign.clone();
            nameless.as_object_mut().expect("an object").remove("source");
            for credential in [foreign, nameless] {
                let refused = server.pay(&credential).await;
                assert!(!refused.text.contains("do not pay again"), "{}", refused.text);
            }
            chain.faults().clear();
            let held = uncredited::list(&server.db.db).await.expect("a list");
            let mut found: Vec<_> = held
                .iter()
                .map(|payment| (payment.source.to_string(), payment.account.to_string()))
                .collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            // The operator has released the money: each payer gets the credit, once.
            for payment in &held {
                let price = Money::from_micros(i64::try_from(PRICE).expect("small"));
                assert_eq!(payment.amount, price);
                for due in [Some(payment), None] {
                    let credited = uncredited::credit(&server.db.db, &payment.source, Timestamp::now()).await;
                    assert_eq!(credited.expect("the ledger takes it").as_ref(), due);
                }
            }
            assert_eq!(server.count("SELECT count(*) FROM credits").await, 2);
            let disagreements = farebox::funding::audit::audit(&server.db.db).await.expect("the audit runs");
            assert_eq!(disagreements, []);
        }
        chain.stop().await;
    });
}

/// A payment that failed, or was held back, is no reason to refuse the next one under the same key.
#[test]
fn attack_34_an_idempotency_key_is_free_after_a_payment_that_failed() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let server = Server::on(database, &chain.rpc_url(), |_| {}).await;
            let agent = funded(&chain).await;
            let pay = async |fault: Option<Fault>| {
                let challenge = server.challenge().await;
                let credential = agent.pull(&challenge);
                if let Some(fault) = fault {
                    chain.faults().set(Rule::new(fault));
                }
                let request = server.paying(&credential).header("idempotency-key", "order-1");
                let answer = reply(request).await;
                chain.faults().clear();
                answer
            };
            let held = Fault::ReceivePolicy { account: server.recipient() };
            pay(Some(held)).await.assert(403, "credential_spent");
            pay(None).await.assert_paid();
        }
        chain.stop().await;
    });
}
