//! Credit of a wallet, by any way of payment. The wallet's debts are paid from it first.
//!
//! A debt is credit that was spent before its card payment was taken back ([`card`](super::card)).
//! It is paid from the next credit, by card, to this server, or to the contract of the key sale.
//! The price of one answer is no income: it is credited and spent in one step.

use super::card::booking;
use crate::db::Tx;
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::ledger::{self, Credited, LedgerError};
use crate::money::Money;

/// Credits an account ([`ledger::credit`]) and pays its debts, in one transaction.
///
/// # Errors
/// Those of [`ledger::credit`], and when the debts cannot be paid.
pub(super) async fn credit(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    source: &SourceRef,
    now: Timestamp,
) -> Result<Credited, LedgerError> {
    let credited = ledger::credit(tx, account, amount, source, now).await?;
    if credited == Credited::Applied {
        booking::pay_debts(tx, account, now).await?;
    }
    Ok(credited)
}
