//! Credit of a wallet, however it was paid for. What the wallet owes is met from it first.
//!
//! A debt is credit that was spent before its card payment was taken back ([`card`](super::card)).
//! Who owes pays with whatever comes next: by card, to this server, or to the contract that sells.
//! The price of one answer is no income: it is credited and spent in one step.

use super::card::book;
use crate::db::Tx;
use crate::id::{AccountId, SourceRef, Timestamp};
use crate::ledger::{self, Credited, LedgerError};
use crate::money::Money;

/// [`ledger::credit`], and the account's debts are met in the same transaction.
///
/// # Errors
/// The same, and when the debts cannot be met.
pub(super) async fn credit(
    tx: &mut Tx,
    account: &AccountId,
    amount: Money,
    source: &SourceRef,
    now: Timestamp,
) -> Result<Credited, LedgerError> {
    let credited = ledger::credit(tx, account, amount, source, now).await?;
    if credited == Credited::Applied {
        book::meet_debts(tx, account, now).await?;
    }
    Ok(credited)
}
