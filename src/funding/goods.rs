//! What a charge can buy beyond its answer: credit of the payer's account, and an API key.
//!
//! Usually the price of a charge is credited and spent at once. Where the goods are credit, it stays
//! on the account. The goods are written down with the transaction that pays for them, before that
//! leaves, so whoever finds it mined hands them over: credit, key and `settled` are one database
//! transaction. Of a key only its hash is in them.

use serde::{Deserialize, Serialize};

use super::income;
use super::settle::Settling;
use crate::db::Tx;
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::keys::{self, KeyId, KeyLimits, KeysError, NewKey, SecretHash};
use crate::ledger::{Credited, LedgerError};
use crate::money::Money;

/// Bought with a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goods {
    /// What the payer's account gets: at least what was paid.
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
}

/// What work makes of a paid request.
#[derive(Debug)]
pub struct Made {
    pub answer: String,
    pub goods: Option<Goods>,
}

impl From<String> for Made {
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
    settling: &Settling<'_>,
    goods: &Goods,
    hash: &str,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let corrupt = |what: &str| LedgerError::Corrupt(format!("{what} of payment {}", settling.id));
    let payer = settling.payer_text();
    let account = AccountId::wallet(&payer).map_err(|_| corrupt("payer"))?;
    let bonus = goods.credits.checked_sub(settling.amount).ok_or_else(|| corrupt("credits"))?;
    let (paid, given) = (format!("tx:{hash}"), format!("bonus:{}", settling.id));
    for (amount, source) in [(settling.amount, paid), (bonus, given)] {
        let source = SourceRef::parse(&source).map_err(|_| corrupt("transaction"))?;
        if amount.is_positive()
            && income::credit(tx, &account, amount, &source, now).await? == Credited::Replayed
        {
            return Err(LedgerError::CreditConflict(source));
        }
    }
    let Some(key) = &goods.key else { return Ok(()) };
    let id = KeyId::parse(&key.id).ok_or_else(|| corrupt("key id"))?;
    let hash = SecretHash::from_hex(&key.hash).ok_or_else(|| corrupt("key hash"))?;
    let limits = KeyLimits::default();
    let new =
        NewKey { id: &id, owner: &payer, name: &key.name, limits: &limits, expires_at: None, hash: &hash };
    keys::create(tx, &new, now).await.map_err(|error| match error {
        KeysError::Database(error) => error.into(),
        KeysError::Ledger(error) => error,
        KeysError::Owner(_) | KeysError::Corrupt(_) => corrupt("key"),
    })?;
    tracing::info!(wallet = payer, key = key.id, "API key sold");
    Ok(())
}
