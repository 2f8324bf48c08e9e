//! Money that came for somebody who does not have the credit, for the operator: the ledger refused it, or the payee's
//! receive policy (TIP-1028) holds it back. Nothing else waits for it, and nothing of it is forgotten.

use super::income;
use crate::db::statements::Statements as _;
use crate::db::{Db, DbError, Tx};
use crate::id::{AccountId, IdError, SourceRef, Timestamp};
use crate::ledger::{Credited, LedgerError};
use crate::money::Money;

/// Reason that a payment is not credited which did not arrive.
pub(super) const HELD_BACK: &str = "the payee's receive policy (TIP-1028) holds the payment back";

/// A payment without credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncreditedPayment {
    /// Source that its credit will have.
    pub source: SourceRef,
    /// Wallet address, lower case.
    pub owner: String,
    pub amount: Money,
    /// Reason, for the operator.
    pub reason: String,
    pub created_at: Timestamp,
}

/// Records a payment, once.
pub(super) async fn insert(
    tx: &mut Tx,
    source: &SourceRef,
    owner: &str,
    amount: Money,
    reason: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let text = "INSERT INTO uncredited_payments (source, owner, amount, why, created_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source) DO NOTHING";
    let values = vec![
        source.as_str().into(),
        owner.into(),
        amount.micros().into(),
        reason.into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Returns all payments without credit, the oldest first.
///
/// # Errors
/// If the database cannot be read.
pub async fn list(db: &Db) -> Result<Vec<UncreditedPayment>, LedgerError> {
    let text =
        "SELECT source, owner, amount, why, created_at FROM uncredited_payments ORDER BY created_at, source";
    let rows = db.fetch(text, Vec::new()).await?;
    let corrupt = |_: IdError| LedgerError::Corrupt("a source in `uncredited_payments`".into());
    let read = |row: &crate::db::statements::Row| {
        Ok(UncreditedPayment {
            source: SourceRef::parse(&row.text("source")?).map_err(corrupt)?,
            owner: row.text("owner")?,
            amount: Money::from_micros(row.whole("amount")?),
            reason: row.text("why")?,
            created_at: Timestamp::from_millis(row.whole("created_at")?),
        })
    };
    rows.iter().map(read).collect()
}

/// Credits a payment to its owner, once the operator has the money. Returns what was credited; `None` when there is no
/// such payment, or it was credited before.
///
/// # Errors
/// [`LedgerError`] when the ledger refuses it still; nothing is changed then.
pub async fn credit(
    db: &Db,
    source: &SourceRef,
    now: Timestamp,
) -> Result<Option<UncreditedPayment>, LedgerError> {
    let Some(payment) = list(db).await?.into_iter().find(|payment| payment.source == *source) else {
        return Ok(None);
    };
    let account = AccountId::wallet(&payment.owner)
        .map_err(|_| LedgerError::Corrupt(format!("owner of {source} in `uncredited_payments`")))?;
    let (payment, account) = (&payment, &account);
    let credited = db
        .transaction(|mut tx| async move {
            let text = "DELETE FROM uncredited_payments WHERE source = $1";
            if tx.execute(text, vec![source.as_str().into()]).await? == 0 {
                return Ok::<_, LedgerError>((tx, false));
            }
            let credited = income::credit(&mut tx, account, payment.amount, source, now).await?;
            Ok((tx, credited == Credited::Applied))
        })
        .await?;
    Ok(credited.then(|| payment.clone()))
}
