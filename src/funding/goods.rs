//! Goods that a charge can buy beyond its answer: credit of the payer's account, and an API key.
//!
//! Usually the price of a charge is credited and spent at once. Where the goods are credit, it stays
//! on the account. The goods are written down with the transaction that pays for them, before that
//! leaves, so whoever finds it mined hands them over: credit, key and `settled` are one database
//! transaction. Of a key only its hash is in them.

use serde::{Deserialize, Serialize};

use super::income;
use super::settle::ChargeSettlement;
use crate::db::Tx;
use crate::id::{SourceRef, Timestamp};
use crate::keys::{self, KeyId, KeyLimits, KeysError, NewKey, SecretHash};
use crate::ledger::{Credited, LedgerError};
use crate::money::Money;

/// Bought with a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goods {
    /// The credit of the payer's account: at least what was paid.
    pub credits: Money,
    pub key: Option<SoldKey>,
}

/// A key that its buyer will own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoldKey {
    pub id: String,
    pub name: String,
    /// SHA-256 of its secret.
    pub hash: String,
    /// The most that it may ever spend; `None` is no limit.
    #[serde(default)]
    pub total_limit: Option<Money>,
}

/// The result of work for a paid request.
#[derive(Debug)]
pub struct WorkResult {
    pub answer: String,
    pub goods: Option<Goods>,
}

impl From<String> for WorkResult {
    fn from(answer: String) -> Self {
        Self { answer, goods: None }
    }
}

impl Goods {
    /// The stored form.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data is valid JSON")
    }
}

/// Hands the goods of a payment over.
pub(super) async fn hand_over(
    tx: &mut Tx,
    settlement: &ChargeSettlement<'_>,
    goods: &Goods,
    reference: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let corrupt = |what: &str| settlement.corrupt(what);
    let (payer, paid) = (settlement.payer, settlement.due.amount);
    let bonus = goods.credits.checked_sub(paid).ok_or_else(|| corrupt("credits"))?;
    let given = SourceRef::parse(&format!("bonus:{}", settlement.id)).map_err(|_| corrupt("id"))?;
    for (amount, source) in [(paid, settlement.source(reference)?), (bonus, given)] {
        if amount.is_positive()
            && income::credit(tx, payer.account(), amount, &source, now).await? == Credited::Replayed
        {
            return Err(LedgerError::CreditConflict(source));
        }
    }
    let Some(key) = &goods.key else { return Ok(()) };
    let id = KeyId::parse(&key.id).ok_or_else(|| corrupt("key id"))?;
    let hash = SecretHash::from_hex(&key.hash).ok_or_else(|| corrupt("key hash"))?;
    let limits = KeyLimits { total: key.total_limit, ..KeyLimits::default() };
    let new = NewKey {
        id: &id,
        owner: payer.name(),
        name: &key.name,
        limits: &limits,
        expires_at: None,
        hash: &hash,
    };
    keys::create(tx, &new, now).await.map_err(|error| match error {
        KeysError::Database(error) => error.into(),
        KeysError::Ledger(error) => error,
        KeysError::Owner(_) | KeysError::Corrupt(_) => corrupt("key"),
    })?;
    tracing::info!(wallet = payer.name(), key = key.id, "API key sold");
    Ok(())
}
