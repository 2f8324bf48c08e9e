//! Databases that fail half-way, and a ledger that refuses.

use crate::fixture::{Fixture, PACKS, key};
use farebox::config::PATH_USD;
use farebox_test_support::db;
use farebox_test_support::harness::{eventually, own_chain, run};

/// Credit, key and cursor are one transaction.
#[test]
fn attack_30_what_cannot_be_written_whole_is_not_written_at_all() {
    run(async {
        let chain = own_chain().await;
        let mut fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        for table in ["api_keys", "credits"] {
            fixture
                .server
                .db
                .execute(&format!(
                    "CREATE TRIGGER disk_full BEFORE INSERT ON {table} \
                     BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                ))
                .await;
            let (buyer, credits) = (fixture.buyer().await, fixture.credits().await);
            let calls = vec![fixture.approve(PACKS[0]), fixture.buy(key(1))];
            fixture.purchase(&buyer, calls).await;
            // The server's own pass may just have moved the cursor: then this one is overtaken, and the next fails.
            eventually("a pass fails", async || fixture.pass().await.is_err().then_some(())).await;
            assert_eq!((fixture.credited(buyer.address()).await, fixture.credits().await), (0, credits));
            fixture.server.db.execute("DROP TRIGGER disk_full").await;
            fixture.await_credit(buyer.address(), PACKS[0]).await;
        }
        assert_eq!((fixture.credits().await, fixture.keys().await), (2, 2));
        fixture.finish().await;
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
            let mut fixture = Fixture::on(database, &chain, |_| {}).await;
            let (buyer, huge) = (fixture.buyer().await, 9_100_000_000_000_000_000);
            let given = u64::try_from(huge).expect("positive");
            chain.fund(buyer.address(), PATH_USD, given).await.expect("the faucet gives");
            let owner = buyer.address();
            let calls =
                vec![fixture.approve(huge + 6), fixture.top_up(owner, huge), fixture.top_up(owner, 6)];
            fixture.purchase(&buyer, calls).await;
            fixture.await_credit(owner, 6).await;
            let noted = "SELECT amount FROM uncredited_payments WHERE why LIKE '%exceeds%'";
            assert_eq!(fixture.server.count(noted).await, huge);
            // Once, however often it is read.
            fixture.forget().await;
            eventually("read again", async || fixture.sales().cursor().await.ok().flatten()).await;
            fixture.await_all().await;
            assert_eq!(fixture.server.count("SELECT count(*) FROM uncredited_payments").await, 1);
            assert_eq!(fixture.cursor().await.seen, 2);
            fixture.finish().await;
            chain.stop().await;
        }
    });
}
