//! Buyers of keys that were sold before it counted who bought them.
//!
//! The first version of the contract sells a key to any owner. So a key could be bought over somebody else's account by
//! whoever knows its secret. Such keys are revoked; until its buyer is known, a key opens nothing.

#![expect(clippy::disallowed_methods, reason = "each round begins at its own moment")]

use std::time::Duration;

use alloy::primitives::{Address, B256};

use super::SaleError;
use super::store;
use crate::chain::{Chain, ChainError};
use crate::db::Db;
use crate::id::Timestamp;
use crate::keys::{self, KeyId, KeysError, SecretHash, UnverifiedKey};

/// Pause after the first round in which keys were left; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
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

/// Runs until the buyer of every key is known. `followed` are the contracts of the configuration.
pub async fn run(db: Db, chain: Chain, followed: Vec<Address>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match verify(&db, &chain, &followed, Timestamp::now()).await {
            Ok(Verified { unknown: 0, .. }) => return,
            Ok(Verified { unknown, .. }) => {
                tracing::warn!(
                    keys = unknown,
                    "the node does not know the purchases of some keys; they open nothing until their owners rotate them"
                );
            }
            Err(error) => tracing::warn!(%error, "the buyers of some keys cannot be looked up"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// Looks up the buyers of all keys that have none yet. One that cannot be looked up keeps no other from it.
///
/// # Errors
/// If the database does not answer, or the node serves another chain; keys looked up until then are done.
pub async fn verify(
    db: &Db,
    chain: &Chain,
    followed: &[Address],
    now: Timestamp,
) -> Result<Verified, SaleError> {
    let mut verified = Verified::default();
    let mut after = String::new();
    let mut contracts = store::contracts_before(db, chain.chain_id()).await?;
    contracts.extend(followed);
    loop {
        let keys = keys::unverified(db, &after, BATCH).await?;
        let Some(last) = keys.last() else { return Ok(verified) };
        after = last.id.as_str().to_owned();
        chain.check().await?;
        for key in keys {
            let buyer = find_buyer(chain, &contracts, &key).await.unwrap_or_else(|error| {
                tracing::warn!(key = %key.id, %error, "the purchase of a key cannot be read");
                None
            });
            let Some(buyer) = buyer else {
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

/// Finds who bought a key: for one from the contract, the event of its purchase by the id that follows from its hash: the secret may have been rotated since.
async fn find_buyer(
    chain: &Chain,
    contracts: &[Address],
    key: &UnverifiedKey,
) -> Result<Option<Address>, ChainError> {
    // Sold by this server for a pushed transaction: its sender bought it.
    if let Some(hash) = key.source.strip_prefix("tx:") {
        let Ok(hash) = hash.parse() else { return Ok(None) };
        return Ok(chain.transaction(hash).await?.map(|sent| sent.signer.account));
    }
    let transaction = key.source.strip_prefix("log:").and_then(|rest| rest.split(':').next());
    let Some(transaction) = transaction.and_then(|hash| hash.parse::<B256>().ok()) else { return Ok(None) };
    let is_key = |contract: Address, hash: B256, owner: Address| {
        contracts.contains(&contract)
            && format!("{owner:#x}") == key.owner
            && KeyId::of_purchase_v1(&SecretHash::from_bytes(hash.0)) == key.id
    };
    chain.buyer_of_key_v1(transaction, is_key).await
}
