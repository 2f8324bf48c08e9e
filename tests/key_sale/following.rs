//! Exactly once: over restarts, after days offline, and with several instances.

use crate::db;
use crate::harness::{Server, eventually, own_chain, run, shared_chain};
use crate::shop::{PACKS, Shop, key, mine, on_every_engine};
use farebox::funding::key_sale::ReadOutcome;

#[test]
fn a_restart_and_a_lost_cursor_credit_nothing_twice() {
    run(async {
        for database in db::engines().await {
            let mut shop = Shop::on(database, shared_chain().await, |_| {}).await;
            let (first, _) = shop.topped_up(11).await;
            shop.await_credit(first.address(), 11).await;

            shop = shop.restart(|_| {}).await;
            let calls = vec![shop.approve(PACKS[0]), shop.buy(key(1), first.address())];
            shop.purchase(&first, calls).await;
            shop.await_credit(first.address(), 11 + PACKS[0]).await;

            // All is read again from the first block on.
            shop.forget().await;
            shop = shop.restart(|_| {}).await;
            let (second, _) = shop.topped_up(13).await;
            shop.await_credit(second.address(), 13).await;
            shop.await_all().await;
            assert_eq!(shop.cursor().await.seen, 3);
            assert_eq!(shop.credited(first.address()).await, 11 + PACKS[0]);
            assert_eq!((shop.credits().await, shop.keys().await), (3, 1));
            shop.finish().await;
        }
    });
}

#[test]
fn what_was_sold_while_the_server_was_away_is_credited_when_it_is_back() {
    run(async {
        for database in db::engines().await {
            let chain = own_chain().await;
            let mut shop = Shop::on(database, &chain, |_| {}).await;
            let (early, _) = shop.topped_up(1).await;
            shop.await_credit(early.address(), 1).await;
            shop.server.stop().await;

            let mut buyers = Vec::new();
            for amount in 2..6 {
                mine(&chain, 150).await;
                buyers.push((shop.topped_up(amount).await.0, amount));
            }
            mine(&chain, 150).await;
            // Thirty questions and more.
            shop = shop.restart(|config| config.key_sale.blocks_per_query = 19).await;
            for (buyer, amount) in &buyers {
                shop.await_credit(buyer.address(), *amount).await;
            }
            shop.await_all().await;
            assert_eq!((shop.credits().await, shop.cursor().await.seen), (5, 5));
            let metrics = shop.server.get("/metrics").send().await.expect("it answers").text().await;
            let metrics = metrics.expect("text");
            for name in ["farebox_key_sale_cursor_block ", "farebox_key_sale_lag_blocks "] {
                assert!(metrics.contains(name), "{name}");
            }
            shop.finish().await;
            chain.stop().await;
        }
    });
}

/// Every block is the edge of a range.
#[test]
fn no_purchase_falls_between_two_ranges() {
    run(async {
        let chain = shared_chain().await;
        let tune = |config: &mut farebox::config::Config| config.key_sale.blocks_per_query = 1;
        let mut shop = Shop::on(db::sqlite().await, chain, tune).await;
        let (buyer, _) = shop.topped_up(4).await;
        let calls = vec![shop.approve(2), shop.top_up(buyer.address(), 1), shop.top_up(buyer.address(), 1)];
        shop.purchase(&buyer, calls).await;
        shop.await_all().await;
        assert_eq!((shop.credited(buyer.address()).await, shop.cursor().await.seen), (6, 3));
        shop.finish().await;
    });
}

#[test]
fn the_same_range_delivered_many_times_at_once_is_credited_once() {
    run(on_every_engine(async |shop: &mut Shop<'static>| {
        let buyer = shop.buyer().await;
        let owner = buyer.address();
        let calls = vec![shop.approve(9 + PACKS[0]), shop.top_up(owner, 9), shop.buy(key(1), owner)];
        shop.purchase(&buyer, calls).await;
        for _ in 0..10 {
            shop.forget().await;
            let passes = futures_util::future::join_all((0..6).map(|_| shop.pass())).await;
            for passed in passes {
                // A cursor that vanished under a reader is one that it was overtaken at.
                assert!(matches!(passed, Ok(ReadOutcome::UpToDate | ReadOutcome::Overtaken)), "{passed:?}");
            }
        }
        shop.await_all().await;
        assert_eq!((shop.credits().await, shop.keys().await), (2, 1));
        assert_eq!(shop.credited(owner).await, 9 + PACKS[0]);
    }));
}

#[test]
fn two_instances_credit_each_purchase_once_and_stand_in_for_each_other() {
    run(async {
        let Some(database) = db::postgres().await else { return };
        let mut shop = Shop::on(database, shared_chain().await, |_| {}).await;
        let mut twin = Server::boot(shop.server.db.shared().await, shop.server.app.config.clone()).await;
        let (buyer, mut paid) = (shop.buyer().await, 0);
        for amount in 1..=8 {
            let calls = vec![shop.approve(amount), shop.top_up(buyer.address(), amount)];
            shop.purchase(&buyer, calls).await;
            paid += amount;
            // Both at once, whoever has the lease, and now and then from the beginning.
            if amount % 3 == 0 {
                shop.forget().await;
            }
            let other = twin.app.key_sales.as_ref().expect("configured");
            let (one, two) = tokio::join!(shop.pass(), other.read_next(farebox::id::Timestamp::now()));
            assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        }
        shop.await_credit(buyer.address(), paid).await;
        assert_eq!(shop.credits().await, 8);

        // One goes, with or without the lease; when that is over the other reads.
        twin.stop().await;
        shop.server.db.execute("UPDATE leases SET until = 0 WHERE name = 'key_sale'").await;
        let (late, _) = shop.topped_up(77).await;
        shop.await_credit(late.address(), 77).await;
        shop.finish().await;
    });
}

#[test]
fn a_purchase_counts_when_enough_blocks_stand_on_it() {
    run(async {
        const CONFIRMATIONS: u64 = 4;
        let chain = own_chain().await;
        let tune = |config: &mut farebox::config::Config| config.key_sale.confirmations = CONFIRMATIONS;
        let mut shop = Shop::on(db::sqlite().await, &chain, tune).await;
        let (buyer, block) = shop.topped_up(5).await;
        eventually("credited", async || {
            let credited = shop.credited(buyer.address()).await;
            let height = shop.height().await;
            assert!(
                credited == 0 || height >= block + CONFIRMATIONS,
                "{credited} at {height}, sold at {block}"
            );
            (credited > 0).then_some(())
        })
        .await;
        shop.finish().await;
        chain.stop().await;
    });
}
