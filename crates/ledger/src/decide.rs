//! Decides a batch, command by command. Pure: a function of the batch and its rows.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{Batch, CommandResult, Results};
use super::budget::BudgetUsage;
use super::changes::{self, NewHold};
use super::holds::{Capture, Charge, HoldRequest, OpenOutcome};
use super::statement::Entry;
use super::working_set::{Change, Step, StoredHold, WorkingSet};
use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_db::writes::Writes;
use farebox_types::id::{AccountId, HoldId, RequestKey};

/// Results of a batch, and what makes them true.
#[derive(Debug)]
pub(super) struct Decision {
    pub results: Results,
    /// Statements that write it.
    pub writes: Writes,
    /// Rows as they are when that is written, but for new holds.
    rows: WorkingSet,
    new_holds: BTreeMap<HoldId, StoredHold>,
}

/// Decides which commands are granted: captures first, which frees money, then openings, then charges, each in the
/// order of their arrival.
///
/// A command that comes again, because the answer to its write was lost, is recognised by what it did: an opening by
/// its hold, a capture by its entry, a charge by the total that it reached.
///
/// From rows that are not locked, which may be out of date, only commands that are granted in full are decided.
/// Others are deferred, and so are later ones on the same account, which would overtake them.
pub(super) fn decide(batch: &Batch, rows: WorkingSet) -> Decision {
    let is_locked = rows.is_locked;
    let mut deciding = Deciding {
        rows,
        new_holds: BTreeMap::new(),
        new_rows: Vec::new(),
        entries: Vec::new(),
        spent: BudgetUsage::default(),
        keys: BTreeSet::new(),
        deferred: BTreeSet::new(),
    };
    let results = Results {
        captures: batch.captures.iter().map(|capture| deciding.capture(capture)).collect(),
        openings: batch.openings.iter().map(|opening| deciding.open(opening)).collect(),
        charges: batch.charges.iter().map(|charge| deciding.charge(charge)).collect(),
    };
    results.assert_complete(batch, is_locked);
    deciding.decision(results)
}

impl Decision {
    /// Returns the rows as they are now that the decision is written.
    pub(super) fn into_written(self) -> (Results, WorkingSet) {
        let mut rows = self.rows;
        rows.holds.extend(self.new_holds);
        (self.results, rows)
    }
}

struct Deciding<'b> {
    rows: WorkingSet,
    new_holds: BTreeMap<HoldId, StoredHold>,
    new_rows: Vec<NewHold<'b>>,
    entries: Vec<(HoldId, Entry)>,
    /// Money spent within budgets by captures.
    spent: BudgetUsage,
    /// Request keys of openings with an idempotency key, which this batch has opened holds for.
    keys: BTreeSet<(&'b AccountId, RequestKey)>,
    /// Accounts on which a command was not granted in full.
    deferred: BTreeSet<AccountId>,
}

impl<'b> Deciding<'b> {
    fn capture(&mut self, capture: &Capture) -> CommandResult<CloseOutcome> {
        let step = self.rows.capture(capture);
        let owner = || self.rows.holds.get(&capture.hold).map(|stored| &stored.account);
        if !self.rows.is_locked && is_deferred(&step, owner, &mut self.deferred) {
            return None;
        }
        Some(step.and_then(|Step { outcome, change, .. }| {
            if let (CloseOutcome::Closed { entry, .. }, Some(change)) = (&outcome, change) {
                self.close(&capture.hold, entry, change)?;
            }
            Ok(outcome)
        }))
    }

    fn close(&mut self, id: &HoldId, entry: &Entry, change: Change) -> Result<(), LedgerError> {
        assert_eq!(entry.amount, change.hold.charged, "an entry says what its hold was charged");
        if let Some((name, day)) = &self.rows.holds[id].budget {
            self.spent.add(name, day, entry.amount).ok_or(LedgerError::Overflow)?;
        }
        self.rows.apply(id, change);
        if self.rows.is_locked {
            // Another capture of the same hold may follow.
            self.rows.entries.insert(id.clone(), entry.clone());
        }
        self.entries.push((id.clone(), entry.clone()));
        Ok(())
    }

