//! Class 35: one transaction with very many purchases keeps nobody waiting.

use farebox::devnet::{Fault, Rule};
use farebox_test_support::db;
use farebox_test_support::harness::{own_chain, run};

use crate::fixture::Fixture;

const TOP_UPS: usize = 150;

/// Its receipt is asked for once, and not for each of them.
#[test]
fn attack_35_many_top_ups_in_one_transaction_cost_one_question() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, &chain, |_| {}).await;
            let counted = Rule::new(Fault::Delay { ms: 0 }).on("eth_getTransactionReceipt").times(100_000);
            let (buyer, owner) =
                (fixture.buyer().await, farebox_test_support::agent::Agent::random().address());
            let each = i64::try_from(TOP_UPS).expect("small");
            let mut calls = vec![fixture.approve(each)];
            calls.extend((0..TOP_UPS).map(|_| fixture.top_up(owner, 1)));
            fixture.chain.faults().set(counted);
            fixture.purchase(&buyer, calls).await;
            fixture.await_credit(owner, each).await;
            fixture.await_all().await;
            let left = fixture.chain.faults().active()[0].times.expect("a number");
            let asked = 100_000 - left;
            // Once by the server's own pass, and once more if a pass was overtaken at it.
            assert!((1..=5).contains(&asked), "{asked} questions");
            assert_eq!(fixture.cursor().await.seen, u64::try_from(TOP_UPS).expect("small"));
            assert_eq!(fixture.credits().await, each);
            fixture.chain.faults().clear();
            fixture.finish().await;
        }
        chain.stop().await;
    });
}
