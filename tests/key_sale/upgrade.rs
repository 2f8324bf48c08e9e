//! A database of the version that made a key for any owner and named no contract in its sources.

use alloy::primitives::{Address, B256};
use farebox::chain::key_sale::SaleKey;
use farebox::config::PATH_USD;
use farebox::db::Db;
use farebox::devnet::{Devnet, Fault, Rule};
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

/// Writes what the version before wrote: one credit and one key for each purchase, whoever paid, and its cursor. Then
/// the database is brought up to date.
async fn written_before(
    database: &TestDb,
    contract: Address,
    purchases: &[(&str, B256, Address)],
    cursor: Option<u64>,
) {
    for (secret, transaction, owner) in purchases {
        let source = format!("log:{transaction:#x}:0");
        let SaleKey { hash, .. } = key(secret);
        let id = KeyId::of_purchase_v1(&SecretHash::from_bytes(hash.0));
        let (hash, price) = (hex::encode(hash), PACKS[0]);
        for sql in [
            format!(
                "INSERT INTO accounts (id, credited, posted, held, created_at) \
                 VALUES ('wallet:{owner:#x}', {price}, 0, 0, 1) \
                 ON CONFLICT (id) DO UPDATE SET credited = accounts.credited + {price}"
            ),
            format!(
                "INSERT INTO credits (source, account, amount, created_at) \
                 VALUES ('{source}', 'wallet:{owner:#x}', {price}, 1)"
            ),
            format!(
                "INSERT INTO api_keys (id, owner, name, hash, source, created_at) \
                 VALUES ('{id}', '{owner:#x}', 'bought on the chain', '{hash}', '{source}', 1)"
            ),
        ] {
            database.execute(&sql).await;
        }
    }
    if let Some(next_block) = cursor {
        let (name, seen) = (format!("key_sale:1337:{contract:#x}"), purchases.len());
        database
            .execute(&format!(
                "INSERT INTO chain_cursors (name, next_block, next_log, seen, proven_block, proven_seen, updated_at) \
                 VALUES ('{name}', {next_block}, 0, {seen}, 1, 0, 1)"
            ))
            .await;
    }
    database.db.migrate().await.expect("the upgrade");
}

/// A contract of the first version, where an owner and somebody else bought a key each for the owner's account.
async fn sold_before(
    chain: &Devnet,
    payee: Address,
) -> (SaleContract<'_>, Agent, Vec<(&'static str, B256, Address)>, u64) {
    let sale = SaleContract { chain, contract: deploy_v1(chain, PATH_USD, payee).await };
    let (owner, attacker) = (sale.buyer().await, sale.buyer().await);
    let (mut purchases, mut last) = (Vec::new(), 0);
    for (secret, buyer) in [(MINE, &owner), (FOREIGN, &attacker)] {
        let calls = vec![sale.approve(PACKS[0]), sale.buy_v1(key(secret), owner.address())];
        let receipt = sale.purchase(buyer, calls).await;
        let transaction = receipt["transactionHash"].as_str().expect("a hash").parse().expect("a hash");
        purchases.push((secret, transaction, owner.address()));
        last = block_of(&receipt);
    }
    (sale, owner, purchases, last)
}

/// Wherever the cursor was when the older version stopped: at the end, moved back because counts differed, or lost.
#[test]
fn attack_31_purchases_that_are_read_again_after_the_upgrade_are_credited_once() {
    run(async {
        let chain = own_chain().await;
        for (moved_back, deleted) in [(false, false), (true, false), (true, true)] {
            for database in db::engines_before(17).await {
                let payee = Agent::random().address();
                let (sale, owner, purchases, last) = sold_before(&chain, payee).await;
                let cursor = (!deleted).then_some(if moved_back { 1 } else { last + 1 });
                written_before(&database, sale.contract, &purchases, cursor).await;
                if moved_back && !deleted {
                    database.execute("UPDATE chain_cursors SET seen = 0").await;
                }
                let mut fixture = Fixture::following(database, sale, payee, |_| {}).await;
                let calls = vec![fixture.approve(7), fixture.top_up(owner.address(), 7)];
                fixture.purchase(&owner, calls).await;
                fixture.await_credit(owner.address(), 2 * PACKS[0] + 7).await;
                fixture.await_all().await;
                assert_eq!((fixture.credits().await, fixture.keys().await), (3, 2));
                fixture.finish().await;
            }
        }
        chain.stop().await;
    });
}

/// One receipt that cannot be read keeps no other key locked, and an owner need not wait for any.
#[test]
fn attack_35_a_key_whose_purchase_cannot_be_read_locks_no_other() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines_before(17).await {
            let payee = Agent::random().address();
            let (sale, owner, mut purchases, last) = sold_before(&chain, payee).await;
            let lost = "Q1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0U1v";
            purchases.push((lost, B256::repeat_byte(7), owner.address()));
            written_before(&database, sale.contract, &purchases, Some(last + 1)).await;
            let (db, keys) = (&database.db, Keys::new(database.db.clone(), "pryv_"));
            let unread = Rule::new(Fault::Error { code: -32_000, message: "pruned".into() });
            chain.faults().set(unread.on("eth_getTransactionReceipt").times(1));
            let first = buyers::verify(db, &reader(&chain), &[], Timestamp::now()).await.expect("it goes on");
            assert_eq!((first.kept + first.revoked, first.unknown), (1, 2));
            let second =
                buyers::verify(db, &reader(&chain), &[], Timestamp::now()).await.expect("it goes on");
            assert_eq!((second.kept + second.revoked, second.unknown), (1, 1));
            assert!(opens(&keys, MINE).await.is_ok());
            // The owner's own word is enough, and ends the secret that it was bought with.
            let hash = SecretHash::from_bytes(Sha256::digest(lost).into());
            let minted = keys.mint_secret(&KeyId::of_purchase_v1(&hash));
            let (wallet, new) = (&format!("{:#x}", owner.address()), &minted);
            let rotated = db.transaction(|mut tx| async move {
                let (now, until) = (Timestamp::now(), Timestamp::from_millis(i64::MAX));
                let rotated = farebox::keys::rotate(&mut tx, wallet, &new.id, &new.hash, until, now).await?;
                Ok::<_, farebox::keys::KeysError>((tx, rotated))
            });
            assert!(rotated.await.expect("the database answers"));
            keys.forget_cached(&minted.id);
            assert!(keys.authenticate(minted.text.expose(), Timestamp::now()).await.is_ok());
            let refused = opens(&keys, lost).await;
            assert!(matches!(refused, Err(KeyRejection::Invalid)), "{refused:?}");
        }
        chain.stop().await;
    });
}

async fn opens(keys: &Keys, secret: &str) -> Result<String, KeyRejection> {
    keys.authenticate(&text(secret), Timestamp::now()).await.map(|key| key.owner)
}

#[test]
fn attack_31_keys_that_somebody_else_bought_are_revoked_on_upgrade() {
    run(async {
        let chain = own_chain().await;
        for database in db::engines_before(17).await {
            let payee = Agent::random().address();
            let (sale, owner, purchases, last) = sold_before(&chain, payee).await;
            written_before(&database, sale.contract, &purchases, Some(last + 1)).await;

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
            assert!(buyers::verify(db, &away, &[], Timestamp::now()).await.is_err());
            assert!(opens(&keys, MINE).await.is_err());
            let verified =
                buyers::verify(db, &reader(&chain), &[], Timestamp::now()).await.expect("it answers");
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
