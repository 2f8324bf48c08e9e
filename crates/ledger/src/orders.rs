//! What a batch is asked to do, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Hold;
use super::budget::BudgetUsage;
use super::decide::{Decided, decide};
use super::holds::{Capture, HoldRequest, OpenOutcome};
use super::idempotency::{IdempotencyStatus, idempotency_status};
use super::working_set::{Charge, WorkingSet};
use super::{ChargeOutcome, CloseOutcome, LedgerError, changes, sql};
use farebox_db::TxError as _;
use farebox_db::statements::Statements;
use farebox_types::id::{AccountId, HoldId, RequestKey};

/// What is asked for, each on its own terms: one that cannot be done leaves the others alone.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub charges: Vec<Charge>,
    pub captures: Vec<Capture>,
    pub openings: Vec<HoldRequest>,
}

/// What became of it, in the same order.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub charges: Vec<Result<ChargeOutcome, LedgerError>>,
    pub captures: Vec<Result<CloseOutcome, LedgerError>>,
    pub openings: Vec<Result<OpenOutcome, LedgerError>>,
}

impl Orders {
    pub(super) fn len(&self) -> usize {
        self.charges.len() + self.captures.len() + self.openings.len()
    }

    /// The holds that are to be charged or settled.
    pub(super) fn tabs(&self) -> impl Iterator<Item = &HoldId> {
        let charged = self.charges.iter().map(|charge| &charge.hold);
        charged.chain(self.captures.iter().map(|capture| &capture.hold))
    }

    /// The accounts that holds are to be opened on.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.openings.iter().map(|opening| &opening.account)
    }

    /// Each of them alone.
    pub(super) fn singles(&self) -> impl Iterator<Item = Self> {
        let charges = self.charges.iter().map(|one| Self { charges: vec![one.clone()], ..Self::default() });
        let captures =
            self.captures.iter().map(|one| Self { captures: vec![one.clone()], ..Self::default() });
        let openings =
            self.openings.iter().map(|one| Self { openings: vec![one.clone()], ..Self::default() });
        charges.chain(captures).chain(openings)
    }

    /// What each opening is known by, when all are [plain](HoldRequest::is_plain).
    pub(super) fn new_requests(&self) -> Option<Vec<IdempotencyStatus>> {
        let new = |opening: &HoldRequest| {
            opening.is_plain().then(|| IdempotencyStatus::New(RequestKey::new(opening.now)))
        };
        self.openings.iter().map(new).collect()
    }

    async fn look_up_requests(
        &self,
        tx: &mut impl Statements,
    ) -> Result<Vec<IdempotencyStatus>, LedgerError> {
        let mut requests = Vec::with_capacity(self.openings.len());
        for opening in &self.openings {
            let key = opening.idempotency_key.as_deref();
            requests.push(idempotency_status(tx, &opening.account, key, opening.now).await?);
        }
        Ok(requests)
    }

    /// Whether one of them may cost nothing and is on an account that there is not.
    pub(super) fn opens_accounts(&self, books: &WorkingSet) -> bool {
        let is_free = |opening: &&HoldRequest| opening.estimate.least.is_zero();
        self.openings.iter().filter(is_free).any(|opening| !books.accounts.contains_key(&opening.account))
    }

    /// Whether what was [decided](decide) was written, when the answer was lost. Rows are locked first.
    /// What is still under way comes to its end before, or fails afterwards if all of it is
    /// [executed](Self::execute) now: it finds holds changed, or requests that have one.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn are_written(
        &self,
        outcomes: &Outcomes,
        books: &WorkingSet,
        tx: &mut impl Statements,
    ) -> Result<bool, LedgerError> {
        let (accounts, tabs) = (self.accounts().collect(), self.tabs().collect());
        let found = sql::lock(tx, &accounts, &tabs).await?;
        // All of it was, or nothing. Ids tell best: nobody else writes these.
        for (capture, outcome) in self.captures.iter().zip(&outcomes.captures) {
            if let Ok(CloseOutcome::Closed { entry, .. }) = outcome {
                let is_closed = found.tabs.get(&capture.hold).is_some_and(|opened| !opened.is_open);
                return Ok(is_closed && sql::read_entry(tx, &capture.hold).await?.id == entry.id);
            }
        }
        for outcome in &outcomes.openings {
            if let Ok(OpenOutcome::Open { hold, .. }) = outcome {
                return Ok(!sql::read(tx, &BTreeSet::new(), &[hold].into()).await?.tabs.is_empty());
            }
        }
        let mut charged = books.tab_changes().filter(|(_, change)| change.now != change.found).peekable();
        // Holds are charged by one instance, the one that serves them; they never get less.
        let is_there = |hold, now: Hold| {
            let tab = found.tabs.get(hold).map(|opened| opened.tab);
            tab.is_some_and(|tab| tab.charged >= now.charged && tab.reserved >= now.reserved)
        };
        Ok(charged.peek().is_some() && charged.all(|(hold, change)| is_there(hold, change.now)))
    }

    /// Does all of it in a transaction: rows are locked, looked at and written. The outcomes, and the
    /// rows as they are then. `requests` is what openings are known by, where that is known.
    ///
    /// # Errors
    /// When the database fails, and for all of them.
    pub(super) async fn execute(
        &self,
        requests: Option<&[IdempotencyStatus]>,
        tx: &mut impl Statements,
    ) -> Result<(Outcomes, WorkingSet), LedgerError> {
        let free = self.openings.iter().filter(|opening| opening.estimate.least.is_zero());
        let free: BTreeMap<_, _> = free.map(|opening| (&opening.account, opening.now)).collect();
        for (account, now) in free {
            sql::insert_account(tx, account, now).await?;
        }
        let (accounts, tabs) = (self.accounts().collect(), self.tabs().collect());
        let mut books = sql::lock(tx, &accounts, &tabs).await?;
        let limited = self.openings.iter();
        let limited = limited.filter_map(|opening| Some((&opening.account, opening.budget.as_ref()?)));
        books.used = BudgetUsage::read(tx, limited).await?;
        let looked_up;
        let requests = if let Some(requests) = requests {
            requests
        } else {
            looked_up = self.look_up_requests(tx).await?;
            &looked_up
        };
        let Decided { mut outcomes, closed_before, writes, opened, .. } = decide(self, requests, &mut books)?;
        changes::write(tx, &writes).await?;
        books.tabs.extend(opened);
        for at in closed_before {
            // Maybe a moment ago, by another of these.
            outcomes.captures[at] = match sql::read_entry(tx, &self.captures[at].hold).await {
                // After a statement that failed nothing of the transaction is kept.
                Err(error) if error.db().is_some() => return Err(error),
                read => read.map(|entry| CloseOutcome::AlreadyClosed { entry }),
            };
        }
        Ok((outcomes, books))
    }
}
