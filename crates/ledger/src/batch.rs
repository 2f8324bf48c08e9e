//! Commands that share one commit, and their results.

use super::holds::{Capture, Charge, HoldRequest, OpenOutcome};
use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_types::id::{AccountId, HoldId};

/// Commands, each on its own terms: one that is refused leaves the others alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub captures: Vec<Capture>,
    pub openings: Vec<HoldRequest>,
    pub charges: Vec<Charge>,
}

/// Result of one command; `None` if it is deferred: rows that are not locked do not grant it in full.
pub(super) type CommandResult<T> = Option<Result<T, LedgerError>>;

/// Results of a batch, in the order of its commands.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    pub captures: Vec<CommandResult<CloseOutcome>>,
    pub openings: Vec<CommandResult<OpenOutcome>>,
    pub charges: Vec<CommandResult<ChargeOutcome>>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.captures.len() + self.openings.len() + self.charges.len()
    }

    /// Holds that are charged or captured.
    pub(super) fn holds(&self) -> impl Iterator<Item = &HoldId> {
        let captured = self.captures.iter().map(|capture| &capture.hold);
        captured.chain(self.charges.iter().map(|charge| &charge.hold))
    }

    /// Accounts on which holds are opened.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.openings.iter().map(|opening| &opening.account)
    }

    /// Returns the batch to be executed again after a write of `results` that had no answer.
    pub(super) fn again(&self, results: &Results) -> Self {
        let mut batch = self.clone();
        for (charge, result) in batch.charges.iter_mut().zip(&results.charges) {
            if let Some(Ok(ChargeOutcome::Charged { total })) = result {
                charge.reached = Some(*total);
            }
        }
        batch
    }

    /// Returns batches of one command each, in the order of their execution.
    pub(super) fn commands(&self) -> impl Iterator<Item = Self> {
        let captures =
            self.captures.iter().map(|one| Self { captures: vec![one.clone()], ..Self::default() });
        let openings =
            self.openings.iter().map(|one| Self { openings: vec![one.clone()], ..Self::default() });
        let charges = self.charges.iter().map(|one| Self { charges: vec![one.clone()], ..Self::default() });
        captures.chain(openings).chain(charges)
    }

    /// Returns the same error for every command.
    pub(super) fn failed(&self, error: &LedgerError) -> Results {
        Results {
            captures: self.captures.iter().map(|_| Some(Err(error.clone()))).collect(),
            openings: self.openings.iter().map(|_| Some(Err(error.clone()))).collect(),
            charges: self.charges.iter().map(|_| Some(Err(error.clone()))).collect(),
        }
    }
}

impl Results {
    /// Adds the charges of another attempt at the same batch, either of which may have been written.
    pub(super) fn or(mut self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        for (known, other) in self.charges.iter_mut().zip(other.charges) {
            if !matches!(known, Some(Ok(ChargeOutcome::Charged { .. }))) {
                *known = other;
            }
        }
        self
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.captures.append(&mut others.captures);
        self.openings.append(&mut others.openings);
        self.charges.append(&mut others.charges);
    }

    /// Asserts that there is one result for each command of `batch`, and that none is deferred if rows were locked.
    pub(super) fn assert_complete(&self, batch: &Batch, is_locked: bool) {
        let counts = (self.captures.len(), self.openings.len(), self.charges.len());
        assert_eq!(
            counts,
            (batch.captures.len(), batch.openings.len(), batch.charges.len()),
            "every command has a result"
        );
        let are_final = self.captures.iter().all(Option::is_some)
            && self.openings.iter().all(Option::is_some)
            && self.charges.iter().all(Option::is_some);
        assert!(!is_locked || are_final, "no command is deferred from locked rows");
    }
}
