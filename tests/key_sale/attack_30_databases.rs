//! Databases that fail half-way, and a ledger that says no.

use crate::db;
use crate::harness::{eventually, own_chain, run};
use crate::shop::{PACKS, Shop, key};
use farebox::config::PATH_USD;

/// Credit, key and cursor are one transaction.
#[test]
fn attack_30_what_cannot_be_written_whole_is_not_written_at_all() {
    run(async {
        let chain = own_chain().await;
        let mut shop = Shop::on(db::sqlite().await, &chain, |_| {}).await;
        for table in ["api_keys", "credits"] {
            shop.server
                .db
                .execute(&format!(
                    "CREATE TRIGGER disk_full BEFORE INSERT ON {table} \
                     BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                ))
                .await;
            let (buyer, credits) = (shop.buyer().await, shop.credits().await);
            let calls = vec![shop.approve(PACKS[0]), shop.buy(key(1), buyer.address())];
            shop.purchase(&buyer, calls).await;
            // The server's own pass may just have moved the cursor: then this one is overtaken, and the next fails.
            eventually("a pass fails", async || shop.pass().await.is_err().then_some(())).await;
            assert_eq!((shop.credited(buyer.address()).await, shop.credits().await), (0, credits));
            shop.server.db.execute("DROP TRIGGER disk_full").await;
            shop.await_credit(buyer.address(), PACKS[0]).await;
        }
        assert_eq!((shop.credits().await, shop.keys().await), (2, 2));
        shop.finish().await;
        chain.stop().await;
    });
}

/// Only test tokens come in such amounts. Whoever tops up more than the ledger can hold must not
/// keep everybody else from being credited.
#[test]
fn attack_30_a_purchase_that_the_ledger_refuses_is_noted_and_passed() {
    run(async {
        for database in db::engines().await {
            let chain = own_chain().await;
            let mut shop = Shop::on(database, &chain, |_| {}).await;
            let (buyer, huge) = (shop.buyer().await, 9_100_000_000_000_000_000);
            let given = u64::try_from(huge).expect("positive");
            chain.fund(buyer.address(), PATH_USD, given).await.expect("the faucet gives");
            let owner = buyer.address();
            let calls = vec![shop.approve(huge + 6), shop.top_up(owner, huge), shop.top_up(owner, 6)];
            shop.purchase(&buyer, calls).await;
            shop.await_credit(owner, 6).await;
            let noted = "SELECT amount FROM uncredited_sales WHERE why LIKE '%exceeds%'";
            assert_eq!(shop.server.count(noted).await, huge);
            // Once, however often it is read.
            shop.forget().await;
            eventually("read again", async || shop.sales().cursor().await.ok().flatten()).await;
            shop.await_all().await;
            assert_eq!(shop.server.count("SELECT count(*) FROM uncredited_sales").await, 1);
            assert_eq!(shop.cursor().await.seen, 2);
            shop.finish().await;
            chain.stop().await;
        }
    });
}
