//! A database of the version that made a key for any owner and named no contract in its sources.

use alloy::primitives::{Address, B256};
use farebox::chain::key_sale::SaleKey;
use farebox::config::PATH_USD;
use farebox::db::Db;
use farebox::funding::key_sale::buyers;
use farebox::id::Timestamp;
use farebox::keys::{KeyId, KeyRejection, Keys, SecretHash};
use farebox_test_support::agent::Agent;
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::harness::{eventually, own_chain, run};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Fixture, PACKS, SaleContract, block_of, deploy_v1, reader};

const MINE: &str = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v";
const FOREIGN: &str = "Z1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v";

fn key(secret: &str) -> SaleKey {
    SaleKey { hash: B256::from_slice(&Sha256::digest(secret)), pack: 1 }
}

fn text(secret: &str) -> String {
    let hash = SecretHash::from_bytes(Sha256::digest(secret).into());
    format!("pryv_{}{secret}", KeyId::of_purchase_v1(&hash))
}

/// Takes a database back to what the version before wrote: one credit and one key for each purchase, whoever paid.
async fn written_before(
    db: &TestDb,
    contract: Address,
    purchases: &[(&str, B256, Address)],
    next_block: u64,
) {
    for (secret, transaction, owner) in purchases {
        let source = format!("log:{transaction:#x}:0");
        let SaleKey { hash, .. } = key(secret);
        let id = KeyId::of_purchase_v1(&SecretHash::from_bytes(hash.0));
        let hash = hex::encode(hash);
        for sql in [
            format!(
                "INSERT INTO accounts (id, credited, posted, held, created_at) \
                 VALUES ('wallet:{owner:#x}', {0}, 0, 0, 1) ON CONFLICT (id) DO UPDATE SET credited = \
                 accounts.credited + {0}",
                PACKS[0]
            ),
            format!(
                "INSERT INTO credits (source, account, amount, created_at) \
                 VALUES ('{source}', 'wallet:{owner:#x}', {}, 1)",
                PACKS[0]
            ),
            format!(
                "INSERT INTO api_keys (id, owner, name, hash, source, created_at) \
                 VALUES ('{id}', '{owner:#x}', 'bought on the chain', '{hash}', '{source}', 1)"
            ),
        ] {
            db.execute(&sql).await;
        }
    }
    let (name, seen) = (format!("key_sale:1337:{contract:#x}"), purchases.len());
    db.execute(&format!(
        "INSERT INTO chain_cursors (name, next_block, next_log_index, seen, proven_block, proven_seen, updated_at) \
         VALUES ('{name}', {next_block}, 0, {seen}, 1, 0, 1)"
    ))
    .await;
    // What the migration does with such a cursor.
    db.execute(&format!(
        "INSERT INTO key_sale_origins (name, next_block, next_log) VALUES ('{name}', {next_block}, 0)"
    ))
    .await;
}

async fn opens(keys: &Keys, secret: &str) -> Result<String, KeyRejection> {
    keys.authenticate(&text(secret), Timestamp::now()).await.map(|key| key.owner)
}

#[test]
fn attack_31_keys_that_somebody_else_bought_are_revoked_on_upgrade() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines().await {
            let payee = Agent::random().address();
            let contract = deploy_v1(&chain, PATH_USD, payee).await;
            let sale = SaleContract { chain: &chain, contract };
            let (owner, attacker) = (sale.buyer().await, sale.buyer().await);
            let mut purchases = Vec::new();
            let mut last = 0;
            for (secret, buyer) in [(MINE, &owner), (FOREIGN, &attacker)] {
                let calls = vec![sale.approve(PACKS[0]), sale.buy_v1(key(secret), owner.address())];
                let receipt = sale.purchase(buyer, calls).await;
                let transaction =
                    receipt["transactionHash"].as_str().expect("a hash").parse().expect("a hash");
                purchases.push((secret, transaction, owner.address()));
                last = block_of(&receipt);
            }
            written_before(&database, contract, &purchases, last + 1).await;

            // Until the chain has answered, neither opens anything.
            let db: &Db = &database.db;
            let keys = Keys::new(db.clone(), "pryv_");
            for secret in [MINE, FOREIGN] {
                let refused = opens(&keys, secret).await;
                assert!(matches!(refused, Err(KeyRejection::Unverified)), "{refused:?}");
            }
            let dead = farebox::config::ChainConfig {
                rpc_url: farebox::config::Secret::from("http://127.0.0.1:9"),
                ..farebox::config::ChainConfig::default()
            };
            let away = farebox::chain::Chain::new(&dead).expect("a URL");
            assert!(buyers::verify(db, &away, Timestamp::now()).await.is_err());
            assert!(opens(&keys, MINE).await.is_err());
            let verified = buyers::verify(db, &reader(&chain), Timestamp::now()).await.expect("it answers");
            assert_eq!((verified.kept, verified.revoked, verified.unknown), (1, 1, 0));

            // The server does the same by itself, and reads on.
            database.execute("UPDATE api_keys SET buyer = NULL, revoked_at = NULL").await;
            let mut fixture = Fixture::following(database, sale, payee, |_| {}).await;
            let keys = fixture.server.app.keys.clone();
            eventually("the owner's key opens", async || opens(&keys, MINE).await.ok()).await;
            eventually("the other one is revoked", async || {
                matches!(opens(&keys, FOREIGN).await, Err(KeyRejection::Inactive)).then_some(())
            })
            .await;
            // The owner keeps the credit, and what was bought after it is credited; all of it read again changes nothing.
            let calls = vec![fixture.approve(7), fixture.top_up(owner.address(), 7)];
            fixture.purchase(&owner, calls).await;
            fixture.await_credit(owner.address(), 2 * PACKS[0] + 7).await;
            fixture.forget().await;
            fixture.await_all().await;
            assert_eq!(fixture.cursor().await.seen, 3);
            assert_eq!((fixture.credits().await, fixture.keys().await), (3, 2));
            fixture.finish().await;
        }
        chain.stop().await;
    });
}
