//! Spending with a key: its budgets are checked in the transaction that sets the money aside or
//! takes it, under the lock of its owner's account.

use sha2::{Digest as _, Sha256};

use super::{Key, Keys, KeysError};
use crate::db::Tx;
use crate::id::{RequestKey, Timestamp};
use crate::ledger::{self, Budget, EntryDetails, Estimate, HoldRequest, SpendOutcome, SpendingLimit, budget};
use crate::money::Money;

/// Proof that an answer of known price was charged. Only [`Keys::spend`] makes one.
#[derive(Debug)]
pub struct KeyPaid(());

/// What became of a purchase.
#[derive(Debug)]
pub enum PurchaseOutcome {
    /// Charged, now or by the same request before.
    Done(KeyPaid),
    /// The `Idempotency-Key` belongs to a request with another body.
    KeyReused,
    Short(SpendingLimit),
}

impl Key {
    /// A hold to be opened on the account of the key's owner.
    #[must_use]
    pub fn hold_request(
        &self,
        idempotency_key: Option<&str>,
        estimate: Estimate,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> HoldRequest {
        HoldRequest {
            account: self.account(),
            idempotency_key: idempotency_key.map(|given| format!("{}\n{given}", self.id)),
            budget: Some(self.budget(now)),
            estimate,
            now,
            expires_at,
        }
    }

    /// What the key spends is counted within this, and bounded by it.
    fn budget(&self, now: Timestamp) -> Budget {
        Budget::on(self.id.as_str(), now, self.limits.daily, self.limits.total)
    }
}

impl Keys {
    /// Charges a known price. `digest` names the request's body: the same
    /// `Idempotency-Key` with the same body is charged once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spend(
        &self,
        key: &Key,
        price: Money,
        repeat: Option<(&str, &str)>,
        details: &EntryDetails,
        now: Timestamp,
    ) -> Result<PurchaseOutcome, KeysError> {
        self.db
            .transaction(|mut tx| async move {
                let bought = spend(&mut tx, key, price, repeat, details, now).await?;
                Ok((tx, bought))
            })
            .await
    }
}

async fn spend(
    tx: &mut Tx,
    key: &Key,
    price: Money,
    repeat: Option<(&str, &str)>,
    details: &EntryDetails,
    now: Timestamp,
) -> Result<PurchaseOutcome, KeysError> {
    let account = key.account();
    let balance = ledger::lock(tx, &account).await?;
    let (request_key, digest) = match repeat {
        Some((given, digest)) => {
            let hash = hex::encode(Sha256::digest(format!("{}\n{given}", key.id)));
            let name = format!("purchase:{hash}");
            let request_key = RequestKey::parse(&name).map_err(|_| KeysError::Corrupt(key.id.clone()))?;
            (request_key, digest)
        }
        None => (RequestKey::new(now), ""),
    };
    let mut details = details.clone();
    details.meta["key"] = key.id.as_str().into();
    details.meta["digest"] = digest.into();
    let within = key.budget(now);
    let left = budget::left(tx, &account, &within, balance.available()).await?;
    // A repetition costs nothing, so the ledger is asked before the budget.
    if price > left.affordable && !is_known(tx, &account, &request_key).await? {
        return Ok(PurchaseOutcome::Short(left));
    }
    match ledger::spend(tx, &account, price, &request_key, &details, now).await? {
        SpendOutcome::Spent(_) => {
            budget::count(tx, &within, price).await?;
            Ok(PurchaseOutcome::Done(KeyPaid(())))
        }
        SpendOutcome::Replayed(entry) if entry.meta["digest"] == details.meta["digest"] => {
            Ok(PurchaseOutcome::Done(KeyPaid(())))
        }
        SpendOutcome::Replayed(_) => Ok(PurchaseOutcome::KeyReused),
        SpendOutcome::Short { .. } => Ok(PurchaseOutcome::Short(left)),
    }
}

async fn is_known(
    tx: &mut Tx,
    account: &crate::id::AccountId,
    request_key: &RequestKey,
) -> Result<bool, KeysError> {
    let row = sqlx::query("SELECT id FROM holds WHERE account = $1 AND request_key = $2")
        .bind(account.as_str().to_owned())
        .bind(request_key.as_str().to_owned())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.is_some())
}
