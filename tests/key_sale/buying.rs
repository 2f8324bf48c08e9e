//! Purchases: a wallet gets what it buys.

use std::collections::HashSet;

use farebox::config::PATH_USD;
use farebox::keys::{KeyId, SecretHash};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{FUNDS, run};
use sqlx::Row as _;

use crate::fixture::{Fixture, PACKS, key, on_every_engine};

#[test]
fn a_key_is_bought_with_one_batch_and_brings_its_credit() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let (buyer, sold) = (fixture.buyer().await, key(2));
        let calls = vec![fixture.approve(PACKS[1]), fixture.buy(sold)];
        let receipt = fixture.purchase(&buyer, calls).await;
        assert_eq!(receipt["type"], "0x76");
        fixture.await_credit(buyer.address(), PACKS[1]).await;

        let row = sqlx::query("SELECT id, hash, owner, source FROM api_keys");
        let row = row.fetch_one(&fixture.server.db.db.pool).await.expect("one key");
        let text = |column: &str| row.try_get::<String, _>(column).expect("text");
        assert_eq!(text("hash"), hex::encode(sold.hash));
        let hash = SecretHash::from_bytes(sold.hash.0);
        assert_eq!(text("id"), KeyId::of_purchase(&hash, &buyer.address().0).as_str());
        assert_eq!(text("owner"), format!("{:#x}", buyer.address()));
        let hash = receipt["transactionHash"].as_str().expect("a hash");
        let source = format!("sale:{:#x}:{hash}:0", fixture.contract);
        assert_eq!(text("source"), source);
        let credit = sqlx::query("SELECT source FROM credits").fetch_one(&fixture.server.db.db.pool).await;
        assert_eq!(credit.expect("one credit").try_get::<String, _>("source").expect("text"), source);

        let left = fixture.chain.balance(PATH_USD, buyer.address()).await.expect("the chain answers");
        assert!(left.to::<i64>() < i64::try_from(FUNDS).expect("small") - PACKS[1], "price and network fee");
    }));
}

#[test]
fn credit_is_bought_for_oneself_and_for_others() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let (buyer, friend) = (fixture.buyer().await, Agent::random().address());
        let calls = vec![fixture.approve(12), fixture.top_up(buyer.address(), 5), fixture.top_up(friend, 7)];
        fixture.purchase(&buyer, calls).await;
        fixture.await_credit(buyer.address(), 5).await;
        fixture.await_credit(friend, 7).await;
    }));
}

/// Equal purchases in one transaction are as many purchases.
#[test]
fn every_purchase_of_a_batch_counts() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let buyer = fixture.buyer().await;
        let owner = buyer.address();
        let calls = vec![
            fixture.approve(3 * 5 + PACKS[0] + PACKS[1]),
            fixture.top_up(owner, 5),
            fixture.buy(key(1)),
            fixture.top_up(owner, 5),
            fixture.buy(key(2)),
            fixture.top_up(owner, 5),
        ];
        fixture.purchase(&buyer, calls).await;
        fixture.await_credit(owner, 15 + PACKS[0] + PACKS[1]).await;
        let rows = sqlx::query("SELECT source FROM credits").fetch_all(&fixture.server.db.db.pool).await;
        let sources = rows.expect("the database answers");
        let sources = sources.iter().map(|row| row.try_get::<String, _>("source").expect("text"));
        let places: HashSet<String> =
            sources.map(|source| source.rsplit(':').next().expect("a place").to_owned()).collect();
        assert_eq!(places, ["0", "1", "2", "3", "4"].map(str::to_owned).into());
        assert_eq!(fixture.keys().await, 2);
    }));
}

#[test]
fn what_reverts_is_not_sold() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let (buyer, sold) = (fixture.buyer().await, key(1));
        let owner = buyer.address();
        fixture.purchase(&buyer, vec![fixture.approve(PACKS[0]), fixture.buy(sold)]).await;
        for calls in [
            // The same key again, too small an approval, an unknown pack; a batch is undone as a whole.
            // (Not the same bytes: those would be the same transaction.)
            vec![fixture.approve(PACKS[0] + 1), fixture.buy(sold)],
            vec![fixture.approve(PACKS[0] - 1), fixture.buy(key(1))],
            vec![fixture.approve(PACKS[1]), fixture.buy(key(3))],
            vec![fixture.approve(9), fixture.top_up(owner, 4), fixture.top_up(owner, 6)],
        ] {
            let receipt = fixture.send(&buyer, calls).await;
            assert_eq!(receipt["status"], "0x0", "{receipt}");
        }
        fixture.await_all().await;
        assert_eq!(
            (fixture.credited(owner).await, fixture.credits().await, fixture.keys().await),
            (PACKS[0], 1, 1)
        );
    }));
}
