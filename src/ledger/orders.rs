//! What a batch is asked to do, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Tab;
use super::books::{Books, Charge};
use super::budget::Used;
use super::decide::{Decided, decide};
use super::repeat::{Known, known};
use super::tabs::{Opened, Opening, Settling};
use super::{ChargeOutcome, CloseOutcome, LedgerError, changes, sql};
use crate::db::TxError as _;
use crate::db::statements::Statements;
use crate::id::{AccountId, HoldId, RequestKey};

/// What is asked for, each on its own terms: one that cannot be done leaves the others alone.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub charges: Vec<Charge>,
    pub settlings: Vec<Settling>,
    pub openings: Vec<Opening>,
}

/// What became of it, in the same order.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub charges: Vec<Result<ChargeOutcome, LedgerError>>,
    pub settlings: Vec<Result<CloseOutcome, LedgerError>>,
    pub openings: Vec<Result<Opened, LedgerError>>,
}

impl Orders {
    pub(super) fn len(&self) -> usize {
        self.charges.len() + self.settlings.len() + self.openings.len()
    }

    /// The tabs that are to be charged or settled.
    pub(super) fn tabs(&self) -> impl Iterator<Item = &HoldId> {
        let charged = self.charges.iter().map(|charge| &charge.hold);
        charged.chain(self.settlings.iter().map(|settling| &settling.hold))
    }

    /// The accounts that tabs are to be opened on.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.openings.iter().map(|opening| &opening.account)
    }

    /// Each of them alone.
    pub(super) fn singles(&self) -> impl Iterator<Item = Self> {
        let charges = self.charges.iter().map(|one| Self { charges: vec![one.clone()], ..Self::default() });
        let settlings =
            self.settlings.iter().map(|one| Self { settlings: vec![one.clone()], ..Self::default() });
        let openings =
            self.openings.iter().map(|one| Self { openings: vec![one.clone()], ..Self::default() });
        charges.chain(settlings).chain(openings)
    }

    /// What each opening is known by, when all are [plain](Opening::is_plain).
    pub(super) fn new_requests(&self) -> Option<Vec<Known>> {
        let new = |opening: &Opening| opening.is_plain().then(|| Known::New(RequestKey::new(opening.now)));
        self.openings.iter().map(new).collect()
    }

    async fn look_up_requests(&self, tx: &mut impl Statements) -> Result<Vec<Known>, LedgerError> {
        let mut requests = Vec::with_capacity(self.openings.len());
        for opening in &self.openings {
            let key = opening.idempotency_key.as_deref();
            requests.push(known(tx, &opening.account, key, opening.now).await?);
        }
        Ok(requests)
    }

    /// Whether one of them may cost nothing and is on an account that there is not.
    pub(super) fn opens_accounts(&self, books: &Books) -> bool {
        let is_free = |opening: &&Opening| opening.estimate.least.is_zero();
        self.openings.iter().filter(is_free).any(|opening| !books.accounts.contains_key(&opening.account))
    }

    /// Whether what was [decided](decide) was written, when the answer was lost. Rows are locked first.
    /// What is still under way comes to its end before, or fails afterwards if all of it is
    /// [executed](Self::execute) now: it finds tabs changed, or requests that have one.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn are_written(
        &self,
        outcomes: &Outcomes,
        books: &Books,
        tx: &mut impl Statements,
    ) -> Result<bool, LedgerError> {
        let (accounts, tabs) = (self.accounts().collect(), self.tabs().collect());
        let found = sql::lock(tx, &accounts, &tabs).await?;
        // All of it was, or nothing. Ids tell best: nobody else writes these.
        for (settling, outcome) in self.settlings.iter().zip(&outcomes.settlings) {
            if let Ok(CloseOutcome::Closed { entry, .. }) = outcome {
                let is_closed = found.tabs.get(&settling.hold).is_some_and(|opened| !opened.is_open);
                return Ok(is_closed && sql::read_entry(tx, &settling.hold).await?.id == entry.id);
            }
        }
        for outcome in &outcomes.openings {
            if let Ok(Opened::Open { hold, .. }) = outcome {
                return Ok(!sql::read(tx, &BTreeSet::new(), &[hold].into()).await?.tabs.is_empty());
            }
        }
        let mut charged = books.tab_changes().filter(|(_, change)| change.now != change.found).peekable();
        // Tabs are charged by one instance, the one that serves them; they never get less.
        let is_there = |hold, now: Tab| {
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
        requests: Option<&[Known]>,
        tx: &mut impl Statements,
    ) -> Result<(Outcomes, Books), LedgerError> {
        let free = self.openings.iter().filter(|opening| opening.estimate.least.is_zero());
        let free: BTreeMap<_, _> = free.map(|opening| (&opening.account, opening.now)).collect();
        for (account, now) in free {
            sql::insert_account(tx, account, now).await?;
        }
        let (accounts, tabs) = (self.accounts().collect(), self.tabs().collect());
        let mut books = sql::lock(tx, &accounts, &tabs).await?;
        let limited = self.openings.iter();
        let limited = limited.filter_map(|opening| Some((&opening.account, opening.budget.as_ref()?)));
        books.used = Used::read(tx, limited).await?;
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
            outcomes.settlings[at] = match sql::read_entry(tx, &self.settlings[at].hold).await {
                // After a statement that failed nothing of the transaction is kept.
                Err(error) if error.db().is_some() => return Err(error),
                read => read.map(|entry| CloseOutcome::AlreadyClosed { entry }),
            };
        }
        Ok((outcomes, books))
    }
}
