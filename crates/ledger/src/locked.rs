//! Executes batches in a transaction that locks their rows first: the way that always has an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Batch, Results};
use super::budget::BudgetUsage;
use super::decide::decide;
use super::idempotency::idempotency_status;
use super::working_set::WorkingSet;
use super::{LedgerError, changes, sql};
use farebox_db::statements::Statements;

/// Locks the rows of a batch, decides it and writes it. Returns the results, and the rows as they are then.
///
/// # Errors
/// The database fails, for the whole batch.
pub(super) async fn execute(
    batch: &Batch,
    tx: &mut impl Statements,
) -> Result<(Results, WorkingSet), LedgerError> {
    let decision = decide(batch, lock(batch, tx).await?);
    changes::write(tx, &decision.writes).await?;
    Ok(decision.into_written())
}

async fn lock(batch: &Batch, tx: &mut impl Statements) -> Result<WorkingSet, LedgerError> {
    // A request that may cost nothing opens the account that it is counted on.
    let free = batch.openings.iter().filter(|opening| opening.estimate.least.is_zero());
    let free: BTreeMap<_, _> = free.map(|opening| (&opening.account, opening.now)).collect();
    for (account, now) in free {
        sql::insert_account(tx, account, now).await?;
    }
    let accounts: BTreeSet<_> = batch.accounts().collect();
    let holds: BTreeSet<_> =
        batch.holds().chain(batch.openings.iter().map(|opening| &opening.hold)).collect();
    let mut rows = sql::lock(tx, &accounts, &holds).await?;
    for capture in &batch.captures {
        if rows.holds.get(&capture.hold).is_some_and(|stored| !stored.is_open) {
            match sql::read_entry(tx, &capture.hold).await {
                Ok(entry) => drop(rows.entries.insert(capture.hold.clone(), entry)),
                // After a statement that failed nothing of the transaction is kept.
                Err(error @ LedgerError::Database(_)) => return Err(error),
                Err(corrupt) => drop(rows.corrupt.insert(capture.hold.to_string(), corrupt)),
            }
        }
    }
    for opening in &batch.openings {
        if let Some(key) = &opening.idempotency_key {
            let status = idempotency_status(tx, &opening.account, Some(key), opening.now).await?;
            rows.requests.insert(opening.hold.clone(), status);
        }
    }
    let budgets =
        batch.openings.iter().filter_map(|opening| Some((&opening.account, opening.budget.as_ref()?)));
    rows.used = BudgetUsage::read(tx, budgets).await?;
    Ok(rows)
}
