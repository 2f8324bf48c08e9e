//! Credit from the contract meets what its owner owes.

use farebox::funding;
use farebox::id::AccountId;
use farebox::ledger::audit::audit;
use farebox::money::Money;
use farebox_test_support::db;
use farebox_test_support::debt::{add_debts, balance_and_debt};
use farebox_test_support::harness::{self, Server, run};

use crate::fixture::{Fixture, PACKS, key};

/// Asserts that the ledger is right. Not all credit came from the chain here.
async fn assert_audit(server: &Server) {
    let report = audit(&server.db.db).await.expect("the audit runs");
    assert!(report.is_clean(), "{report}");
    let disagreements = funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(disagreements, [], "payments and ledger");
}

#[test]
fn what_a_wallet_owes_is_met_by_what_it_buys_from_the_contract() {
    run(async {
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, harness::shared_chain().await, |_| {}).await;
            let buyer = fixture.buyer().await;
            let account = AccountId::wallet(&format!("{:#x}", buyer.address())).expect("an address");
            let owed = [PACKS[0] + 500, 300].map(Money::from_micros);
            add_debts(&fixture.server.app, &account, &owed).await;
            let spent = PACKS[0] + 800;

            // A key comes with its credit, whatever becomes of that.
            let calls = vec![fixture.approve(PACKS[0]), fixture.buy(key(1))];
            fixture.purchase(&buyer, calls).await;
            fixture.await_credit(buyer.address(), spent + PACKS[0]).await;
            assert_eq!(balance_and_debt(&fixture.server.app, &account).await, (0, 800));
            assert_eq!(fixture.keys().await, 1);
            assert_audit(&fixture.server).await;

            // Both debts, and the rest is there to spend.
            let calls = vec![fixture.approve(1_000), fixture.top_up(buyer.address(), 1_000)];
            fixture.purchase(&buyer, calls).await;
            fixture.await_credit(buyer.address(), spent + PACKS[0] + 1_000).await;
            assert_eq!(balance_and_debt(&fixture.server.app, &account).await, (200, 0));

            // Read again, nothing is met again.
            fixture.forget().await;
            fixture = fixture.restart(|_| {}).await;
            fixture.await_all().await;
            assert_eq!(balance_and_debt(&fixture.server.app, &account).await, (200, 0));
            let refunds = "SELECT CAST(sum(amount) AS BIGINT) FROM entries WHERE kind = 'refund'";
            assert_eq!(fixture.server.count(refunds).await, spent);
            assert_audit(&fixture.server).await;
            fixture.server.stop().await;
        }
    });
}
