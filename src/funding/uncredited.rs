//! Money that came for somebody who does not have the credit, for the operator: the ledger refused it, or the payee's
//! receive policy (TIP-1028) holds it back. Nothing else waits for it, and nothing of it is forgotten.
//!
//! What is held back is at a guard. Whether the operator or the sender can claim it there the policy says; nobody is
//! credited before the operator says that the money has come.

use super::income;
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, Tx};
use crate::id::{AccountId, IdError, SourceRef, Timestamp};
use crate::ledger::{self, Credited, LedgerError};
use crate::money::Money;

/// Reason that a payment is not credited which did not arrive.
pub(super) const HELD_BACK: &str = "held back by the payee's receive policy (TIP-1028)";

/// Credit that somebody would have, if the money had come.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwedCredit<'a> {
    pub account: &'a AccountId,
    pub amount: Money,
}

/// Reason that a payment is not credited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason<'a> {
    pub text: &'a str,
    /// The guard's receipt of a payment that it holds.
    pub claim: Option<&'a str>,
}

/// A payment without credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncreditedPayment {
    /// Source that its credit will have.
    pub source: SourceRef,
    pub account: AccountId,
    pub amount: Money,
    /// Reason, for the operator.
    pub reason: String,
    /// The guard's receipt of a payment that it holds, in hexadecimal.
    pub claim: Option<String>,
    pub created_at: Timestamp,
}

/// Records a payment, once. One that was credited is not recorded again.
pub(super) async fn insert(
    tx: &mut Tx,
    source: &SourceRef,
    owed: OwedCredit<'_>,
    why: Reason<'_>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    if ledger::credited_by(tx, source).await?.is_some() {
        return Ok(());
    }
    let text = "INSERT INTO uncredited_payments (source, owner, amount, why, claim, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source) DO NOTHING";
    let owner = owed.account.as_str();
    let values = vec![
        source.as_str().into(),
        owner.strip_prefix(WALLET).unwrap_or(owner).into(),
        owed.amount.micros().into(),
        why.text.into(),
        why.claim.map(str::to_owned).into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Beginning of the name of a wallet's account, which the table leaves out.
const WALLET: &str = "wallet:";

/// Takes a payment off the list; false when it was not there.
pub(super) async fn remove(tx: &mut Tx, source: &SourceRef) -> Result<bool, LedgerError> {
    let text = "DELETE FROM uncredited_payments WHERE source = $1";
    Ok(tx.execute(text, vec![source.as_str().into()]).await? == 1)
}

/// Returns all payments without credit, the oldest first.
///
/// # Errors
/// If the database cannot be read.
pub async fn list(db: &Db) -> Result<Vec<UncreditedPayment>, LedgerError> {
    let text = "SELECT source, owner, amount, why, claim, created_at FROM uncredited_payments \
         ORDER BY created_at, source";
    let rows = db.fetch(text, Vec::new()).await?;
    let corrupt = |_: IdError| LedgerError::Corrupt("a row in `uncredited_payments`".into());
    let read = |row: &Row| {
        Ok(UncreditedPayment {
            source: SourceRef::parse(&row.text("source")?).map_err(corrupt)?,
            account: AccountId::wallet(&row.text("owner")?).map_err(corrupt)?,
            amount: Money::from_micros(row.whole("amount")?),
            reason: row.text("why")?,
            claim: row.text_or_null("claim")?,
            created_at: Timestamp::from_millis(row.whole("created_at")?),
        })
    };
    rows.iter().map(read).collect()
}

/// Credits a payment to its owner. Only for an operator who has seen that the money came: whoever sent it may have
/// taken it back from the guard. Returns what was credited; `None` when there is no such payment, or it was credited
/// before.
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
    let UncreditedPayment { account, amount, .. } = &payment;
    let credited = db
        .transaction(|mut tx| async move {
            if !remove(&mut tx, source).await? {
                return Ok::<_, LedgerError>((tx, false));
            }
            let credited = income::credit(&mut tx, account, *amount, source, now).await?;
            Ok((tx, credited == Credited::Applied))
        })
        .await?;
    Ok(credited.then_some(payment))
}

/// Takes a payment off the list without credit: its sender has the money back. False when it was not there.
///
/// # Errors
/// If the database cannot be written.
pub async fn dismiss(db: &Db, source: &SourceRef) -> Result<bool, LedgerError> {
    db.transaction(|mut tx| async move {
        let removed = remove(&mut tx, source).await?;
        Ok((tx, removed))
    })
    .await
}
