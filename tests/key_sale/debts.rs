//! Credit from the contract meets what its owner owes.

use farebox::funding;
use farebox::id::AccountId;
use farebox::ledger::audit::audit;
use farebox::money::Money;

use crate::debtor::{indebt_for_each, standing};
use crate::harness::{Server, run};
use crate::shop::{PACKS, Shop, key};
use crate::{db, harness};

/// The books are right. Not all credit came from the chain here.
async fn audited(server: &Server) {
    let report = audit(&server.db.db).await.expect("the audit runs");
    assert!(report.is_clean(), "{report}");
    let disagreements = funding::audit::audit(&server.db.db).await.expect("the audit runs");
    assert_eq!(disagreements, [], "payments and ledger");
}

#[test]
fn what_a_wallet_owes_is_met_by_what_it_buys_from_the_contract() {
    run(async {
        for database in db::engines().await {
            let mut shop = Shop::on(database, harness::shared_chain().await, |_| {}).await;
            let buyer = shop.buyer().await;
            let account = AccountId::wallet(&format!("{:#x}", buyer.address())).expect("an address");
            let owed = [PACKS[0] + 500, 300].map(Money::from_micros);
            indebt_for_each(&shop.server.app, &account, &owed).await;
            let spent = PACKS[0] + 800;

            // A key comes with its credit, whatever becomes of that.
            let calls = vec![shop.approve(PACKS[0]), shop.buy(key(1), buyer.address())];
            shop.purchase(&buyer, calls).await;
            shop.await_credit(buyer.address(), spent + PACKS[0]).await;
            assert_eq!(standing(&shop.server.app, &account).await, (0, 800));
            assert_eq!(shop.keys().await, 1);
            audited(&shop.server).await;

            // Both debts, and the rest is there to spend.
            let calls = vec![shop.approve(1_000), shop.top_up(buyer.address(), 1_000)];
            shop.purchase(&buyer, calls).await;
            shop.await_credit(buyer.address(), spent + PACKS[0] + 1_000).await;
            assert_eq!(standing(&shop.server.app, &account).await, (200, 0));

            // Read again, nothing is met again.
            shop.forget().await;
            shop = shop.restart(|_| {}).await;
            shop.await_all().await;
            assert_eq!(standing(&shop.server.app, &account).await, (200, 0));
            let refunds = "SELECT CAST(sum(amount) AS BIGINT) FROM entries WHERE kind = 'refund'";
            assert_eq!(shop.server.count(refunds).await, spent);
            audited(&shop.server).await;
            shop.server.stop().await;
        }
    });
}
