//! Exactly once: over restarts, after days offline, and with several instances.

use crate::fixture::{Fixture, PACKS, key, mine, on_every_engine};
use farebox::funding::key_sale::ReadOutcome;
use farebox_test_support::db;
use farebox_test_support::harness::{Server, eventually, own_chain, run, shared_chain};

#[test]
fn a_restart_and_a_lost_cursor_credit_nothing_twice() {
    run(async {
        for database in db::engines().await {
            let mut fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
            let (first, _) = fixture.topped_up(11).await;
            fixture.await_credit(first.address(), 11).await;

            fixture = fixture.restart(|_| {}).await;
            let calls = vec![fixture.approve(PACKS[0]), fixture.buy(key(1))];
            fixture.purchase(&first, calls).await;
            fixture.await_credit(first.address(), 11 + PACKS[0]).await;

            // All is read again from the first block on.
            fixture.forget().await;
            fixture = fixture.restart(|_| {}).await;
            let (second, _) = fixture.topped_up(13).await;
            fixture.await_credit(second.address(), 13).await;
            fixture.await_all().await;
            assert_eq!(fixture.cursor().await.seen, 3);
            assert_eq!(fixture.credited(first.address()).await, 11 + PACKS[0]);
            assert_eq!((fixture.credits().await, fixture.keys().await), (3, 1));
            fixture.finish().await;
        }
    });
}

#[test]
fn what_was_sold_while_the_server_was_away_is_credited_when_it_is_back() {
    run(async {
        for database in db::engines().await {
            let chain = own_chain().await;
            let mut fixture = Fixture::on(database, &chain, |_| {}).await;
            let (early, _) = fixture.topped_up(1).await;
            fixture.await_credit(early.address(), 1).await;
            fixture.server.stop().await;

            let mut buyers = Vec::new();
            for amount in 2..6 {
                mine(&chain, 150).await;
                buyers.push((fixture.topped_up(amount).await.0, amount));
            }
            mine(&chain, 150).await;
            // Thirty questions and more.
            fixture = fixture.restart(|config| config.key_sale.blocks_per_query = 19).await;
            for (buyer, amount) in &buyers {
                fixture.await_credit(buyer.address(), *amount).await;
            }
            fixture.await_all().await;
            assert_eq!((fixture.credits().await, fixture.cursor().await.seen), (5, 5));
            let metrics = fixture.server.metrics().await;
            for name in ["farebox_key_sale_cursor_block{", "farebox_key_sale_lag_blocks{"] {
                assert!(metrics.contains(name), "{name}");
            }
            fixture.finish().await;
            chain.stop().await;
        }
    });
}

/// Every block is the edge of a range.
#[test]
fn no_purchase_falls_between_two_ranges() {
    run(async {
        let chain = shared_chain().await;
        let configure = |config: &mut farebox::config::Config| config.key_sale.blocks_per_query = 1;
        let mut fixture = Fixture::on(db::sqlite().await, chain, configure).await;
        let (buyer, _) = fixture.topped_up(4).await;
        let calls =
            vec![fixture.approve(2), fixture.top_up(buyer.address(), 1), fixture.top_up(buyer.address(), 1)];
        fixture.purchase(&buyer, calls).await;
        fixture.await_all().await;
        assert_eq!((fixture.credited(buyer.address()).await, fixture.cursor().await.seen), (6, 3));
        fixture.finish().await;
    });
}

#[test]
fn the_same_range_delivered_many_times_at_once_is_credited_once() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let buyer = fixture.buyer().await;
        let owner = buyer.address();
        let calls = vec![fixture.approve(9 + PACKS[0]), fixture.top_up(owner, 9), fixture.buy(key(1))];
        fixture.purchase(&buyer, calls).await;
        for _ in 0..10 {
            fixture.forget().await;
            let passes = futures_util::future::join_all((0..6).map(|_| fixture.pass())).await;
            for passed in passes {
                // A cursor that vanished under a reader is one that it was overtaken at.
                assert!(matches!(passed, Ok(ReadOutcome::UpToDate | ReadOutcome::Overtaken)), "{passed:?}");
            }
        }
        fixture.await_all().await;
        assert_eq!((fixture.credits().await, fixture.keys().await), (2, 1));
        assert_eq!(fixture.credited(owner).await, 9 + PACKS[0]);
    }));
}

#[test]
fn two_instances_credit_each_purchase_once_and_stand_in_for_each_other() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let mut fixture = Fixture::on(database, shared_chain().await, |_| {}).await;
        let mut second_instance =
            Server::boot(fixture.server.db.shared().await, fixture.server.app.config.clone()).await;
        let (buyer, mut paid) = (fixture.buyer().await, 0);
        for amount in 1..=8 {
            let calls = vec![fixture.approve(amount), fixture.top_up(buyer.address(), amount)];
            fixture.purchase(&buyer, calls).await;
            paid += amount;
            // Both at once, whoever has the lease, and now and then from the beginning.
            if amount % 3 == 0 {
                fixture.forget().await;
            }
            let other = &second_instance.app.key_sales.readers()[0];
            let (one, two) = tokio::join!(fixture.pass(), other.read_next(farebox::id::Timestamp::now()));
            assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        }
        fixture.await_credit(buyer.address(), paid).await;
        assert_eq!(fixture.credits().await, 8);

        // One goes, with or without the lease; when that is over the other reads.
        second_instance.stop().await;
        fixture.server.db.execute("UPDATE leases SET until = 0 WHERE name LIKE 'key_sale:%'").await;
        let (late, _) = fixture.topped_up(77).await;
        fixture.await_credit(late.address(), 77).await;
        fixture.finish().await;
    });
}

#[test]
fn a_purchase_counts_when_enough_blocks_stand_on_it() {
    run(async {
        const CONFIRMATIONS: u64 = 4;
        let chain = own_chain().await;
        let configure = |config: &mut farebox::config::Config| config.key_sale.confirmations = CONFIRMATIONS;
        let mut fixture = Fixture::on(db::sqlite().await, &chain, configure).await;
        let (buyer, block) = fixture.topped_up(5).await;
        eventually("credited", async || {
            let credited = fixture.credited(buyer.address()).await;
            let height = fixture.height().await;
            assert!(
                credited == 0 || height >= block + CONFIRMATIONS,
                "{credited} at {height}, sold at {block}"
            );
            (credited > 0).then_some(())
        })
        .await;
        fixture.finish().await;
        chain.stop().await;
    });
}