    fn open(&mut self, opening: &'b HoldRequest) -> CommandResult<OpenOutcome> {
        if !self.rows.is_locked && !opening.is_plain() {
            return None;
        }
        let request_key = self.rows.request_key(opening);
        if self.is_opened(opening, request_key.as_ref()) {
            return Some(Ok(OpenOutcome::InProgress));
        }
        let step = self.rows.open(opening);
        if !self.rows.is_locked && is_deferred(&step, || Some(&opening.account), &mut self.deferred) {
            return None;
        }
        Some(step.and_then(|Step { outcome, change, .. }| {
            if let Some(change) = change {
                let request_key = request_key.expect("a request that opens a hold is new");
                self.insert(opening, request_key, change)?;
            }
            Ok(outcome)
        }))
    }

    /// Returns true if this batch has opened a hold for the same request.
    fn is_opened(&self, opening: &'b HoldRequest, request_key: Option<&RequestKey>) -> bool {
        let key = request_key.filter(|_| opening.idempotency_key.is_some());
        self.new_holds.contains_key(&opening.hold)
            || key.is_some_and(|key| self.keys.contains(&(&opening.account, key.clone())))
    }

    fn insert(
        &mut self,
        opening: &'b HoldRequest,
        request_key: RequestKey,
        Change { account, hold, .. }: Change,
    ) -> Result<(), LedgerError> {
        let budget = opening.budget.as_ref();
        if let Some(budget) = budget {
            let used = self.rows.used.add(&budget.name, &budget.day, hold.reserved);
            used.ok_or(LedgerError::Overflow)?;
        }
        if opening.idempotency_key.is_some() {
            self.keys.insert((&opening.account, request_key.clone()));
        }
        self.rows.apply_to_account(&opening.account, account);
        let stored = StoredHold {
            account: opening.account.clone(),
            hold,
            is_open: true,
            budget: budget.map(|budget| (budget.name.clone(), budget.day.clone())),
        };
        self.new_holds.insert(opening.hold.clone(), stored);
        self.new_rows.push(NewHold {
            id: &opening.hold,
            account: &opening.account,
            request_key,
            hold,
            state: "open",
            budget,
            now: opening.now,
            expires_at: opening.expires_at,
        });
        Ok(())
    }

    fn charge(&mut self, charge: &Charge) -> CommandResult<ChargeOutcome> {
        let step = self.rows.charge(charge);
        let owner = || self.rows.holds.get(&charge.hold).map(|stored| &stored.account);
        if !self.rows.is_locked && is_deferred(&step, owner, &mut self.deferred) {
            return None;
        }
        Some(step.map(|Step { outcome, change, .. }| {
            if let Some(change) = change {
                self.rows.apply(&charge.hold, change);
            }
            outcome
        }))
    }

    /// Adds the statements: accounts come first, then holds, each in the order of their ids.
    fn decision(self, results: Results) -> Decision {
        self.rows.assert_lawful();
        let mut writes = Writes::default();
        changes::change_accounts(&mut writes, self.rows.account_changes());
        changes::change_holds(&mut writes, self.rows.hold_changes());
        changes::insert_holds(&mut writes, &self.new_rows);
        changes::insert_entries(&mut writes, &self.entries);
        self.spent.count(&mut writes);
        Decision { results, writes, rows: self.rows, new_holds: self.new_holds }
    }
}

/// Returns true if a command is to be decided from locked rows: it is not granted in full, or follows one that was
/// not, on the same account.
fn is_deferred<'r, T>(
    step: &Result<Step<T>, LedgerError>,
    owner: impl FnOnce() -> Option<&'r AccountId>,
    deferred: &mut BTreeSet<AccountId>,
) -> bool {
    let in_full = step.as_ref().is_ok_and(|step| step.in_full);
    if in_full {
        return !deferred.is_empty() && owner().is_some_and(|owner| deferred.contains(owner));
    }
    deferred.extend(owner().cloned());
    true
}

#[cfg(test)]
mod tests;
