//! Class 31: a purchase gives credit to anybody, and a key to nobody but its buyer.

use alloy::primitives::B256;
use farebox::chain::key_sale::SaleKey;
use farebox::config::PATH_USD;
use farebox::id::Timestamp;
use farebox::keys::{KeyId, KeyRejection, SecretHash};
use farebox_test_support::agent::Agent;
use farebox_test_support::db;
use farebox_test_support::harness::{run, shared_chain};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, PACKS, SaleContract, deploy_v1, key, on_every_engine};

/// 43 characters of base64url.
const SECRET: &str = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v";

fn hash() -> SecretHash {
    SecretHash::from_bytes(Sha256::digest(SECRET).into())
}

fn sold(pack: u64) -> SaleKey {
    SaleKey { hash: B256::from_slice(&Sha256::digest(SECRET)), pack }
}

async fn opens(fixture: &Fixture<'_>, id: &KeyId) -> Result<String, KeyRejection> {
    let key = fixture.server.app.keys.authenticate(&format!("pryv_{id}{SECRET}"), Timestamp::now()).await?;
    Ok(key.owner)
}

/// The first version sells a key to any owner. It was a way to spend other people's money: pay for a key over their
/// account, and use it with a secret of one's own.
#[test]
fn attack_31_a_key_that_somebody_else_buys_over_an_account_is_not_made() {
    run(async {
        for database in db::engines().await {
            let chain = shared_chain().await;
            let payee = Agent::random().address();
            let contract = deploy_v1(chain, PATH_USD, payee).await;
            let sale = SaleContract { chain, contract };
            let mut fixture = Fixture::following(database, sale, payee, |_| {}).await;
            let (victim, _) = fixture.topped_up(1_000_000).await;
            fixture.await_credit(victim.address(), 1_000_000).await;

            let attacker = fixture.buyer().await;
            let calls = vec![fixture.approve(PACKS[0]), fixture.buy_v1(sold(1), victim.address())];
            fixture.purchase(&attacker, calls).await;
            // The victim has the credit, and nobody a key.
            fixture.await_credit(victim.address(), 1_000_000 + PACKS[0]).await;
            let id = KeyId::of_purchase_v1(&hash());
            let refused = opens(&fixture, &id).await;
            assert!(matches!(refused, Err(KeyRejection::Invalid)), "{refused:?}");
            assert_eq!(fixture.keys().await, 0);

            // A key for oneself is one, and spends what its pack brought.
            let (owner, mine) = (victim.address(), key(2));
            fixture.purchase(&victim, vec![fixture.approve(PACKS[1]), fixture.buy_v1(mine, owner)]).await;
            fixture.await_credit(owner, 1_000_000 + PACKS[0] + PACKS[1]).await;
            assert_eq!(fixture.keys().await, 1);
            assert_eq!(fixture.server.count("SELECT total_limit FROM api_keys").await, PACKS[1]);
            fixture.finish().await;
        }
    });
}

/// Whoever sees a purchase that waits can send the same hash first. They buy a key of their own, which no text opens
/// that anybody has, and the purchase that waited goes on.
#[test]
fn attack_31_who_takes_a_hash_takes_nothing() {
    run(on_every_engine(async |fixture: &mut Fixture<'static>| {
        let (buyer, thief) = (fixture.buyer().await, fixture.buyer().await);
        for wallet in [&thief, &buyer] {
            fixture.purchase(wallet, vec![fixture.approve(PACKS[0]), fixture.buy(sold(1))]).await;
            fixture.await_credit(wallet.address(), PACKS[0]).await;
        }
        assert_eq!(fixture.keys().await, 2);
        let id = KeyId::of_purchase(&hash(), &buyer.address().0);
        assert_eq!(opens(fixture, &id).await.expect("it opens"), format!("{:#x}", buyer.address()));
        // The secret opens the thief's account only for who writes the thief's id before it, which is the thief's gift.
        let taken = KeyId::of_purchase(&hash(), &thief.address().0);
        assert_ne!(id, taken);
        assert_eq!(fixture.server.count("SELECT min(total_limit) FROM api_keys").await, PACKS[0]);
    }));
}
