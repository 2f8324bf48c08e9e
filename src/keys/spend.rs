//! Spending with an API key. Its budgets are checked in the transaction that reserves or charges the
//! money, under the lock of its owner's account.

use sha2::{Digest as _, Sha256};

use super::{Key, KeysError};
use crate::db::Tx;
use crate::id::{HoldId, RequestKey, Timestamp};
use crate::ledger::{self, Budget, EntryDetails, Estimate, HoldRequest, SpendOutcome, SpendingLimit, budget};
use crate::money::Money;

/// Proof that a known price was charged. Only [`spend`] makes one.
#[derive(Debug)]
pub struct KeyPaid {
    cost: Money,
}

impl KeyPaid {
    /// Returns what was charged now: zero if the same request had been charged before.
    #[must_use]
    pub fn cost(&self) -> Money {
        self.cost
    }
}

/// Outcome of charging a known price.
#[derive(Debug)]
pub enum PurchaseOutcome {
    /// Charged now, or before by the same request.
    Paid(KeyPaid),
    /// The `Idempotency-Key` was used for a request with another body.
    KeyReused,
    /// The account or a budget of the key has not enough.
    Short(SpendingLimit),
}

impl Key {
    /// Returns a request for a hold on the account of the key's owner, within the key's budgets.
    #[must_use]
    pub fn hold_request(
        &self,
        idempotency_key: Option<&str>,
        estimate: Estimate,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> HoldRequest {
        HoldRequest {
            hold: HoldId::new(now),
            account: self.account(),
            idempotency_key: idempotency_key.map(|client_key| format!("{}\n{client_key}", self.id)),
            budget: Some(self.budget(now)),
            estimate,
            now,
            expires_at,
        }
    }

    /// Returns the budget that bounds the key's spending.
    #[must_use]
    pub fn budget(&self, now: Timestamp) -> Budget {
        Budget::on(self.id.as_str(), now, self.limits.daily, self.limits.total)
    }
}

/// Charges a known price. `idempotency` is the client's `Idempotency-Key` with the digest of the
/// request's body: both together are charged once.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn spend(
    tx: &mut Tx,
    key: &Key,
    price: Money,
    idempotency: Option<(&str, &str)>,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<PurchaseOutcome, KeysError> {
    let account = key.account();
    let balance = ledger::lock(tx, &account).await?;
    let (request_key, digest) = match idempotency {
        Some((idempotency_key, digest)) => (purchase_key(key, idempotency_key)?, digest),
        None => (RequestKey::new(now), ""),
    };
    let mut details = details.clone();
    details.meta["key"] = key.id.as_str().into();
    details.meta["digest"] = digest.into();
    let budget = key.budget(now);
    let limit = budget::left(tx, &account, &budget, balance.available()).await?;
    // A repeated request costs nothing, so it is looked up before it is refused.
    if price > limit.affordable && !ledger::is_known(tx, &account, &request_key).await? {
        return Ok(PurchaseOutcome::Short(limit));
    }
    match ledger::spend(tx, &account, price, &request_key, &details, now).await? {
        SpendOutcome::Spent(_) => {
            budget::count(tx, &budget, price).await?;
            Ok(PurchaseOutcome::Paid(KeyPaid { cost: price }))
        }
        SpendOutcome::Replayed(entry) if entry.meta["digest"] == details.meta["digest"] => {
            Ok(PurchaseOutcome::Paid(KeyPaid { cost: Money::ZERO }))
        }
        SpendOutcome::Replayed(_) => Ok(PurchaseOutcome::KeyReused),
        SpendOutcome::Short { .. } => Ok(PurchaseOutcome::Short(limit)),
    }
}

/// Returns true if a purchase was charged under this `Idempotency-Key`.
///
/// # Errors
/// [`KeysError`] if the database fails.
pub async fn was_charged(tx: &mut Tx, key: &Key, idempotency_key: &str) -> Result<bool, KeysError> {
    Ok(ledger::is_known(tx, &key.account(), &purchase_key(key, idempotency_key)?).await?)
}

fn purchase_key(key: &Key, idempotency_key: &str) -> Result<RequestKey, KeysError> {
    let hash = hex::encode(Sha256::digest(format!("{}\n{idempotency_key}", key.id)));
    RequestKey::parse(&format!("purchase:{hash}")).map_err(|_| KeysError::Corrupt(key.id.clone()))
}
