//! Class 34: money that was sent and did not arrive buys nothing, and is not forgotten.

use std::process::Output;

use farebox::devnet::{Fault, Rule};
use farebox_test_support::db;
use farebox_test_support::harness::{eventually, own_chain, reply, run};
use farebox_test_support::process::program;

use crate::fixture::{Fixture, PACKS, SaleContract, deploy_v1, key};
use farebox::config::PATH_USD;
use farebox_test_support::agent::Agent;

async fn uncredited(fixture: &Fixture<'_>, arguments: &[&str]) -> Output {
    let mut command = program(crate::FAREBOX);
    command.env("FAREBOX_DATABASE_URL", &fixture.server.db.url);
    command.env("FAREBOX_PAYMENTS_SECRET", "0123456789abcdef0123456789abcdef");
    command.env("FAREBOX_PAYMENTS_RECIPIENT", format!("{:#x}", fixture.server.recipient()));
    command.env("FAREBOX_CHAIN_RPC_URL", fixture.chain.rpc_url());
    command.env("FAREBOX_CHAIN_CHAIN_ID", "1337");
    command.env("FAREBOX_SERVER_PUBLIC_URL", "http://127.0.0.1:1");
    command.arg("uncredited").args(arguments).output().await.expect("it runs")
}

/// With TIP-1028 a `transferFrom` that the payee's policy blocks succeeds, and the money is at a guard, from where the
/// buyer can take it back. The first version's event stands there all the same.
#[test]
fn attack_34_a_purchase_whose_payment_is_held_back_is_not_credited_and_the_operator_can() {
    run(async {
        let chain = own_chain().await;
        for database in [db::sqlite().await, db::engines().await.pop().expect("an engine")] {
            let payee = Agent::random().address();
            let contract = deploy_v1(&chain, PATH_USD, payee).await;
            let sale = SaleContract { chain: &chain, contract };
            let mut fixture = Fixture::following(database, sale, payee, |_| {}).await;
            fixture.chain.faults().set(Rule::new(Fault::ReceivePolicy { account: payee }));
            let buyer = fixture.buyer().await;
            let owner = buyer.address();
            let calls =
                vec![fixture.approve(7 + PACKS[0]), fixture.top_up(owner, 7), fixture.buy_v1(key(1), owner)];
            fixture.purchase(&buyer, calls).await;
            fixture.await_all().await;
            assert_eq!((fixture.credited(owner).await, fixture.keys().await), (0, 0));
            assert_eq!(fixture.server.count("SELECT count(*) FROM uncredited_payments").await, 2);
            // What comes after it is not kept waiting.
            fixture.chain.faults().clear();
            let (other, _) = fixture.topped_up(9).await;
            fixture.await_credit(other.address(), 9).await;

            // The operator has taken the money from the guard, and gives the credit, once.
            let listed = uncredited(&fixture, &["list"]).await;
            let listed = String::from_utf8(listed.stdout).expect("text");
            assert_eq!(listed.lines().count(), 2, "{listed}");
            assert!(
                listed.contains("TIP-1028") && listed.contains(&format!("wallet:{owner:#x}")),
                "{listed}"
            );
            for line in listed.lines() {
                let source = line.split(' ').next().expect("a source");
                let receipt = line.rsplit(' ').next().expect("the guard's receipt");
                assert!(receipt.starts_with("0x") && receipt.len() > 600, "{line}");
                // Its sender may have taken it back: the operator must have seen it.
                let unseen = uncredited(&fixture, &["credit", source]).await;
                assert!(String::from_utf8_lossy(&unseen.stderr).contains("--received"), "{unseen:?}");
                for (try_number, succeeds) in [(1, true), (2, false)] {
                    let credited = uncredited(&fixture, &["credit", source, "--received"]).await;
                    assert_eq!(credited.status.success(), succeeds, "{try_number} {credited:?}");
                }
                assert!(!uncredited(&fixture, &["dismiss", source]).await.status.success());
            }
            assert_eq!(fixture.credited(owner).await, 7 + PACKS[0]);
            // Read again it is neither credited nor listed again, whatever the node says of it now.
            for policy in [true, false] {
                if policy {
                    fixture.chain.faults().set(Rule::new(Fault::ReceivePolicy { account: payee }));
                }
                fixture.forget().await;
                eventually("read again", async || fixture.sales().cursor().await.ok().flatten()).await;
                fixture.await_all().await;
                fixture.chain.faults().clear();
            }
            assert_eq!(fixture.credited(owner).await, 7 + PACKS[0]);
            assert_eq!(fixture.server.count("SELECT count(*) FROM uncredited_payments").await, 0);
            fixture.finish().await;
        }
        chain.stop().await;
    });
}

#[test]
fn attack_34_a_payee_whose_policy_blocks_payments_is_told_of_at_readyz() {
    run(async {
        let chain = own_chain().await;
        let payee = Agent::random().address();
        let contract = deploy_v1(&chain, PATH_USD, payee).await;
        chain.faults().set(Rule::new(Fault::ReceivePolicy { account: payee }));
        let sale = SaleContract { chain: &chain, contract };
        let mut fixture = Fixture::following(db::sqlite().await, sale, payee, |_| {}).await;
        eventually("the operator is told", async || {
            let ready = reply(fixture.server.get("/readyz")).await;
            ready.json()["warnings"].to_string().contains("setReceivePolicy").then_some(())
        })
        .await;
        fixture.server.stop().await;
        chain.stop().await;
    });
}
