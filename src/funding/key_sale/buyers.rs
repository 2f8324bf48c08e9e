//! Buyers of keys that were sold before it counted who bought them.
//!
//! The first version of the contract sells a key to any owner. So a key could be bought over somebody else's account by
//! whoever knows its secret. Such keys are revoked; until its buyer is known, a key opens nothing.

#![expect(clippy::disallowed_methods, reason = "each round begins at its own moment")]

use std::time::Duration;

use alloy::primitives::{Address, B256};

use super::SaleError;
use super::store;
use crate::chain::Chain;
use crate::db::Db;
use crate::id::Timestamp;
use crate::keys::{self, KeyId, KeysError, SecretHash, UnverifiedKey};

/// Pause after a round in which keys were left.
const INTERVAL: Duration = Duration::from_secs(5);
/// Keys that are read at once.
const BATCH: i64 = 100;

/// Result of one round.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Keys whose owners bought them.
    pub kept: u64,
    /// Keys that were bought by somebody else, and are revoked.
    pub revoked: u64,
    /// Keys whose purchase the node does not know: they open nothing.
    pub unknown: u64,
}

/// Runs until the buyer of every key is known.
pub async fn run(db: Db, chain: Chain) {
    loop {
        match verify(&db, &chain, Timestamp::now()).await {
            Ok(Verified { unknown: 0, .. }) => return,
            Ok(Verified { unknown, .. }) => {
                tracing::warn!(
                    keys = unknown,
                    "the node does not know the purchases of some keys; they open nothing"
                );
            }
            Err(error) => tracing::warn!(%error, "the buyers of some keys cannot be looked up"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks up the buyers of all keys that have none yet.
///
/// # Errors
/// If the node or the database does not answer; keys looked up until then are done.
pub async fn verify(db: &Db, chain: &Chain, now: Timestamp) -> Result<Verified, SaleError> {
    let mut verified = Verified::default();
    let mut after = String::new();
    let contracts = store::contracts_before(db, chain.chain_id()).await?;
    loop {
        let keys = keys::unverified(db, &after, BATCH).await?;
        let Some(last) = keys.last() else { return Ok(verified) };
        after = last.id.as_str().to_owned();
        chain.check().await?;
        for key in keys {
            let Some(buyer) = find_buyer(chain, &contracts, &key).await? else {
                verified.unknown += 1;
                continue;
            };
            let (buyer, id) = (&format!("{buyer:#x}"), &key.id);
            db.transaction(|mut tx| async move {
                keys::set_buyer(&mut tx, id, buyer, now).await?;
                Ok::<_, KeysError>((tx, ()))
            })
            .await?;
            if *buyer == key.owner {
                verified.kept += 1;
            } else {
                verified.revoked += 1;
                metrics::counter!("farebox_key_sale_foreign_keys_total").increment(1);
                tracing::warn!(key = %key.id, owner = key.owner, buyer, "a key that somebody else bought is revoked");
            }
        }
    }
}

/// Finds the event of a key's purchase by the id that follows from its hash: the secret may have been rotated since.
async fn find_buyer(
    chain: &Chain,
    contracts: &[Address],
    key: &UnverifiedKey,
) -> Result<Option<Address>, SaleError> {
    let transaction = key.source.strip_prefix("log:").and_then(|rest| rest.split(':').next());
    let Some(transaction) = transaction.and_then(|hash| hash.parse::<B256>().ok()) else { return Ok(None) };
    let is_key = |contract: Address, hash: B256, owner: Address| {
        contracts.contains(&contract)
            && format!("{owner:#x}") == key.owner
            && KeyId::of_purchase_v1(&SecretHash::from_bytes(hash.0)) == key.id
    };
    Ok(chain.buyer_of_key_v1(transaction, is_key).await?)
}
